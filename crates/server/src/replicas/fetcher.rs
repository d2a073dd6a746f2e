//! Followers copy: one task for each leader fetches for all replicas that follow it.
//!
//! That a follower asks for an offset says that it has everything before; nothing else acknowledges. With
//! `flush.messages=1` it says that everything before is on its disk, and is synced first.

use super::Replica;
use super::fetch_session::{FetchSession, Followed, Limits, REST};
use super::flusher::SYNCS_MAX;
use crate::broker::Broker;
use crate::io_pool::IoPool;
use ottla_net::{CallError, Network, Outgoing, Task, task};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_request::{FetchRequest, ReplicaState};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_replication::{AppendError, Effects, FetchPosition};
use ottla_storage::AppendError as LogAppendError;
use ottla_types::{LeaderEpoch, NodeId, Offset, OffsetAndEpoch, TopicIdPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait after an error before asking again: an election is over sooner than any longer pause.
const BACKOFF: Duration = Duration::from_millis(10);

/// How long to wait before dialling a leader again that cannot be reached.
const DIAL_BACKOFF: Duration = Duration::from_millis(50);

/// How much longer than the fetch itself an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Starts a fetcher for each leader, and tells each which replicas follow it.
pub async fn run(broker: Arc<Broker>, network: Arc<dyn Network>, syncs: IoPool) {
    let mut fetchers: BTreeMap<NodeId, (watch::Sender<Arc<Followed>>, Task)> = BTreeMap::new();
    loop {
        let mut by_leader: BTreeMap<NodeId, BTreeMap<TopicIdPartition, Arc<Replica>>> = BTreeMap::new();
        for replica in broker.replicas.all() {
            let leader = replica.lock().followed();
            if let Some(leader) = leader {
                by_leader.entry(leader).or_default().insert(replica.id, replica);
            }
        }
        for (leader, (followed, _)) in &fetchers {
            let now = by_leader.remove(leader).unwrap_or_default();
            // Told even when the set is the same: the term may be another, and what is parked at the leader
            // was asked for in the old one.
            followed.send_replace(Arc::new(now));
        }
        for (leader, followed) in by_leader {
            let sender = watch::Sender::new(Arc::new(followed));
            let fetcher = Fetcher {
                broker: broker.clone(),
                network: network.clone(),
                syncs: syncs.clone(),
                leader,
                followed: sender.subscribe(),
            };
            fetchers.insert(leader, (sender, task::spawn("fetcher", fetcher.run())));
        }
        broker.replicas.following_changed().await;
    }
}

struct Fetcher {
    broker: Arc<Broker>,
    network: Arc<dyn Network>,
    syncs: IoPool,
    leader: NodeId,
    followed: watch::Receiver<Arc<Followed>>,
}

impl Fetcher {
    async fn run(mut self) {
        let mut connection: Option<Outgoing> = None;
        let mut session = FetchSession::default();
        let mut followed: Arc<Followed> = Arc::default();
        loop {
            let current = self.followed.borrow_and_update().clone();
            if !Arc::ptr_eq(&followed, &current) {
                followed = current;
                session.touch_all();
            }
            if followed.is_empty() {
                // An idle connection is kept: its end is how this broker learns of the peer's.
                if let Some(open) = connection.take().filter(|open| !open.is_closed()) {
                    tokio::select! {
                        biased;
                        changed = self.followed.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            connection = Some(open);
                        }
                        () = open.closed() => self.broker.peers.outbound_closed(self.leader),
                    }
                    continue;
                }
                if self.followed.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let open = match connection.take().filter(|open| !open.is_closed()) {
                Some(open) => open,
                None => match self.connect().await {
                    Ok(open) => {
                        self.broker.peers.outbound(self.leader);
                        session.lost();
                        open
                    }
                    Err(error) => {
                        tracing::debug!(leader = self.leader.0, %error, "cannot fetch");
                        if self.pause(DIAL_BACKOFF).await {
                            continue;
                        }
                        return;
                    }
                },
            };
            self.sync(&session, &followed).await;
            let request = self.request(&mut session, &followed);
            let wait = self.wait_max() + ANSWER_PATIENCE;
            // When another set is to be followed, the answer to the old question is left unread: asking anew
            // makes the leader answer it at once.
            let outcome = tokio::select! {
                biased;
                answer = open.call(&request, wait) => Some(answer),
                changed = self.followed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    None
                }
            };
            match outcome {
                // What the unread answer tells, the leader does not tell again in the same session.
                None => session.restart(),
                Some(Ok(response)) => {
                    self.broker.peers.outbound(self.leader);
                    let well = self.handle_response(response, &followed, &mut session);
                    if !well && !self.pause(BACKOFF).await {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(leader = self.leader.0, %error, "fetch failed");
                    self.broker.peers.outbound_closed(self.leader);
                    if !self.pause(BACKOFF).await {
                        return;
                    }
                    continue;
                }
            }
            connection = Some(open);
        }
    }

    /// Waits a moment, or until another set is to be followed; false when the broker stops.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            changed = self.followed.changed() => {
                if changed.is_ok() {
                    self.followed.mark_changed();
                }
                changed.is_ok()
            }
            () = tokio::time::sleep(pause) => true,
        }
    }

    async fn connect(&self) -> Result<Outgoing, CallError> {
        let image = self.broker.image();
        let listener = &self.broker.config.inter_broker_listener;
        let endpoint = image.cluster.broker(self.leader).and_then(|broker| broker.endpoint(listener));
        let Some(endpoint) = endpoint else {
            return Err(CallError::Malformed(format!("node {} has no listener {listener}", self.leader)));
        };
        let client_id = format!("broker-{}-fetcher", self.broker.node_id).into();
        Outgoing::connect(&*self.network, &endpoint.host, endpoint.port, client_id, ANSWER_PATIENCE).await
    }

    /// Asking for what comes next acknowledges all before: with `flush.messages=1` it has to be on disk first. Everything
    /// that the last answer brought is synced together; who follows the same leader waits meanwhile, as in Kafka.
    async fn sync(&self, session: &FetchSession, followed: &Followed) {
        let is_due = |replica: &&Arc<Replica>| {
            let partition = replica.lock();
            partition.counts_on_disk() && partition.is_flush_due()
        };
        let due: Vec<Arc<Replica>> = session.touched(followed).filter(is_due).cloned().collect();
        if due.is_empty() {
            return;
        }
        let sync = |some: &[Arc<Replica>]| {
            let (broker, some) = (self.broker.clone(), some.to_vec());
            self.syncs.run(move || some.iter().for_each(|replica| broker.replicas.flush_records(replica)))
        };
        let jobs: Vec<_> = due.chunks(due.len().div_ceil(SYNCS_MAX)).map(sync).collect();
        for job in jobs {
            if job.await.is_err() {
                tracing::error!(leader = self.leader.0, "a sync ended in a panic");
            }
        }
    }

    fn wait_max(&self) -> Duration {
        self.broker.config.properties.millis("replica.fetch.wait.max.ms")
    }

    fn request(&self, session: &mut FetchSession, followed: &Followed) -> FetchRequest {
        let number = |name| i32::try_from(self.broker.config.properties.number(name)).unwrap_or(i32::MAX);
        let mut request = FetchRequest {
            replica_id: self.broker.node_id.0,
            replica_state: ReplicaState {
                replica_id: self.broker.node_id.0,
                replica_epoch: self.broker.epoch.borrow().0,
            },
            max_wait_ms: number("replica.fetch.wait.max.ms"),
            min_bytes: 1,
            max_bytes: number("replica.fetch.response.max.bytes"),
            ..Default::default()
        };
        let now = self.broker.clock.monotonic();
        let throttle = *self.broker.replicas.throttles().follower.lock();
        let limits = Limits::new(number("replica.fetch.max.bytes"), &throttle, followed, now);
        session.fill(&mut request, self.leader, followed, limits, now);
        request
    }

    /// Takes over what came. Partitions of which not all was well rest for a moment; false when nothing was.
    fn handle_response(
        &self,
        response: FetchResponse,
        followed: &Followed,
        session: &mut FetchSession,
    ) -> bool {
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => session.answered(response.session_id),
            error @ (ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError) => {
                tracing::debug!(
                    leader = self.leader.0,
                    error = error.name(),
                    "the fetch session begins anew"
                );
                let was_new = session.is_new();
                session.lost();
                return !was_new;
            }
            error => {
                tracing::warn!(leader = self.leader.0, error = error.name(), "fetch refused");
                session.lost();
                return false;
            }
        }
        for topic in response.responses {
            for data in topic.partitions {
                let at = TopicIdPartition::new(topic.topic_id, data.partition_index);
                let (Some(replica), Some(position)) = (followed.get(&at), session.position(at)) else {
                    continue;
                };
                session.touch(at);
                if !self.handle_partition(replica, position, data) {
                    session.rest(at, self.broker.clock.monotonic() + REST);
                }
            }
        }
        true
    }

    fn handle_partition(&self, replica: &Replica, asked: FetchPosition, data: PartitionData) -> bool {
        let now = self.broker.clock.now();
        match ErrorCode::from(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => return self.start_over(replica, asked, &data),
            error => {
                tracing::debug!(partition = %replica.name, error = error.name(), "not fetched");
                return false;
            }
        }
        let diverging = OffsetAndEpoch {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            offset: Offset(data.diverging_epoch.end_offset),
        };
        if diverging.offset.is_some() {
            let start = Offset(data.log_start_offset);
            return match self.broker.replicas.truncate(replica, diverging, start, asked.leader_epoch) {
                Ok(end) => {
                    let from = asked.fetch_offset;
                    tracing::info!(partition = %replica.name, %from, to = %end, "cut what the leader does not have");
                    true
                }
                Err(error) => {
                    self.broker.replicas.handle_storage_error(&error);
                    false
                }
            };
        }
        let records = match data.records.map(|records| records.to_bytes()) {
            Some(Ok(records)) => records,
            Some(Err(_)) | None => Default::default(),
        };
        let mut effects = Effects::default();
        let mut partition = replica.lock();
        let appended = partition.append_as_follower(
            &records,
            asked.leader_epoch,
            Offset(data.high_watermark),
            Offset(data.log_start_offset),
            now,
            &mut effects,
        );
        // With 1 it is synced before the next fetch.
        let is_flush_due = partition.is_flush_due() && !partition.counts_on_disk();
        let is_behind = partition.log().log_end_offset().0 < data.high_watermark;
        drop(partition);
        self.broker.replicas.carry_out(effects);
        if replica.throttled.as_follower() {
            self.broker.replicas.throttles().follower.lock().record(records.len() as u64, now.monotonic);
        }
        replica.throttled.answered(is_behind);
        if is_flush_due {
            self.broker.replicas.flushes().request(replica.id);
        }
        match appended {
            Ok(_) => true,
            // The answer to a question of an earlier term.
            Err(AppendError::NotLeader) => true,
            Err(AppendError::Log(LogAppendError::Storage(error))) => {
                self.broker.replicas.handle_storage_error(&error);
                false
            }
            Err(error) => {
                tracing::warn!(partition = %replica.name, %error, "what was fetched is not appended");
                false
            }
        }
    }

    /// The leader's log does not hold what this follower asks for.
    fn start_over(&self, replica: &Replica, asked: FetchPosition, data: &PartitionData) -> bool {
        let start = Offset(data.log_start_offset);
        if start <= asked.fetch_offset {
            // A follower that is ahead is told where the logs part; this can only be one that fell behind the
            // leader's oldest record.
            return false;
        }
        let now = self.broker.clock.now();
        let done = replica.lock().handle_out_of_range(start, start, asked.leader_epoch, now);
        match done {
            Ok(offset) => {
                tracing::warn!(partition = %replica.name, %offset, "starts over where the leader's log is");
                true
            }
            Err(error) => {
                self.broker.replicas.handle_storage_error(&error);
                false
            }
        }
    }
}
