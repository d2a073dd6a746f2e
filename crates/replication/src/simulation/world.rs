//! Nodes, their network, and chance.

use super::controller::{Controller, Image, Verdict};
use super::judge::{self, Entry, Judge};
use crate::bug::Bug;
use crate::{Effects, FetchError, FetchPosition, IsrChange, Outcome, Partition, Role, Settings, WaiterId};
use ottla_records::{BatchBuilder, Origin, batches, validate};
use ottla_storage::{
    AppendError as LogAppendError, AtLeast, Disk, FlushTarget, Log, LogConfig, Recovery, SimDisk,
};
use ottla_types::{
    BrokerEpoch, FileRegion, LeaderEpoch, Monotonic, NodeId, Now, Offset, OffsetAndEpoch, ProducerEpoch,
    ProducerId, Random, Timestamp, TopicIdPartition, TopicPartition, Uuid,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LAG_MAX: Duration = Duration::from_millis(100);

/// How many producers there are that are idempotent.
const PRODUCERS: u64 = 3;

/// An idempotent producer: one batch at a time, sent again to whoever leads until it is acknowledged.
struct Producer {
    /// How many of its records are acknowledged, and so the next sequence number.
    acknowledged: u64,
    /// How many records are in the batch that it is sending, if it is.
    sending: Option<u64>,
}

/// A running broker.
pub(super) struct Running {
    pub(super) partition: Partition,
    broker_epoch: BrokerEpoch,
    /// Whether the machine has asked for a sync that is not begun.
    pub(super) wants_flush: bool,
    /// The sync that is under way.
    pub(super) flush: Option<FlushTarget>,
    /// The change that is being asked for, until it is answered or out of date.
    change: Option<IsrChange>,
    is_asking: bool,
    /// Whether a fetch is under way.
    is_fetching: bool,
    /// The producers that wait: where their records are, and which.
    producers: BTreeMap<WaiterId, (Offset, Vec<u64>)>,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    pub(super) running: Option<Running>,
    /// How many images it has learnt of.
    seen: usize,
    /// What a restart finds written down.
    high_watermark_checkpoint: Offset,
}

/// A message under way. What comes from an incarnation that is gone may arrive; what goes to one may not.
#[derive(Clone)]
enum Message {
    Fetch { from: usize, to: NodeId, broker_epoch: BrokerEpoch, position: FetchPosition },
    Fetched { to: usize, broker_epoch: BrokerEpoch, asked: FetchPosition, answer: Fetched },
    Alter { from: usize, broker_epoch: BrokerEpoch, change: IsrChange },
    Altered { to: usize, broker_epoch: BrokerEpoch, change: IsrChange, verdict: Verdict },
}

#[derive(Clone)]
enum Fetched {
    /// The region is read when the answer is taken in: late, as `sendfile` may be.
    Records(Option<FileRegion>, Offset, Offset),
    /// And where the leader's log begins.
    Diverging(OffsetAndEpoch, Offset),
    OutOfRange(Offset),
    Refused,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hazards {
    /// Processes are killed, messages are lost; what was appended survives all of it.
    Kills,
    /// Hosts lose power besides, all of them at once too. The topic has `flush.messages=1`.
    PowerLosses,
}

/// All there is.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Now,
    hazards: Hazards,
    settings: Settings,
    bug: Option<Bug>,
    pub(super) nodes: Vec<Node>,
    controller: Controller,
    messages: Vec<Message>,
    pub(super) judge: Judge,
    producers: Vec<Producer>,
    segment_bytes: u64,
    next_value: u64,
    next_waiter: u64,
    trace: u64,
}

/// Where a node keeps its log.
const DATA: &str = "/data";

/// An empty disk that is mounted there: no loss of power takes that away.
fn new_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DATA)).expect("a new disk takes a directory");
    disk.sync_dir(Path::new("/")).expect("a new disk can be synced");
    disk
}

