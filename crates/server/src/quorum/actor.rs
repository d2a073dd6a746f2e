//! The task that owns the quorum's machine and the active controller, and carries out what they decide.
//!
//! It runs on a runtime of its own and waits for nothing but the quorum's own disk: a stalled data log must
//! not look like a dead controller.

#[cfg(test)]
pub(crate) mod alone;
mod features;
mod snapshotting;

use super::handle::{Leadership, QuorumHandle};
use super::log::QuorumLog;
use super::peers::{PeerEvent, Peers};
use super::snapshot_fetch::SnapshotFetchError;
use super::snapshots::{Loaded, Snapshots};
use super::state_file::StateFile;
use crate::io_pool::IoPool;
use ottla_controller::bootstrap::{UnsupportedFeature, check_supported};
use ottla_controller::{Controller, Settings, bootstrap};
use ottla_metadata::{MetadataDelta, MetadataImage, MetadataVersion, Unreadable, frames};
use ottla_net::{Clock, Task, task};
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_protocol::records::metadata::{AbortTransactionRecord, MetadataRecord};
use ottla_raft::{
    AppendError, Effect, Effects, FetchSnapshotRequest, FetchSnapshotResponse, Quorum, QuorumDescription,
    QuorumError, ReplicatedLog, Request, RequestId, Response, VoterSet,
};
use ottla_storage::FlushTarget;
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, OffsetAndEpoch};
pub use snapshotting::SnapshotPolicy;
use snapshotting::{Kept, Snapshotting};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// What the controller is asked to decide, and how the answer leaves once it is known whether the decision
/// is committed.
pub(super) type ControllerJob = Box<dyn FnOnce(&mut Controller, Now) -> (Vec<MetadataRecord>, Answer) + Send>;
type Answer = Box<dyn FnOnce(bool) + Send>;

/// What comes in.
pub(super) enum Event {
    Decide(ControllerJob),
    UpdateFeatures(UpdateFeaturesRequest, oneshot::Sender<UpdateFeaturesResponse>),
    Request(Request, oneshot::Sender<Response>),
    Peer(PeerEvent),
    FetchSnapshot(FetchSnapshotRequest, oneshot::Sender<FetchSnapshotResponse>),
    SnapshotWritten(OffsetAndEpoch, std::io::Result<Vec<Kept>>),
    SnapshotFetched(OffsetAndEpoch, Result<Box<Loaded>, SnapshotFetchError>),
    Describe(oneshot::Sender<Option<QuorumDescription>>),
    HighWatermark(oneshot::Sender<Option<Offset>>),
    ShutDown(oneshot::Sender<()>),
}

/// Events that may wait; then whoever sends one waits.
const EVENTS_MAX: usize = 4096;

/// What was committed since the last time, for the broker and whoever else follows.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The image after it.
    pub image: Arc<MetadataImage>,
    /// What it touched.
    pub delta: MetadataDelta,
}

