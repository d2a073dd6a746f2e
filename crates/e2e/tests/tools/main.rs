//! Kafka's tools and ours say the same, byte for byte, of Apache Kafka and of Ottla.
//!
//! The golden texts are what the tools of Apache Kafka 4.3.1 said of a cluster of Apache Kafka 4.4.0, written down by
//! `cargo run --release -p ottla-e2e --bin ottla-golden`. Kafka's tools say the same again of an Ottla cluster: so its
//! answers are Kafka's. Our tools do too: so are they. What depends on the moment, such as a node that is down, is asked
//! of one cluster by both.
//!
//! What Ottla's own commands say is in [`commands`]; what a tool says that does not end, in [`replica_verification`].

mod commands;
mod replica_verification;

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
    check(include_str!("../golden/tools/topics.txt"));
}

#[test]
fn what_the_group_tool_says() {
    check(include_str!("../golden/tools/groups.txt"));
}

#[test]
fn what_the_tool_that_deletes_records_says() {
    check(include_str!("../golden/tools/delete_records.txt"));
}

#[test]
fn what_the_reassignment_tool_says() {
    check(include_str!("../golden/tools/reassign.txt"));
}

#[test]
fn what_the_tool_for_clients_metrics_says() {
    check(include_str!("../golden/tools/client_metrics.txt"));
}

#[test]
fn what_the_feature_tool_says() {
    check(include_str!("../golden/tools/features.txt"));
}

#[test]
fn what_the_transaction_tool_says() {
    check(include_str!("../golden/tools/transactions.txt"));
}

#[test]
fn what_the_cluster_tool_says() {
    check(include_str!("../golden/tools/cluster.txt"));
}

#[test]
fn what_the_tool_that_elects_leaders_says() {
    check(include_str!("../golden/tools/leader_election.txt"));
}

#[test]
fn what_the_tool_that_describes_log_directories_says() {
    check(include_str!("../golden/tools/log_dirs.txt"));
}

#[test]
fn what_the_tool_that_gets_offsets_says() {
    check(include_str!("../golden/tools/get_offsets.txt"));
}

#[test]
fn what_the_tool_that_lists_groups_of_all_kinds_says() {
    check(include_str!("../golden/tools/all_groups.txt"));
}

#[test]
fn what_the_tool_that_lists_api_versions_says() {
    check(include_str!("../golden/tools/broker_api_versions.txt"));
}

#[test]
fn what_the_tool_that_resets_applications_of_streams_says() {
    check(include_str!("../golden/tools/streams_reset.txt"));
}

