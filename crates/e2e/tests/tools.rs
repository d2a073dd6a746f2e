//! Kafka's tools and ours say the same, byte for byte, of Apache Kafka and of Ottla.
//!
//! The golden texts are what the tools of Apache Kafka 4.3.1 said of a cluster of Apache Kafka 4.4.0, written down by
//! `cargo run --release -p ottla-e2e --bin ottla-golden`. Kafka's tools say the same again of an Ottla cluster: so its
//! answers are Kafka's. Our tools do too: so are they. What depends on the moment, such as a node that is down, is asked
//! of one cluster by both.

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::transcript::{Tools, play};
use ottla_e2e::{Cluster, eventually, jars};

/// Plays the story with these tools and a cluster of their own, and returns every difference.
fn differences(story: &str, kafkas: bool) -> Vec<String> {
    let cluster = Cluster::start(3, "");
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let mut tools = if kafkas { Tools::Kafka(jars::Tools::start(directory.path())) } else { Tools::Ottla };
    let told = play(story, &cluster.bootstrap(), &mut tools, directory.path());
    let parts = |text: &str| -> Vec<String> { text.split("\n$ ").map(str::to_owned).collect() };
    parts(story)
        .into_iter()
        .zip(parts(&told))
        .filter(|(golden, told)| golden != told)
        .map(|(golden, told)| format!("--- golden\n$ {golden}\n--- told\n$ {told}\n"))
        .collect()
}

/// Kafka's tools against an Ottla cluster, then ours against another.
fn check(story: &str) {
    let theirs = differences(story, true).concat();
    let ours = differences(story, false).concat();
    assert!(theirs.is_empty() && ours.is_empty(), "Kafka's tool:\n{theirs}\nour tool:\n{ours}");
}

#[test]
fn what_the_topic_tool_says() {
    check(include_str!("golden/tools/topics.txt"));
}

#[test]
fn what_the_group_tool_says() {
    check(include_str!("golden/tools/groups.txt"));
}

#[test]
fn what_the_tool_that_deletes_records_says() {
    check(include_str!("golden/tools/delete_records.txt"));
}

#[test]
fn what_the_reassignment_tool_says() {
    check(include_str!("golden/tools/reassign.txt"));
}

#[test]
fn what_the_feature_tool_says() {
    check(include_str!("golden/tools/features.txt"));
}

#[test]
fn what_the_transaction_tool_says() {
    check(include_str!("golden/tools/transactions.txt"));
}

#[test]
fn what_the_cluster_tool_says() {
    check(include_str!("golden/tools/cluster.txt"));
}

const CREATE: &str = "$ kafka-topics --bootstrap-server $BOOTSTRAP --create --topic";
const DESCRIBE: &str = "$ kafka-topics --bootstrap-server $BOOTSTRAP --describe";

#[test]
fn what_both_say_of_a_cluster_that_has_lost_a_node() {
    let mut cluster = Cluster::start(3, "");
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let mut kafkas = Tools::Kafka(jars::Tools::start(directory.path()));
    let topics = [("whole", "1:2,2:1"), ("lagging", "3:1:2,1:2:3"), ("gone", "3,1"), ("short", "3:1")];
    let story = topics.map(|(topic, brokers)| format!("{CREATE} {topic} --replica-assignment {brokers}\n"));
    play(&story.concat(), &cluster.bootstrap(), &mut Tools::Ottla, directory.path());
    cluster.node(3).kill();
    eventually("node 3 is fenced", PATIENCE, || {
        let told = play(DESCRIBE, &cluster.bootstrap(), &mut Tools::Ottla, directory.path());
        let lost = told.contains("Leader: none")
            && told.lines().filter(|line| line.contains("Isr: 1,2\t")).count() >= 2;
        lost.then_some(())
    });

    let filters = [
        "",
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
        "--at-min-isr-partitions",
    ];
    let quorum = "$ kafka-metadata-quorum --bootstrap-server $BOOTSTRAP describe";
    let mut story: String = filters.iter().map(|filter| format!("{DESCRIBE} {filter}\n")).collect();
    for view in ["--status", "--replication", "--replication --human-readable", "", "--status --replication"]
    {
        story += &format!("{quorum} {view}\n");
    }
    story += &format!("{quorum} --status --human-readable\n");
    let both = [&mut kafkas, &mut Tools::Ottla]
        .map(|tools| at_any_time(&play(&story, &cluster.bootstrap(), tools, directory.path())));

    assert!(both[0].contains("Status") && both[0].contains("Leader: none"), "{}", both[0]);
    assert!(both[0] == both[1], "Kafka's tools:\n{}\nours:\n{}", both[0], both[1]);
}

/// The text without what grows from one moment to the next: the metadata log, and the times of the quorum.
fn at_any_time(told: &str) -> String {
    let rules = [
        (r"(HighWatermark|MaxFollowerLag|MaxFollowerLagTimeMs):( +)-?\d+", "$1:${2}0"),
        (r"(?m)^(> \d *\t\S{22}\t)(-?\d+) *\t-?\d+ *\t[^\t]*\t[^\t]*\t", "${1}0\t0\t0\t0\t"),
    ];
    rules.iter().fold(told.to_owned(), |text, (pattern, replacement)| {
        regex::Regex::new(pattern).expect("a pattern").replace_all(&text, *replacement).into_owned()
    })
}
