//! Whatever comes in, by the network or by a file: it gets Kafka's error, or a message that says what to do; no node
//! dies of it, and nothing is lost.
//!
//! Error codes are what Apache Kafka 4.4.0 answered to the same bytes; the few that are not say so.

mod configuration;
mod directories;
mod disk;
mod groups;
mod items;
mod mutants;
mod records;
mod topics;
mod wire;

use ottla_e2e::{Cluster, kcat};

/// A node with a topic `t` of one partition and one record.
fn one_node() -> Cluster {
    one_node_with("")
}

/// The same, configured so.
fn one_node_with(extra: &str) -> Cluster {
    let cluster = Cluster::start(1, extra);
    kcat::produce(&cluster, "t", "kept\n");
    cluster
}

/// Nothing is lost, and the node still serves: `one_node`'s record is there, and one more can be written.
fn still_serves(cluster: &Cluster) {
    assert_eq!(kcat::consume_all(cluster, "t"), ["kept"]);
    kcat::produce(cluster, "t", "served\n");
    assert_eq!(kcat::consume_all(cluster, "t"), ["kept", "served"]);
}
