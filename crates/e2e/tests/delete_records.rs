//! Records that are deleted are gone for every reader: on all replicas, through elections and restarts.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::{Cluster, eventually, kcat};
use std::fs;

/// Asks Kafka's tool to delete what is before an offset of `t-0`; what it says.
fn delete(cluster: &Cluster, offset: i64) -> String {
    let file = cluster.directory().join("offsets.json");
    let text = format!(r#"{{"partitions":[{{"topic":"t","partition":0,"offset":{offset}}}],"version":1}}"#);
    fs::write(&file, text).expect("the directory is ours");
    let file = file.display().to_string();
    cluster.tool(&[
        "kafka-delete-records",
        "--bootstrap-server",
        &cluster.bootstrap(),
        "--offset-json-file",
        &file,
    ])
}

/// Everything that there is to read.
fn consumed(cluster: &Cluster) -> Vec<String> {
    let text = kcat::run(cluster, &["-C", "-t", "t", "-o", "beginning", "-e", "-q"], "");
    text.lines().map(str::to_owned).collect()
}

fn records(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("record {n}")).collect()
}

#[test]
fn what_is_deleted_is_gone_whoever_leads_and_after_a_restart() {
    let settings = "log.retention.check.interval.ms=200\nlog.flush.start.offset.checkpoint.interval.ms=200";
    let mut cluster = Cluster::start(3, settings);
    let bootstrap = cluster.bootstrap();
    let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", "t"];
    let placed = ["--replica-assignment", "1:2:3", "--config", "file.delete.delay.ms=0"];
    cluster.tool(&[&create[..], &placed[..]].concat());
    let produce = ["-P", "-t", "t", "-X", "acks=all"];
    kcat::run(&cluster, &produce, &(records(0..10).join("\n") + "\n"));

    let said = delete(&cluster, 4);

    assert!(said.ends_with("partition: t-0\tlow_watermark: 4\n"), "{said}");
    assert_eq!(consumed(&cluster), records(4..10));
    assert!(delete(&cluster, 11).contains("OffsetOutOfRangeException"));
    // Every replica begins there by now: who is elected does too.
    cluster.node(1).kill();
    eventually("another leads", PATIENCE, || (consumed(&cluster) == records(4..10)).then_some(()));
    // A replica that is down is not waited for; it follows when it is back.
    let said = eventually("the dead node is fenced", PATIENCE, || {
        let said = delete(&cluster, 6);
        said.contains("low_watermark: 6").then_some(said)
    });
    assert!(!said.contains("error"), "{said}");
    cluster.node(1).start();
    assert!(delete(&cluster, -1).contains("low_watermark: 10"), "node 1 is waited for again");

    assert_eq!(consumed(&cluster), records(0..0));
    for node in cluster.nodes() {
        eventually("its segments are gone", PATIENCE, || {
            let names = fs::read_dir(node.data().join("t-0")).ok()?;
            let mut logs = names.filter_map(|name| name.ok()?.file_name().into_string().ok());
            let is_left = logs.any(|name| name == "00000000000000000000.log");
            (!is_left).then_some(())
        });
    }
    cluster.stop();
    for node in 1..=3 {
        cluster.node(node).spawn();
    }
    for node in cluster.nodes() {
        node.wait_until_serving();
    }
    kcat::run(&cluster, &produce, "record 10\n");
    assert_eq!(consumed(&cluster), records(10..11));
}
