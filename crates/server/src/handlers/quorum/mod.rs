//! What controllers serve.

pub mod cluster;
pub mod envelope;
pub mod raft;
pub mod snapshot;
pub mod voters;