/// Why the quorum's task ended. The node cannot go on without it.
#[derive(Debug, Error)]
pub enum QuorumFailed {
    /// The machine gave up.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The vote could not be written down.
    #[error("quorum-state: {0}")]
    State(#[from] std::io::Error),
    /// The log holds what cannot be read as metadata.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The cluster has agreed on what this node does not have.
    #[error(transparent)]
    UnsupportedFeature(#[from] UnsupportedFeature),
}

/// All that the quorum's task starts with.
pub struct Start {
    /// The machine, not started yet.
    pub quorum: Quorum<QuorumLog>,
    /// Where votes are written down.
    pub state_file: StateFile,
    /// The image of the latest snapshot.
    pub image: MetadataImage,
    /// The snapshots beside the log.
    pub snapshots: Snapshots,
    /// When to write them, and which to keep.
    pub snapshot_policy: SnapshotPolicy,
    /// What a new cluster begins with.
    pub bootstrap: Vec<MetadataRecord>,
    /// The active controller's settings.
    pub settings: Settings,
    /// `metadata.max.idle.interval.ms`; zero writes nothing.
    pub idle_interval: Duration,
    /// Connections to the other voters.
    pub peers: Peers,
    /// Where syncs run.
    pub io: IoPool,
    /// The clocks.
    pub clock: Clock,
    /// Gets everything that is committed, in order; `None` on a node without a broker.
    pub committed: Option<mpsc::Sender<Committed>>,
    /// Gets the image of what is committed.
    pub published: watch::Sender<Arc<MetadataImage>>,
    /// Decides every matter of chance.
    pub seed: u64,
}

/// Starts the quorum's task.
pub fn start(start: Start) -> (QuorumHandle, Task<Result<(), QuorumFailed>>) {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let leadership = watch::Sender::new(Leadership {
        leader: None,
        epoch: start.quorum.leader_and_epoch().epoch,
        kraft_version: start.quorum.kraft_version(),
        silent: None,
    });
    let handle = QuorumHandle::new(sender.clone(), leadership.subscribe());
    let (peer_events, from_peers) = mpsc::channel(EVENTS_MAX);
    let mut peers = start.peers;
    peers.report_to(peer_events);
    #[expect(
        clippy::disallowed_methods,
        reason = "one result for each sync: as many as the pool may have waiting"
    )]
    let (flushed_sender, flushed) = mpsc::unbounded_channel();
    let actor = Actor {
        voters: start.quorum.voters().clone(),
        quorum: start.quorum,
        state_file: start.state_file,
        snapshotting: Snapshotting::new(start.snapshot_policy, start.clock.now().monotonic),
        seen_at: start.clock.monotonic(),
        snapshots: start.snapshots,
        image: start.image,
        bootstrap: start.bootstrap,
        settings: start.settings,
        idle_interval: start.idle_interval,
        peers,
        io: start.io,
        clock: start.clock,
        committed: start.committed,
        published: start.published,
        seed: start.seed,
        leadership,
        effects: Effects::new(),
        replies: BTreeMap::new(),
        next_request: 0,
        term: None,
        unpublished: None,
        flushes: flushed_sender,
        alive: sender,
    };
    (handle, task::spawn("quorum", actor.run(events, from_peers, flushed)))
}

/// A term as the quorum's leader.
struct Term {
    epoch: LeaderEpoch,
    /// The offset of the record that opens it.
    start: Offset,
    /// Once everything before the term is committed and replayed.
    controller: Option<Controller>,
    /// Answers, by the high watermark that releases them.
    waiting: VecDeque<(Offset, Answer)>,
    /// When to write something if nothing else is written.
    idle_at: Monotonic,
}

struct Actor {
    quorum: Quorum<QuorumLog>,
    /// The voters that the rest of the process was told last.
    voters: VoterSet,
    state_file: StateFile,
    image: MetadataImage,
    bootstrap: Vec<MetadataRecord>,
    settings: Settings,
    idle_interval: Duration,
    peers: Peers,
    io: IoPool,
    clock: Clock,
    committed: Option<mpsc::Sender<Committed>>,
    published: watch::Sender<Arc<MetadataImage>>,
    seed: u64,
    leadership: watch::Sender<Leadership>,
    effects: Effects,
    replies: BTreeMap<RequestId, oneshot::Sender<Response>>,
    next_request: u64,
    term: Option<Term>,
    /// What is committed and could not be handed on yet.
    unpublished: Option<Committed>,
    flushes: mpsc::UnboundedSender<(FlushTarget, Result<(), ottla_storage::StorageError>)>,
    snapshots: Snapshots,
    snapshotting: Snapshotting,
    /// When this node was last seen running.
    seen_at: Monotonic,
    /// For what comes back from the disk; it also keeps the queue open while nobody else holds a handle.
    alive: mpsc::Sender<Event>,
}

