//! Topic names, and what else Kafka refuses of a topic.

use crate::{one_node, still_serves};
use ottla_e2e::{Client, Cluster, cluster};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use std::process::Command;

/// Names that are refused, and what is said of them.
const REFUSED: [(&str, &str); 8] = [
    ("", "Topic name is invalid: the empty string is not allowed"),
    (".", "Topic name is invalid: '.' is not allowed"),
    ("..", "Topic name is invalid: '..' is not allowed"),
    (
        "a b",
        "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
    (
        "a/b",
        "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
    (
        "a\\b",
        "Topic name is invalid: 'a\\b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
    (
        "a\0b",
        "Topic name is invalid: 'a\0b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
    (
        "é",
        "Topic name is invalid: 'é' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ),
];

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions: 1, replication_factor: 1, ..Default::default() }
}

/// The error and the message that a topic gets which is to be created.
fn create(cluster: &Cluster, topics: Vec<CreatableTopic>) -> (ErrorCode, Option<String>) {
    let request = CreateTopicsRequest { topics, timeout_ms: 5000, validate_only: false };
    let answer = Client::connect(cluster.nodes()[0].port).call(7, &request).expect("it is answered");
    let result = answer.topics.into_iter().next().expect("one topic at least");
    (result.error_code.into(), result.error_message)
}

fn metadata(cluster: &Cluster, version: i16, name: &str) -> ErrorCode {
    let asked = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: true, ..Default::default() };
    let answer = Client::connect(cluster.nodes()[0].port).call(version, &request).expect("it is answered");
    answer.topics[0].error_code.into()
}

#[test]
fn names_that_kafka_refuses_are_refused_wherever_they_are_named() {
    let cluster = one_node();
    let too_long = "l".repeat(250);
    let refused = [&REFUSED[..], &[(&too_long, "is longer than the max allowed length 249")]].concat();

    for (name, expected) in refused {
        let (error, message) = create(&cluster, vec![topic(name)]);
        assert_eq!(error, ErrorCode::InvalidTopicException, "{name:?}");
        assert!(message.as_ref().is_some_and(|said| said.contains(expected)), "{name:?}: {message:?}");
        for version in [1, 4, 9, 12] {
            assert_eq!(
                metadata(&cluster, version, name),
                ErrorCode::InvalidTopicException,
                "{name:?} v{version}"
            );
        }
        for version in [3, 9, 12] {
            let refused = crate::records::produce(&cluster, version, name, crate::records::batch());
            assert_eq!(refused, ErrorCode::UnknownTopicOrPartition, "{name:?} v{version}");
        }
    }

    // The longest that there may be, and a strange one.
    for name in [&too_long[1..], "..."] {
        assert_eq!(create(&cluster, vec![topic(name)]), (ErrorCode::None, None));
    }
    still_serves(&cluster);
}

#[test]
fn names_that_would_collide_in_metrics_are_refused() {
    let cluster = one_node();
    assert_eq!(create(&cluster, vec![topic("a.b")]).0, ErrorCode::None);

    let (error, message) = create(&cluster, vec![topic("a_b")]);

    assert_eq!(error, ErrorCode::InvalidTopicException, "{message:?}");
    still_serves(&cluster);
}

fn with_config(name: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig { name: name.to_owned(), value: value.map(str::to_owned) };
    CreatableTopic { configs: vec![config], ..topic("new") }
}

fn assigned(assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let one = |&(partition_index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index,
        broker_ids: brokers.to_vec(),
    };
    let assignments = assignments.iter().map(one).collect();
    CreatableTopic { num_partitions: -1, replication_factor: -1, assignments, ..topic("new") }
}

#[test]
fn a_topic_that_cannot_be_is_refused_with_kafkas_error() {
    let cluster = one_node();
    let counted = |num_partitions, replication_factor| CreatableTopic {
        num_partitions,
        replication_factor,
        ..topic("new")
    };
    let cases = [
        (counted(1, 2), ErrorCode::InvalidReplicationFactor, "only 1 broker(s) are registered"),
        (counted(1, 32767), ErrorCode::InvalidReplicationFactor, "only 1 broker(s) are registered"),
        (counted(1, 0), ErrorCode::InvalidReplicationFactor, "Replication factor must be larger than 0"),
        (counted(1, -2), ErrorCode::InvalidReplicationFactor, "Replication factor must be larger than 0"),
        (counted(0, 1), ErrorCode::InvalidPartitions, "Number of partitions"),
        (counted(-2, 1), ErrorCode::InvalidPartitions, "Number of partitions"),
        (
            counted(i32::MAX, 1),
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request",
        ),
        (with_config("no.such", Some("1")), ErrorCode::InvalidConfig, "no.such"),
        (
            with_config("retention.ms", Some("many")),
            ErrorCode::InvalidConfig,
            "Invalid value many for configuration retention.ms: Not a number of type LONG",
        ),
        (
            with_config("retention.ms", Some("-7")),
            ErrorCode::InvalidConfig,
            "Invalid value -7 for configuration retention.ms",
        ),
        (
            with_config("cleanup.policy", Some("burn")),
            ErrorCode::InvalidConfig,
            "Invalid value burn for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (assigned(&[(0, &[9])]), ErrorCode::InvalidReplicaAssignment, "9"),
        (assigned(&[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment, "1"),
        (assigned(&[(0, &[])]), ErrorCode::InvalidReplicaAssignment, ""),
        (
            assigned(&[(1, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned(&[(0, &[1]), (0, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
    ];
    for (asked, error, expected) in cases {
        let shown = format!("{asked:?}");
        let (refused, message) = create(&cluster, vec![asked]);
        assert_eq!(refused, error, "{shown}: {message:?}");
        assert!(message.as_ref().is_some_and(|said| said.contains(expected)), "{shown}: {message:?}");
    }
    assert_eq!(create(&cluster, vec![topic("twice"), topic("twice")]).0, ErrorCode::InvalidRequest);

    still_serves(&cluster);
}

#[test]
fn kafkas_tool_says_what_was_refused() {
    let cluster = one_node();
    let bootstrap = cluster.bootstrap();
    let refusal = |arguments: &[&str]| {
        let mut command = Command::new(cluster::binary());
        command.args(["kafka-topics", "--bootstrap-server", &bootstrap, "--create"]).args(arguments);
        let output = command.output().expect("it is built");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };

    for (name, expected) in &REFUSED[1..4] {
        let said = refusal(&["--topic", name]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    let said = refusal(&["--topic", "new", "--replication-factor", "2"]);
    assert!(said.contains("Unable to replicate the partition 2 time(s)"), "{said}");
    assert!(said.contains("only 1 broker(s) are registered"), "{said}");

    still_serves(&cluster);
}

#[test]
fn topics_are_deleted_by_name_in_every_version() {
    let cluster = one_node();
    for version in 1..=6 {
        assert_eq!(create(&cluster, vec![topic("passing")]).0, ErrorCode::None, "{version}");
        let names = ["passing", "absent"].map(str::to_owned);
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        let request = match version {
            6 => DeleteTopicsRequest {
                topics: names.map(by_name).into(),
                timeout_ms: 5000,
                ..Default::default()
            },
            _ => DeleteTopicsRequest { topic_names: names.into(), timeout_ms: 5000, ..Default::default() },
        };

        let answer =
            Client::connect(cluster.nodes()[0].port).call(version, &request).expect("it is answered");

        let errors: Vec<ErrorCode> = answer.responses.iter().map(|r| r.error_code.into()).collect();
        assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition], "{version}");
    }

    // What is named twice is refused, and answered once; so is what has no name at all.
    let twice = DeleteTopicsRequest { topic_names: ["t"; 2].map(str::to_owned).into(), ..Default::default() };
    let nothing = DeleteTopicsRequest { topics: vec![DeleteTopicState::default()], ..Default::default() };
    for (version, request) in [(3, twice), (6, nothing)] {
        let answer =
            Client::connect(cluster.nodes()[0].port).call(version, &request).expect("it is answered");
        let errors: Vec<ErrorCode> = answer.responses.iter().map(|r| r.error_code.into()).collect();
        assert_eq!(errors, [ErrorCode::InvalidRequest], "{version}");
    }
    still_serves(&cluster);
}
