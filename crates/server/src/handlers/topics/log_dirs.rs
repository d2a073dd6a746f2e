//! DescribeLogDirs (key 35, versions 1–5), AlterReplicaLogDirs (34, 1–2), broker listener.
//!
//! Tells which replicas this broker has, and how large they are; lets a replica be put into the directory in which it is.
//!
//! - v4 the size of the disk, and what of it is free; v5 no directory is cordoned.
//! - A broker has one directory: any other is LOG_DIR_NOT_FOUND. A replica that is not here, or not yet, is
//!   REPLICA_NOT_AVAILABLE; tools ask again.
//! - Differs from Kafka: no replica is ever on its way between directories.

use crate::broker::Broker;
use crate::replicas::Replica;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_types::TopicIdPartition;
use std::collections::BTreeMap;

/// Describes the directory.
pub fn describe(broker: &Broker, request: &DescribeLogDirsRequest) -> Answer<DescribeLogDirsResponse> {
    let is_wanted = |replica: &Replica| {
        request.topics.as_ref().is_none_or(|topics| {
            let mut of_topic = topics.iter().filter(|asked| asked.topic == replica.name.topic);
            of_topic.any(|asked| asked.partitions.contains(&replica.name.partition))
        })
    };
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for replica in broker.replicas.all().into_iter().filter(|replica| is_wanted(replica)) {
        let partition = replica.lock();
        let (end, high_watermark) = (partition.log().log_end_offset(), partition.high_watermark());
        topics.entry(replica.name.topic.clone()).or_default().push(DescribeLogDirsPartition {
            partition_index: replica.name.partition,
            partition_size: i64::try_from(partition.log().size_bytes()).unwrap_or(i64::MAX),
            offset_lag: (high_watermark - end).max(0),
            is_future_key: false,
        });
    }
    let directory = broker.replicas.directory();
    let space = directory.disk().space(directory.path());
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut result = DescribeLogDirsResult {
        log_dir: path(broker),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions })
            .collect(),
        ..Default::default()
    };
    if let Ok(space) = space {
        (result.total_bytes, result.usable_bytes) = (bytes(space.total_bytes), bytes(space.usable_bytes));
    }
    Answer::Now(DescribeLogDirsResponse { results: vec![result], ..Default::default() })
}

/// Puts replicas into directories.
pub fn alter(broker: &Broker, request: &AlterReplicaLogDirsRequest) -> Answer<AlterReplicaLogDirsResponse> {
    let image = broker.image();
    let is_here = |topic: &str, partition: i32| {
        let topic = image.topics.by_name(topic);
        topic.is_some_and(|topic| broker.replicas.get(TopicIdPartition::new(topic.id, partition)).is_some())
    };
    let mut results: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for directory in &request.dirs {
        let exists = directory.path == path(broker);
        for topic in &directory.topics {
            for &partition_index in &topic.partitions {
                let error = match (exists, is_here(&topic.name, partition_index)) {
                    (false, _) => ErrorCode::LogDirNotFound,
                    (true, false) => ErrorCode::ReplicaNotAvailable,
                    (true, true) => ErrorCode::None,
                };
                let result = AlterReplicaLogDirPartitionResult { partition_index, error_code: error.code() };
                results.entry(topic.name.clone()).or_default().push(result);
            }
        }
    }
    let results = results
        .into_iter()
        .map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult { topic_name, partitions })
        .collect();
    Answer::Now(AlterReplicaLogDirsResponse { results, ..Default::default() })
}

fn path(broker: &Broker) -> String {
    let directory = broker.replicas.directory().path();
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string()
}
