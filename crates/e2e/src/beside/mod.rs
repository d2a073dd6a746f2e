//! Ottla beside Apache Kafka: clusters of nodes of both, and nodes that are the one and then the other.
//!
//! Kafka is 4.4.0, from Maven Central, with its own defaults but for a small heap and what a [`Cluster`] sets for nodes of either
//! kind. A [`Load`] is on the cluster meanwhile, and judges.

mod cluster;
mod load;
mod node;

pub use cluster::{Cluster, METADATA, Partition, Voters};
pub use load::Load;
pub use node::{Kind, Node, Roles};
