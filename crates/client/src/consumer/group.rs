//! Membership of a group: joining, heartbeats, commits, leaving. What differs from protocol to protocol is in [`classic_protocol`]
//! and [`consumer_protocol`].

mod classic_protocol;
mod consumer_protocol;

use crate::client::{Backoff, Client, Topics};
use crate::error::ClientError;
use consumer_protocol::Owned;
use ottla_net::Task;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages as m;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_types::{NodeId, Offset, TopicPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How the members of a group and its coordinator speak (`group.protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the members gives each its share, and all stop for that.
    Classic,
    /// The coordinator does, and only who loses something stops reading that (KIP-848).
    Consumer,
}

/// How a member takes part.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group's id.
    pub group_id: String,
    /// How it speaks.
    pub protocol: GroupProtocol,
    /// By which assignor of the coordinator the shares are made; its own choice if `None`. Not of the classic protocol
    /// (`group.remote.assignor`).
    pub remote_assignor: Option<String>,
    /// A name of the member's own, by which it is known again when it comes back within its session: it does not leave
    /// (`group.instance.id`, KIP-345).
    pub instance_id: Option<String>,
    /// After how long without a heartbeat the member counts as gone (`session.timeout.ms`). Only of the classic protocol; by the
    /// other the coordinator says so, and how often to send a heartbeat.
    pub session_timeout: Duration,
    /// How long the others wait for the member when shares change (`max.poll.interval.ms`).
    pub rebalance_timeout: Duration,
    /// How often to send a heartbeat (`heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// Whether what was read is committed when shares change and on leaving (`enable.auto.commit`).
    pub auto_commit: bool,
}

impl GroupConfig {
    /// A group with Kafka's times.
    pub fn new(group_id: impl Into<String>) -> GroupConfig {
        GroupConfig {
            group_id: group_id.into(),
            protocol: GroupProtocol::Classic,
            remote_assignor: None,
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: true,
        }
    }
}

/// The broker that coordinates a group, as far as it is known. A member and its heartbeat share it.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Option<NodeId>>>);

impl Known {
    fn get(&self) -> Option<NodeId> {
        *self.0.lock()
    }

    /// The broker that coordinates the group, which is looked for if need be.
    async fn find(&self, client: &Client, group_id: &str) -> Result<NodeId, ClientError> {
        if let Some(coordinator) = self.get() {
            return Ok(coordinator);
        }
        let coordinator = find_coordinator(client, group_id).await?;
        *self.0.lock() = Some(coordinator);
        Ok(coordinator)
    }

    /// Asks the broker that coordinates the group. When that is another one, or will be, it is looked for the next time.
    async fn ask<R>(
        &self,
        client: &Client,
        group_id: &str,
        ask: impl AsyncFnOnce(NodeId) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        let coordinator = self.find(client, group_id).await?;
        let answer = ask(coordinator).await;
        if answer.as_ref().is_err_and(has_moved) {
            self.forget(coordinator);
        }
        answer
    }

    /// Another one has to be looked for, unless that has been done meanwhile.
    fn forget(&self, coordinator: NodeId) {
        let mut known = self.0.lock();
        if *known == Some(coordinator) {
            *known = None;
        }
    }
}

/// Whether an answer says that another broker coordinates the group, or will.
fn has_moved(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
        // It may be gone.
        None => error.is_retriable(),
    }
}

/// A member of a group, or on the way to be.
pub struct Membership {
    client: Client,
    config: GroupConfig,
    topics: Vec<String>,
    coordinator: Known,
    member_id: String,
    generation: i32,
    /// The generation, or what it has become while the share stands (KIP-848). The heartbeat says so.
    epoch: watch::Sender<i32>,
    /// What the coordinator knows to be this member's (KIP-848).
    owned: Owned,
    /// True while the shares stand; the heartbeat says when they do not.
    stable: watch::Sender<bool>,
    heartbeat: Option<Task>,
}

impl Membership {
    /// Not a member yet.
    pub fn new(client: Client, config: GroupConfig, topics: Vec<String>) -> Membership {
        let member_id = match config.protocol {
            // The coordinator gives it one.
            GroupProtocol::Classic => String::new(),
            GroupProtocol::Consumer => client.random_uuid().to_string(),
        };
        Membership {
            client,
            config,
            topics,
            coordinator: Known::default(),
            member_id,
            generation: -1,
            epoch: watch::Sender::new(0),
            owned: Owned::default(),
            stable: watch::Sender::new(false),
            heartbeat: None,
        }
    }