impl World {
    pub(super) fn new(seed: u64, hazards: Hazards, bug: Option<Bug>) -> World {
        let mut random = Random::new(seed);
        let count = 2 + random.index(3);
        let ids: Vec<NodeId> = (1..=count as i32).map(NodeId).collect();
        let min_insync_replicas = 1 + random.index(2);
        let segment_bytes = [300, 2_000][random.index(2)];
        let producer = |_| Producer { acknowledged: 0, sending: None };
        let mut world = World {
            random,
            now: Now { monotonic: Monotonic(1_000_000), wall: Timestamp(1_700_000_000_000) },
            hazards,
            settings: Settings {
                min_insync_replicas,
                replica_lag_time_max: LAG_MAX,
                has_readers_elsewhere: false,
            },
            bug,
            nodes: Vec::new(),
            controller: Controller::new(&ids, bug == Some(Bug::TermOutlivesReplica)),
            messages: Vec::new(),
            judge: Judge::default(),
            producers: (0..PRODUCERS).map(producer).collect(),
            segment_bytes,
            next_value: 0,
            next_waiter: 0,
            trace: 0xcbf2_9ce4_8422_2325,
        };
        for (index, &id) in ids.iter().enumerate() {
            let disk = new_disk();
            let high_watermark_checkpoint = Offset::ZERO;
            world.nodes.push(Node { id, disk, running: None, seen: 0, high_watermark_checkpoint });
            world.start(index, BrokerEpoch(i64::from(id.0)));
        }
        world
    }

