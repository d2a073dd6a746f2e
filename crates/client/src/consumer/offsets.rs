//! Offsets by what is known of them: the first, the end, a time.

use super::Isolation;
use crate::client::{Client, Topics};
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp, TopicPartition};
use std::collections::BTreeMap;

/// In place of a time: the end of the log.
pub const LATEST: Timestamp = Timestamp(-1);
/// In place of a time: the first record that is still there.
pub const EARLIEST: Timestamp = Timestamp(-2);
/// In place of a time: the record with the latest time (KIP-734).
pub const MAX_TIMESTAMP: Timestamp = Timestamp(-3);
/// In place of a time: the first record on the broker's own disk (KIP-405).
pub const EARLIEST_LOCAL: Timestamp = Timestamp(-4);
/// In place of a time: the last record in remote storage (KIP-1005).
pub const LATEST_TIERED: Timestamp = Timestamp(-5);
/// In place of a time: the first record that remote storage does not have (KIP-1023).
pub const EARLIEST_PENDING_UPLOAD: Timestamp = Timestamp(-6);

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; [`Offset::UNKNOWN`] when no record is that late.
    pub offset: Offset,
    /// The time of the record there, if it was asked for by time.
    pub timestamp: Timestamp,
    /// The term of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

/// Finds the offsets of the first records not earlier than the times given, or of [`LATEST`] or
/// [`EARLIEST`]: of every partition asked for.
///
/// # Errors
/// When a leader refuses, or does not answer within the client's deadline.
pub async fn list_offsets(
    client: &Client,
    asked: &BTreeMap<TopicPartition, Timestamp>,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, FoundOffset>, ClientError> {
    let found = parking_lot::Mutex::new(BTreeMap::new());
    if asked.is_empty() {
        return Ok(found.into_inner());
    }
    client
        .retry("listOffsets", || async {
            let left: BTreeMap<TopicPartition, Timestamp> = {
                let found = found.lock();
                asked
                    .iter()
                    .filter(|(at, _)| !found.contains_key(*at))
                    .map(|(a, t)| (a.clone(), *t))
                    .collect()
            };
            let answers = ask_leaders(client, &left, isolation).await;
            let mut failure = None;
            for (at, answer) in answers {
                match answer {
                    Ok(offset) => {
                        found.lock().insert(at, offset);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            failure.map_or(Ok(()), Err)
        })
        .await?;
    Ok(found.into_inner())
}

/// As [`list_offsets`], but a partition whose offset cannot be found does not keep the others' from being told.
pub async fn list_offsets_each(
    client: &Client,
    asked: &BTreeMap<TopicPartition, Timestamp>,
    isolation: Isolation,
) -> BTreeMap<TopicPartition, Result<FoundOffset, ClientError>> {
    let settled = parking_lot::Mutex::new(BTreeMap::new());
    let done = client
        .retry("listOffsets", || async {
            let left: BTreeMap<TopicPartition, Timestamp> = {
                let settled = settled.lock();
                let is_left = |(at, _): &(&TopicPartition, &Timestamp)| !settled.contains_key(*at);
                asked.iter().filter(is_left).map(|(at, &time)| (at.clone(), time)).collect()
            };
            let mut failure = None;
            for (at, answer) in ask_leaders(client, &left, isolation).await {
                match answer {
                    Err(error) if error.is_retriable() => failure = Some(error),
                    answer => _ = settled.lock().insert(at, answer),
                }
            }
            failure.map_or(Ok(()), Err)
        })
        .await;
    let mut settled = settled.into_inner();
    let why = done.err().map(|error| error.to_string());
    for at in asked.keys() {
        settled.entry(at.clone()).or_insert_with(|| {
            Err(match &why {
                Some(why) => ClientError::refused(ErrorCode::RequestTimedOut, Some(why.clone())),
                None => ClientError::Incomplete("ListOffsets"),
            })
        });
    }
    settled
}

type Answers = Vec<(TopicPartition, Result<FoundOffset, ClientError>)>;

async fn ask_leaders(
    client: &Client,
    asked: &BTreeMap<TopicPartition, Timestamp>,
    isolation: Isolation,
) -> Answers {
    let mut names: Vec<String> = asked.keys().map(|at| at.topic.clone()).collect();
    names.dedup();
    let mut answers = Answers::new();
    let metadata = match client.refresh(Topics::Named(&names)).await {
        Ok(metadata) => metadata,
        Err(error) => return asked.keys().take(1).cloned().zip([Err(error)]).collect(),
    };
    let mut by_leader: BTreeMap<NodeId, Vec<(&TopicPartition, LeaderEpoch, Timestamp)>> = BTreeMap::new();
    for (at, &time) in asked {
        match metadata.leader(at) {
            Some((leader, epoch)) => by_leader.entry(leader).or_default().push((at, epoch, time)),
            None => {
                let unknown = metadata.topic_errors.get(&at.topic).copied();
                let code = unknown.unwrap_or(ErrorCode::LeaderNotAvailable);
                answers.push((at.clone(), Err(ClientError::refused(code, None))));
            }
        }
    }
    for (leader, partitions) in by_leader {
        match client.call(leader, &request(client, &partitions, isolation)).await {
            Err(error) => answers.push((partitions[0].0.clone(), Err(error))),
            Ok(response) => {
                for topic in response.topics {
                    for part in topic.partitions {
                        let at = TopicPartition::new(topic.name.clone(), part.partition_index);
                        let answer = ClientError::check(part.error_code, None).map(|()| FoundOffset {
                            offset: Offset(part.offset),
                            timestamp: Timestamp(part.timestamp),
                            leader_epoch: LeaderEpoch(part.leader_epoch),
                        });
                        answers.push((at, answer));
                    }
                }
            }
        }
    }
    answers
}

fn request(
    client: &Client,
    partitions: &[(&TopicPartition, LeaderEpoch, Timestamp)],
    isolation: Isolation,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (at, epoch, time) in partitions {
        topics.entry(&at.topic).or_default().push(ListOffsetsPartition {
            partition_index: at.partition,
            current_leader_epoch: epoch.0,
            timestamp: time.0,
        });
    }
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation == Isolation::ReadCommitted),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic { name: name.to_owned(), partitions })
            .collect(),
        timeout_ms: i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
    }
}
