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
