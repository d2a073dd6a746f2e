//! The metadata quorum's driver: the raft machine, its log, its peers, and the active controller.
//!
//! Reading order: [`log`], [`snapshots`], [`state_file`], [`actor`], [`handle`], [`peers`], [`snapshot_fetch`],
//! [`registration`], [`failure_detection`], [`leader_balance`].

pub mod actor;
pub mod failure_detection;
pub mod handle;
pub mod leader_balance;
pub mod log;
pub mod peers;
pub mod registration;
pub mod snapshot_fetch;
pub mod snapshots;
pub mod state_file;

pub use actor::{Committed, Start};
pub use handle::{Leadership, NotController, QuorumHandle};
pub use log::QuorumLog;
pub use snapshots::Snapshots;
