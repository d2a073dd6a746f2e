//! `flush.messages` on real disks: whose acknowledgement waits for how many syncs.

use ottla_e2e::{Cluster, kcat};
use std::fs;

/// How often the threads of a node that sync its partitions' logs have waited: for work, or for the disk.
fn waits_of_syncing_threads(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the node runs");
    let mut waits = 0;
    for task in tasks {
        let path = task.expect("an entry").path();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").starts_with("sync-") {
            let status = read("status");
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
            let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            waits += count.unwrap_or(0_u64);
        }
    }
    waits
}

/// Writes records one after the other, each acknowledged before the next is sent; how often each node's threads waited
/// because of it.
fn waits(cluster: &Cluster, topic: &str, acks: &str, count: usize) -> Vec<u64> {
    let waited =
        || -> Vec<u64> { cluster.nodes().iter().map(|node| waits_of_syncing_threads(node.pid())).collect() };
    let before = waited();
    let settings = [format!("acks={acks}"), "max.in.flight=1".to_owned(), "batch.num.messages=1".to_owned()];
    let mut arguments = vec!["-P", "-t", topic];
    settings.iter().for_each(|setting| arguments.extend(["-X", setting]));
    let lines: String = (0..count).map(|n| format!("record {n}\n")).collect();
    kcat::run(cluster, &arguments, &lines);
    waited().iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn with_flush_messages_1_every_replica_syncs_for_every_record_that_waits_for_the_last() {
    const COUNT: usize = 100;
    let cluster = Cluster::start(3, "");
    let bootstrap = cluster.bootstrap();
    let create = |topic: &str, more: &[&str]| {
        let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", topic];
        cluster.tool(&[&create[..], &["--replica-assignment", "1:2:3"], more].concat());
    };
    create("cached", &[]);
    create("synced", &["--config", "flush.messages=1"]);

    let cached = waits(&cluster, "cached", "all", COUNT);
    let synced = waits(&cluster, "synced", "all", COUNT);
    let by_leader = waits(&cluster, "synced", "1", COUNT);

    let many = COUNT as u64;
    assert!(cached.iter().all(|waits| *waits < many / 2), "nobody waits for a disk: {cached:?}");
    assert!(synced.iter().all(|waits| *waits >= many), "all do, for each record: {synced:?}");
    assert!(by_leader[0] >= many, "the leader does: {by_leader:?}");
    let read = kcat::run(&cluster, &["-C", "-t", "synced", "-o", "beginning", "-e", "-q"], "");
    assert_eq!(read.lines().count(), 2 * COUNT);
}
