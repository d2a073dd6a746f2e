//! What only real processes and foreign clients can show: the binary, `kcat`, and `kill -9`.
//!
//! Tests speak in terms of a [`Cluster`] of real nodes and of [`kcat`]. Nothing here waits a fixed time:
//! [`eventually`] looks until what is expected is there, or too long has passed.

pub mod cluster;
pub mod failover;
pub mod kcat;
pub mod patience;

pub use cluster::{Cluster, Node};
pub use patience::eventually;
