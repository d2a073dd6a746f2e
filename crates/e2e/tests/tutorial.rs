//! The tutorial *Understanding Kafka Failover*, told with the commands that it gives: `kafka-topics` with
//! `--zookeeper`, `kafkacat`, a consumer that is ended, a broker that is killed.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use std::collections::BTreeSet;

const TOPIC: &str = "failsafe-test-topic";

/// The story, with the node `victim` as the broker that is killed.
fn play(victim: usize) {
    let mut cluster = Cluster::start(3, "");
    let zookeeper = cluster.zookeeper();

    // Create a replicated topic, and look at it.
    let created = cluster.tool(&[
        "kafka-topics",
        "--create",
        "--zookeeper",
        &zookeeper,
        "--replication-factor",
        "3",
        "--partitions",
        "8",
        "--topic",
        TOPIC,
    ]);
    assert_eq!(created, format!("Created topic {TOPIC}.\n"));
    let described =
        cluster.tool(&["kafka-topics", "--describe", "--topic", TOPIC, "--zookeeper", &zookeeper]);
    assert!(described.contains("PartitionCount: 8\tReplicationFactor: 3"), "{described}");
    let leaders: BTreeSet<&str> =
        described.lines().filter_map(|line| line.split("Leader: ").nth(1)?.split('\t').next()).collect();
    assert_eq!(leaders, BTreeSet::from(["1", "2", "3"]), "{described}");

    // Every broker has heard of it: kcat gives up on a topic that one says is unknown.
    for node in cluster.nodes() {
        eventually("the topic is on every broker", PATIENCE, || {
            let listed = kcat::listed_by(node, TOPIC);
            listed.contains("with 8 partitions").then_some(())
        });
    }

    // Consumers that each see everything.
    let tail = |cluster: &Cluster| kcat::Tail::start(cluster, TOPIC);
    let first = tail(&cluster);
    kcat::produce(&cluster, TOPIC, "Hello World!\nHello Events!\nHello Kafka!\n");
    eventually("the first consumer sees the greetings", PATIENCE, || {
        (first.records().len() == 3).then_some(())
    });
    let (second, third) = (tail(&cluster), tail(&cluster));
    kcat::produce(&cluster, TOPIC, "message new 1\nmessage new 2\nmessage new 3\n");
    let new: BTreeSet<String> = (1..=3).map(|n| format!("message new {n}")).collect();
    for consumer in [&first, &second, &third] {
        eventually("every consumer sees the new messages", PATIENCE, || {
            new.is_subset(&consumer.records().into_iter().collect()).then_some(())
        });
    }
    assert_eq!(second.records().len(), 3, "it began at the end");
    drop((first, second, third));

    // Consumers that share the work.
    let member = || kcat::Member::start(&cluster, "test-group", TOPIC, &["-X", "session.timeout.ms=6000"]);
    let mut members = vec![member(), member(), member()];
    eventually("the members share 3, 3 and 2", PATIENCE, || {
        let mut counts: Vec<usize> = members.iter().map(|m| m.assigned().len()).collect();
        counts.sort_unstable();
        (counts == [2, 3, 3]).then_some(())
    });
    let sent =
        |from: usize, count: usize| (from..from + count).map(|n| format!("shared {n}")).collect::<Vec<_>>();
    let received = |members: &[kcat::Member]| {
        let mut all: Vec<String> = members.iter().flat_map(kcat::Member::records).collect();
        all.retain(|record| record.starts_with("shared"));
        all
    };
    kcat::produce(&cluster, TOPIC, &lines(&sent(0, 5)));
    eventually("each message is seen once across the group", PATIENCE, || {
        let mut all = received(&members);
        all.sort_unstable();
        (all == sent(0, 5)).then_some(())
    });

    // The third consumer is ended; seven more messages.
    let ended = members.pop().expect("there are three");
    let kept = ended.records();
    ended.interrupt();
    eventually("those left share 4 and 4", PATIENCE, || {
        members.iter().all(|m| m.assigned().len() == 4).then_some(())
    });
    kcat::produce(&cluster, TOPIC, &lines(&sent(5, 7)));
    eventually("each of the seven is received once", PATIENCE, || {
        let mut all = received(&members);
        all.retain(|record| sent(5, 7).contains(record));
        all.sort_by_key(|record| record.trim_start_matches("shared ").parse::<usize>().unwrap_or(0));
        (all == sent(5, 7)).then_some(())
    });

    // A broker is killed under load, and brought back.
    let mut producer = kcat::Producer::start(&cluster, &["-t", TOPIC]);
    for (i, line) in sent(12, 300).iter().enumerate() {
        producer.line(line);
        if i == 50 {
            cluster.node(victim).kill();
        }
        if i == 200 {
            cluster.node(victim).start();
        }
    }
    producer.finish();
    eventually("nothing is lost", PATIENCE, || {
        let all: BTreeSet<String> = received(&members).into_iter().chain(kept.clone()).collect();
        sent(0, 312).iter().all(|record| all.contains(record)).then_some(())
    });
    let described = eventually("the broker is in sync again", PATIENCE, || {
        let described =
            cluster.tool(&["kafka-topics", "--describe", "--topic", TOPIC, "--zookeeper", &zookeeper]);
        let in_sync = described.lines().filter_map(|line| line.split("Isr: ").nth(1)?.split('\t').next());
        in_sync.map(|isr| isr.split(',').count()).all(|count| count == 3).then_some(described)
    });
    assert!(!described.contains("Leader: none"), "{described}");
}

fn lines(records: &[String]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

#[test]
fn the_tutorial_with_node_1_killed() {
    play(1);
}

#[test]
fn the_tutorial_with_node_2_killed() {
    play(2);
}

#[test]
fn the_tutorial_with_node_3_killed() {
    play(3);
}
