//! Whole requests against whole coordinators.

mod migration;
mod simulation;
mod stories;
pub(crate) mod view;
