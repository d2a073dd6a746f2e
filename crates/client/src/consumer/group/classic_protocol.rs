//! The classic protocol: JoinGroup, SyncGroup, Heartbeat. The members tell each other through one of them what each reads (KIP-62,
//! KIP-394).

use super::{Known, Membership, is_passing, millis};
use crate::client::{Backoff, Client, Topics};
use crate::consumer::assignor::{Subscriber, range};
use crate::error::ClientError;
use ottla_net::{Task, task};
use ottla_protocol::messages as m;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::{ErrorCode, decode_prefixed, encode_prefixed};
use ottla_types::{NodeId, TopicPartition};
use std::collections::BTreeMap;

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

/// The version of the blobs in which members and their leader tell each other topics and shares.
const BLOB_VERSION: i16 = 1;

impl Membership {
    pub(super) async fn join_classic(&mut self) -> Result<Vec<TopicPartition>, ClientError> {
        let joined = self.join_group().await?;
        ClientError::check(joined.error_code, None)?;
        let assignments = if joined.leader == joined.member_id {
            let partitions = self.count_partitions(&joined).await?;
            share_out(&joined, &partitions)?
        } else {
            Vec::new()
        };
        let request = m::SyncGroupRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(PROTOCOL.to_owned()),
            assignments,
        };
        let coordinator = self.coordinator().await?;
        let synced = self.client.call(coordinator, &request).await?;
        ClientError::check(synced.error_code, None)?;
        decode_share(synced.assignment)
    }

    async fn join_group(&mut self) -> Result<m::JoinGroupResponse, ClientError> {
        let subscription =
            m::ConsumerProtocolSubscription { topics: self.topics.clone(), ..Default::default() };
        let metadata = encode_prefixed(&subscription, BLOB_VERSION).map_err(|_| too_long())?;
        let request = m::JoinGroupRequest {
            group_id: self.config.group_id.clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: PROTOCOL.to_owned(),
                metadata: metadata.into(),
            }],
            ..Default::default()
        };
        let coordinator = self.coordinator().await?;
        let connection = self.client.connection(coordinator).await?;
        // The coordinator waits for the other members.
        let timeout = self.client.config().request_timeout + self.config.rebalance_timeout;
        let joined = connection.call(&request, timeout).await?;
        if !joined.member_id.is_empty() {
            self.member_id.clone_from(&joined.member_id);
        }
        self.generation = joined.generation_id;
        Ok(joined)
    }

    /// How many partitions the topics have that any member wants.
    async fn count_partitions(
        &self,
        joined: &m::JoinGroupResponse,
    ) -> Result<BTreeMap<String, i32>, ClientError> {
        let mut names: Vec<String> =
            subscribers(joined)?.into_iter().flat_map(|subscriber| subscriber.topics).collect();
        names.sort();
        names.dedup();
        let metadata = self.client.refresh(Topics::Named(&names)).await?;
        let count = |name: String| {
            let count = metadata.topics.get(&name)?.partitions.len();
            Some((name, i32::try_from(count).ok()?))
        };
        Ok(names.into_iter().filter_map(count).collect())
    }

    /// Tells the coordinator that the member is there. When another broker becomes the coordinator, that one is told:
    /// it knows the member, whose share stands.
    pub(super) fn start_classic_heartbeat(&self) -> Task {
        let request = m::HeartbeatRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
        };
        let (client, stable, known) = (self.client.clone(), self.stable.clone(), self.coordinator.clone());
        let interval = self.config.heartbeat_interval;
        task::spawn("heartbeat", async move {
            let mut backoff = Backoff::new(client.config());
            let mut pause = interval;
            loop {
                tokio::time::sleep(pause).await;
                match beat(&client, &known, &request).await {
                    Ok(()) => {
                        backoff.reset();
                        pause = interval;
                    }
                    Err(error) if is_passing(&error) => pause = backoff.next().min(interval),
                    Err(_) => {
                        stable.send_replace(false);
                        return;
                    }
                }
            }
        })
    }

    /// Leaves, so that the others need not wait; a member with a name of its own does not.
    pub(super) async fn leave_classic(&self, coordinator: NodeId) -> Result<(), ClientError> {
        if self.config.instance_id.is_some() {
            return Ok(());
        }
        let request = m::LeaveGroupRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            members: vec![MemberIdentity { member_id: self.member_id.clone(), ..Default::default() }],
        };
        self.client.call(coordinator, &request).await.map(drop)
    }
}

