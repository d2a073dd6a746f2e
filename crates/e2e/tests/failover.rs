//! A node is killed under load, each in turn, or all at once; nothing that was acknowledged is lost, doubled or out of order.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;
use std::ops::Range;

const PARTITIONS: usize = 8;

/// Produces by an idempotent producer while faults come and go; then everything must be there.
fn under_load(begin: impl FnOnce(&mut Cluster), end: impl FnOnce(&mut Cluster)) {
    let mut cluster = Cluster::start(3, &format!("num.partitions={PARTITIONS}"));
    kcat::produce(&cluster, "t", "0:first\n");

    let mut producer = kcat::Producer::start(
        &cluster,
        // Unless told to, it gives up when it has no connection to any broker.
        &["-E", "-t", "t", "-K", ":", "-X", "acks=all", "-X", "enable.idempotence=true"],
    );
    let mut feed = |numbers: Range<u32>| {
        for n in numbers {
            producer.line(&format!("{}:record {n:05}", n % 100));
        }
    };
    feed(0..300);
    begin(&mut cluster);
    feed(300..900);
    end(&mut cluster);
    feed(900..1200);
    producer.finish();

    let text = kcat::run(&cluster, &["-C", "-t", "t", "-e", "-q", "-o", "beginning", "-f", "%p %s\\n"], "");
    let mut found: Vec<&str> = text.lines().filter_map(|line| line.split_once(' ').map(|(_, r)| r)).collect();
    found.retain(|record| *record != "first" && *record != "0:first");
    assert_in_order_by_key(&found);
    found.sort_unstable();
    let expected: Vec<String> = (0..1200).map(|n| format!("record {n:05}")).collect();
    assert_eq!(found, expected, "every acknowledged record once");
    assert_logs_equal(&cluster);
}

/// Records of one key were produced in ascending order to one partition.
fn assert_in_order_by_key(found: &[&str]) {
    let mut last = vec![-1; 100];
    for record in found {
        let number: i64 = record.trim_start_matches("record ").parse().expect("a number");
        let key = (number % 100) as usize;
        assert!(number > last[key], "record {number} came after {}", last[key]);
        last[key] = number;
    }
}

fn assert_logs_equal(cluster: &Cluster) {
    for partition in 0..PARTITIONS {
        let file = format!("t-{partition}/00000000000000000000.log");
        eventually(&format!("the logs of partition {partition} are equal"), PATIENCE, || {
            let logs: Vec<Vec<u8>> = cluster
                .nodes()
                .iter()
                .map(|node| fs::read(node.data().join(&file)).expect("a log"))
                .collect();
            (logs[0] == logs[1] && logs[1] == logs[2]).then_some(())
        });
    }
}

fn kill_under_load(victim: usize) {
    under_load(|cluster| cluster.node(victim).kill(), |cluster| cluster.node(victim).start());
}

/// Nobody is left who knows what was acknowledged, but for the page caches.
#[test]
fn all_nodes_are_killed_at_once_under_load() {
    under_load(Cluster::kill, Cluster::restart);
}

#[test]
fn node_1_is_killed_under_load() {
    kill_under_load(1);
}

#[test]
fn node_2_is_killed_under_load() {
    kill_under_load(2);
}

#[test]
fn node_3_is_killed_under_load() {
    kill_under_load(3);
}
