//! Records: deleted up to an offset.

use super::Admin;
use crate::client::Topics;
use crate::error::ClientError;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_types::{NodeId, Offset, TopicPartition};
use std::collections::BTreeMap;

/// In place of an offset: everything that is committed.
pub const HIGH_WATERMARK: Offset = Offset(-1);

/// Where each partition's logs begin afterwards, or why nothing was deleted.
pub type Deleted = BTreeMap<TopicPartition, Result<Offset, ClientError>>;

impl Admin {
    /// Deletes the records before an offset, or before [`HIGH_WATERMARK`], of each partition. What leaders refuse for
    /// the moment is asked for again until the client's deadline.
    pub async fn delete_records(&self, asked: &BTreeMap<TopicPartition, Offset>) -> Deleted {
        let deleted = parking_lot::Mutex::new(Deleted::new());
        let done = self
            .client
            .retry("deleteRecords", || async {
                let left: BTreeMap<TopicPartition, Offset> = {
                    let deleted = deleted.lock();
                    let is_left = |at: &TopicPartition| !deleted.contains_key(at);
                    asked.iter().filter(|(at, _)| is_left(at)).map(|(at, to)| (at.clone(), *to)).collect()
                };
                let mut again = None;
                for (at, answer) in self.delete_once(&left).await {
                    match answer {
                        Err(error) if error.is_retriable() => again = Some(error),
                        answer => {
                            deleted.lock().insert(at, answer);
                        }
                    }
                }
                again.map_or(Ok(()), Err)
            })
            .await;
        let mut deleted = deleted.into_inner();
        let missing: Vec<TopicPartition> =
            asked.keys().filter(|at| !deleted.contains_key(*at)).cloned().collect();
        for at in missing {
            let error = match &done {
                Ok(()) => ClientError::Incomplete("deleteRecords"),
                Err(error) => ClientError::refused(ErrorCode::RequestTimedOut, Some(error.to_string())),
            };
            deleted.insert(at, Err(error));
        }
        deleted
    }

    async fn delete_once(
        &self,
        asked: &BTreeMap<TopicPartition, Offset>,
    ) -> Vec<(TopicPartition, Result<Offset, ClientError>)> {
        let mut names: Vec<String> = asked.keys().map(|at| at.topic.clone()).collect();
        names.dedup();
        let metadata = match self.client.refresh(Topics::Named(&names)).await {
            Ok(metadata) => metadata,
            Err(error) => return asked.keys().take(1).cloned().zip([Err(error)]).collect(),
        };
        let mut answers = Vec::new();
        let mut by_leader: BTreeMap<NodeId, Vec<(&TopicPartition, Offset)>> = BTreeMap::new();
        for (at, &offset) in asked {
            match metadata.leader(at) {
                Some((leader, _)) => by_leader.entry(leader).or_default().push((at, offset)),
                None => {
                    let unknown = metadata.topic_errors.get(&at.topic).copied();
                    let code = unknown.unwrap_or(ErrorCode::LeaderNotAvailable);
                    answers.push((at.clone(), Err(ClientError::refused(code, None))));
                }
            }
        }
        for (leader, partitions) in by_leader {
            match self.client.call(leader, &self.request(&partitions)).await {
                Err(error) => answers.push((partitions[0].0.clone(), Err(error))),
                Ok(response) => {
                    for topic in response.topics {
                        for part in topic.partitions {
                            let at = TopicPartition::new(topic.name.clone(), part.partition_index);
                            let answer = ClientError::check(part.error_code, None);
                            answers.push((at, answer.map(|()| Offset(part.low_watermark))));
                        }
                    }
                }
            }
        }
        answers
    }

    fn request(&self, partitions: &[(&TopicPartition, Offset)]) -> DeleteRecordsRequest {
        let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (at, offset) in partitions {
            let asked = DeleteRecordsPartition { partition_index: at.partition, offset: offset.0 };
            topics.entry(&at.topic).or_default().push(asked);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| DeleteRecordsTopic { name: name.to_owned(), partitions })
            .collect();
        DeleteRecordsRequest { topics, timeout_ms: self.timeout_ms() }
    }
}
