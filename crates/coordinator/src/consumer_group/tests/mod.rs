//! Whole requests against whole coordinators.

mod disconnects;
mod migration;
mod simulation;
mod stories;
pub(crate) mod view;
