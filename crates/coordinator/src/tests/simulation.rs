//! GROUP-1 under faults: a partition has at most one owner per group generation, and committed offsets never
//! go back unless a client says so. TXN-4: an offset of an aborted transaction is never told, one of a committed transaction
//! always.
//!
//! Consumers on a network that delays, loses and duplicates; they crash, leave and come back. The
//! coordinator fails over, and may lose what was not committed. When the faults stop, the group must settle. Copiers
//! (`copiers`) commit offsets of the same group in transactions meanwhile.
//! A run is a function of its seed.

use super::bench::{Logged, decode, handle, newest, replay};
use super::client::{Call, Client, GROUP, PARTITIONS, Phase, TOPIC};
use crate::RequestContext;
use crate::{ClosedBy, ConnectionToken, GroupCoordinator, GroupDecision, GroupReply, GroupState, ReplyToken};
use crate::{Settings, records};
use copiers::{COPIERS, Copier, CopierCall, Transaction};
use ottla_protocol::ErrorCode;
use ottla_types::{Monotonic, Now, ProducerId, Random, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

mod copiers;

const CLIENTS: usize = 5;
const FAULTS_END: Monotonic = Monotonic(120_000_000);
const END: Monotonic = Monotonic(300_000_000);

/// A mistake that the driver makes on purpose, to prove that it is noticed. The machine cannot make it: when an answer
/// leaves is not its business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A commit is answered as soon as it is appended, and not when it is on the in-sync replicas.
    CommitAnsweredBeforeReplicated,
    /// Whoever loads the log takes the offsets of open transactions for committed ones.
    PendingTakenForCommitted,
}

#[derive(Debug)]
enum Event {
    /// A request reaches the coordinator.
    Request { client: usize, connection: ConnectionToken, call_id: u64, call: Call },
    /// A client, or its kernel, has closed a connection.
    Closed { connection: ConnectionToken },
    /// An answer reaches a client.
    Reply { client: usize, call_id: u64, reply: GroupReply },
    /// A client that has no answer to this call by now tries again; one that has, goes on.
    Wake { client: usize, call_id: u64 },
    /// All replicas have the log up to here.
    Commit { term: u64, end: usize },
    /// A copier goes on, unless it has gone on since.
    Copier { index: usize, turn: u64 },
    /// A copier's request reaches the coordinator.
    OfCopier { index: usize, turn: u64, call: CopierCall },
    /// A marker reaches the leader of the offsets' partition.
    Marker { transaction: ProducerId },
    /// Something bad.
    Fault,
}

/// A client, and the machine it runs on.
struct Host {
    client: Client,
    is_alive: bool,
    /// The last call, whose answer it waits for.
    call_id: u64,
    waits: bool,
    connection: ConnectionToken,
    /// Requests arrive in the order they were sent, as on a connection.
    last_arrival: Monotonic,
}

struct World {
    random: Random,
    now: Now,
    events: BTreeMap<(Monotonic, u64), Event>,
    event_ids: u64,
    call_ids: u64,
    hosts: Vec<Host>,
    machine: GroupCoordinator,
    term: u64,
    log: Vec<Logged>,
    committed: usize,
    copiers: Vec<Copier>,
    transactions: BTreeMap<ProducerId, Transaction>,
    /// Answers that wait for the log to be committed up to a place.
    held: Vec<(usize, ReplyToken, GroupReply)>,
    /// Whose request a token is, while it is unanswered.
    open: BTreeMap<ReplyToken, (usize, u64)>,
    tokens: u64,
    /// GROUP-1: who owns what, by generation.
    owners: BTreeMap<(i32, i32), String>,
    /// GROUP-1: the highest offset that was acknowledged, by partition.
    acknowledged: BTreeMap<i32, i64>,
    /// What each commit under way says.
    commits: BTreeMap<ReplyToken, BTreeMap<i32, i64>>,
    trace: String,
    generations: BTreeSet<i32>,
    bug: Option<Bug>,
}

impl World {
    fn new(seed: u64) -> World {
        World::with(seed, None)
    }

