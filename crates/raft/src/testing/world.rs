//! Nodes, their network, their disks, and the order in which things happen to them.

use super::checker::{Checker, Violation};
use super::disk::Disk;
use super::memory_log::{Batch, MemoryLog, voter_at};
use super::network::Network;
use crate::bug::Bug;
use crate::config::QuorumConfig;
use crate::effects::{CallId, Effect, Effects, RequestId};
use crate::error::QuorumError;
use crate::log::ReplicatedLog;
use crate::membership::Membership;
use crate::message::{Request, Response};
use crate::quorum::Quorum;
use crate::quorum_state::QuorumState;
use crate::role::RoleName;
use crate::voters::{Endpoint, KRaftVersions, ReplicaKey, Voter, VoterSet};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Now, Offset, OffsetAndEpoch, Random, Timestamp, Uuid};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How a world begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many voters; their ids count from 1.
    pub voters: i32,
    /// How many observers; their ids count from 101.
    pub observers: i32,
    /// Whether the log names the voters, so that they may change (kraft.version 1).
    pub is_dynamic: bool,
    /// Whether the configuration names the voters, and the log may do so one day.
    pub may_upgrade: bool,
    /// Whether observers sync before they fetch on, as those do that may be made voters.
    pub observers_sync: bool,
    /// Whether observers join the voters by themselves.
    pub observers_join: bool,
    /// Decides every matter of chance.
    pub seed: u64,
    /// The nodes' configuration.
    pub config: QuorumConfig,
    /// The mistake that every node makes.
    pub bug: Option<Bug>,
    /// The network at the beginning.
    pub network: Network,
    /// The shortest and the longest time that a sync takes.
    pub sync: (Duration, Duration),
    /// Whether to write down everything that happens.
    pub is_traced: bool,
}

impl Setup {
    /// A sound network with links of about 1 ms, and disks that sync within 1-3 ms.
    pub fn sound(voters: i32, observers: i32, seed: u64) -> Setup {
        Setup {
            voters,
            observers,
            is_dynamic: false,
            may_upgrade: false,
            observers_sync: false,
            observers_join: false,
            seed,
            config: QuorumConfig::default(),
            bug: None,
            network: Network::sound(Duration::from_micros(900), Duration::from_micros(1100)),
            sync: (Duration::from_millis(1), Duration::from_millis(3)),
            is_traced: false,
        }
    }
}

/// A node, running or not.
#[derive(Debug)]
struct Node {
    key: ReplicaKey,
    disk: Disk,
    /// The running machine, or the log that it left.
    process: Process,
    /// Grows with every start: what was meant for an earlier one does not arrive.
    incarnation: u64,
    queue: VecDeque<Effect>,
    persisting: Option<QuorumState>,
    requests: BTreeMap<RequestId, Received>,
    /// The snapshot that it is fetching.
    installing: Option<OffsetAndEpoch>,
    timer_at: Option<Monotonic>,
    frozen_until: Monotonic,
}

#[derive(Debug)]
enum Process {
    Running(Box<Quorum<MemoryLog>>),
    /// Killed: the host refuses connections.
    Dead(MemoryLog),
    /// Without power: the host is silent.
    Dark(MemoryLog),
}

/// A request that a node has not answered.
#[derive(Clone, Copy, Debug)]
struct Received {
    from: NodeId,
    from_incarnation: u64,
    call: CallId,
    /// The epoch and the candidate, if it asks for a vote in earnest.
    vote: Option<(LeaderEpoch, NodeId)>,
}

#[derive(Clone, Debug)]
enum Event {
    Request {
        from: NodeId,
        from_incarnation: u64,
        call: CallId,
        request: Request,
    },
    Response {
        from: NodeId,
        call: CallId,
        response: Response,
    },
    Closed {
        peer: NodeId,
    },
    Refused {
        peer: NodeId,
    },
    KRaftVersions {
        call: CallId,
        versions: Option<KRaftVersions>,
    },
    Timer,
    Persisted,
    Flushed {
        end: Offset,
    },
    /// A snapshot came from another node; `None` when it could not be fetched.
    SnapshotFetched {
        id: OffsetAndEpoch,
        contained: Option<Vec<Batch>>,
    },
}

