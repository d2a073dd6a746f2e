//! The replicas of this broker, and everything that moves them.
//!
//! Reading order: [`log_config`], [`waiting`], [`throttles`], [`offset_checkpoints`], [`directories`],
//! [`replica_manager`], [`isr_channel`], [`assignments`], [`flusher`], [`internal`], [`fetcher`], with `fetch_session`, `cleaner`.

pub mod assignments;
pub(crate) mod cleaner;
pub mod directories;
mod fetch_session;
pub mod fetcher;
pub mod flusher;
pub mod internal;
pub mod isr_channel;
pub mod log_config;
pub mod offset_checkpoints;
pub mod replica_manager;
pub mod throttles;
pub mod waiting;

pub use replica_manager::{Replica, ReplicaManager};