    fn with(seed: u64, bug: Option<Bug>) -> World {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(1_700_000_000_000) };
        let host = |index: usize| Host {
            // Two of them are static members.
            client: Client::new((index >= 3).then(|| format!("instance-{index}"))),
            is_alive: true,
            call_id: 0,
            waits: false,
            connection: ConnectionToken(index as u64),
            last_arrival: Monotonic(0),
        };
        let mut world = World {
            random: Random::new(seed),
            now,
            events: BTreeMap::new(),
            event_ids: 0,
            call_ids: 0,
            hosts: (0..CLIENTS).map(host).collect(),
            machine: GroupCoordinator::new(Settings::default(), seed),
            term: 0,
            log: Vec::new(),
            committed: 0,
            copiers: (0..COPIERS).map(Copier::new).collect(),
            transactions: BTreeMap::new(),
            held: Vec::new(),
            open: BTreeMap::new(),
            tokens: 0,
            owners: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            commits: BTreeMap::new(),
            trace: String::new(),
            generations: BTreeSet::new(),
            bug,
        };
        world.machine.handle_loaded(now);
        for client in 0..CLIENTS {
            world.after_ms(0, 5000, Event::Wake { client, call_id: 0 });
        }
        for index in 0..COPIERS {
            world.after_ms(0, 5000, Event::Copier { index, turn: 0 });
        }
        world.after_ms(0, 5000, Event::Fault);
        world
    }

    fn run(mut self) -> World {
        while self.step() {}
        self.check_settled();
        self
    }

    /// The next event, or the machine's deadline if that comes first. False at the end of time.
    fn step(&mut self) -> bool {
        let next = self.events.first_key_value().map_or(END, |(&(at, _), _)| at);
        let deadline = self.machine.deadline().unwrap_or(END);
        let at = next.min(deadline).max(self.now.monotonic);
        if at >= END {
            return false;
        }
        self.now = self.now.after(at - self.now.monotonic);
        if deadline <= next {
            let decision = self.machine.handle_timeout(self.now);
            self.carry_out(decision);
        } else {
            let (_, event) = self.events.pop_first().expect("there is a next one");
            writeln!(self.trace, "{at:?} {event:?}").unwrap();
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { client, connection, call_id, call } => {
                self.serve(client, connection, call_id, &call);
            }
            Event::Closed { connection } => {
                let decision = self.machine.handle_disconnected(connection, ClosedBy::Client, self.now);
                self.carry_out(decision);
            }
            Event::Reply { client, call_id, reply } => self.receive(client, call_id, reply),
            Event::Wake { client, call_id } => self.wake(client, call_id),
            Event::Commit { term, end } if term == self.term => self.commit(end),
            Event::Commit { .. } => {}
            Event::Copier { index, turn } => self.wake_copier(index, turn),
            Event::OfCopier { index, turn, call } => self.serve_copier(index, turn, call),
            Event::Marker { transaction } => self.write_marker(transaction),
            Event::Fault => self.fault(),
        }
    }

    fn has_faults(&self) -> bool {
        self.now.monotonic < FAULTS_END
    }

    fn at(&mut self, at: Monotonic, event: Event) {
        self.event_ids += 1;
        self.events.insert((at, self.event_ids), event);
    }

    fn after_ms(&mut self, min: u64, max: u64, event: Event) {
        let delay = self.random.duration(Duration::from_millis(min), Duration::from_millis(max));
        self.at(self.now.monotonic + delay, event);
    }

    // The clients' side.

    fn wake(&mut self, index: usize, call_id: u64) {
        if !self.hosts[index].is_alive || self.hosts[index].call_id != call_id {
            return;
        }
        let host = &mut self.hosts[index];
        let reads = host.client.phase == Phase::Reading && !host.client.positions.is_empty();
        let call = if reads && self.random.chance(300) {
            host.client.read_and_commit(1 + self.random.below(9) as i64)
        } else {
            host.client.call()
        };
        self.send(index, call);
    }

    fn send(&mut self, index: usize, call: Call) {
        self.call_ids += 1;
        let call_id = self.call_ids;
        self.hosts[index].call_id = call_id;
        self.hosts[index].waits = true;
        let patience = if matches!(call, Call::Join(_)) { 30_000 } else { 4_000 };
        self.after_ms(patience, patience + 1, Event::Wake { client: index, call_id });
        if self.has_faults() && self.random.chance(50) {
            return; // lost
        }
        let slow = self.has_faults() && self.random.chance(50);
        let delay =
            self.random.duration(Duration::ZERO, Duration::from_millis(if slow { 25_000 } else { 20 }));
        let host = &mut self.hosts[index];
        let arrival = (self.now.monotonic + delay).max(host.last_arrival);
        host.last_arrival = arrival;
        let connection = host.connection;
        if self.has_faults() && self.random.chance(50) {
            self.at(arrival, Event::Request { client: index, connection, call_id, call: call.clone() });
        }
        self.at(arrival, Event::Request { client: index, connection, call_id, call });
    }

    fn receive(&mut self, index: usize, call_id: u64, reply: GroupReply) {
        let host = &mut self.hosts[index];
        if !host.is_alive || host.call_id != call_id || !host.waits {
            return;
        }
        host.waits = false;
        let client = &mut host.client;
        match reply {
            GroupReply::JoinGroup(response) => client.joined(&response),
            GroupReply::SyncGroup(response) => {
                client.synced(&response);
                self.check_owner(index);
            }
            GroupReply::Heartbeat(response) => client.fail(ErrorCode::from(response.error_code)),
            GroupReply::OffsetCommit(response) => {
                let error = response.topics.iter().flat_map(|topic| &topic.partitions).next();
                client.fail(error.map_or(ErrorCode::None, |partition| ErrorCode::from(partition.error_code)));
            }
            GroupReply::OffsetFetch(response) if response.groups[0].error_code == 0 => {
                for partition in response.groups[0].topics.iter().flat_map(|topic| &topic.partitions) {
                    client.positions.insert(partition.partition_index, partition.committed_offset.max(0));
                }
                client.phase = Phase::Reading;
            }
            _ => {}
        }
        let pause = if self.hosts[index].client.phase == Phase::Reading { 1000 } else { 10 };
        self.after_ms(pause, pause * 2, Event::Wake { client: index, call_id });
    }

    fn check_owner(&mut self, index: usize) {
        let client = &self.hosts[index].client;
        self.generations.insert(client.generation);
        for &partition in client.positions.keys() {
            let key = (client.generation, partition);
            let owner = self.owners.entry(key).or_insert_with(|| client.identity().to_owned());
            assert_eq!(owner, client.identity(), "GROUP-1: one owner of (generation, partition) {key:?}");
        }
    }

    // The coordinator's side.

    fn serve(&mut self, client: usize, connection: ConnectionToken, call_id: u64, call: &Call) {
        let token = ReplyToken(self.tokens);
        self.tokens += 1;
        self.open.insert(token, (client, call_id));
        let context = RequestContext {
            client_id: format!("c{client}"),
            client_host: "/192.0.2.1".into(),
            version: newest(call),
            connection,
            token,
        };
        let decision = handle(&mut self.machine, call, &context, self.now);
        match call {
            Call::Commit(request) => {
                let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                let offsets = partitions.map(|p| (p.partition_index, p.committed_offset)).collect();
                self.commits.insert(token, offsets);
            }
            Call::Fetch(_) => self.check_fetched(&decision),
            _ => {}
        }
        self.carry_out(decision);
    }

    fn check_fetched(&self, decision: &GroupDecision) {
        let [(_, GroupReply::OffsetFetch(response))] = &decision.replies[..] else {
            panic!("a fetch is answered")
        };
        for partition in response.groups[0].topics.iter().flat_map(|topic| &topic.partitions) {
            let floor = self.acknowledged.get(&partition.partition_index).copied().unwrap_or(-1);
            assert!(partition.committed_offset >= floor, "GROUP-1: {partition:?} went back from {floor}");
        }
    }

    fn carry_out(&mut self, decision: GroupDecision) {
        for record in &decision.records {
            self.append(Logged::Record(records::encode(record).unwrap()));
        }
        self.hold(decision);
    }

    fn append(&mut self, logged: Logged) {
        replay(&mut self.machine, &logged);
        self.log.push(logged);
    }

    /// Keeps answers until what they follow from is committed.
    fn hold(&mut self, decision: GroupDecision) {
        let end = self.log.len();
        for (token, reply) in decision.replies {
            let is_early = self.bug == Some(Bug::CommitAnsweredBeforeReplicated)
                && matches!(reply, GroupReply::OffsetCommit(_));
            self.held.push((if is_early { 0 } else { end }, token, reply));
        }
        if end > self.committed {
            self.replicate(end);
        }
        self.release();
    }

    /// The replicas get what the log holds, at times late.
    fn replicate(&mut self, end: usize) {
        let term = self.term;
        let delay = if self.has_faults() && self.random.chance(300) { 2_000 } else { 30 };
        self.after_ms(0, delay, Event::Commit { term, end });
    }

    fn commit(&mut self, end: usize) {
        self.committed = self.committed.max(end);
        self.release();
    }

    fn release(&mut self) {
        let committed = self.committed;
        let (ready, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(end, ..)| *end <= committed);
        self.held = held;
        for (_, token, reply) in ready {
            self.answer(token, reply);
        }
    }

    fn answer(&mut self, token: ReplyToken, reply: GroupReply) {
        if self.answer_copier(token, &reply) {
            return;
        }
        let (client, call_id) = self.open.remove(&token).expect("a request is answered once");
        if let (GroupReply::OffsetCommit(response), Some(offsets)) = (&reply, self.commits.remove(&token)) {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            for partition in partitions.filter(|partition| partition.error_code == 0) {
                let offset = offsets[&partition.partition_index];
                let floor = self.acknowledged.entry(partition.partition_index).or_insert(offset);
                assert!(offset >= *floor, "GROUP-1: {TOPIC}-{} goes back", partition.partition_index);
                *floor = offset;
            }
        }
        if !(self.has_faults() && self.random.chance(50)) {
            self.after_ms(0, 20, Event::Reply { client, call_id, reply });
        }
    }

    // The faults.

    fn fault(&mut self) {
        if !self.has_faults() {
            return self.heal();
        }
        let index = self.random.index(CLIENTS);
        match self.random.below(7) {
            0 => self.fail_over(),
            // Its machine is gone: no kernel closes anything.
            1 => self.hosts[index].is_alive = false,
            2 => {
                self.hosts[index].is_alive = false;
                self.close_connection(index);
            }
            3 | 4 => self.restart(index),
            5 => self.close_connection(index),
            _ => {
                let leave = self.hosts[index].client.leave();
                self.send(index, leave);
                self.hosts[index].is_alive = false;
            }
        }
        self.after_ms(100, 15_000, Event::Fault);
    }

    fn heal(&mut self) {
        for index in 0..CLIENTS {
            if !self.hosts[index].is_alive {
                self.restart(index);
            }
        }
    }

    /// What is on its way by the connection still arrives, and then its end does. The next request takes another one, and
    /// arrives later: a commit that overtook an earlier one would be the client's saying that its offset goes back.
    fn close_connection(&mut self, index: usize) {
        self.call_ids += 1;
        let host = &mut self.hosts[index];
        let connection = std::mem::replace(&mut host.connection, ConnectionToken(1000 + self.call_ids));
        let at = host.last_arrival.max(self.now.monotonic);
        self.at(at, Event::Closed { connection });
    }

    /// A process ends, if it has not, and another one begins.
    fn restart(&mut self, index: usize) {
        self.close_connection(index);
        self.call_ids += 1;
        let call_id = self.call_ids;
        let host = &mut self.hosts[index];
        host.client = Client::new(host.client.instance_id.clone());
        (host.is_alive, host.call_id, host.waits) = (true, call_id, false);
        // Another member: what the old one has sent may arrive later.
        host.last_arrival = Monotonic(0);
        self.after_ms(0, 2000, Event::Wake { client: index, call_id });
    }

    /// Another replica leads. It has all that is committed, and some of the rest.
    fn fail_over(&mut self) {
        self.term += 1;
        let kept = self.committed + self.random.index(self.log.len() - self.committed + 1);
        self.log.truncate(kept);
        self.committed = kept;
        self.forget_markers();
        let seed = self.random.next_u64();
        let machine = GroupCoordinator::new(Settings::default(), seed);
        let resigned = std::mem::replace(&mut self.machine, machine).resign();
        let held = std::mem::take(&mut self.held);
        let refuse = |(_, token, reply): (usize, ReplyToken, GroupReply)| {
            (token, reply.into_error(ErrorCode::NotCoordinator))
        };
        for (token, reply) in resigned.into_iter().chain(held.into_iter().map(refuse)) {
            self.answer(token, reply);
        }
        assert!(self.open.is_empty(), "who resigns answers everybody");
        for logged in &self.log {
            match logged {
                Logged::OfTransaction(_, stored) if self.bug == Some(Bug::PendingTakenForCommitted) => {
                    self.machine.replay(&decode(stored));
                }
                logged => replay(&mut self.machine, logged),
            }
        }
        let decision = self.machine.handle_loaded(self.now);
        self.carry_out(decision);
    }

    fn check_settled(&self) {
        let group = &self.machine.groups[GROUP];
        assert_eq!(group.state, GroupState::Stable);
        assert_eq!(group.members().len(), CLIENTS, "everybody is there, and nobody else");
        let mut owned = BTreeSet::new();
        for host in &self.hosts {
            assert_eq!(host.client.phase, Phase::Reading);
            assert_eq!(host.client.generation, group.generation);
            for partition in host.client.positions.keys() {
                assert!(owned.insert(*partition), "GROUP-1: partition {partition} has one owner");
            }
        }
        assert_eq!(owned, (0..i32::from(PARTITIONS)).collect());
        self.check_copiers_settled();
        assert!(self.open.len() <= CLIENTS, "no request is forgotten: {:?}", self.open);
    }
}