    /// Whether the member has a share that stands.
    pub fn is_stable(&self) -> bool {
        *self.stable.borrow()
    }

    /// The generation that it has joined last; −1 before that.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Joins again at the next opportunity: the shares do not stand any more, as far as this member is concerned.
    pub fn rejoin(&mut self) {
        self.stable.send_replace(false);
    }

    /// Whether a member reads on what stays with it when it joins again.
    pub fn keeps_its_place(&self) -> bool {
        self.config.protocol == GroupProtocol::Consumer
    }

    /// Whether what was read is committed without being asked.
    pub fn auto_commits(&self) -> bool {
        self.config.auto_commit
    }

    /// Waits until the shares must be made anew.
    pub async fn rebalance_needed(&self) {
        let mut stable = self.stable.subscribe();
        // The sender lives as long as we do.
        let _ = stable.wait_for(|&stable| !stable).await;
    }

    /// Joins, or joins again; returns the member's share.
    ///
    /// # Errors
    /// When the coordinator refuses for good, or does not answer in time.
    pub async fn join(&mut self) -> Result<Vec<TopicPartition>, ClientError> {
        self.heartbeat = None;
        let limit = self.client.config().deadline + self.config.rebalance_timeout;
        let deadline = tokio::time::Instant::now() + limit;
        let mut backoff = Backoff::new(&self.client.config().clone());
        loop {
            let joined = match self.config.protocol {
                GroupProtocol::Classic => self.join_classic().await,
                GroupProtocol::Consumer => self.join_consumer().await,
            };
            match joined {
                Ok(share) => {
                    self.stable.send_replace(true);
                    self.heartbeat = Some(match self.config.protocol {
                        GroupProtocol::Classic => self.start_classic_heartbeat(),
                        GroupProtocol::Consumer => self.start_consumer_heartbeat(),
                    });
                    return Ok(share);
                }
                Err(error) => self.judge(error)?,
            }
            if tokio::time::Instant::now() >= deadline {
                let last = "the group is rebalancing".to_owned();
                return Err(ClientError::TimedOut { what: "joinGroup", after: limit, last });
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Forgets what the error says is void; fails if joining again would not help.
    fn judge(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error.code() {
            // The coordinator gave us an id to join with (KIP-394).
            Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => Ok(()),
            Some(
                ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedMemberEpoch,
            ) => {
                self.generation = -1;
                self.epoch.send_replace(0);
                self.owned = Owned::default();
                if self.config.protocol == GroupProtocol::Classic {
                    self.member_id.clear();
                }
                Ok(())
            }
            _ if error.is_retriable() => {
                self.coordinator = Known::default();
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// The broker that coordinates the group.
    async fn coordinator(&self) -> Result<NodeId, ClientError> {
        self.coordinator.find(&self.client, &self.config.group_id).await
    }

    /// The offsets committed for these partitions; not those that have none.
    ///
    /// # Errors
    /// When the coordinator refuses, or does not answer in time.
    pub async fn committed(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
        let all = crate::admin::groups::committed_offsets(&self.client, &self.config.group_id).await?;
        Ok(partitions
            .iter()
            .filter_map(|at| Some((at.clone(), all.get(at)?.offset)))
            .filter(|(_, offset)| offset.is_some())
            .collect())
    }

    /// Commits: the offsets are those of the next records to be read.
    ///
    /// # Errors
    /// When the coordinator refuses, or does not answer in time.
    pub async fn commit(&mut self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), ClientError> {
        let epoch = self.current_epoch();
        let committed = self.try_commit(epoch, offsets).await;
        let is_stale =
            committed.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::StaleMemberEpoch));
        if is_stale && self.is_stable() {
            // The coordinator has answered a heartbeat with a newer one, which is on its way.
            let mut known = self.epoch.subscribe();
            let patience = self.client.config().request_timeout;
            let newer = tokio::time::timeout(patience, known.wait_for(|&known| known != epoch)).await;
            if newer.is_ok_and(|newer| newer.is_ok()) {
                return self.try_commit(self.current_epoch(), offsets).await;
            }
        }
        committed
    }

    async fn try_commit(
        &self,
        epoch: i32,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ClientError> {
        let group_id = &self.config.group_id;
        let commit = async |coordinator| {
            let mut request = commit_request(&self.client, group_id, &self.member_id, epoch, offsets);
            request.group_instance_id.clone_from(&self.config.instance_id);
            let response = self.client.call(coordinator, &request).await?;
            let parts = response.topics.iter().flat_map(|topic| &topic.partitions);
            parts.map(|part| part.error_code).try_for_each(|code| ClientError::check(code, None))
        };
        self.coordinator.ask(&self.client, group_id, commit).await
    }

    fn current_epoch(&self) -> i32 {
        match self.config.protocol {
            GroupProtocol::Classic => self.generation,
            GroupProtocol::Consumer => *self.epoch.borrow(),
        }
    }

    /// Leaves, so that the others need not wait. That it fails does not matter: the session ends anyway.
    pub async fn leave(&mut self) {
        self.heartbeat = None;
        let (Some(coordinator), false) = (self.coordinator.get(), self.member_id.is_empty()) else { return };
        let left = match self.config.protocol {
            GroupProtocol::Classic => self.leave_classic(coordinator).await,
            GroupProtocol::Consumer => self.leave_consumer(coordinator).await,
        };
        if let Err(error) = left {
            tracing::debug!(%error, "the group was not left");
        }
    }
}

/// Whether the member's share may stand all the same: nobody who coordinates the group has said otherwise.
fn is_passing(error: &ClientError) -> bool {
    has_moved(error) || error.code() == Some(ErrorCode::CoordinatorLoadInProgress)
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The request that commits offsets. With generation −1 and no member it is an administrator's.
pub(crate) fn commit_request(
    client: &Client,
    group_id: &str,
    member_id: &str,
    generation: i32,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> m::OffsetCommitRequest {
    let metadata = client.metadata();
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic> = BTreeMap::new();
    for (at, offset) in offsets {
        let topic = topics.entry(&at.topic).or_insert_with(|| OffsetCommitRequestTopic {
            name: at.topic.clone(),
            topic_id: metadata.topics.get(&at.topic).map(|topic| topic.id).unwrap_or_default(),
            partitions: Vec::new(),
        });
        topic.partitions.push(OffsetCommitRequestPartition {
            partition_index: at.partition,
            committed_offset: offset.0,
            committed_leader_epoch: -1,
            committed_metadata: Some(String::new()),
        });
    }
    m::OffsetCommitRequest {
        group_id: group_id.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.to_owned(),
        topics: topics.into_values().collect(),
        ..Default::default()
    }
}

/// Finds the broker that coordinates a group.
///
/// # Errors
/// When none is found within the client's deadline, or asking is refused.
pub async fn find_coordinator(client: &Client, group_id: &str) -> Result<NodeId, ClientError> {
    find_coordinator_of(client, 0, group_id).await
}

/// Finds the broker that coordinates the transactions of a transactional id.
///
/// # Errors
/// As [`find_coordinator`].
pub async fn find_transaction_coordinator(
    client: &Client,
    transactional_id: &str,
) -> Result<NodeId, ClientError> {
    find_coordinator_of(client, 1, transactional_id).await
}

async fn find_coordinator_of(client: &Client, key_type: i8, key: &str) -> Result<NodeId, ClientError> {
    let request =
        m::FindCoordinatorRequest { key: key.to_owned(), key_type, coordinator_keys: vec![key.to_owned()] };
    client
        .retry("findCoordinator", || async {
            let answer = client.call_any(&request).await?;
            // Since version 4 there is a list; before, the answer is the one.
            let (code, message, id) = match answer.coordinators.into_iter().next() {
                Some(found) => (found.error_code, found.error_message, found.node_id),
                None => (answer.error_code, answer.error_message, answer.node_id),
            };
            ClientError::check(code, message)?;
            let id = NodeId(id);
            if !client.metadata().brokers.contains_key(&id) {
                client.refresh(Topics::Named(&[])).await?;
            }
            Ok(id)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_stands_while_the_coordinator_moves_and_falls_when_it_says_so() {
        let passes = |code| is_passing(&ClientError::refused(code, None));

        for code in [
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorLoadInProgress,
        ] {
            assert!(passes(code), "{code:?}");
        }
        for code in [ErrorCode::RebalanceInProgress, ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration]
        {
            assert!(!passes(code), "{code:?}");
        }
        assert!(is_passing(&ClientError::Call(ottla_net::CallError::Closed)));
    }

    #[test]
    fn a_coordinator_that_was_found_meanwhile_is_not_forgotten() {
        let known = Known(Arc::new(Mutex::new(Some(NodeId(2)))));

        known.forget(NodeId(1));
        assert_eq!(known.get(), Some(NodeId(2)));

        known.forget(NodeId(2));
        assert_eq!(known.get(), None);
    }
}