    /// The digest of everything that happened.
    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    /// One thing happens; all that must hold is looked at.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let index = self.random.index(self.nodes.len());
        if self.hazards == Hazards::PowerLosses && self.random.chance(300) {
            self.power_step(index);
            return self.look();
        }
        match self.random.below(1000) {
            0..120 => self.append(index),
            120..330 => self.fetch(index),
            330..790 => self.deliver(950)?,
            790..900 => self.learn(index),
            900..930 => self.pass_time(),
            930..937 => self.kill(index),
            937..955 => self.restart(index),
            955..975 => self.unfence(index),
            975..980 => self.controller.fence(self.nodes[index].id),
            980..986 => self.controller.elect(self.nodes[index].id),
            986..989 => self.reassign(),
            989..990 => self.controller.take_back(),
            990..991 => self.cut_off(index),
            991..997 => self.reconnect(index),
            _ => self.write_checkpoint(index),
        }
        self.ask_controller(index);
        self.look()
    }

    /// Nothing fails any more: all replicas become one and in sync, and nobody waits.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for index in 0..self.nodes.len() {
            self.restart(index);
            self.reconnect(index);
            if !self.controller.current().brokers[&self.nodes[index].id].eligible {
                self.controller.unfence(self.nodes[index].id);
            }
        }
        self.controller.reassign(self.nodes.iter().map(|node| node.id).collect());
        // Some catch up with all there is, a batch or two a round.
        for round in 0..150 {
            self.now = self.now.after(Duration::from_millis(1));
            match round {
                120 => self.produce_more(),
                // The in-sync set may have been too small a moment ago.
                125 | 130 | 135 => self.produce_again(),
                _ => {}
            }
            for index in 0..self.nodes.len() {
                self.learn_all(index);
                self.time_out(index);
                self.begin_flush(index);
                self.end_flush(index);
                self.fetch(index);
                self.ask_controller(index);
            }
            while !self.messages.is_empty() {
                self.deliver(1000)?;
                self.look()?;
            }
        }
        let assignment = &self.controller.current().assignment;
        if assignment.isr.len() != self.nodes.len() {
            let nodes = self.nodes.iter().flat_map(|node| &node.running);
            let nodes: Vec<_> =
                nodes.map(|running| (running.partition.role(), &running.change, running.is_asking)).collect();
            return Err(format!("LIVE-1: not all came back into sync: {assignment:?}, {nodes:#?}"));
        }
        if let Some(waiting) =
            self.nodes.iter().flat_map(|node| &node.running).find(|r| !r.producers.is_empty())
        {
            return Err(format!("LIVE-1: producers wait for ever: {:?}", waiting.producers));
        }
        if let Some(number) = self.producers.iter().position(|producer| producer.sending.is_some()) {
            return Err(format!("LIVE-1: the leader takes nothing from producer {number}"));
        }
        self.judge.equal()
    }

    /// Whoever leads takes records again, those that are sent again too.
    fn produce_more(&mut self) {
        if let Some(index) = self.leader() {
            (0..self.producers.len()).for_each(|number| self.produce(index, number));
        }
    }

    /// What was refused is sent again.
    fn produce_again(&mut self) {
        let Some(index) = self.leader() else { return };
        for number in 0..self.producers.len() {
            if self.producers[number].sending.is_some() {
                self.produce(index, number);
            }
        }
    }

    /// The node that leads, as the controller has it.
    fn leader(&self) -> Option<usize> {
        let leader = self.controller.current().assignment.leader;
        self.nodes.iter().position(|node| Some(node.id) == leader)
    }

    /// How many records were acknowledged: a run in which nothing is proves nothing.
    pub(super) fn acknowledged_count(&self) -> usize {
        self.judge.acknowledged_count()
    }

    pub(super) fn note(&mut self, what: impl Debug) {
        for byte in format!("{what:?}").bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What nodes do.
impl World {
    fn start(&mut self, index: usize, broker_epoch: BrokerEpoch) {
        let log = self.open_log(index);
        let node = &mut self.nodes[index];
        let id = TopicIdPartition::new(Uuid::from_u128(7), 0);
        let name = TopicPartition::new("t", 0);
        let high_watermark = node.high_watermark_checkpoint;
        let mut partition = Partition::new(id, name, node.id, self.settings, log, high_watermark);
        partition.make_mistakes(self.bug);
        node.running = Some(Running {
            partition,
            broker_epoch,
            wants_flush: false,
            flush: None,
            change: None,
            is_asking: false,
            is_fetching: false,
            producers: BTreeMap::new(),
        });
        self.note(("start", index));
    }

    pub(super) fn open_log(&self, index: usize) -> Log {
        let disk = Arc::new(self.nodes[index].disk.clone());
        let flush_messages = if self.hazards == Hazards::PowerLosses { 1 } else { i64::MAX };
        let config = LogConfig {
            segment_bytes: self.segment_bytes,
            index_interval_bytes: 200,
            flush_messages,
            ..LogConfig::default()
        };
        let opened = Log::open(disk, Path::new(DATA).join("t-0"), config, Recovery::UNKNOWN, self.now);
        opened.unwrap().0
    }

    /// Somebody sends a batch, or sends one again.
    fn append(&mut self, index: usize) {
        match self.random.index(2 * PRODUCERS as usize) {
            producer if producer < PRODUCERS as usize => self.produce(index, producer),
            _ => {
                let count = 1 + self.random.index(3) as u64;
                let all = self.random.chance(700);
                let values = (self.next_value..self.next_value + count).collect();
                self.next_value += count;
                self.send(index, BatchBuilder::new(), values, all);
            }
        }
    }

    /// An idempotent producer sends: what it has not been told of, or else something new.
    fn produce(&mut self, index: usize, number: usize) {
        let fresh = 1 + self.random.index(3) as u64;
        let producer = &mut self.producers[number];
        let count = *producer.sending.get_or_insert(fresh);
        let sequence = producer.acknowledged;
        let id = ProducerId(number as i64);
        let builder = BatchBuilder::new().producer(id, ProducerEpoch(0), sequence as i32);
        let values = (sequence..sequence + count).map(|sequence| judge::value(number as u64, sequence));
        self.send(index, builder, values.collect(), true);
    }

    fn send(&mut self, index: usize, mut builder: BatchBuilder, values: Vec<u64>, all: bool) {
        let Some(running) = &mut self.nodes[index].running else { return };
        for value in &values {
            builder.push(self.now.wall, None, Some(&value.to_be_bytes()), &[]);
        }
        let mut bytes = builder.build();
        let rules = running.partition.log().config().rules(Origin::Client, self.now.wall);
        let valid = validate(&mut bytes, &rules).unwrap();
        let mut effects = Effects::default();
        let appended = running.partition.append(valid, all, self.now, &mut effects);
        if let Ok(info) = &appended
            && all
        {
            let waiter = WaiterId(self.next_waiter);
            self.next_waiter += 1;
            running.producers.insert(waiter, (info.base_offset, values));
            if let Some(outcome) = running.partition.wait_for_commit(info.next_offset(), waiter) {
                effects.produced.push((waiter, outcome));
            }
        }
        self.note(("append", index, appended.map(|info| info.base_offset).ok()));
        self.carry_out(index, effects);
    }

    fn fetch(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        let Some((leader, position)) = running.partition.fetch_position() else { return };
        if running.is_fetching {
            return;
        }
        running.is_fetching = true;
        let broker_epoch = running.broker_epoch;
        self.note(("fetch", index, position));
        self.messages.push(Message::Fetch { from: index, to: leader, broker_epoch, position });
    }

    /// Learns of images up to one of those that it does not know; what lies between is not seen.
    fn learn(&mut self, index: usize) {
        let newer = self.controller.images.len() - self.nodes[index].seen;
        if newer > 0 {
            let seen = self.nodes[index].seen + 1 + self.random.index(newer);
            self.take_over(index, seen);
        }
    }

    fn learn_all(&mut self, index: usize) {
        if self.nodes[index].seen < self.controller.images.len() {
            self.take_over(index, self.controller.images.len());
        }
    }

    /// Makes the replica what the image says, as the replica manager does.
    fn take_over(&mut self, index: usize, seen: usize) {
        let before = self.nodes[index].seen.checked_sub(1).map(|last| self.controller.images[last].clone());
        let Image { assignment, brokers, .. } = self.controller.images[seen - 1].clone();
        let is_changed = before.is_none_or(|before| before.assignment != assignment);
        let id = self.nodes[index].id;
        let Some(running) = &mut self.nodes[index].running else { return };
        if !assignment.replicas.contains(&id) {
            self.nodes[index].seen = seen;
            self.remove(index);
            return;
        }
        let mut effects = Effects::default();
        // Now and then everything is applied anew, as after a snapshot.
        if is_changed || self.random.chance(50) {
            running.partition.handle_assignment(&assignment, brokers, self.now, &mut effects).unwrap();
        } else {
            running.partition.handle_brokers(brokers, self.now.monotonic, &mut effects);
        }
        self.nodes[index].seen = seen;
        self.note(("learn", index, seen));
        self.carry_out(index, effects);
    }

    /// The node is to hold the partition no longer: its log goes, and if it is to hold it again it begins with nothing.
    fn remove(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        let broker_epoch = running.broker_epoch;
        let mut effects = Effects::default();
        running.partition.handle_removed(&mut effects);
        self.carry_out(index, effects);
        self.nodes[index].disk = new_disk();
        self.nodes[index].high_watermark_checkpoint = Offset::ZERO;
        self.start(index, broker_epoch);
    }

    /// Some nodes, but not none, are to hold the partition, in any order.
    fn reassign(&mut self) {
        let mut target: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        self.random.shuffle(&mut target);
        target.truncate(1 + self.random.index(target.len()));
        self.controller.reassign(target);
    }

    fn pass_time(&mut self) {
        self.now = self.now.after(self.random.duration(Duration::ZERO, LAG_MAX));
        for index in 0..self.nodes.len() {
            self.time_out(index);
        }
    }

    fn time_out(&mut self, index: usize) {
        let now = self.now.monotonic;
        let Some(running) = &mut self.nodes[index].running else { return };
        if running.partition.deadline().is_some_and(|deadline| deadline <= now) {
            let mut effects = Effects::default();
            running.partition.handle_timeout(now, &mut effects);
            self.carry_out(index, effects);
        }
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index].running = None;
        self.nodes[index].seen = 0;
        self.nodes[index].disk.release_locks();
        self.note(("kill", index));
    }

    fn restart(&mut self, index: usize) {
        if self.nodes[index].running.is_some() {
            return;
        }
        let broker_epoch = self.controller.register(self.nodes[index].id);
        self.start(index, broker_epoch);
        // It follows the metadata log to its own registration before anything else.
        self.learn_all(index);
    }

    fn unfence(&mut self, index: usize) {
        let id = self.nodes[index].id;
        if self.nodes[index].running.is_some() && !self.controller.current().brokers[&id].eligible {
            self.controller.unfence(id);
        }
    }

    /// The controller is not heard of any more: what the broker has asked for may be answered all the same.
    fn cut_off(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        let mut effects = Effects::default();
        running.partition.handle_cut_off(&mut effects);
        self.note(("cut off", index));
        self.carry_out(index, effects);
    }

    fn reconnect(&mut self, index: usize) {
        let now = self.now.monotonic;
        let Some(running) = &mut self.nodes[index].running else { return };
        let mut effects = Effects::default();
        running.partition.handle_reconnected(now, &mut effects);
        self.note(("reconnect", index));
        self.carry_out(index, effects);
    }

    pub(super) fn write_checkpoint(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if let Some(running) = &node.running {
            node.high_watermark_checkpoint = running.partition.high_watermark();
        }
    }

    pub(super) fn carry_out(&mut self, index: usize, effects: Effects) {
        let Some(running) = &mut self.nodes[index].running else { return };
        if let Some(change) = effects.isr_change {
            running.change = Some(change);
        }
        running.wants_flush |= effects.flush.is_some();
        let mut outcomes = Vec::new();
        for (waiter, outcome) in effects.produced {
            let (base_offset, values) = running.producers.remove(&waiter).expect("answered once");
            if outcome == Outcome::Committed {
                self.judge.acknowledged(base_offset, &values);
                settle(&mut self.producers, &values);
            }
            outcomes.push(outcome);
        }
        self.note(("effects", index, outcomes));
    }

    /// Asks the controller, again and again while the change is not out of date, as the in-sync set channel does.
    fn ask_controller(&mut self, index: usize) {
        let Some(running) = &mut self.nodes[index].running else { return };
        let partition = &running.partition;
        let is_current = |change: &mut IsrChange| {
            (change.leader_epoch, change.partition_epoch)
                == (partition.leader_epoch(), partition.partition_epoch())
        };
        running.change.take_if(|change| !is_current(change));
        if let Some(change) = running.change.clone()
            && !running.is_asking
        {
            running.is_asking = true;
            let broker_epoch = running.broker_epoch;
            self.messages.push(Message::Alter { from: index, broker_epoch, change });
        }
    }
}