#[test]
fn a_group_keeps_its_promises_under_faults_and_settles_when_they_stop() {
    let (mut generations, mut acknowledged, mut outcomes) = (0, 0, [0; 2]);
    for seed in ottla_types::seeds(400) {
        let world = std::panic::catch_unwind(|| World::new(seed).run());
        let world = world.unwrap_or_else(|_| panic!("seed {seed}"));
        generations += world.generations.len();
        for transaction in world.transactions.values() {
            outcomes[usize::from(transaction.outcome == Some(true))] += 1;
        }
        acknowledged += usize::from(world.acknowledged.len() == usize::from(PARTITIONS));
    }
    // The runs are worth something: groups rebalanced, offsets were committed.
    assert!(generations > 400 * 5, "{generations}");
    assert!(acknowledged > 390, "{acknowledged}");
    assert!(outcomes.iter().all(|&count| count > 400 * 10), "{outcomes:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second) = (World::new(7).run(), World::new(7).run());

    assert_eq!(first.trace, second.trace);
    assert_ne!(first.trace, World::new(8).run().trace);
}

#[test]
fn notices_a_commit_that_is_answered_before_it_is_replicated() {
    let bug = Bug::CommitAnsweredBeforeReplicated;
    let noticed = |seed| {
        let violation = std::panic::catch_unwind(|| World::with(seed, Some(bug)).run()).err()?;
        violation.downcast::<String>().ok()
    };

    let (seeds, violation) = (0..400).find_map(|seed| Some((seed + 1, noticed(seed)?))).expect("unnoticed");

    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(violation.starts_with("GROUP-1"), "{violation}");
}

#[test]
fn notices_pending_offsets_that_are_taken_for_committed_ones() {
    let bug = Bug::PendingTakenForCommitted;
    let noticed = |seed| {
        let violation = std::panic::catch_unwind(|| World::with(seed, Some(bug)).run()).err()?;
        violation.downcast::<String>().ok()
    };

    let (seeds, violation) = (0..400).find_map(|seed| Some((seed + 1, noticed(seed)?))).expect("unnoticed");

    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(violation.starts_with("TXN-4"), "{violation}");
}
