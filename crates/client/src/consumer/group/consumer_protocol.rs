//! The protocol of KIP-848: ConsumerGroupHeartbeat. The coordinator tells a member what is its own, the member what it has made of
//! that: it lets go of what it loses, says so, and is given what others have let go of.

use super::{Known, Membership, is_passing, millis};
use crate::client::{Backoff, Client, Topics};
use crate::error::ClientError;
use ottla_net::{Task, task};
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse,
};
use ottla_types::{NodeId, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The partitions of a member, by the ids of their topics.
pub(super) type Owned = BTreeMap<Uuid, BTreeSet<i32>>;

/// The epoch by which a member joins.
const JOINING: i32 = 0;

/// The epoch by which a member leaves.
const LEAVING: i32 = -1;

/// The epoch by which a member with a name of its own leaves: what it owns is kept for it during its session.
const LEAVING_FOR_A_WHILE: i32 = -2;

/// How often a member takes over what it is told before it reads: each answer may tell of more that others have let go of.
const ANSWERS_MAX: usize = 8;

fn owned(assignment: &Assignment) -> Owned {
    let parts = assignment.topic_partitions.iter();
    parts.map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect())).collect()
}

impl Membership {
    /// Joins, or takes over what the coordinator has told since: what is this member's no more, nobody reads here when this is
    /// called.
    pub(super) async fn join_consumer(&mut self) -> Result<Vec<TopicPartition>, ClientError> {
        for _ in 0..ANSWERS_MAX {
            let answer = self.tell_all().await?;
            self.epoch.send_replace(answer.member_epoch);
            self.generation = answer.member_epoch;
            self.config.heartbeat_interval = interval(&answer);
            let told = answer.assignment.as_ref().map_or_else(|| self.owned.clone(), owned);
            if std::mem::replace(&mut self.owned, told.clone()) == told {
                break;
            }
        }
        self.named_share().await
    }

    /// Tells the coordinator all of this member; the answer tells all that is its own.
    async fn tell_all(&self) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
        let own = self.owned.iter().map(|(&topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.iter().copied().collect(),
        });
        let request = ConsumerGroupHeartbeatRequest {
            instance_id: self.config.instance_id.clone(),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            subscribed_topic_names: Some(self.topics.clone()),
            server_assignor: self.config.remote_assignor.clone(),
            topic_partitions: Some(own.collect()),
            ..self.request(*self.epoch.borrow())
        };
        beat(&self.client, &self.coordinator, &request).await
    }

    /// What tells that the member is there, and nothing else.
    fn request(&self, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            member_epoch,
            ..Default::default()
        }
    }

    /// What this member owns, by the names of topics. One that the brokers do not know any more is gone, and what is
    /// this member's changes shortly.
    async fn named_share(&self) -> Result<Vec<TopicPartition>, ClientError> {
        let metadata = self.client.metadata();
        let is_known = |id: &Uuid| metadata.topic_name(*id).is_some();
        let metadata = match self.owned.keys().all(is_known) {
            true => metadata,
            false => self.client.refresh(Topics::Named(&self.topics)).await?,
        };
        let named = |(&id, partitions): (&Uuid, &BTreeSet<i32>)| {
            let name = metadata.topic_name(id)?;
            Some(partitions.iter().map(|&partition| TopicPartition::new(name, partition)).collect())
        };
        let shares: Vec<Vec<TopicPartition>> = self.owned.iter().filter_map(named).collect();
        Ok(shares.concat())
    }

    /// Tells the coordinator that the member is there. The shares stand until the coordinator tells of another, or does not know
    /// the member.
    pub(super) fn start_consumer_heartbeat(&self) -> Task {
        let mut request = self.request(*self.epoch.borrow());
        let (client, known) = (self.client.clone(), self.coordinator.clone());
        let (stable, epoch) = (self.stable.clone(), self.epoch.clone());
        let (own, mut pause) = (self.owned.clone(), self.config.heartbeat_interval);
        task::spawn("heartbeat", async move {
            let mut backoff = Backoff::new(client.config());
            loop {
                tokio::time::sleep(pause).await;
                match beat(&client, &known, &request).await {
                    Ok(answer) => {
                        backoff.reset();
                        pause = interval(&answer);
                        request.member_epoch = answer.member_epoch;
                        epoch.send_replace(answer.member_epoch);
                        if answer.assignment.is_some_and(|assignment| owned(&assignment) != own) {
                            // Whoever owns it now goes on telling that it is there, until the reader has let go.
                            stable.send_replace(false);
                        }
                    }
                    Err(error) if is_passing(&error) => pause = backoff.next().min(pause),
                    Err(error) => {
                        tracing::debug!(%error, "the group does not know the member any more");
                        stable.send_replace(false);
                        return;
                    }
                }
            }
        })
    }

    /// Leaves, so that the others need not wait; with a name of its own only for a while.
    pub(super) async fn leave_consumer(&self, coordinator: NodeId) -> Result<(), ClientError> {
        if *self.epoch.borrow() == JOINING {
            return Ok(());
        }
        let epoch = if self.config.instance_id.is_some() { LEAVING_FOR_A_WHILE } else { LEAVING };
        let request = ConsumerGroupHeartbeatRequest {
            instance_id: self.config.instance_id.clone(),
            ..self.request(epoch)
        };
        call(&self.client, coordinator, &request).await.map(drop)
    }
}

fn interval(answer: &ConsumerGroupHeartbeatResponse) -> Duration {
    // The coordinator of a broken cluster may say nothing that makes sense.
    Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or_default().max(100))
}

/// One heartbeat.
async fn beat(
    client: &Client,
    known: &Known,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
    known.ask(client, &request.group_id, async |coordinator| call(client, coordinator, request).await).await
}

async fn call(
    client: &Client,
    coordinator: NodeId,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
    let answer = client.call(coordinator, request).await?;
    ClientError::check(answer.error_code, answer.error_message.clone())?;
    Ok(answer)
}
