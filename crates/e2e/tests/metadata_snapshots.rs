//! The metadata log does not grow for ever, and who lacks what is no longer in it loads a snapshot.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use std::{fs, io};

/// A snapshot every few records, and nothing before the latest is kept.
const EAGER: &str = "metadata.log.max.record.bytes.between.snapshots=2000\nmetadata.max.retention.bytes=1";

fn snapshots(cluster: &Cluster, id: usize) -> Vec<String> {
    let dir = cluster.nodes()[id - 1].data().join("__cluster_metadata-0");
    let entries = fs::read_dir(dir).expect("the metadata log");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let names = entries.map(name).map(|name| name.into_string().expect("names are ASCII"));
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".checkpoint")).collect();
    found.sort();
    found
}

fn create(cluster: &Cluster, topic: &str) {
    let (zookeeper, make) = (cluster.zookeeper(), ["--create", "--partitions", "4", "--topic", topic]);
    cluster.tool(&[&["kafka-topics", "--zookeeper", &zookeeper], &make[..]].concat());
}

/// What there is, as an observer of the quorum sees it: it too must begin with a snapshot.
fn topics(cluster: &Cluster) -> Vec<String> {
    let listed = cluster.tool(&["kafka-topics", "--zookeeper", &cluster.zookeeper(), "--list"]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_node_that_was_away_too_long_loads_the_leaders_snapshot() {
    let mut cluster = Cluster::start(3, EAGER);
    kcat::produce(&cluster, "before", "kept\n");
    cluster.node(3).kill();
    let missed: Vec<String> = (10..30).map(|number| format!("missed-{number}")).collect();
    for topic in &missed {
        create(&cluster, topic);
    }
    for id in [1, 2] {
        eventually(&format!("node {id} keeps one snapshot, a late one"), PATIENCE, || {
            let found = snapshots(&cluster, id);
            let end = |name: &String| name.split('-').next()?.parse::<u64>().ok();
            (found.len() == 1 && found.first().and_then(end)? > 100).then_some(())
        });
    }

    cluster.node(3).start();

    let loaded = "loaded the leader's snapshot of the metadata log";
    eventually("node 3 has loaded a snapshot", PATIENCE, || {
        cluster.nodes()[2].log().contains(loaded).then_some(())
    });
    let mut expected = missed.clone();
    expected.insert(0, "before".to_owned());
    assert_eq!(topics(&cluster), expected);
    kcat::produce(&cluster, "missed-15", "a topic that node 3 learned from the snapshot\n");
    assert_eq!(kcat::consume_all(&cluster, "before"), ["kept"]);
    eventually("node 3 has a replica of every topic it missed", PATIENCE, || {
        let data = cluster.nodes()[2].data();
        missed.iter().all(|topic| data.join(format!("{topic}-0")).exists()).then_some(())
    });

    // All of them begin again with their snapshots.
    for id in 1..=3 {
        cluster.node(id).kill();
    }
    for id in 1..=3 {
        cluster.node(id).spawn();
    }
    for id in 1..=3 {
        cluster.node(id).wait_until_serving();
    }
    assert_eq!(topics(&cluster), expected);
    assert_eq!(kcat::consume_all(&cluster, "missed-15"), ["a topic that node 3 learned from the snapshot"]);
}
