//! Whole requests against whole coordinators.

mod simulation;
mod stories;
mod view;
