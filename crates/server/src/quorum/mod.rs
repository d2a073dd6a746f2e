//! The metadata quorum's driver: the raft machine, its log, its peers, and the active controller.
//!
//! Reading order: [`log`], [`snapshots`], [`state_file`], [`actor`], [`handle`], [`peers`], [`snapshot_fetch`],
//! [`registration`], [`failure_detection`], [`journal`], [`balancing`].

pub mod actor;
pub mod balancing;
pub mod failure_detection;
pub mod handle;
pub mod journal;
pub mod log;
pub mod peers;
pub mod registration;
pub mod snapshot_fetch;
pub mod snapshots;
pub mod state_file;

pub use actor::{Committed, Start};
pub use handle::{Leadership, NotController, QuorumHandle};
pub use journal::{Journal, JournalEntry};
pub use log::QuorumLog;
pub use snapshots::Snapshots;