impl Actor {
    async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut from_peers: mpsc::Receiver<PeerEvent>,
        mut flushed: mpsc::UnboundedReceiver<(FlushTarget, Result<(), ottla_storage::StorageError>)>,
    ) -> Result<(), QuorumFailed> {
        let now = self.clock.now();
        if self.image.end.offset > Offset::ZERO {
            // What a snapshot contains is committed.
            self.publish(MetadataDelta::between(&MetadataImage::default(), &self.image))?;
        }
        self.quorum.start(now, &mut self.effects)?;
        self.carry_out(now)?;
        loop {
            // What this thread itself was busy with, its own disk too, is no standstill: nothing waited behind anybody's back.
            self.seen_at = self.clock.monotonic();
            let deadline = self.deadline();
            let clock = self.clock;
            // Every arm waits on a channel or a timer: none loses anything when another wins.
            tokio::select! {
                biased;
                Some((target, result)) = flushed.recv() => self.handle_flushed(&target, result)?,
                Some(event) = from_peers.recv() => self.handle(Event::Peer(event))?,
                Some(event) = events.recv() => self.handle(event)?,
                permit = reserve(self.committed.clone()), if self.unpublished.is_some() => {
                    match (permit, self.unpublished.take()) {
                        (Some(permit), Some(committed)) => { permit.send(committed); }
                        // The broker has ended, as one that stops does first. The quorum goes on until it is left in order.
                        _ => self.committed = None,
                    }
                }
                () = clock.sleep_until(deadline) => self.handle_deadline()?,
            }
        }
    }

    fn deadline(&self) -> Option<Monotonic> {
        let idle = self.idle_at();
        let files = self.quorum.log().storage().deleted_files_due();
        // Where nobody else votes nobody else is elected.
        let is_watched = self.term.is_some() && self.quorum.voters().len() > 1;
        let pulse = is_watched.then(|| self.seen_at + PULSE);
        [self.quorum.deadline(), idle, files, pulse].into_iter().flatten().min()
    }

    /// The present, at an event. A leader that has stood still for so long that another may have been elected gives up its office
    /// before it answers anything: what was sent to it meanwhile lies ready, and makes it believe that it is heard.
    fn look_at_pulse(&mut self) -> Result<Now, QuorumFailed> {
        let now = self.clock.now();
        let standstill = now.monotonic - self.seen_at;
        if standstill >= STANDSTILL_MIN && self.term.is_some() && self.quorum.voters().len() > 1 {
            tracing::warn!(?standstill, "this node led the quorum and stood still: another may be elected");
            self.quorum.resign(now, &mut self.effects)?;
            self.carry_out(now)?;
        }
        Ok(now)
    }

    /// When the controller writes something though there is nothing to decide.
    fn idle_at(&self) -> Option<Monotonic> {
        let term = self.term.as_ref().filter(|term| term.controller.is_some())?;
        (!self.idle_interval.is_zero()).then_some(term.idle_at)
    }

    fn handle_deadline(&mut self) -> Result<(), QuorumFailed> {
        let now = self.look_at_pulse()?;
        if self.quorum.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            self.quorum.handle_timeout(now, &mut self.effects)?;
            self.carry_out(now)?;
        }
        if self.idle_at().is_some_and(|at| at <= now.monotonic) {
            self.decide(Box::new(|controller, _| (controller.handle_idle(), Box::new(|_| {}))), now)?;
            self.carry_out(now)?;
        }
        if self.quorum.log().storage().deleted_files_due().is_some_and(|due| due <= now.monotonic) {
            self.remove_deleted_files(now)?;
        }
        Ok(())
    }

    fn handle_flushed(
        &mut self,
        target: &FlushTarget,
        result: Result<(), ottla_storage::StorageError>,
    ) -> Result<(), QuorumFailed> {
        let now = self.look_at_pulse()?;
        let log = self.quorum.log_mut().storage_mut();
        if let Err(error) = result {
            log.mark_failed();
            return Err(QuorumError::Log(ottla_raft::LogError::new(error)).into());
        }
        log.mark_durable(target);
        self.quorum.handle_flushed(target.end_offset(), now, &mut self.effects)?;
        self.carry_out(now)
    }

    fn handle(&mut self, event: Event) -> Result<(), QuorumFailed> {
        let now = self.look_at_pulse()?;
        match event {
            Event::Decide(job) => self.decide(job, now)?,
            Event::UpdateFeatures(request, reply) => self.update_features(&request, reply, now)?,
            Event::Request(request, reply) => {
                let id = RequestId(self.next_request);
                self.next_request += 1;
                self.replies.insert(id, reply);
                self.quorum.handle_request(id, request, now, &mut self.effects)?;
            }
            Event::Peer(event) => self.handle_peer(event, now)?,
            Event::FetchSnapshot(request, reply) => {
                let _ = reply.send(self.quorum.handle_fetch_snapshot(&request, now));
            }
            Event::SnapshotWritten(id, result) => self.handle_snapshot_written(id, result, now)?,
            Event::SnapshotFetched(id, result) => self.handle_snapshot_fetched(id, result, now)?,
            Event::Describe(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.quorum.describe(now));
            }
            Event::HighWatermark(reply) => {
                let _ = reply.send(self.quorum.high_watermark());
            }
            Event::ShutDown(reply) => {
                self.quorum.shut_down(now, &mut self.effects)?;
                self.carry_out(now)?;
                let _ = reply.send(());
            }
        }
        self.carry_out(now)
    }

    fn handle_peer(&mut self, event: PeerEvent, now: Now) -> Result<(), QuorumFailed> {
        let effects = &mut self.effects;
        match event {
            PeerEvent::Response(call, response) => {
                self.quorum.handle_response(call, response, now, effects)?;
            }
            PeerEvent::Failed(call) => self.quorum.handle_call_failed(call, now, effects)?,
            PeerEvent::Connected(peer) => self.quorum.handle_connected(peer, now, effects)?,
            PeerEvent::Closed(peer) => self.quorum.handle_connection_closed(peer, now, effects)?,
            PeerEvent::Refused(peer) => self.quorum.handle_connection_refused(peer, now, effects)?,
            PeerEvent::KRaftVersions(call, versions) => {
                self.quorum.handle_kraft_versions(call, versions, now, effects)?;
            }
        }
        Ok(())
    }

    /// Lets the controller decide, appends what it decided, and keeps the answer until that is committed.
    fn decide(&mut self, job: ControllerJob, now: Now) -> Result<(), QuorumFailed> {
        let end = self.quorum.log().end().offset;
        let level = self.image.metadata_version();
        let Some(term) = &mut self.term else { return Ok(()) };
        let Some(controller) = &mut term.controller else { return Ok(()) };
        controller.set_end(end);
        let (records, answer) = job(controller, now);
        let mut required = end;
        if !records.is_empty() {
            let level = level.max(controller.image().metadata_version());
            let values = match frames::encode(&records, level) {
                Ok(values) => values,
                Err(error) => {
                    // The answer is dropped, which its caller hears as a lost controller.
                    tracing::error!(%error, "the controller decided what cannot be written");
                    return Ok(());
                }
            };
            let size: usize = values.iter().map(|value| value.len() + RECORD_OVERHEAD_BYTES_MAX).sum();
            if size > DECISION_BYTES_MAX {
                // The log would refuse it, and a log that refuses ends the node: no request may do that.
                tracing::error!(
                    size,
                    records = records.len(),
                    "the controller decided more than a batch holds"
                );
                return Ok(());
            }
            required = match self.quorum.append(term.epoch, &values, now, &mut self.effects) {
                Ok(end) => end,
                Err(AppendError::NotLeader(_)) => return Ok(()),
                Err(AppendError::Log(error)) => return Err(QuorumError::Log(error).into()),
            };
            for (i, record) in (0..).zip(&records) {
                if let Err(error) = controller.replay(record, end + i) {
                    // What is in the log is what all nodes will see: this one must not go on with another view.
                    return Err(Unreadable { offset: end + i, reason: error.to_string() }.into());
                }
            }
            term.idle_at = now.monotonic + self.idle_interval;
        }
        if self.quorum.high_watermark().is_some_and(|high_watermark| high_watermark >= required) {
            answer(true);
        } else {
            term.waiting.push_back((required, answer));
        }
        Ok(())
    }

    /// Carries out everything the machine has asked for.
    fn carry_out(&mut self, now: Now) -> Result<(), QuorumFailed> {
        loop {
            let effects: Vec<Effect> = self.effects.drain().collect();
            if effects.is_empty() {
                self.tell_voters();
                return Ok(());
            }
            for effect in effects {
                self.carry_out_one(effect, now)?;
            }
        }
    }

    /// Tells the rest of the process what the log says about the quorum, when that has changed.
    fn tell_voters(&mut self) {
        let voters = self.quorum.voters();
        if voters != &self.voters {
            let ids: Vec<i32> = voters.iter().map(|voter| voter.key.id.0).collect();
            tracing::info!(voters = ?ids, "the voters of the quorum changed");
            self.voters = voters.clone();
            let kraft_version = self.quorum.kraft_version();
            let leader = self.quorum.leader().and_then(|id| Some((id, self.quorum.endpoint_of(id)?)));
            self.leadership.send_if_modified(|known| {
                let now = Leadership { leader, kraft_version, ..known.clone() };
                let is_news = now != *known;
                *known = now;
                is_news
            });
        }
    }

    fn carry_out_one(&mut self, effect: Effect, now: Now) -> Result<(), QuorumFailed> {
        match effect {
            Effect::Persist(state) => {
                self.state_file.store(&state, self.quorum.kraft_version(), self.quorum.voters())?;
            }
            Effect::Send { to, call, request } => {
                self.peers.send(to, self.quorum.endpoint_of(to), call, request);
            }
            Effect::AskKRaftVersions { endpoint, call, .. } => self.peers.ask_kraft_versions(endpoint, call),
            Effect::Reply { id, response } => {
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = reply.send(response);
                }
            }
            Effect::Flush { .. } => self.flush()?,
            Effect::HighWatermark(high_watermark) => self.handle_committed(high_watermark, now)?,
            Effect::LeaderChanged { leader, epoch } => {
                self.snapshotting.fetching = None;
                let leader = leader.and_then(|id| Some((id, self.quorum.endpoint_of(id)?)));
                tracing::info!(leader = leader.as_ref().map(|(id, _)| id.0), %epoch, "quorum leader");
                let kraft_version = self.quorum.kraft_version();
                let silent = self.quorum.silent_leader();
                self.leadership.send_replace(Leadership { leader, epoch, kraft_version, silent });
            }
            Effect::BecameLeader { epoch, start } => {
                self.term = Some(Term {
                    epoch,
                    start,
                    controller: None,
                    waiting: VecDeque::new(),
                    idle_at: now.monotonic + self.idle_interval,
                });
            }
            Effect::Resigned { .. } => {
                // The answers are dropped, which their callers hear as a lost controller.
                self.term = None;
            }
            Effect::InstallSnapshot { from, id } => self.fetch_snapshot(from, id),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), QuorumFailed> {
        let log = self.quorum.log().storage();
        let Some(target) = log.flush_target() else {
            let now = self.clock.now();
            let end = log.log_end_offset();
            self.quorum.handle_flushed(end, now, &mut self.effects)?;
            return Ok(());
        };
        let flushes = self.flushes.clone();
        // Not waited for: the result comes back as an event.
        drop(self.io.run(move || {
            let result = target.sync();
            // An error means that the quorum has stopped.
            let _ = flushes.send((target, result));
        }));
        Ok(())
    }

    /// Replays what is committed, hands it on, and releases the answers that waited for it.
    fn handle_committed(&mut self, high_watermark: Offset, now: Now) -> Result<(), QuorumFailed> {
        let mut delta = MetadataDelta::default();
        let before = self.image.end;
        while self.image.end.offset < high_watermark {
            let from = self.image.end.offset;
            let bytes = self.quorum.log().read(from, REPLAY_BYTES).map_err(QuorumError::Log)?;
            self.image.replay_batches(&bytes, high_watermark, &mut delta)?;
            if self.image.end.offset == from {
                return Err(Unreadable { offset: from, reason: "no batch".to_owned() }.into());
            }
            self.snapshotting.bytes_since += bytes.len() as u64;
        }
        if self.image.end != before {
            self.publish(delta)?;
            self.snapshot_if_due(now);
        }
        self.release(high_watermark);
        self.activate(high_watermark, now)
    }

    /// Hands the image on.
    fn publish(&mut self, delta: MetadataDelta) -> Result<(), QuorumFailed> {
        if delta.features {
            check_supported(&self.image.features)?;
        }
        let image = Arc::new(self.image.clone());
        self.published.send_replace(image.clone());
        let Some(followers) = &self.committed else { return Ok(()) };
        let mut committed = Committed { image, delta };
        if let Some(earlier) = self.unpublished.take() {
            let mut merged = earlier.delta;
            merged.merge(std::mem::take(&mut committed.delta));
            committed.delta = merged;
        }
        match followers.try_send(committed) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full(committed) | mpsc::error::TrySendError::Closed(committed),
            ) => {
                self.unpublished = Some(committed);
            }
        }
        Ok(())
    }

    fn release(&mut self, high_watermark: Offset) {
        let Some(term) = &mut self.term else { return };
        while let Some((required, _)) = term.waiting.front()
            && *required <= high_watermark
        {
            let (_, answer) = term.waiting.pop_front().expect("looked at just before");
            answer(true);
        }
    }

    /// Begins to decide once the record that opens the term is committed: then the image has everything
    /// that earlier controllers decided.
    fn activate(&mut self, high_watermark: Offset, now: Now) -> Result<(), QuorumFailed> {
        let Some(term) = &mut self.term else { return Ok(()) };
        if term.controller.is_some() || high_watermark <= term.start {
            return Ok(());
        }
        self.seed = self.seed.wrapping_add(1);
        term.controller = Some(Controller::new(self.settings.clone(), self.image.clone(), self.seed));
        tracing::info!(epoch = %term.epoch, end = %self.image.end, "active controller");
        if self.image.is_in_transaction() {
            // One of Apache Kafka's controllers did not come to its end. Its nodes would wait for that with all that follows.
            let reason = Some("the controller that began it is gone".to_owned());
            let abort = MetadataRecord::AbortTransaction(AbortTransactionRecord { reason });
            self.decide(Box::new(|_, _| (vec![abort], Box::new(|_| {}))), now)?;
        }
        let known = self.term.as_ref().and_then(|term| term.controller.as_ref());
        if known.is_some_and(|known| known.image().features.metadata_version().is_none()) {
            let records = if self.bootstrap.is_empty() {
                bootstrap::records(MetadataVersion::LATEST)
            } else {
                self.bootstrap.clone()
            };
            // Kafka's own tool may have formatted it for more than there is here.
            let mut first = MetadataImage::default();
            for record in &records {
                first.replay(record, &mut MetadataDelta::default()).map_err(|error| Unreadable {
                    offset: self.image.end.offset,
                    reason: error.to_string(),
                })?;
            }
            check_supported(&first.features)?;
            self.decide(
                Box::new(move |controller, _| (controller.first_records(records), Box::new(|_| {}))),
                now,
            )?;
        }
        Ok(())
    }
}

