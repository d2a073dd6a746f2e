//! OffsetFetch: where to go on reading.

use crate::coordinator::{GroupCoordinator, reply};
use crate::offsets::CommittedOffset;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_types::{LeaderEpoch, Offset, Uuid};

/// The first version that asks for several groups.
const GROUPS_VERSION: i16 = 8;

impl GroupCoordinator {
    /// Handles an OffsetFetch for groups of this partition, with topics that have names. Topic ids come back as
    /// they were given, or, where all topics were asked for, as they were committed (zero if not known).
    ///
    /// Who asks for stable offsets is told to ask again where a transaction is open that will change one.
    pub fn handle_offset_fetch(
        &self,
        request: &OffsetFetchRequest,
        context: &RequestContext,
    ) -> GroupDecision {
        let response = if context.version >= GROUPS_VERSION {
            let stable = request.require_stable;
            let groups = request.groups.iter().map(|group| self.fetch_offsets(group, stable)).collect();
            OffsetFetchResponse { groups, ..Default::default() }
        } else {
            self.fetch_offsets_of_one_group(request)
        };
        reply(context.token, GroupReply::OffsetFetch(response))
    }

    fn fetch_offsets(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group_id = &request.group_id;
        if let Some(group) = self.consumer_groups.get(group_id)
            && let Err(error) = group.validate_fetch(request.member_id.as_deref(), request.member_epoch)
        {
            let error_code = error.code();
            return OffsetFetchResponseGroup { group_id: group_id.clone(), error_code, ..Default::default() };
        }
        let fetch_one = |name: &str, index: i32| {
            if require_stable && self.pending.contains(group_id, name, index) {
                let error_code = ErrorCode::UnstableOffsetCommit.code();
                return OffsetFetchResponsePartitions { error_code, ..partition(index, None) };
            }
            partition(index, self.offsets.get(group_id, name, index))
        };
        let topics = match &request.topics {
            None => self.all_offsets(group_id, fetch_one),
            Some(topics) => {
                let fetch = topics.iter().map(|topic| OffsetFetchResponseTopics {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic.partition_indexes.iter().map(|&i| fetch_one(&topic.name, i)).collect(),
                });
                fetch.collect()
            }
        };
        OffsetFetchResponseGroup { group_id: group_id.clone(), topics, ..Default::default() }
    }

    fn all_offsets(
        &self,
        group_id: &str,
        fetch_one: impl Fn(&str, i32) -> OffsetFetchResponsePartitions,
    ) -> Vec<OffsetFetchResponseTopics> {
        let topics = self.offsets.of_group(group_id).into_iter().flatten();
        let fetch = topics.map(|(name, partitions)| OffsetFetchResponseTopics {
            name: name.clone(),
            topic_id: partitions.values().map(|offset| offset.topic_id).max().unwrap_or(Uuid::ZERO),
            partitions: partitions.keys().map(|&index| fetch_one(name, index)).collect(),
        });
        fetch.collect()
    }

    /// The older form: the same with other names.
    fn fetch_offsets_of_one_group(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
        let topics = request.topics.as_ref().map(|topics| {
            let rename = topics.iter().map(|topic| OffsetFetchRequestTopics {
                name: topic.name.clone(),
                topic_id: Uuid::ZERO,
                partition_indexes: topic.partition_indexes.clone(),
            });
            rename.collect()
        });
        let group_id = request.group_id.clone();
        let group = OffsetFetchRequestGroup { group_id, topics, ..Default::default() };
        let group = self.fetch_offsets(&group, request.require_stable);
        let rename_partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        };
        let rename = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(rename_partition).collect(),
        });
        OffsetFetchResponse { topics: rename.collect(), error_code: group.error_code, ..Default::default() }
    }
}

/// The answer for a partition; offset −1 where nothing is committed.
fn partition(partition_index: i32, committed: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.map_or(Offset::UNKNOWN, |committed| committed.offset).0,
        committed_leader_epoch: committed.map_or(LeaderEpoch::NONE, |committed| committed.leader_epoch).0,
        metadata: Some(committed.map(|committed| committed.metadata.clone()).unwrap_or_default()),
        error_code: 0,
    }
}