#[test]
fn what_both_say_of_the_versions_that_brokers_serve() {
    let cluster = Cluster::start(3, "");
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let mut kafkas = Tools::Kafka(jars::Tools::start(directory.path()));
    let story = "$ kafka-broker-api-versions --bootstrap-server $BOOTSTRAP\n";
    // Which brokers come first depends on a hash of where they are. Our tool knows a later release than Kafka's 4.3.1, so it uses
    // later versions, and knows two more APIs.
    let both = [&mut kafkas, &mut Tools::Ottla].map(|tools| {
        let told = play(story, &cluster.bootstrap(), tools, directory.path());
        let served = told.lines().filter(|line| !line.contains("(93): ") && !line.contains("(94): "));
        let served =
            served.map(|line| line.split(" [usable: ").next().unwrap_or_default().trim_end_matches(','));
        let mut served: Vec<String> = served.map(str::to_owned).collect();
        served.sort();
        served
    });

    assert!(both[0].iter().filter(|line| *line == "> \tProduce(0): 0 to 13").count() == 3, "{:?}", both[0]);
    assert_eq!(both[0], both[1]);
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

#[test]
fn what_both_configuration_tools_say_of_settings_that_are_ottlas_own() {
    let cluster = Cluster::start(3, "log.retention.hours=5\nlog.roll.ms=70000\n");
    let directory = tempfile::tempdir().expect("a directory for the tools");
    let mut kafkas = Tools::Kafka(jars::Tools::start(directory.path()));
    // Of a topic, the broker that is asked tells its own settings too; and any may be: so none has some that others have not.
    const FORGET_OWN: &str =
        "$ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker 2 --delete-config log.roll.ms\n";
    let controllers = cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.controller_port));
    let controllers = controllers.collect::<Vec<_>>().join(",");
    let logger = "ottla_server";
    let story = format!(
        "{CREATE} t\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --topic t --add-config segment.ms=1000\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker-defaults --add-config log.roll.ms=90000\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --describe --topic t --all\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker 2 --add-config log.roll.ms=80000\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --describe --broker 2 --all\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker-logger 2 --add-config {logger}=DEBUG\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker-logger 2 --delete-config {logger}\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --broker 1 --add-config no.such.setting=1\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --group g --add-config consumer.session.timeout.ms=50000\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --alter --group g --add-config consumer.session.timeout.ms=1000\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --describe --group g --all\n\
         $ kafka-configs --bootstrap-server $BOOTSTRAP --describe --entity-type groups\n\
         $ kafka-configs --bootstrap-controller {controllers} --describe --broker 2\n\
         $ kafka-configs --bootstrap-controller {controllers} --describe --entity-type brokers\n\
         $ kafka-configs --bootstrap-controller {controllers} --describe --broker-defaults\n\
         $ kafka-configs --bootstrap-controller {controllers} --describe --topic t\n\
         $ kafka-configs --bootstrap-controller {controllers} --alter --broker-logger 3 --add-config {logger}=WARN\n\
         $ kafka-configs --bootstrap-controller {controllers} --alter --topic t --add-config segment.ms=2000\n\
         $ kafka-configs --bootstrap-controller {controllers} --alter --broker 3 --add-config log.roll.ms=60000\n\
         $ kafka-configs --bootstrap-controller {controllers} --alter --broker 3 --delete-config log.roll.ms\n\
         {FORGET_OWN}"
    );
    let create_only_once = story.replace(&format!("{CREATE} t\n"), "");
    let theirs = play(&story, &cluster.bootstrap(), &mut kafkas, directory.path());
    let ours = play(&create_only_once, &cluster.bootstrap(), &mut Tools::Ottla, directory.path());
    let theirs = theirs.replace(&format!("{CREATE} t\n> Created topic t.\n"), "");
    // Each has set the levels of the same loggers; who has spoken meanwhile is not compared.
    let levels = "$ kafka-configs --bootstrap-server $BOOTSTRAP --describe --broker-logger 3\n".to_owned();
    let both = [&mut kafkas, &mut Tools::Ottla].map(|tools| {
        let told = play(&levels, &cluster.bootstrap(), tools, directory.path());
        ["ottla", logger, "root"].map(|logger| told.contains(&format!(">   {logger}=")))
    });

    for expected in [
        "segment.ms=1000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:segment.ms=1000, ",
        "log.roll.ms=80000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.roll.ms=80000, \
         DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.ms=90000, STATIC_BROKER_CONFIG:log.roll.ms=70000",
        ">   retention.ms=18000000 sensitive=false synonyms={}",
        "Completed updating config for broker-logger 3.",
        "This Admin API is not yet supported when communicating directly with the controller quorum.",
        "Cannot update these configs dynamically: [no.such.setting]",
        "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        "consumer.session.timeout.ms=50000 sensitive=false synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, ",
    ] {
        assert!(theirs.contains(expected), "{expected}:\n{theirs}");
    }
    let different = theirs.lines().zip(ours.lines()).find(|(theirs, ours)| theirs != ours);
    assert!(theirs == ours, "{different:?}\nKafka's tool:\n{theirs}\nours:\n{ours}");
    assert_eq!(both, [[true; 3]; 2]);
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
