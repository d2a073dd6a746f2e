//! Groups: listed, described, their offsets read and set.

use super::Admin;
use crate::client::{Client, Topics};
use crate::consumer::group::{commit_request, find_coordinator};
use crate::error::ClientError;
use ottla_net::CallError;
use ottla_protocol::messages as m;
use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup as DescribedConsumerGroup, Member as DescribedConsumer,
};
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::{ErrorCode, decode_prefixed};
use ottla_types::{LeaderEpoch, NodeId, Offset, TopicPartition};
use std::collections::BTreeMap;

/// A group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Its state, in Kafka's words: `Stable`, `Empty`, `Dead`, …
    pub state: String,
    /// `consumer`, for groups of consumers.
    pub protocol_type: String,
    /// How partitions are shared out; empty when there is no member.
    pub assignor: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
}

/// A member as the coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// The id that it keeps over restarts, if it has one (KIP-345).
    pub group_instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is: `/address`.
    pub host: String,
    /// Where it says it is (`client.rack`); `None` in groups of the classic protocol.
    pub rack_id: Option<String>,
    /// Its share.
    pub assignment: Vec<TopicPartition>,
    /// What groups of the protocol of KIP-848 know besides; `None` in others.
    pub progress: Option<MemberProgress>,
}

/// How far a member has come on the way to the share that it is to have (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Its epoch.
    pub epoch: i32,
    /// The share that it is to have.
    pub target: Vec<TopicPartition>,
    /// Whether it speaks the new protocol itself; `None` where that is not told.
    pub is_upgraded: Option<bool>,
}

/// An offset that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to be read; negative when there is none.
    pub offset: Offset,
    /// The term in which the record before was written; −1 when it is not known.
    pub leader_epoch: LeaderEpoch,
}

/// All offsets that a group has committed.
///
/// # Errors
/// When the coordinator refuses, or does not answer in time.
pub async fn committed_offsets(
    client: &Client,
    group_id: &str,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let request = OffsetFetchRequest {
        group_id: group_id.to_owned(),
        topics: None,
        groups: vec![OffsetFetchRequestGroup {
            group_id: group_id.to_owned(),
            member_epoch: -1,
            topics: None,
            ..Default::default()
        }],
        require_stable: false,
    };
    client
        .retry("fetchOffsets", || async {
            let coordinator = find_coordinator(client, group_id).await?;
            let answer = client.call(coordinator, &request).await?;
            ClientError::check(answer.error_code, None)?;
            let mut found = BTreeMap::new();
            let mut take = |name: &str, index, offset, epoch, code| {
                ClientError::check(code, None)?;
                let committed = CommittedOffset { offset: Offset(offset), leader_epoch: LeaderEpoch(epoch) };
                found.insert(TopicPartition::new(name, index), committed);
                Ok::<_, ClientError>(())
            };
            for topic in answer.topics {
                for p in topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    take(&topic.name, p.partition_index, offset, epoch, p.error_code)?;
                }
            }
            for group in answer.groups {
                ClientError::check(group.error_code, None)?;
                for topic in group.topics {
                    let name = name_of(client, topic.name, topic.topic_id).await?;
                    let Some(name) = name else { continue };
                    for p in topic.partitions {
                        let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                        take(&name, p.partition_index, offset, epoch, p.error_code)?;
                    }
                }
            }
            Ok(found)
        })
        .await
}

/// The name of a topic that an answer names by its id (since OffsetFetch v10).
async fn name_of(
    client: &Client,
    name: String,
    id: ottla_types::Uuid,
) -> Result<Option<String>, ClientError> {
    if !name.is_empty() {
        return Ok(Some(name));
    }
    let find = |metadata: &crate::Metadata| {
        metadata.topics.values().find(|topic| topic.id == id).map(|topic| topic.name.clone())
    };
    if let Some(name) = find(&client.metadata()) {
        return Ok(Some(name));
    }
    Ok(find(&*client.refresh(Topics::All).await?))
}