/// What messages do.
impl World {
    /// One message arrives, or is lost.
    fn deliver(&mut self, arrives_per_mille: u64) -> Result<(), String> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let index = self.random.index(self.messages.len());
        let message = self.messages.swap_remove(index);
        if !self.random.chance(arrives_per_mille) {
            self.lose(&message);
            return Ok(());
        }
        match message {
            Message::Fetch { from, to, broker_epoch, position } => {
                let answer = self.answer_fetch(from, to, broker_epoch, position);
                self.messages.push(Message::Fetched { to: from, broker_epoch, asked: position, answer });
                Ok(())
            }
            Message::Fetched { to, broker_epoch, asked, answer } => {
                self.take_in(to, broker_epoch, asked, answer)
            }
            Message::Alter { from, broker_epoch, change } => {
                let id = self.nodes[from].id;
                let is_registered = self.controller.current().brokers[&id].broker_epoch == broker_epoch;
                let verdict = if is_registered { self.controller.alter(id, &change) } else { Verdict::Stale };
                self.note(("alter", from, &verdict));
                self.messages.push(Message::Altered { to: from, broker_epoch, change, verdict });
                Ok(())
            }
            Message::Altered { to, broker_epoch, change, verdict } => {
                self.take_verdict(to, broker_epoch, &change, verdict);
                Ok(())
            }
        }
    }

    /// The connection broke: whoever asked finds out and asks again.
    fn lose(&mut self, message: &Message) {
        let (Message::Fetch { from: asker, broker_epoch, .. }
        | Message::Fetched { to: asker, broker_epoch, .. }
        | Message::Alter { from: asker, broker_epoch, .. }
        | Message::Altered { to: asker, broker_epoch, .. }) = message;
        let Some(running) = &mut self.nodes[*asker].running else { return };
        if running.broker_epoch != *broker_epoch {
            return;
        }
        match message {
            Message::Fetch { .. } | Message::Fetched { .. } => running.is_fetching = false,
            Message::Alter { .. } | Message::Altered { .. } => running.is_asking = false,
        }
    }

    fn answer_fetch(
        &mut self,
        from: usize,
        to: NodeId,
        broker_epoch: BrokerEpoch,
        position: FetchPosition,
    ) -> Fetched {
        let asker = self.nodes[from].id;
        let leader = self.nodes.iter().position(|node| node.id == to).expect("a node");
        let bytes_max = self.random.index(600);
        let Some(running) = &mut self.nodes[leader].running else { return Fetched::Refused };
        let mut effects = Effects::default();
        let found = running.partition.fetch_as_follower(
            asker,
            broker_epoch,
            position,
            bytes_max,
            AtLeast::OneBatch,
            self.now.monotonic,
            &mut effects,
        );
        let start = running.partition.log().log_start_offset();
        let answer = match found {
            Ok(found) => match found.diverging {
                Some(diverging) => Fetched::Diverging(diverging, found.log_start_offset),
                None => Fetched::Records(found.records, found.high_watermark, found.log_start_offset),
            },
            Err(FetchError::OffsetOutOfRange { .. }) => Fetched::OutOfRange(start),
            Err(_) => Fetched::Refused,
        };
        self.carry_out(leader, effects);
        self.ask_controller(leader);
        answer
    }

    fn take_in(
        &mut self,
        to: usize,
        broker_epoch: BrokerEpoch,
        asked: FetchPosition,
        answer: Fetched,
    ) -> Result<(), String> {
        let now = self.now;
        let Some(running) = &mut self.nodes[to].running else { return Ok(()) };
        if running.broker_epoch != broker_epoch {
            return Ok(());
        }
        running.is_fetching = false;
        let partition = &mut running.partition;
        match answer {
            Fetched::Records(region, high_watermark, start) => {
                // What was cut meanwhile cannot be read: the leader breaks the connection.
                let bytes = match region.map(|region| region.read()) {
                    None => Vec::new(),
                    Some(Ok(bytes)) => bytes,
                    Some(Err(_)) => return Ok(()),
                };
                let epoch = asked.leader_epoch;
                let mut effects = Effects::default();
                let done =
                    partition.append_as_follower(&bytes, epoch, high_watermark, start, now, &mut effects);
                if let Err(crate::AppendError::Log(LogAppendError::Storage(error))) = done {
                    return Err(format!("the disk failed: {error}"));
                }
            }
            Fetched::Diverging(end, start) => {
                partition
                    .handle_diverging(end, start, asked.leader_epoch, now)
                    .map_err(|error| error.to_string())?;
            }
            Fetched::OutOfRange(start) if start > asked.fetch_offset => {
                partition
                    .handle_out_of_range(start, start, asked.leader_epoch, now)
                    .map_err(|error| error.to_string())?;
            }
            Fetched::OutOfRange(_) | Fetched::Refused => {}
        }
        Ok(())
    }

    /// As the in-sync set channel does.
    fn take_verdict(&mut self, to: usize, broker_epoch: BrokerEpoch, change: &IsrChange, verdict: Verdict) {
        let now = self.now.monotonic;
        let Some(running) = &mut self.nodes[to].running else { return };
        if running.broker_epoch != broker_epoch {
            return;
        }
        running.is_asking = false;
        // A change that replaced this one waits for an answer of its own.
        running.change.take_if(|waiting| waiting == change);
        let mut effects = Effects::default();
        match verdict {
            Verdict::Committed(state) => running.partition.handle_isr_committed(
                state.isr,
                state.leader_epoch,
                state.partition_epoch,
                now,
                &mut effects,
            ),
            Verdict::Ineligible => running.partition.handle_isr_refused(change.partition_epoch),
            Verdict::Stale => {}
        }
        self.carry_out(to, effects);
        self.ask_controller(to);
    }
}

