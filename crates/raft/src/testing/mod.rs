//! A quorum on a simulated network and simulated disks, and the checkers that watch it.
//!
//! [`World`] runs any number of nodes from one seed: the same seed gives the same run, to the microsecond.
//! [`faults`] disturbs it, [`Checker`] looks after every step for what must never happen. For tests only.
//!
//! Reading order: [`memory_log`], [`disk`], [`network`], [`checker`], [`world`], [`faults`].

pub mod checker;
pub mod disk;
pub mod faults;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod hostile;
pub mod memory_log;
pub mod network;
#[cfg(test)]
mod tests;
pub mod world;

pub use checker::{Checker, Violation};
pub use disk::Disk;
pub use faults::{Outcome, Scenario, VoterChanges};
pub use memory_log::MemoryLog;
pub use network::Network;
pub use world::{Setup, World};
