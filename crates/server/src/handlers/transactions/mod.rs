//! Producers get their identity, and transactions begin and end.

pub mod add_partitions;
pub mod describe_producers;
pub mod end_txn;
mod fenced;
pub mod init_producer_id;
pub mod overview;
pub mod write_txn_markers;