impl Admin {
    /// The groups of all brokers, in these states and of these types; no filter means all.
    ///
    /// # Errors
    /// When a broker does not answer, or refuses.
    pub async fn list_groups(
        &self,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<ListedGroup>, ClientError> {
        let request = m::ListGroupsRequest { states_filter: states.to_vec(), types_filter: types.to_vec() };
        self.client
            .retry("listGroups", || async {
                let metadata = self.client.refresh(Topics::Named(&[])).await?;
                let mut groups = Vec::new();
                for broker in metadata.brokers.keys() {
                    let answer = self.client.call(*broker, &request).await?;
                    ClientError::check(answer.error_code, None)?;
                    groups.extend(answer.groups);
                }
                Ok(groups)
            })
            .await
    }

    /// Describes a group of consumers or of any classic protocol.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses.
    pub async fn describe_group(&self, group_id: &str) -> Result<GroupDescription, ClientError> {
        if let Some(described) = self.describe_consumer_group(group_id).await? {
            return Ok(described);
        }
        let request = m::DescribeGroupsRequest {
            groups: vec![group_id.to_owned()],
            include_authorized_operations: false,
        };
        self.client
            .retry("describeGroups", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let answer = self.client.call(coordinator, &request).await?;
                let group =
                    answer.groups.into_iter().next().ok_or(ClientError::Incomplete("DescribeGroups"))?;
                ClientError::check(group.error_code, group.error_message.clone())?;
                description(group, coordinator)
            })
            .await
    }

    /// Describes a group of the protocol of KIP-848; `None` when it is none, or the cluster knows of none.
    async fn describe_consumer_group(&self, group_id: &str) -> Result<Option<GroupDescription>, ClientError> {
        let request = m::ConsumerGroupDescribeRequest {
            group_ids: vec![group_id.to_owned()],
            include_authorized_operations: false,
        };
        self.client
            .retry("describeGroups", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let answer = match self.client.call(coordinator, &request).await {
                    Ok(answer) => answer,
                    Err(ClientError::Call(CallError::Unsupported { .. })) => return Ok(None),
                    Err(error) => return Err(error),
                };
                let group = answer
                    .groups
                    .into_iter()
                    .next()
                    .ok_or(ClientError::Incomplete("ConsumerGroupDescribe"))?;
                match ErrorCode::from(group.error_code) {
                    ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion => Ok(None),
                    _ => {
                        ClientError::check(group.error_code, group.error_message.clone())?;
                        Ok(Some(consumer_description(group, coordinator)))
                    }
                }
            })
            .await
    }

    /// All offsets that a group has committed.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses.
    pub async fn committed_offsets(
        &self,
        group_id: &str,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
        committed_offsets(&self.client, group_id).await
    }

    /// Sets the offsets of a group without members.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses, one partition being enough.
    pub async fn alter_offsets(
        &self,
        group_id: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ClientError> {
        self.client
            .retry("alterConsumerGroupOffsets", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let request = commit_request(&self.client, group_id, "", -1, offsets);
                let answer = self.client.call(coordinator, &request).await?;
                for part in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                    ClientError::check(part.error_code, None)?;
                }
                Ok(())
            })
            .await
    }

    /// Takes members out of a group: static ones by their own ids, others by those that they were given. `reason` is for
    /// the coordinator's log.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses, one member being enough.
    pub async fn remove_members(
        &self,
        group_id: &str,
        members: &[MemberDescription],
        reason: &str,
    ) -> Result<(), ClientError> {
        let identity = |member: &MemberDescription| MemberIdentity {
            member_id: match member.group_instance_id {
                Some(_) => String::new(),
                None => member.member_id.clone(),
            },
            group_instance_id: member.group_instance_id.clone(),
            reason: Some(reason.to_owned()),
        };
        let request = LeaveGroupRequest {
            group_id: group_id.to_owned(),
            members: members.iter().map(identity).collect(),
            ..Default::default()
        };
        self.client
            .retry("removeMembersFromConsumerGroup", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let answer = self.client.call(coordinator, &request).await?;
                ClientError::check(answer.error_code, None)?;
                answer.members.iter().try_for_each(|member| ClientError::check(member.error_code, None))
            })
            .await
    }

    /// Deletes a group without members.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses.
    pub async fn delete_group(&self, group_id: &str) -> Result<(), ClientError> {
        let request = m::DeleteGroupsRequest { groups_names: vec![group_id.to_owned()] };
        self.client
            .retry("deleteGroups", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let answer = self.client.call(coordinator, &request).await?;
                let result =
                    answer.results.into_iter().next().ok_or(ClientError::Incomplete("DeleteGroups"))?;
                ClientError::check(result.error_code, result.error_message)
            })
            .await
    }

    /// Deletes offsets of a group; tells of each partition what came of it.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses the whole.
    pub async fn delete_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, ErrorCode>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for at in partitions {
            let partition = OffsetDeleteRequestPartition { partition_index: at.partition };
            topics.entry(&at.topic).or_default().push(partition);
        }
        let topic =
            |(name, partitions): (&str, _)| OffsetDeleteRequestTopic { name: name.to_owned(), partitions };
        let request = OffsetDeleteRequest {
            group_id: group_id.to_owned(),
            topics: topics.into_iter().map(topic).collect(),
        };
        self.client
            .retry("deleteConsumerGroupOffsets", || async {
                let coordinator = find_coordinator(&self.client, group_id).await?;
                let answer = self.client.call(coordinator, &request).await?;
                ClientError::check(answer.error_code, None)?;
                let mut outcome = BTreeMap::new();
                for topic in answer.topics {
                    for part in topic.partitions {
                        let at = TopicPartition::new(topic.name.clone(), part.partition_index);
                        outcome.insert(at, ErrorCode::from(part.error_code));
                    }
                }
                Ok(outcome)
            })
            .await
    }
}

