//! Membership of a classic group: joining, heartbeats, commits, leaving (KIP-62, KIP-394).

use super::assignor::{Subscriber, range};
use crate::client::{Client, Topics};
use crate::error::ClientError;
use ottla_net::{Task, task};
use ottla_protocol::messages as m;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::{ErrorCode, decode_prefixed, encode_prefixed};
use ottla_types::{NodeId, Offset, TopicPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How a member takes part.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group's id.
    pub group_id: String,
    /// A name of the member's own, by which it is known again when it comes back within its session: it does not leave
    /// (`group.instance.id`, KIP-345).
    pub instance_id: Option<String>,
    /// After how long without a heartbeat the member counts as gone (`session.timeout.ms`).
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
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: true,
        }
    }
}

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

/// The version of the blobs in which members and their leader tell each other topics and shares.
const BLOB_VERSION: i16 = 1;

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
    /// True while the shares stand; the heartbeat says when they do not.
    stable: watch::Sender<bool>,
    heartbeat: Option<Task>,
}

impl Membership {
    /// Not a member yet.
    pub fn new(client: Client, config: GroupConfig, topics: Vec<String>) -> Membership {
        Membership {
            client,
            config,
            topics,
            coordinator: Known::default(),
            member_id: String::new(),
            generation: -1,
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
        let mut backoff = crate::client::Backoff::new(&self.client.config().clone());
        loop {
            match self.try_join().await {
                Ok(share) => {
                    self.stable.send_replace(true);
                    self.heartbeat = Some(self.start_heartbeat());
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
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.member_id.clear();
                self.generation = -1;
                Ok(())
            }
            _ if error.is_retriable() => {
                self.coordinator = Known::default();
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn try_join(&mut self) -> Result<Vec<TopicPartition>, ClientError> {
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
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
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

    /// The broker that coordinates the group.
    async fn coordinator(&self) -> Result<NodeId, ClientError> {
        self.coordinator.find(&self.client, &self.config.group_id).await
    }

    /// Tells the coordinator that the member is there. When another broker becomes the coordinator, that one is told:
    /// it knows the member, whose share stands.
    fn start_heartbeat(&self) -> Task {
        let request = m::HeartbeatRequest {
            group_id: self.config.group_id.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance_id.clone(),
        };
        let (client, stable, known) = (self.client.clone(), self.stable.clone(), self.coordinator.clone());
        let interval = self.config.heartbeat_interval;
        task::spawn("heartbeat", async move {
            let mut backoff = crate::client::Backoff::new(client.config());
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
        let coordinator = self.coordinator().await?;
        let group_id = &self.config.group_id;
        let mut request = commit_request(&self.client, group_id, &self.member_id, self.generation, offsets);
        request.group_instance_id.clone_from(&self.config.instance_id);
        let committed = self.client.call(coordinator, &request).await.and_then(|response| {
            let parts = response.topics.iter().flat_map(|topic| &topic.partitions);
            parts.map(|part| part.error_code).try_for_each(|code| ClientError::check(code, None))
        });
        if committed.as_ref().is_err_and(has_moved) {
            self.coordinator.forget(coordinator);
        }
        committed
    }

    /// Leaves, so that the others need not wait; a member with a name of its own does not. That it fails does not matter: the session ends anyway.
    pub async fn leave(&mut self) {
        self.heartbeat = None;
        if self.config.instance_id.is_some() {
            return;
        }
        let (Some(coordinator), false) = (self.coordinator.get(), self.member_id.is_empty()) else { return };
        let request = m::LeaveGroupRequest {
            group_id: self.config.group_id.clone(),
            member_id: self.member_id.clone(),
            members: vec![MemberIdentity { member_id: self.member_id.clone(), ..Default::default() }],
        };
        if let Err(error) = self.client.call(coordinator, &request).await {
            tracing::debug!(%error, "the group was not left");
        }
    }
}

/// One heartbeat. Who does not coordinate the group is forgotten.
async fn beat(client: &Client, known: &Known, request: &m::HeartbeatRequest) -> Result<(), ClientError> {
    let coordinator = known.find(client, &request.group_id).await?;
    let answer = client.call(coordinator, request).await;
    let answered = answer.and_then(|answer| ClientError::check(answer.error_code, None));
    if answered.as_ref().is_err_and(has_moved) {
        known.forget(coordinator);
    }
    answered
}

/// Whether the member's share may stand all the same: nobody who coordinates the group has said otherwise.
fn is_passing(error: &ClientError) -> bool {
    has_moved(error) || error.code() == Some(ErrorCode::CoordinatorLoadInProgress)
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

    #[test]
    fn a_member_without_a_share_has_none() {
        assert_eq!(decode_share(bytes::Bytes::new()).unwrap(), []);
        assert!(decode_share(bytes::Bytes::from_static(b"\0\x01\xff")).is_err());
    }
}
