//! Items of requests that are wrong, doubled or unknown: each gets its error, and the others what they asked for.

use crate::{one_node, still_serves};
use ottla_e2e::{Client, Cluster, client, kcat};
use ottla_protocol::messages as m;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::{ErrorCode, Request};
use ottla_types::Uuid;

fn call<R: Request>(cluster: &Cluster, version: i16, request: &R) -> R::Response {
    Client::connect(cluster.nodes()[0].port).call(version, request).expect("it is answered")
}

#[test]
fn bytes_after_a_body_are_not_looked_at() {
    let cluster = one_node();
    let mut bytes = client::encode(1, &m::MetadataRequest { topics: None, ..Default::default() });
    let length = u32::try_from(bytes.len() - 4 + 3).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.extend([1, 2, 3]);
    let mut client = Client::connect(cluster.nodes()[0].port);

    client.send(&bytes);

    let answer = client.answer::<m::MetadataRequest>(1).expect("it is answered");
    assert_eq!(answer.topics.len(), 1);
    still_serves(&cluster);
}

#[test]
fn a_group_whose_name_leaves_no_room_for_a_message_is_answered() {
    let cluster = one_node();
    kcat::run(&cluster, &["-G", "readers", "-e", "-X", "auto.offset.reset=earliest", "t"], "");
    let request =
        m::ConsumerGroupDescribeRequest { group_ids: vec!["g".repeat(32_767)], ..Default::default() };

    let answer = call(&cluster, 0, &request);

    assert_eq!(ErrorCode::from(answer.groups[0].error_code), ErrorCode::GroupIdNotFound);
    still_serves(&cluster);
}

#[test]
fn topics_are_described_once_each_and_by_ids_only_in_versions_that_have_them() {
    let cluster = one_node();
    let named =
        |name: Option<&str>, topic_id| MetadataRequestTopic { topic_id, name: name.map(str::to_owned) };
    let ask = |version, topics: Vec<MetadataRequestTopic>| -> Vec<ErrorCode> {
        let request = m::MetadataRequest { topics: Some(topics), ..Default::default() };
        call(&cluster, version, &request).topics.iter().map(|topic| topic.error_code.into()).collect()
    };
    let unknown = Uuid::from_bytes([7; 16]);

    assert_eq!(ask(9, vec![named(Some("t"), Uuid::ZERO), named(Some("t"), Uuid::ZERO)]), [ErrorCode::None]);
    assert_eq!(ask(10, vec![named(Some("t"), unknown)]), [ErrorCode::InvalidRequest]);
    assert_eq!(ask(11, vec![named(None, Uuid::ZERO)]), [ErrorCode::InvalidRequest]);
    assert_eq!(ask(12, vec![named(Some("t"), unknown)]), [ErrorCode::UnknownTopicId]);
    still_serves(&cluster);
}

#[test]
fn offsets_are_kept_for_partitions_that_exist() {
    let cluster = one_node();
    let expected = [ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicOrPartition];
    let partitions = [0, 1, -1];

    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "t".to_owned(),
        partitions: partitions.map(partition).into(),
        ..Default::default()
    };
    let request = m::OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    kcat::run(&cluster, &["-G", "readers", "-e", "-X", "auto.offset.reset=earliest", "t"], "");
    let answer = call(&cluster, 8, &request);
    let errors = |codes: Vec<i16>| codes.into_iter().map(ErrorCode::from).collect::<Vec<_>>();
    assert_eq!(errors(answer.topics[0].partitions.iter().map(|p| p.error_code).collect()), expected);

    let partition =
        |partition_index| TxnOffsetCommitRequestPartition { partition_index, ..Default::default() };
    let topic = TxnOffsetCommitRequestTopic {
        name: "t".to_owned(),
        partitions: vec![partition(1)],
        ..Default::default()
    };
    let request = m::TxnOffsetCommitRequest {
        transactional_id: "x".to_owned(),
        group_id: "g".to_owned(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = call(&cluster, 2, &request);
    assert_eq!(errors(vec![answer.topics[0].partitions[0].error_code]), [ErrorCode::UnknownTopicOrPartition]);

    let partition = |partition_index| OffsetDeleteRequestPartition { partition_index };
    let topic =
        OffsetDeleteRequestTopic { name: "t".to_owned(), partitions: partitions.map(partition).into() };
    let request = m::OffsetDeleteRequest { group_id: "g".to_owned(), topics: vec![topic] };
    let answer = call(&cluster, 0, &request);
    let told = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
    assert_eq!(errors(told.collect()), expected);
    still_serves(&cluster);
}

#[test]
fn offsets_are_listed_by_times_that_the_version_has_and_once_each() {
    let cluster = one_node();
    let list = |version, isolation_level, timestamp, epoch, topics: usize| {
        let partition = ListOffsetsPartition { timestamp, current_leader_epoch: epoch, ..Default::default() };
        let topic = ListOffsetsTopic { name: "t".to_owned(), partitions: vec![partition] };
        let request = m::ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics: vec![topic; topics],
            ..Default::default()
        };
        let answer = call(&cluster, version, &request);
        let told = answer.topics.iter().flat_map(|topic| &topic.partitions);
        told.map(|partition| partition.error_code.into()).collect::<Vec<ErrorCode>>()
    };

    assert_eq!(list(7, 0, -3, -1, 1), [ErrorCode::None]);
    assert_eq!(list(6, 0, -3, -1, 1), [ErrorCode::UnsupportedVersion]);
    assert_eq!(list(7, 0, -4, -1, 1), [ErrorCode::UnsupportedVersion]);
    assert_eq!(list(6, 2, -1, -1, 1), [ErrorCode::UnknownServerError]);
    assert_eq!(list(6, 0, -1, -2, 1), [ErrorCode::FencedLeaderEpoch]);
    assert_eq!(list(6, 0, -1, -1, 2), [ErrorCode::InvalidRequest]);
    still_serves(&cluster);
}

