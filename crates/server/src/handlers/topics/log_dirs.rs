//! DescribeLogDirs (key 35, versions 1–5), AlterReplicaLogDirs (34, 1–2), broker listener.
//!
//! Tells which replicas this broker has, where, and how large they are; moves replicas between its directories.
//!
//! - v4 the size of the disk, and what of it is free; v5 no directory is cordoned.
//! - A directory that does not work is KAFKA_STORAGE_ERROR, one that is not configured LOG_DIR_NOT_FOUND. A replica that
//!   is not here yet is REPLICA_NOT_AVAILABLE, and will begin in the directory that was asked for.
//! - Differs from Kafka: a broker that is started anew copies what was on its way between directories from the beginning.

use crate::broker::Broker;
use crate::replicas::Replica;
use crate::replicas::directories::Directory;
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
use ottla_types::{TopicIdPartition, TopicPartition};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Describes the directories.
pub fn describe(broker: &Broker, request: &DescribeLogDirsRequest) -> Answer<DescribeLogDirsResponse> {
    let is_wanted = |replica: &Replica| {
        request.topics.as_ref().is_none_or(|topics| {
            let mut of_topic = topics.iter().filter(|asked| asked.topic == replica.name.topic);
            of_topic.any(|asked| asked.partitions.contains(&replica.name.partition))
        })
    };
    let replicas: Vec<Arc<Replica>> =
        broker.replicas.all().into_iter().filter(|replica| is_wanted(replica)).collect();
    let directories = broker.replicas.directories();
    let mut results: Vec<DescribeLogDirsResult> =
        directories.online().map(|directory| describe_one(broker, directory, &replicas)).collect();
    results.extend(directories.offline().map(|path| DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: absolute(path),
        ..Default::default()
    }));
    Answer::Now(DescribeLogDirsResponse { results, ..Default::default() })
}

fn describe_one(broker: &Broker, directory: &Directory, replicas: &[Arc<Replica>]) -> DescribeLogDirsResult {
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for replica in replicas {
        let partition = replica.lock();
        let end = partition.log().log_end_offset();
        let found = if replica.directory().id == directory.id {
            Some(DescribeLogDirsPartition {
                partition_index: replica.name.partition,
                partition_size: bytes(partition.log().size_bytes()),
                offset_lag: (partition.high_watermark() - end).max(0),
                is_future_key: false,
            })
        } else {
            let future = broker.replicas.moves().future(replica.id, directory.id);
            future.map(|future| DescribeLogDirsPartition {
                partition_index: replica.name.partition,
                partition_size: bytes(future.size_bytes),
                offset_lag: (end - future.log_end_offset).max(0),
                is_future_key: true,
            })
        };
        topics.entry(replica.name.topic.clone()).or_default().extend(found);
    }
    topics.retain(|_, partitions| !partitions.is_empty());
    let mut result = DescribeLogDirsResult {
        log_dir: absolute(directory.files.path()),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions })
            .collect(),
        ..Default::default()
    };
    if let Ok(space) = directory.files.disk().space(directory.files.path()) {
        (result.total_bytes, result.usable_bytes) = (bytes(space.total_bytes), bytes(space.usable_bytes));
    }
    result
}

/// Puts replicas into directories.
pub fn alter(broker: &Broker, request: &AlterReplicaLogDirsRequest) -> Answer<AlterReplicaLogDirsResponse> {
    let image = broker.image();
    let mut results: BTreeMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for ((topic, partition_index), path) in asked_paths(request) {
        let name = TopicPartition::new(topic, partition_index);
        let id = image.topics.by_name(topic).map(|topic| topic.id);
        let at = id.map(|id| TopicIdPartition::new(id, partition_index));
        let error = put(broker, path, &name, at).err().unwrap_or(ErrorCode::None);
        let result = AlterReplicaLogDirPartitionResult { partition_index, error_code: error.code() };
        results.entry(topic).or_default().push(result);
    }
    let result = |(topic, partitions): (&str, _)| AlterReplicaLogDirTopicResult {
        topic_name: topic.to_owned(),
        partitions,
    };
    let results = results.into_iter().map(result).collect();
    Answer::Now(AlterReplicaLogDirsResponse { results, ..Default::default() })
}

/// The directory of each partition. Of what is named twice the last counts.
fn asked_paths(request: &AlterReplicaLogDirsRequest) -> BTreeMap<(&str, i32), &str> {
    let mut paths = BTreeMap::new();
    for directory in &request.dirs {
        for topic in &directory.topics {
            let of_topic = topic.partitions.iter().map(|&index| (topic.name.as_str(), index));
            paths.extend(of_topic.map(|at| (at, directory.path.as_str())));
        }
    }
    paths
}

fn put(
    broker: &Broker,
    path: &str,
    name: &TopicPartition,
    at: Option<TopicIdPartition>,
) -> Result<(), ErrorCode> {
    let directories = broker.replicas.directories();
    if directories.offline().any(|offline| absolute(offline) == path) {
        return Err(ErrorCode::KafkaStorageError);
    }
    let mut online = directories.online();
    let directory =
        online.find(|known| absolute(known.files.path()) == path).ok_or(ErrorCode::LogDirNotFound)?;
    match at {
        Some(at) if broker.replicas.is_offline(at) => Err(ErrorCode::KafkaStorageError),
        at => match at.and_then(|at| broker.replicas.get(at)) {
            Some(replica) => {
                broker.replicas.moves().request(&replica, directory);
                Ok(())
            }
            None => {
                broker.replicas.moves().prefer(name, directory.id);
                Err(ErrorCode::ReplicaNotAvailable)
            }
        },
    }
}

/// A directory as it is known outside of this process.
fn absolute(directory: &Path) -> String {
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string()
}