/// An event, and the start of the node it is meant for; requests reach whoever runs.
#[derive(Clone, Debug)]
struct Scheduled {
    node: NodeId,
    incarnation: Option<u64>,
    event: Event,
}

/// A node's replica.
pub(super) fn key_of(id: NodeId) -> ReplicaKey {
    ReplicaKey::new(id, Uuid::from_u128(1000 + u128::from(id.0.unsigned_abs())))
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The network, to be disturbed.
    pub network: Network,
    /// How long syncs take, to be disturbed.
    pub sync: (Duration, Duration),
    /// What must never happen.
    pub checker: Checker,
    /// The world's own chance.
    pub random: Random,
    /// Everything that happened, if the setup asked for it.
    pub trace: Vec<String>,
    now: Monotonic,
    nodes: BTreeMap<NodeId, Node>,
    events: BTreeMap<(Monotonic, u64), Scheduled>,
    sequence: u64,
    next_request: u64,
    setup: Setup,
    voter_set: VoterSet,
    /// How many elections were begun: candidacies that somebody heard of.
    candidacies: u64,
    installations: u64,
}

impl World {
    /// Starts every node.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn new(setup: Setup) -> Result<World, Violation> {
        let voter = |id| {
            let endpoint = Endpoint { host: format!("c{id}"), port: 9093 };
            match setup.is_dynamic {
                true => voter_at(key_of(NodeId(id)), 9093),
                false => Voter::configured(ReplicaKey::new(NodeId(id), Uuid::ZERO), endpoint),
            }
        };
        let voter_set = VoterSet::new((1..=setup.voters).map(voter)).expect("the ids differ");
        let mut world = World {
            network: setup.network.clone(),
            sync: setup.sync,
            checker: Checker::default(),
            random: Random::new(setup.seed),
            trace: Vec::new(),
            now: Monotonic(1_000_000),
            nodes: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            next_request: 0,
            voter_set,
            candidacies: 0,
            installations: 0,
            setup,
        };
        let ids = (1..=world.setup.voters).chain(101..101 + world.setup.observers);
        for id in ids.map(NodeId) {
            // Observers are formatted without voters.
            let knows_voters = world.setup.is_dynamic && id.0 <= world.setup.voters;
            let log = match knows_voters {
                true => MemoryLog::formatted(world.voter_set.clone()),
                false => MemoryLog::default(),
            };
            let node = Node {
                key: key_of(id),
                disk: Disk::default(),
                process: Process::Dead(log),
                incarnation: 0,
                queue: VecDeque::new(),
                persisting: None,
                requests: BTreeMap::new(),
                installing: None,
                timer_at: None,
                frozen_until: Monotonic(0),
            };
            world.nodes.insert(id, node);
            world.start(id)?;
        }
        Ok(world)
    }

    /// The present.
    pub fn now(&self) -> Monotonic {
        self.now
    }

    /// All nodes.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// How many elections were begun.
    pub fn candidacies(&self) -> u64 {
        self.candidacies
    }

    /// The machine of a running node.
    pub fn quorum(&self, id: NodeId) -> Option<&Quorum<MemoryLog>> {
        match &self.nodes.get(&id)?.process {
            Process::Running(quorum) => Some(quorum),
            Process::Dead(_) | Process::Dark(_) => None,
        }
    }

    /// Who takes itself for the leader; of several the one in the latest epoch.
    pub fn leader(&self) -> Option<NodeId> {
        let leads = |&id: &NodeId| {
            let quorum = self.quorum(id).filter(|quorum| quorum.role() == RoleName::Leader)?;
            Some((quorum.epoch(), id))
        };
        self.nodes.keys().filter_map(leads).max().map(|(_, id)| id)
    }

    /// Lets everything happen until `until`.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn run_until(&mut self, until: Monotonic) -> Result<(), Violation> {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), scheduled) = entry.remove_entry();
            self.now = at;
            self.happen(scheduled)?;
        }
        self.now = until;
        Ok(())
    }

    /// As [`World::run_until`], from now.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        self.run_until(self.now + duration)
    }

    /// Runs until `holds`, at most for `limit`, looking every millisecond. Returns how long it took.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn run_until_holds(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&mut World) -> Result<bool, Violation>,
    ) -> Result<Option<Duration>, Violation> {
        let since = self.now;
        while self.now - since <= limit {
            if holds(self)? {
                return Ok(Some(self.now - since));
            }
            self.run_for(Duration::from_millis(1))?;
        }
        Ok(None)
    }

    /// Appends a batch at whoever leads, or believes so.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn append(&mut self, id: NodeId, count: u64) -> Result<Option<Offset>, Violation> {
        let records: Vec<Bytes> =
            (0..count).map(|_| Bytes::copy_from_slice(&self.random.next_u64().to_be_bytes())).collect();
        let mut end = None;
        self.step(id, |quorum, now, effects| {
            end = quorum.append(quorum.epoch(), &records, now, effects).ok();
            Ok(())
        })?;
        Ok(end)
    }

    /// Makes a node write a snapshot of what it knows to be committed, and forget what is contained in it, or
    /// only what the one before contains.
    pub fn take_snapshot(&mut self, id: NodeId, keeps_log: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Process::Running(quorum) = &mut node.process else { return };
        if let Some(committed) = quorum.high_watermark() {
            quorum.log_mut().take_snapshot(committed, keeps_log);
            node.disk.write_snapshot(quorum.log().snapshot_batches());
            self.note(|| format!("snapshot {id}"));
        }
    }

    /// How often a snapshot was installed.
    pub fn installations(&self) -> u64 {
        self.installations
    }

    /// Hands in a request of an administrator; the answer is not looked at.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn administer(&mut self, id: NodeId, request: Request) -> Result<(), Violation> {
        self.next_request += 1;
        let request_id = RequestId(self.next_request);
        self.note(|| format!("{id} is asked {request:?}"));
        self.step(id, |quorum, now, effects| quorum.handle_request(request_id, request, now, effects))
    }

    /// Asks a node to have the log name the voters.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn upgrade(&mut self, id: NodeId) -> Result<(), Violation> {
        self.note(|| format!("{id} is asked to upgrade"));
        self.step(id, |quorum, now, effects| quorum.upgrade(now, effects).map(drop))
    }

    /// Makes a leader resign.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn resign(&mut self, id: NodeId) -> Result<(), Violation> {
        self.step(id, |quorum, now, effects| quorum.resign(now, effects))
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// When something happens that must not.
    pub fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        let seed = self.random.next_u64();
        let (config, bug) = (self.setup.config.clone(), self.setup.bug);
        let configured = if self.setup.is_dynamic { VoterSet::default() } else { self.voter_set.clone() };
        let membership = Membership {
            endpoint: Some(Endpoint { host: format!("c{id}"), port: 9093 }),
            listeners: Vec::new(),
            bootstrap: self.voter_set.iter().map(|voter| voter.key.id).collect(),
            joins: self.setup.observers_join && id.0 > 100,
            syncs: self.setup.observers_sync,
        };
        let has_membership = self.setup.is_dynamic || self.setup.may_upgrade;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let (Process::Dead(log) | Process::Dark(log)) = &mut node.process else { return Ok(()) };
        let (log, state) = (std::mem::take(log), node.disk.state().clone());
        let mut quorum = Quorum::new(config, node.key, configured, state, log, seed).with_bug(bug);
        if has_membership {
            quorum = quorum.with_membership(membership);
        }
        node.process = Process::Running(Box::new(quorum));
        node.incarnation += 1;
        self.note(|| format!("start {id}"));
        self.step(id, |quorum, now, effects| quorum.start(now, effects))
    }

    /// Kills a node: its page cache survives, its connections are closed, its host refuses new ones.
    pub fn kill(&mut self, id: NodeId) {
        let Some(log) = self.stop(id) else { return };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.process = Process::Dead(node.disk.after_kill(&log));
        }
        self.note(|| format!("kill {id}"));
        let peers: Vec<NodeId> = self.nodes.keys().copied().filter(|&peer| peer != id).collect();
        for peer in peers {
            if !self.network.is_cut(id, peer) {
                let delay = self.random.duration(self.network.delay.0, self.network.delay.1);
                self.schedule_for_running(delay, peer, Event::Closed { peer: id });
            }
        }
    }

    /// Cuts a node's power: what it did not sync is lost, and nobody hears anything.
    pub fn lose_power(&mut self, id: NodeId) {
        let Some(log) = self.stop(id) else { return };
        if let Some(node) = self.nodes.get_mut(&id) {
            let survivor = node.disk.after_power_loss(&log, &mut self.random);
            node.process = Process::Dark(survivor);
        }
        self.note(|| format!("power loss {id}"));
    }

    /// Stops a node from running, for a while: what is meant for it waits.
    pub fn freeze(&mut self, id: NodeId, duration: Duration) {
        let until = self.now + duration;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.frozen_until = until;
        }
        self.note(|| format!("freeze {id}"));
    }

    /// Wakes whoever is frozen.
    pub fn thaw(&mut self) {
        for node in self.nodes.values_mut() {
            node.frozen_until = self.now;
        }
    }

    /// Ends a running node, and returns its log as it was.
    fn stop(&mut self, id: NodeId) -> Option<MemoryLog> {
        let node = self.nodes.get_mut(&id)?;
        let Process::Running(quorum) = &node.process else { return None };
        let log = quorum.log().clone();
        // A `quorum-state` file that was being replaced is the old one or the new one.
        if let Some(state) = node.persisting.take()
            && self.random.chance(500)
        {
            node.disk.write_state(state);
        }
        node.queue.clear();
        node.requests.clear();
        node.installing = None;
        node.timer_at = None;
        node.frozen_until = self.now;
        self.checker.stopped(id);
        Some(log)
    }

    fn happen(&mut self, scheduled: Scheduled) -> Result<(), Violation> {
        let Scheduled { node: id, incarnation, event } = &scheduled;
        let id = *id;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if incarnation.is_some_and(|incarnation| incarnation != node.incarnation) {
            return Ok(());
        }
        if node.frozen_until > self.now && matches!(node.process, Process::Running(_)) {
            let until = node.frozen_until;
            self.sequence += 1;
            self.events.insert((until, self.sequence), scheduled);
            return Ok(());
        }
        match &node.process {
            Process::Running(_) => {}
            Process::Dead(_) => {
                if let Event::Request { from, from_incarnation, .. } = *event
                    && !self.network.is_cut(id, from)
                {
                    let delay = self.random.duration(self.network.delay.0, self.network.delay.1);
                    self.schedule(delay, from, Some(from_incarnation), Event::Refused { peer: id });
                }
                return Ok(());
            }
            Process::Dark(_) => return Ok(()),
        }
        if self.setup.is_traced && !matches!(event, Event::Timer) {
            let text = format!("{id} {event:?}");
            self.note(|| text);
        }
        self.handle(id, scheduled.event)
    }

    fn handle(&mut self, id: NodeId, event: Event) -> Result<(), Violation> {
        match event {
            Event::Request { from, from_incarnation, call, request } => {
                self.next_request += 1;
                let request_id = RequestId(self.next_request);
                let vote = match &request {
                    Request::Vote(vote) if !vote.pre_vote => Some((vote.epoch, vote.candidate.id)),
                    _ => None,
                };
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.requests.insert(request_id, Received { from, from_incarnation, call, vote });
                }
                self.step(id, |quorum, now, effects| quorum.handle_request(request_id, request, now, effects))
            }
            Event::Response { from, call, response } => self.step(id, |quorum, now, effects| {
                quorum.handle_connected(from, now, effects)?;
                quorum.handle_response(call, response, now, effects)
            }),
            Event::Closed { peer } => {
                self.step(id, |quorum, now, effects| quorum.handle_connection_closed(peer, now, effects))
            }
            Event::Refused { peer } => {
                self.step(id, |quorum, now, effects| quorum.handle_connection_refused(peer, now, effects))
            }
            Event::KRaftVersions { call, versions } => self
                .step(id, |quorum, now, effects| quorum.handle_kraft_versions(call, versions, now, effects)),
            Event::Timer => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.timer_at = None;
                }
                self.step(id, |quorum, now, effects| match quorum.deadline() {
                    Some(deadline) if deadline <= now.monotonic => quorum.handle_timeout(now, effects),
                    _ => Ok(()),
                })
            }
            Event::Persisted => {
                if let Some(node) = self.nodes.get_mut(&id)
                    && let Some(state) = node.persisting.take()
                {
                    node.disk.write_state(state);
                }
                self.carry_out(id)
            }
            Event::Flushed { end } => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.disk.end_sync();
                }
                self.step(id, |quorum, now, effects| quorum.handle_flushed(end, now, effects))
            }
            Event::SnapshotFetched { id: snapshot, contained } => self.install(id, snapshot, contained),
        }
    }

    fn install(
        &mut self,
        id: NodeId,
        snapshot: OffsetAndEpoch,
        contained: Option<Vec<Batch>>,
    ) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if node.installing.take_if(|installing| *installing == snapshot).is_none() {
            return Ok(());
        }
        let Some(contained) = contained else {
            return self.step(id, |quorum, now, effects| quorum.handle_snapshot_failed(now, effects));
        };
        node.disk.install(&contained);
        self.installations += 1;
        self.step(id, |quorum, now, effects| {
            quorum.log_mut().install(snapshot, contained);
            quorum.handle_snapshot_installed(now, effects)
        })
    }

    /// Begins to fetch a snapshot, which succeeds if its owner has it and can be reached.
    fn fetch_snapshot(&mut self, id: NodeId, from: NodeId, snapshot: OffsetAndEpoch) {
        let is_cut = self.network.is_cut(id, from) || self.network.is_cut(from, id);
        let log = self.quorum(from).map(Quorum::log).filter(|_| !is_cut);
        let log = log.filter(|log| log.latest_snapshot() == Some(snapshot));
        let contained = log.map(|log| log.snapshot_batches().to_vec());
        let duration = self.random.duration(Duration::from_millis(1), Duration::from_millis(200));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.installing = Some(snapshot);
        }
        self.schedule_for_running(duration, id, Event::SnapshotFetched { id: snapshot, contained });
    }

    /// Hands an event to a running machine, and looks at what came of it.
    fn step(
        &mut self,
        id: NodeId,
        event: impl FnOnce(&mut Quorum<MemoryLog>, Now, &mut Effects) -> Result<(), QuorumError>,
    ) -> Result<(), Violation> {
        let wall = Timestamp(1_700_000_000_000 + i64::try_from(self.now.0 / 1000).unwrap_or(0));
        let now = Now { monotonic: self.now, wall };
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Process::Running(quorum) = &mut node.process else { return Ok(()) };
        let mut effects = Effects::new();
        event(quorum, now, &mut effects)
            .map_err(|error| Violation { invariant: "FATAL", detail: format!("{id}: {error}") })?;
        let made: Vec<Effect> = effects.drain().collect();
        self.check(id, &made)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.queue.extend(made);
        }
        self.carry_out(id)?;
        self.set_timer(id);
        Ok(())
    }

    fn check(&mut self, id: NodeId, made: &[Effect]) -> Result<(), Violation> {
        let Some(Process::Running(quorum)) = self.nodes.get(&id).map(|node| &node.process) else {
            return Ok(());
        };
        let log = quorum.log();
        for effect in made {
            match *effect {
                Effect::HighWatermark(mark) => {
                    // Whose disks count is read from the log, not asked of the machine that is to be judged.
                    let set = log.latest_voters().unwrap_or_else(|| self.voter_set.clone());
                    let voters = set.iter().filter_map(|voter| self.nodes.get(&voter.key.id));
                    let synced: Vec<&[Batch]> = voters.map(|node| node.disk.synced()).collect();
                    self.checker.committed_to(id, quorum.epoch(), mark, log, &synced)?;
                }
                Effect::BecameLeader { epoch, start } => self.checker.leads(id, epoch, start, log)?,
                _ => {}
            }
        }
        let named = log.latest_voters().filter(|_| self.setup.is_dynamic || self.setup.may_upgrade);
        if named.as_ref().is_some_and(|named| named != quorum.voters()) {
            let detail = format!("{id} counts {:?}, its log says {named:?}", quorum.voters());
            return Err(Violation { invariant: "RAFT-VOTERS", detail });
        }
        self.checker.stepped(id, log)
    }

    fn set_timer(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Process::Running(quorum) = &node.process else { return };
        let Some(deadline) = quorum.deadline().map(|at| at.max(self.now + Duration::from_micros(1))) else {
            return;
        };
        if node.timer_at.is_none_or(|at| deadline < at) {
            node.timer_at = Some(deadline);
            let incarnation = node.incarnation;
            self.schedule(deadline - self.now, id, Some(incarnation), Event::Timer);
        }
    }

    /// Does what the machine asked for, up to the first thing that must reach the disk before the rest.
    fn carry_out(&mut self, id: NodeId) -> Result<(), Violation> {
        while let Some(node) = self.nodes.get_mut(&id) {
            if node.persisting.is_some() {
                return Ok(());
            }
            let Some(effect) = node.queue.pop_front() else { return Ok(()) };
            let incarnation = node.incarnation;
            match effect {
                Effect::Persist(state) => {
                    node.persisting = Some(state);
                    let duration = self.random.duration(self.sync.0, self.sync.1);
                    self.schedule(duration, id, Some(incarnation), Event::Persisted);
                }
                Effect::Flush { end } => {
                    let Process::Running(quorum) = &mut node.process else { return Ok(()) };
                    node.disk.begin_sync(quorum.log_mut());
                    let duration = self.random.duration(self.sync.0, self.sync.1);
                    self.schedule(duration, id, Some(incarnation), Event::Flushed { end });
                }
                Effect::Send { to, call, request } => {
                    if let Request::Vote(vote) = &request
                        && !vote.pre_vote
                    {
                        self.checker.voted(id, vote.epoch, id)?;
                        self.candidacies += u64::from(to == self.first_other(id));
                    }
                    let event = Event::Request { from: id, from_incarnation: incarnation, call, request };
                    self.travel(id, to, None, &event);
                }
                Effect::AskKRaftVersions { to, call, .. } => {
                    let is_cut = self.network.is_cut(id, to) || self.network.is_cut(to, id);
                    let versions = self.quorum(to).filter(|_| !is_cut).map(|_| KRaftVersions::SUPPORTED);
                    let delay = self.random.duration(self.network.delay.0, self.network.delay.1) * 2;
                    self.schedule(delay, id, Some(incarnation), Event::KRaftVersions { call, versions });
                }
                Effect::Reply { id: request, response } => {
                    if !matches!(response, Response::Fetch(_) | Response::Vote(_)) {
                        self.note(|| format!("{id} => {response:?}"));
                    }
                    let Some(node) = self.nodes.get_mut(&id) else { continue };
                    let Some(received) = node.requests.remove(&request) else { continue };
                    if let (Some((epoch, candidate)), Response::Vote(vote)) = (received.vote, &response)
                        && vote.vote_granted
                    {
                        self.checker.voted(id, epoch, candidate)?;
                    }
                    let event = Event::Response { from: id, call: received.call, response };
                    self.travel(id, received.from, Some(received.from_incarnation), &event);
                }
                Effect::LeaderChanged { .. } => {
                    node.installing = None;
                    self.note(|| format!("{id} => {effect:?}"));
                }
                Effect::HighWatermark(_) | Effect::BecameLeader { .. } | Effect::Resigned { .. } => {
                    self.note(|| format!("{id} => {effect:?}"));
                }
                Effect::InstallSnapshot { from, id: snapshot } => self.fetch_snapshot(id, from, snapshot),
            }
        }
        Ok(())
    }

    fn first_other(&self, id: NodeId) -> NodeId {
        self.voter_set.others(id).first().map_or(NodeId::NONE, |voter| voter.id)
    }

    fn travel(&mut self, from: NodeId, to: NodeId, incarnation: Option<u64>, event: &Event) {
        for delay in self.network.arrivals(from, to, &mut self.random) {
            self.schedule(delay, to, incarnation, event.clone());
        }
    }

    fn schedule_for_running(&mut self, delay: Duration, node: NodeId, event: Event) {
        let incarnation = self.nodes.get(&node).map(|node| node.incarnation);
        self.schedule(delay, node, incarnation, event);
    }

    fn schedule(&mut self, delay: Duration, node: NodeId, incarnation: Option<u64>, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), Scheduled { node, incarnation, event });
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.setup.is_traced {
            self.trace.push(format!("{:?} {}", self.now, text()));
        }
    }
}
