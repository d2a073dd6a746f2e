//! A compacted topic keeps the last record of each key: on all replicas, through `kill -9`, and Kafka's own tool reads
//! what is left.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::patience::Pace;
use ottla_e2e::{Cluster, eventually, jars, kcat};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROUNDS: usize = 10;
const KEYS: usize = 100;
const RECORDS: usize = 10_000;

/// The log files of a partition, in order.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the log's directory");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    found.sort_unstable();
    found
}

/// How large they are; what vanishes meanwhile counts for nothing.
fn size(directory: &Path) -> u64 {
    segments(directory).iter().map(|log| fs::metadata(log).map_or(0, |log| log.len())).sum()
}

/// Everything in the topic: how many records, and the last value of each key.
fn consumed(cluster: &Cluster) -> (usize, BTreeMap<String, String>) {
    let text = kcat::run(cluster, &["-C", "-t", "t", "-o", "beginning", "-e", "-q", "-f", "%o:%k:%s\n"], "");
    let mut latest = BTreeMap::new();
    let mut last_offset = -1;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let mut next = || fields.next().expect("offset, key and value").to_owned();
        let offset: i64 = next().parse().expect("an offset");
        assert!(offset > last_offset, "{offset} after {last_offset}");
        last_offset = offset;
        latest.insert(next(), next());
    }
    (text.lines().count(), latest)
}

#[test]
fn the_last_record_of_each_key_stays_and_the_log_shrinks() {
    let settings = "log.cleaner.backoff.ms=50\nlog.retention.check.interval.ms=200";
    let mut cluster = Cluster::start(3, settings);
    let bootstrap = cluster.bootstrap();
    let mut create = vec!["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    create.extend(["--partitions", "1", "--replication-factor", "3"]);
    for config in [
        "cleanup.policy=compact",
        "segment.ms=20",
        "min.cleanable.dirty.ratio=0.1",
        "file.delete.delay.ms=100",
        "min.insync.replicas=2",
    ] {
        create.extend(["--config", config]);
    }
    cluster.tool(&create);

    let mut expected = BTreeMap::new();
    let produce =
        ["-P", "-t", "t", "-K", ":", "-X", "acks=all", "-X", "enable.idempotence=true", "-z", "lz4"];
    for round in 0..ROUNDS {
        let mut lines = String::new();
        for n in 0..RECORDS / ROUNDS {
            let (key, value) = (format!("key {}", n % KEYS), format!("round {round} record {n}"));
            lines.push_str(&format!("{key}:{value}\n"));
            expected.insert(key, value);
        }
        kcat::run(&cluster, &produce, &lines);
        match round {
            4 => cluster.node(2).kill(),
            7 => cluster.node(2).start(),
            _ => {}
        }
    }
    // One more record, in a segment of its own: all before it can be compacted. Segments end after 20 ms.
    let mut pace = Pace::new(Duration::from_millis(200));
    pace.wait();
    pace.wait();
    kcat::run(&cluster, &produce, "the end:.\n");
    expected.insert("the end".to_owned(), ".".to_owned());

    for node in cluster.nodes() {
        eventually("the replica is compacted", PATIENCE, || {
            let checkpoint = fs::read_to_string(node.data().join("cleaner-offset-checkpoint")).ok()?;
            (checkpoint.contains(&format!("t 0 {RECORDS}\n")) && size(&node.data().join("t-0")) < 20_000)
                .then_some(())
        });
    }
    let (count, latest) = consumed(&cluster);
    assert_eq!(latest, expected);
    assert_eq!(count, expected.len(), "one record a key");

    for node in 1..=3 {
        cluster.node(node).kill();
    }
    for node in 0..3 {
        let files: Vec<String> = segments(&cluster.nodes()[node].data().join("t-0"))
            .iter()
            .map(|log| log.display().to_string())
            .collect();
        let arguments = ["--print-data-log", "--files", &files.join(",")];
        let theirs = jars::run("DumpLogSegments", &arguments);
        let ours = Command::new(binary()).arg("kafka-dump-log").args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&theirs.stdout);
        assert!(theirs.status.success(), "{said}");
        // That offsets are missing is all there is to remark; of any compacted log.
        let complaints = String::from_utf8_lossy(&theirs.stderr);
        assert_eq!(complaints, String::from_utf8_lossy(&ours.stderr));
        assert!(
            complaints.lines().all(|line| line.contains("Non-consecutive") || line.contains("followed by"))
        );
        assert!(!said.contains("isvalid: false") && said.contains("round 9 record 999"), "{said}");
        let ours = String::from_utf8_lossy(&ours.stdout);
        for (theirs, ours) in said.lines().zip(ours.lines()) {
            assert_eq!(theirs, ours, "on the left what Kafka's tool says");
        }
        assert_eq!(said.lines().count(), ours.lines().count());
    }
    for node in 1..=3 {
        cluster.node(node).spawn();
    }
    for node in cluster.nodes() {
        node.wait_until_serving();
    }
    assert_eq!(consumed(&cluster).1, expected);
}

#[test]
fn the_topic_of_committed_offsets_is_compacted_and_loads_again() {
    let settings = "log.cleaner.backoff.ms=50\nlog.cleaner.min.cleanable.ratio=0.01\nlog.roll.ms=20\n\
                    offsets.topic.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\nlog.retention.check.interval.ms=200";
    let mut cluster = Cluster::start(1, settings);
    let read = |cluster: &Cluster, group: &str| {
        let from = ["-G", group, "-e", "-X", "auto.offset.reset=earliest", "t"];
        kcat::run(cluster, &from, "").lines().count()
    };
    for n in 0..8 {
        kcat::produce(&cluster, "t", &format!("record {n}\n"));
        assert_eq!(read(&cluster, "readers"), 1, "each record is read once");
    }
    let log = cluster.nodes()[0].data().join("__consumer_offsets-0");
    eventually("the offsets are compacted", PATIENCE, || {
        let checkpoint =
            fs::read_to_string(cluster.nodes()[0].data().join("cleaner-offset-checkpoint")).ok()?;
        let first_dirty = checkpoint.split("__consumer_offsets 0 ").nth(1)?.lines().next()?;
        (first_dirty.parse::<u64>().ok()? > 10 && segments(&log).len() <= 4).then_some(())
    });

    cluster.node(1).kill();
    cluster.node(1).start();

    assert_eq!(read(&cluster, "readers"), 0, "what was committed is known");
    assert_eq!(read(&cluster, "others"), 8);
}
