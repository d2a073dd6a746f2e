//! What only real processes and foreign clients can show: the binary, `kcat`, and `kill -9`.
//!
//! Tests speak in terms of a [`Cluster`] of real nodes and of [`kcat`]; or, as a person does, of a [`Terminal`] into
//! which commands are typed. Nothing here waits a fixed time:
//! [`eventually`] looks until what is expected is there, or too long has passed.

pub mod beside;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod copier;
pub mod failover;
pub mod jars;
pub mod kcat;
pub mod laptop;
pub mod machine;
pub mod network;
pub mod patience;
pub mod process;
pub mod programs;
pub mod reassignment;
pub mod slow_line;
pub mod terminal;
pub mod transcript;

pub use client::Client;
pub use cluster::{Cluster, Node};
pub use laptop::Laptop;
pub use machine::Machine;
pub use network::Network;
pub use patience::eventually;
pub use terminal::Terminal;