/// One heartbeat.
async fn beat(client: &Client, known: &Known, request: &m::HeartbeatRequest) -> Result<(), ClientError> {
    let beat = async |coordinator| {
        let answer = client.call(coordinator, request).await?;
        ClientError::check(answer.error_code, None)
    };
    known.ask(client, &request.group_id, beat).await
}

fn subscribers(joined: &m::JoinGroupResponse) -> Result<Vec<Subscriber>, ClientError> {
    let subscriber = |member: &m::join_group_response::JoinGroupResponseMember| {
        let (_, subscription) = decode_prefixed::<m::ConsumerProtocolSubscription>(member.metadata.clone())
            .map_err(|_| ClientError::Incomplete("JoinGroup"))?;
        Ok(Subscriber {
            order: member.group_instance_id.clone().unwrap_or_else(|| member.member_id.clone()),
            member_id: member.member_id.clone(),
            topics: subscription.topics,
        })
    };
    joined.members.iter().map(subscriber).collect()
}

/// What the leader of the group sends: every member's share.
fn share_out(
    joined: &m::JoinGroupResponse,
    partitions: &BTreeMap<String, i32>,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let shares = range(&subscribers(joined)?, partitions);
    let encode = |(member_id, share): (String, Vec<TopicPartition>)| {
        let assigned_partitions = TopicPartition::by_topic(&share)
            .into_iter()
            .map(|(topic, partitions)| m::consumer_protocol_assignment::TopicPartition {
                topic: topic.to_owned(),
                partitions,
            })
            .collect();
        let blob = m::ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        let assignment = encode_prefixed(&blob, BLOB_VERSION).map_err(|_| too_long())?.into();
        Ok(SyncGroupRequestAssignment { member_id, assignment })
    };
    shares.into_iter().map(encode).collect()
}

fn decode_share(blob: bytes::Bytes) -> Result<Vec<TopicPartition>, ClientError> {
    if blob.is_empty() {
        return Ok(Vec::new());
    }
    let (_, share) = decode_prefixed::<m::ConsumerProtocolAssignment>(blob)
        .map_err(|_| ClientError::Incomplete("SyncGroup"))?;
    let partitions = share.assigned_partitions.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    Ok(partitions.collect())
}

fn too_long() -> ClientError {
    ClientError::refused(ErrorCode::InvalidRequest, Some("a topic's name is too long".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::join_group_response::JoinGroupResponseMember;

    #[test]
    fn what_the_leader_shares_out_every_member_reads() {
        let subscription =
            m::ConsumerProtocolSubscription { topics: vec!["t".to_owned()], ..Default::default() };
        let metadata: bytes::Bytes = encode_prefixed(&subscription, BLOB_VERSION).unwrap().into();
        let member = |id: &str| JoinGroupResponseMember {
            member_id: id.to_owned(),
            metadata: metadata.clone(),
            ..Default::default()
        };
        let joined = m::JoinGroupResponse { members: vec![member("a"), member("b")], ..Default::default() };

        let shares = share_out(&joined, &BTreeMap::from([("t".to_owned(), 3)])).unwrap();

        let read: Vec<Vec<TopicPartition>> =
            shares.into_iter().map(|share| decode_share(share.assignment).unwrap()).collect();
        assert_eq!(read[0], [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]);
        assert_eq!(read[1], [TopicPartition::new("t", 2)]);
    }

    #[test]
    fn a_member_without_a_share_has_none() {
        assert_eq!(decode_share(bytes::Bytes::new()).unwrap(), []);
        assert!(decode_share(bytes::Bytes::from_static(b"\0\x01\xff")).is_err());
    }
}