#[test]
fn what_is_asked_of_the_wrong_thing_is_refused_as_kafka_does() {
    let cluster = one_node();
    let partition = PartitionData { partition_index: 0 };
    let topics = vec![TopicData { topic_name: "t".to_owned(), partitions: vec![partition] }];
    let answer = call(&cluster, 2, &m::DescribeQuorumRequest { topics });
    assert_eq!(answer.error_code, ErrorCode::None.code());
    let error = answer.topics[0].partitions[0].error_code;
    assert_eq!(ErrorCode::from(error), ErrorCode::UnknownTopicOrPartition);

    for (endpoint_type, expected) in
        [(2, ErrorCode::MismatchedEndpointType), (3, ErrorCode::UnsupportedEndpointType)]
    {
        let answer = call(&cluster, 1, &m::DescribeClusterRequest { endpoint_type, ..Default::default() });
        assert_eq!(ErrorCode::from(answer.error_code), expected);
    }

    let topics = vec![TopicPartitions { topic: "t".to_owned(), partitions: vec![0] }];
    let request =
        m::ElectLeadersRequest { election_type: 9, topic_partitions: Some(topics), ..Default::default() };
    let answer = call(&cluster, 2, &request);
    let error = answer.replica_election_results[0].partition_result[0].error_code;
    assert_eq!(ErrorCode::from(error), ErrorCode::InvalidRequest);
    still_serves(&cluster);
}

#[test]
fn a_fetch_that_makes_no_sense_is_refused_for_each_partition() {
    let cluster = one_node();
    let partition =
        FetchPartition { current_leader_epoch: -1, partition_max_bytes: 1000, ..Default::default() };
    let topic = FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let fetch = |isolation_level, replica_id| {
        let request = m::FetchRequest {
            isolation_level,
            replica_id,
            session_epoch: -1,
            topics: vec![topic.clone()],
            ..Default::default()
        };
        let answer = call(&cluster, 11, &request);
        let told = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let told = told.map(|partition| partition.error_code.into()).collect::<Vec<ErrorCode>>();
        (ErrorCode::from(answer.error_code), told)
    };

    assert_eq!(fetch(0, -1), (ErrorCode::None, vec![ErrorCode::None]));
    assert_eq!(fetch(2, -1), (ErrorCode::UnknownServerError, vec![ErrorCode::UnknownServerError]));
    // No replica of this partition.
    assert_eq!(fetch(0, 3), (ErrorCode::None, vec![ErrorCode::NotLeaderOrFollower]));
    still_serves(&cluster);
}

#[test]
fn what_is_too_long_for_a_message_is_answered_at_once() {
    let cluster = one_node();
    let config =
        AlterableConfig { name: "n".repeat(32_767), value: Some("1".to_owned()), ..Default::default() };
    let resource =
        AlterConfigsResource { resource_type: 2, resource_name: "t".to_owned(), configs: vec![config] };
    let request = m::IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };

    let answer = call(&cluster, 1, &request);

    assert_eq!(ErrorCode::from(answer.responses[0].error_code), ErrorCode::InvalidConfig);
    still_serves(&cluster);
}

#[test]
fn no_client_writes_to_internal_topics_in_a_transaction() {
    let cluster = one_node();
    kcat::run(&cluster, &["-G", "readers", "-e", "-X", "auto.offset.reset=earliest", "t"], "");
    let topic = |name: &str| AddPartitionsToTxnTopic { name: name.to_owned(), partitions: vec![0] };
    let request = m::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".to_owned(),
        v3_and_below_topics: vec![topic("__consumer_offsets"), topic("t")],
        ..Default::default()
    };

    let answer = call(&cluster, 3, &request);

    let mut told: Vec<(String, ErrorCode)> = answer
        .results_by_topic_v3_and_below
        .iter()
        .map(|topic| (topic.name.clone(), topic.results_by_partition[0].partition_error_code.into()))
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("__consumer_offsets".to_owned(), ErrorCode::TopicAuthorizationFailed),
        ("t".to_owned(), ErrorCode::OperationNotAttempted),
    ];
    assert_eq!(told, expected);
    still_serves(&cluster);
}