/// Waits for room among what is handed on.
async fn reserve(committed: Option<mpsc::Sender<Committed>>) -> Option<mpsc::OwnedPermit<Committed>> {
    committed?.reserve_owned().await.ok()
}

/// How often a leader looks whether it stood still.
const PULSE: Duration = Duration::from_millis(100);

/// After how long a standstill of the leader another one may be elected: the least silence that the others take for its end
/// ([`ottla_raft::QuorumConfig::silence_min`]).
const STANDSTILL_MIN: Duration = Duration::from_millis(700);

/// How much of the log is read at a time.
const REPLAY_BYTES: usize = 1 << 20;

/// The largest decision: what [`ottla_storage::LogConfig::metadata`] takes as one batch, less its header.
const DECISION_BYTES_MAX: usize = (8 << 20) - 1024;

/// What a record's length, attributes, deltas and lengths take at most, besides its value.
const RECORD_OVERHEAD_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::alone::{self, Setup};
    use super::*;
    use ottla_protocol::records::metadata::{MetadataRecord, TopicRecord};
    use ottla_storage::{Disk, SimDisk};
    use ottla_types::{Decision, Uuid};
    use std::path::Path;

    /// A node that stops ends its broker first, and is perhaps asked to decide something before it leaves the quorum.
    #[tokio::test(start_paused = true)]
    async fn the_quorum_goes_on_when_the_broker_has_ended() {
        let (disk, dir) = (SimDisk::new(), Path::new("/data"));
        disk.create_dir_all(dir).unwrap();
        let (committed, mut broker) = mpsc::channel(1);
        let setup = Setup {
            clock: Clock::new(),
            snapshot_policy: SnapshotPolicy {
                bytes_between: u64::MAX,
                interval: Duration::ZERO,
                retention_bytes: -1,
                retention_ms: -1,
            },
            idle_interval: Duration::ZERO,
            committed: Some(committed),
        };
        let node = alone::start(&disk, dir, setup);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(broker.recv().await.is_some(), "it is elected");
        let create = |name: &str| {
            let topic = TopicRecord { name: name.to_owned(), topic_id: Uuid::from_u128(name.len() as u128) };
            let records = vec![MetadataRecord::Topic(topic)];
            node.handle.decide(move |_, _| Decision::write(records, ()))
        };
        create("a").await.unwrap();
        assert!(broker.recv().await.is_some());

        drop(broker);
        create("bb").await.unwrap();
        create("ccc").await.unwrap();

        assert!(node.published.borrow().topics.by_name("ccc").is_some());
    }
}
