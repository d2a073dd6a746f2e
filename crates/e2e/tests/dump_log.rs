//! What a node that was killed leaves on its disk is read by Kafka's own `kafka-dump-log`, which finds it whole; and
//! Ottla's says the same of it. So with the snapshots of the metadata log.

use ottla_e2e::cluster::{PATIENCE, binary};
use ottla_e2e::{Cluster, eventually, jars, kcat};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files with these endings in a log's directory, in order, for `--files`.
fn files(log: &Path, endings: &[&str]) -> String {
    let entries = fs::read_dir(log).expect("the log's directory");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    found.sort_unstable();
    assert!(!found.is_empty(), "{} has files", log.display());
    found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}

/// What both tools say to these arguments: Kafka's is the one that is returned.
fn dumped(arguments: &[&str]) -> String {
    let theirs = jars::run("DumpLogSegments", arguments);
    let ours = Command::new(binary()).arg("kafka-dump-log").args(arguments).output().expect("it is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    assert!(theirs.status.success(), "{arguments:?}: {}", text(&theirs.stderr));
    assert_eq!(text(&theirs.stderr), "", "{arguments:?}");
    assert_eq!(text(&ours.stderr), "", "{arguments:?}");
    assert!(ours.stdout == theirs.stdout, "{arguments:?}:\n{}", text(&ours.stdout));
    text(&theirs.stdout)
}

#[test]
fn kafkas_tool_reads_what_a_killed_node_has_written() {
    let mut cluster = Cluster::start(1, "log.index.interval.bytes=512");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..400).map(|n| format!("key {n}:record {n} in {codec}\n")).collect();
        let arguments = ["-P", "-t", "t", "-K", ":", "-z", codec, "-X", "enable.idempotence=true"];
        kcat::run(&cluster, &arguments, &lines);
    }
    let read = kcat::run(&cluster, &["-G", "readers", "-e", "-X", "auto.offset.reset=earliest", "t"], "");
    assert_eq!(read.lines().count(), 2000);

    cluster.node(1).kill();

    let data = cluster.nodes()[0].data();
    let topic = data.join("t-0");
    let said = dumped(&["--print-data-log", "--files", &files(&topic, &[".log"])]);
    for expected in ["record 399 in none", "record 399 in zstd", "compresscodec: lz4", "isvalid: true"] {
        assert!(said.contains(expected), "{expected}");
    }
    assert!(!said.contains("isvalid: false"), "{said}");
    assert_eq!(said.matches("| offset: ").count(), 2000);
    dumped(&["--files", &files(&topic, &["index", ".snapshot"])]);

    let metadata = data.join("__cluster_metadata-0");
    let said = dumped(&["--cluster-metadata-decoder", "--files", &files(&metadata, &[".log"])]);
    assert!(said.contains("\"type\":\"TOPIC_RECORD\""), "{said}");
    dumped(&["--files", &files(&metadata, &["index"])]);

    let offsets: Vec<String> = (0..50)
        .map(|number| data.join(format!("__consumer_offsets-{number}/00000000000000000000.log")))
        .filter(|log| fs::metadata(log).is_ok_and(|log| log.len() > 0))
        .map(|log| log.display().to_string())
        .collect();
    let said = dumped(&["--offsets-decoder", "--files", &offsets.join(",")]);
    assert!(said.contains("\"group\":\"readers\",\"topic\":\"t\""), "{said}");
    assert!(said.contains("\"subscription\":{\"topics\":[\"t\"]"), "{said}");
}

#[test]
fn kafkas_tool_reads_the_snapshots_that_a_node_has_written() {
    // A snapshot every few records.
    let mut cluster = Cluster::start(1, "metadata.log.max.record.bytes.between.snapshots=2000");
    let zookeeper = cluster.zookeeper();
    let create = ["kafka-topics", "--zookeeper", &zookeeper, "--create", "--config", "retention.ms=86400000"];
    for topic in 10..30 {
        cluster.tool(&[&create[..], &["--partitions", "4", "--topic", &format!("topic-{topic}")]].concat());
    }
    let metadata = cluster.nodes()[0].data().join("__cluster_metadata-0");
    let latest = eventually("there is a snapshot with topics", PATIENCE, || {
        let entries = fs::read_dir(&metadata).expect("the metadata log");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"));
        let end = |name: &String| name.strip_suffix(".checkpoint")?.split('-').next()?.parse::<u64>().ok();
        let latest = names.filter(|name| end(name) > Some(100)).max()?;
        Some(metadata.join(latest).display().to_string())
    });

    cluster.node(1).kill();

    let said = dumped(&["--cluster-metadata-decoder", "--files", &latest]);
    for expected in
        ["Snapshot end offset: ", "SnapshotHeader {", "\"type\":\"TOPIC_RECORD\"", "SnapshotFooter {"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    for expected in ["\"name\":\"topic-10\"", "\"name\":\"retention.ms\",\"value\":\"86400000\""] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("isvalid: false"), "{said}");
    dumped(&["--cluster-metadata-decoder", "--skip-record-metadata", "--files", &latest]);
    dumped(&["--deep-iteration", "--files", &latest]);
    dumped(&["--files", &latest]);
    let bootstrap = cluster.nodes()[0].data().join("bootstrap.checkpoint").display().to_string();
    let said = dumped(&["--cluster-metadata-decoder", "--files", &bootstrap]);
    assert!(said.contains("\"name\":\"metadata.version\""), "{said}");
    dumped(&["--files", &bootstrap]);
}