/// Kafka's controllers refuse it; its brokers take the last, and so does this one.
#[test]
fn what_is_named_twice_is_answered_once() {
    let cluster = one_node();

    let topic = CreatePartitionsTopic { name: "t".to_owned(), count: 2, ..Default::default() };
    let request = m::CreatePartitionsRequest { topics: vec![topic; 2], ..Default::default() };
    let told = call(&cluster, 3, &request).results;
    assert_eq!(
        told.iter().map(|told| told.error_code).collect::<Vec<_>>(),
        [ErrorCode::InvalidRequest.code()]
    );

    let topic = AddPartitionsToTxnTopic { name: "t".to_owned(), partitions: vec![0, 0, 1] };
    let request = m::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".to_owned(),
        v3_and_below_topics: vec![topic; 2],
        ..Default::default()
    };
    let told = call(&cluster, 3, &request).results_by_topic_v3_and_below;
    let of_topic: Vec<_> = told[0]
        .results_by_partition
        .iter()
        .map(|p| (p.partition_index, p.partition_error_code.into()))
        .collect();
    let expected = [(0, ErrorCode::OperationNotAttempted), (1, ErrorCode::UnknownTopicOrPartition)];
    assert_eq!((told.len(), &of_topic[..]), (1, &expected[..]));
    // A coordinator's answer is the request's shape instead.
    let topic = AddPartitionsToTxnTopic { name: "t".to_owned(), partitions: vec![0, 0] };
    let request = m::AddPartitionsToTxnRequest { v3_and_below_topics: vec![topic], ..request };
    let told = call(&cluster, 3, &request).results_by_topic_v3_and_below;
    assert_eq!((told.len(), told[0].results_by_partition.len()), (1, 2));

    let topics = vec![AlterReplicaLogDirTopic { name: "t".to_owned(), partitions: vec![0, 0] }];
    let elsewhere = AlterReplicaLogDir { path: "/nowhere".to_owned(), topics };
    let request = m::AlterReplicaLogDirsRequest { dirs: vec![elsewhere; 2] };
    let told = call(&cluster, 2, &request).results;
    let of_topic: Vec<i16> = told[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!((told.len(), &of_topic[..]), (1, &[ErrorCode::LogDirNotFound.code()][..]));

    let partition = |offset| DeleteRecordsPartition { partition_index: 0, offset };
    let topic = |offset| DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition(offset)] };
    let request = m::DeleteRecordsRequest { topics: vec![topic(9), topic(0)], timeout_ms: 5000 };
    let told = call(&cluster, 2, &request).topics;
    let of_topic: Vec<_> = told[0].partitions.iter().map(|p| (p.low_watermark, p.error_code)).collect();
    assert_eq!((told.len(), &of_topic[..]), (1, &[(0, 0)][..]));
    still_serves(&cluster);
}

/// Who asks what it may do is told everything that there is to do (KIP-430): nobody is refused anything.
#[test]
fn who_asks_what_it_may_do_may_do_everything() {
    const NOT_ASKED: i32 = i32::MIN;
    let cluster = one_node();
    kcat::run(&cluster, &["-G", "g", "-o", "beginning", "-c", "1", "t"], "");
    for (is_asked, [of_cluster, of_topic, of_group]) in [(true, [8096, 3576, 3400]), (false, [NOT_ASKED; 3])]
    {
        let request = m::DescribeClusterRequest {
            include_cluster_authorized_operations: is_asked,
            ..Default::default()
        };
        assert_eq!(call(&cluster, 1, &request).cluster_authorized_operations, of_cluster);

        let topic = MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
        let request = m::MetadataRequest {
            topics: Some(vec![topic]),
            include_cluster_authorized_operations: is_asked,
            include_topic_authorized_operations: is_asked,
            ..Default::default()
        };
        let answer = call(&cluster, 10, &request);
        assert_eq!(answer.cluster_authorized_operations, of_cluster);
        assert_eq!(answer.topics[0].topic_authorized_operations, of_topic);

        let request = m::DescribeGroupsRequest {
            groups: vec!["g".to_owned()],
            include_authorized_operations: is_asked,
        };
        assert_eq!(call(&cluster, 5, &request).groups[0].authorized_operations, of_group);
    }
    let topics = vec![m::describe_topic_partitions_request::TopicRequest { name: "t".to_owned() }];
    let request =
        m::DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, ..Default::default() };
    assert_eq!(call(&cluster, 0, &request).topics[0].topic_authorized_operations, 3576);
}
