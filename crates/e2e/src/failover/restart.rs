//! How long a killed node takes to be whole again, with much on its disk.

use super::{Micros, now, topology, verdict};
use crate::Cluster;
use std::path::Path;

/// The topic.
const TOPIC: &str = "much";

/// Its partitions, each on all three nodes.
pub const PARTITIONS: usize = 1000;

/// The size of a record, as applications have it.
const RECORD_BYTES: &str = "1024";

/// What was seen of one restart, in microseconds from its command.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// Who; `None`: all three, killed at the same time.
    pub node: Option<usize>,
    /// Until it said that it serves.
    pub serving: Micros,
    /// Until every replica of every partition was in sync.
    pub in_sync: Micros,
}

/// Fills a cluster of three in an empty directory, so that each node has `gigabytes` (of 10^9 bytes of values), kills each
/// node and then all of them, and starts them again. `say` is told of each.
///
/// # Panics
/// When it does not become whole again, or logs differ in the end.
pub fn measure(gigabytes: u64, directory: &Path, mut say: impl FnMut(String)) -> Vec<Restart> {
    let mut cluster = Cluster::start_in(directory, 3, "");
    let (bootstrap, partitions) = (cluster.bootstrap(), PARTITIONS.to_string());
    let bytes = (gigabytes * 1_000_000_000).to_string();
    let load = ["perf", "produce", "--bootstrap-server", &bootstrap, "--topic", TOPIC];
    let what = ["--partitions", &partitions, "--record-size", RECORD_BYTES, "--records-per-batch", "64"];
    let end = ["--bytes", &bytes, "--seconds", "36000", "--warm-up-seconds", "0"];
    say(cluster.tool(&[&load[..], &what, &end].concat()));
    topology::wait_until_in_sync(&cluster);

    let mut seen = Vec::new();
    for node in [Some(1), Some(2), Some(3), None] {
        let restart = restart(&mut cluster, node);
        say(format!("{restart:?}"));
        seen.push(restart);
    }
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    cluster.stop();
    seen
}

fn restart(cluster: &mut Cluster, node: Option<usize>) -> Restart {
    match node {
        Some(id) => {
            cluster.node(id).kill();
            // The others have heard of it: it comes back as one that was away.
            topology::wait_until_out_of_sync(cluster);
        }
        None => cluster.kill(),
    }
    let begun = now();
    match node {
        Some(id) => cluster.node(id).start(),
        None => cluster.restart(),
    }
    let serving = now() - begun;
    topology::wait_until_in_sync(cluster);
    Restart { node, serving, in_sync: now() - begun }
}
