//! Who is what in the cluster, as Kafka's tools tell.

use crate::Cluster;
use crate::cluster::PATIENCE;
use crate::eventually;
use std::collections::BTreeMap;

/// The node that leads each partition of a topic.
pub fn leaders(cluster: &Cluster, topic: &str) -> BTreeMap<i32, usize> {
    partitions(cluster, topic).into_iter().map(|(number, partition)| (number, partition.leader)).collect()
}

/// As [`leaders`], as these nodes tell it.
pub fn leaders_by(cluster: &Cluster, bootstrap: &str, topic: &str) -> BTreeMap<i32, usize> {
    described(&cluster.tool(&[
        "kafka-topics",
        "--bootstrap-server",
        bootstrap,
        "--describe",
        "--topic",
        topic,
    ]))
    .into_iter()
    .map(|(number, partition)| (number, partition.leader))
    .collect()
}

/// The ids of the voters in what `kafka-metadata-quorum describe --status` says; nothing where it names none.
pub fn voters(status: &str) -> Option<Vec<usize>> {
    let voters = status.lines().find_map(|line| line.strip_prefix("CurrentVoters:"))?;
    let id = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    voters.split("\"id\": ").skip(1).map(id).collect()
}

/// What controllers have said when they fenced somebody, whole lines of their logs.
pub fn fenced(cluster: &Cluster) -> Vec<String> {
    said(cluster, " fenced broker=")
}

/// Lines of the nodes' logs with these words in them.
pub fn said(cluster: &Cluster, words: &str) -> Vec<String> {
    let of_node = |node: &crate::Node| {
        let lines = node.log();
        lines.lines().filter(|line| line.contains(words)).map(str::to_owned).collect::<Vec<_>>()
    };
    cluster.nodes().iter().flat_map(of_node).collect()
}

struct Partition {
    leader: usize,
    replicas: Vec<usize>,
}

/// The partitions that have a leader.
fn partitions(cluster: &Cluster, topic: &str) -> BTreeMap<i32, Partition> {
    described(&topics(cluster, &["--describe", "--topic", topic]))
}

fn described(said: &str) -> BTreeMap<i32, Partition> {
    let field = |line: &str, name: &str| {
        let value = line.split('\t').find_map(|cell| cell.trim().strip_prefix(name))?;
        Some(value.trim().to_owned())
    };
    let of_line = |line: &str| {
        let replicas = field(line, "Replicas:")?.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let leader = field(line, "Leader:")?.parse().ok()?;
        Some((field(line, "Partition:")?.parse().ok()?, Partition { leader, replicas }))
    };
    said.lines().filter_map(of_line).collect()
}

/// The active controller.
pub fn controller(cluster: &Cluster) -> usize {
    let bootstrap = cluster.bootstrap();
    let said =
        cluster.tool(&["kafka-metadata-quorum", "--bootstrap-server", &bootstrap, "describe", "--status"]);
    let leader = said.lines().find_map(|line| line.strip_prefix("LeaderId:"));
    leader.and_then(|id| id.trim().parse().ok()).unwrap_or_else(|| panic!("no leader in:\n{said}"))
}

/// The coordinator of a group.
pub fn coordinator(cluster: &Cluster, group: &str) -> usize {
    let said = describe_group(cluster, group, &["--state"]);
    let id = said.split('(').next_back().and_then(|rest| rest.split(')').next());
    id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no coordinator in:\n{said}"))
}

/// What Kafka's tool says of a group.
fn describe_group(cluster: &Cluster, group: &str, more: &[&str]) -> String {
    let bootstrap = cluster.bootstrap();
    let describe =
        ["kafka-consumer-groups", "--bootstrap-server", &bootstrap, "--describe", "--group", group];
    cluster.tool(&[&describe, more].concat())
}

/// What a group has committed, by partition of its one topic.
pub fn committed(cluster: &Cluster, group: &str) -> BTreeMap<i32, i64> {
    let said = describe_group(cluster, group, &[]);
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // GROUP TOPIC PARTITION CURRENT-OFFSET ...
        Some((words.get(2)?.parse().ok()?, words.get(3)?.parse().ok()?))
    };
    said.lines().filter_map(of_line).collect()
}

/// Waits until every replica of every partition is in sync.
pub fn wait_until_in_sync(cluster: &Cluster) {
    eventually("every replica is in sync", PATIENCE, || {
        topics(cluster, &["--describe", "--under-replicated-partitions"]).trim().is_empty().then_some(())
    });
}

/// Waits until some replica of some partition is not in sync.
pub fn wait_until_out_of_sync(cluster: &Cluster) {
    eventually("a replica is not in sync", PATIENCE, || {
        (!topics(cluster, &["--describe", "--under-replicated-partitions"]).trim().is_empty()).then_some(())
    });
}

/// Waits until every partition of a topic is led by the first of its replicas.
pub fn wait_until_balanced(cluster: &Cluster, topic: &str) {
    eventually("leaderships are back", PATIENCE, || {
        let partitions = partitions(cluster, topic);
        let is_back = |p: &Partition| p.replicas.first() == Some(&p.leader);
        (!partitions.is_empty() && partitions.values().all(is_back)).then_some(())
    });
}

fn topics(cluster: &Cluster, arguments: &[&str]) -> String {
    let bootstrap = cluster.bootstrap();
    let mut all = vec!["kafka-topics", "--bootstrap-server", &bootstrap];
    all.extend(arguments);
    cluster.tool(&all)
}