fn consumer_description(group: DescribedConsumerGroup, coordinator: NodeId) -> GroupDescription {
    let member = |member: DescribedConsumer| MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        rack_id: member.rack_id,
        assignment: share(member.assignment),
        progress: Some(MemberProgress {
            epoch: member.member_epoch,
            target: share(member.target_assignment),
            // 0 is a member of the classic protocol, 1 one of the new.
            is_upgraded: (member.member_type >= 0).then_some(member.member_type == 1),
        }),
    };
    GroupDescription {
        group_id: group.group_id,
        state: group.group_state,
        protocol_type: "consumer".to_owned(),
        assignor: group.assignor_name,
        members: group.members.into_iter().map(member).collect(),
        coordinator,
    }
}

fn share(assignment: Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.into_iter();
    let partitions = topics.flat_map(|topic| {
        let at = move |partition| TopicPartition::new(topic.topic_name.clone(), partition);
        topic.partitions.into_iter().map(at)
    });
    partitions.collect()
}

fn description(group: DescribedGroup, coordinator: NodeId) -> Result<GroupDescription, ClientError> {
    let is_of_consumers = group.protocol_type == "consumer";
    let mut members = Vec::new();
    for member in group.members {
        let mut assignment = Vec::new();
        if is_of_consumers && !member.member_assignment.is_empty() {
            let (_, share) = decode_prefixed::<m::ConsumerProtocolAssignment>(member.member_assignment)
                .map_err(|_| ClientError::Incomplete("DescribeGroups"))?;
            for topic in share.assigned_partitions {
                let at = |&partition: &i32| TopicPartition::new(topic.topic.clone(), partition);
                assignment.extend(topic.partitions.iter().map(at));
            }
        }
        members.push(MemberDescription {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            client_id: member.client_id,
            host: member.client_host,
            rack_id: None,
            assignment,
            progress: None,
        });
    }
    Ok(GroupDescription {
        group_id: group.group_id,
        state: group.group_state,
        protocol_type: group.protocol_type,
        assignor: group.protocol_data,
        members,
        coordinator,
    })
}
