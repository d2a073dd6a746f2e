//! Three nodes: every record is on all of them, byte for byte.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;

#[test]
fn the_logs_of_all_replicas_are_the_same_bytes() {
    let cluster = Cluster::start(3, "num.partitions=4");
    let keyed: String = (0..2000).map(|n| format!("{n}:record {n}\n")).collect();

    kcat::run(&cluster, &["-P", "-t", "t", "-K", ":", "-X", "acks=all"], &keyed);

    assert_eq!(kcat::consume_all(&cluster, "t").len(), 2000);
    for partition in 0..4 {
        let file = format!("t-{partition}/00000000000000000000.log");
        eventually("the logs are equal", PATIENCE, || {
            let logs: Vec<Vec<u8>> =
                cluster.nodes().iter().map(|node| fs::read(node.data().join(&file)).unwrap()).collect();
            (!logs[0].is_empty() && logs[0] == logs[1] && logs[1] == logs[2]).then_some(())
        });
    }
}

#[test]
fn a_follower_that_was_stopped_catches_up() {
    let mut cluster = Cluster::start(3, "");
    kcat::produce(&cluster, "t", "before\n");

    cluster.node(3).stop();
    kcat::produce(&cluster, "t", "without node 3\n");
    cluster.node(3).start();
    kcat::produce(&cluster, "t", "after\n");

    assert_eq!(kcat::consume_all(&cluster, "t"), ["after", "before", "without node 3"]);
    eventually("node 3 is in the in-sync set again", PATIENCE, || {
        let listed = kcat::run(&cluster, &["-L", "-t", "t"], "");
        let isr = listed.lines().find_map(|line| line.split("isrs: ").nth(1))?.to_owned();
        (isr.split(',').count() == 3).then_some(())
    });
}

/// The leader of each of the topic's partitions, and the replica preferred for it.
fn leaders_and_preferred(cluster: &Cluster) -> Vec<(String, String)> {
    let described =
        cluster.tool(&["kafka-topics", "--zookeeper", &cluster.zookeeper(), "--describe", "--topic", "t"]);
    let field = |line: &str, name: &str| {
        let value = line.split(name).nth(1)?.split_whitespace().next()?;
        Some(value.split(',').next()?.to_owned())
    };
    let leader = |line: &str| Some((field(line, "Leader: ")?, field(line, "Replicas: ")?));
    described.lines().filter_map(leader).collect()
}

#[test]
fn what_a_broker_led_it_leads_again_after_a_while() {
    let mut cluster = Cluster::start(3, "num.partitions=3\nleader.imbalance.check.interval.seconds=1");
    kcat::produce(&cluster, "t", "before\n");

    cluster.node(2).kill();
    eventually("node 2 leads nothing", PATIENCE, || {
        let now = leaders_and_preferred(&cluster);
        (now.len() == 3 && now.iter().all(|(leader, _)| leader != "2" && leader != "none")).then_some(())
    });
    cluster.node(2).start();

    // It counts as a newcomer for ten seconds.
    eventually("each partition is led by its preferred replica", PATIENCE, || {
        let now = leaders_and_preferred(&cluster);
        (now.len() == 3 && now.iter().all(|(leader, preferred)| leader == preferred)).then_some(())
    });
    assert_eq!(kcat::consume_all(&cluster, "t"), ["before"]);
}