/// What is looked at after every step.
impl World {
    fn look(&mut self) -> Result<(), String> {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let Some(Running { partition, broker_epoch, .. }) = &node.running else { continue };
            let end = partition.log().log_end_offset();
            let known = self.judge.known_len(node.id);
            let new = if end.0 as usize > known {
                entries(partition.log(), Offset(known as i64))
            } else {
                Vec::new()
            };
            self.judge.log(node.id, end.0 as usize, &new)?;
            self.judge.high_watermark(node.id, partition.high_watermark())?;
            if let Role::Leader(leader) = partition.role() {
                self.judge.isr(node.id, leader)?;
                let incarnation = broker_epoch.0 as u64;
                self.judge.leader(node.id, incarnation, leader.epoch, partition.high_watermark())?;
            }
        }
        self.judge.in_sync(&self.controller.current().assignment.isr)
    }
}

/// A batch is acknowledged: its producer, if it is an idempotent one that still waits for this, goes on.
fn settle(producers: &mut [Producer], values: &[u64]) {
    let Some((number, sequence)) = judge::producer(values[0]) else { return };
    let producer = &mut producers[number as usize];
    if producer.acknowledged == sequence {
        producer.acknowledged += values.len() as u64;
        producer.sending = None;
    }
}

/// The records from an offset on.
fn entries(log: &Log, mut from: Offset) -> Vec<Entry> {
    let mut found = Vec::new();
    while from < log.log_end_offset() {
        let region =
            log.read(from, Offset::MAX, 1 << 20, AtLeast::OneBatch).unwrap().region.expect("below the end");
        let bytes = region.read().unwrap();
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            let epoch: LeaderEpoch = batch.header().leader_epoch;
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                if record.offset >= from {
                    let value = record.value.expect("written with one").try_into().expect("eight bytes");
                    found.push((epoch, u64::from_be_bytes(value)));
                }
            }
            from = batch.header().next_offset();
        }
    }
    found
}
