//! Seeded runs: brokers as small state machines, a network that delays, loses and parts, two controllers.
//!
//! The detector never sees the truth; the checker does, and judges every verdict by it:
//!
//! - a verdict names an incarnation that is registered and unfenced;
//! - *gone* is never wrong: that process is dead;
//! - *left* is said of the dead and the frozen only, unless the network loses what they say;
//! - *silent* is said exactly when the rule, computed anew from all contacts and answers, is broken: neither
//!   before nor a millisecond later; and never of who runs and is reached by dials, before a session is over, whatever
//!   the quorum says of it;
//! - who is killed in a calm network, its endpoint proven, is condemned within 20 ms of its close, or of the
//!   activation of a new controller;
//! - one incarnation is not condemned twice within a second unless it was unfenced between;
//! - a dead broker's successor is let in when its sessions with the controllers are over, at the latest;
//! - dials are bounded, and no deadline lies in the past after a time-out.

use super::*;
use crate::brokers::Predecessor;
use ottla_types::{BrokerEpoch, Monotonic, NodeId, Random};
use std::collections::BTreeMap;
use std::time::Duration;

const SESSION: Duration = Duration::from_secs(9);
const RUN: Duration = Duration::from_secs(40);
/// How long a process stands still, or is cut off.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(12);
const COMMIT: Duration = Duration::from_millis(2);
const KILLED_TO_CONDEMNED_MAX: Duration = Duration::from_millis(20);

/// What may happen in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Packets lost, of 1000.
    loss: u64,
    /// Heartbeats leave late, with a heavy tail.
    saturated: bool,
    /// Brokers are cut off from the controllers for a while.
    partitions: bool,
    /// Processes are killed, frozen and restarted.
    process_faults: bool,
    /// The active controller stalls.
    stalls: bool,
    /// The active controller changes.
    moves: bool,
    /// Brokers with odd ids are behind proxies, which accept for the dead.
    proxies: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    Dead,
    /// Its ports are bound, but nobody listens before it is registered.
    Starting,
    Running,
    Frozen,
}

#[derive(Debug)]
struct Broker {
    process: Process,
    /// Counts the processes of this broker.
    generation: u64,
    epoch: BrokerEpoch,
    fenced: bool,
    interval: Duration,
    connection: Option<u64>,
    /// What it sent arrives in order.
    arrives_after: Monotonic,
    parted_until: Monotonic,
    /// When it last refused a dial though it ran: its backlog was full for a moment.
    overrun_at: Monotonic,
    truth: Truth,
}

/// What the checker knows of an incarnation, by the active controller's waking time.
#[derive(Debug, Default)]
struct Truth {
    contacts: u32,
    first: Duration,
    last: Duration,
    longest_gap: Duration,
    /// It was found silent, and has said nothing since.
    stands_still: bool,
    /// How often it was heard after that.
    standstills: u32,
    /// When its silence is over by what the quorum says, while that counts.
    suspected: Option<Duration>,
    /// When the latest dial began that it answered.
    answered: Option<Duration>,
    /// To which of the controllers it answered.
    proven: [bool; 2],
    /// Condemned by then at the latest.
    condemned_by: Option<Monotonic>,
    condemned_at: Option<Monotonic>,
    died_at: Option<Monotonic>,
}

#[derive(Clone, Debug)]
enum Event {
    Heartbeat { id: i32, generation: u64 },
    Contact { id: i32, epoch: BrokerEpoch, connection: u64 },
    Closed { connection: u64 },
    Dialled { dial: Dial, id: i32, timeout: Duration },
    Outcome { dial: Dial, outcome: ProbeOutcome, id: i32, epoch: BrokerEpoch },
    Register { id: i32, generation: u64 },
    Commit { id: i32, epoch: BrokerEpoch, fenced: bool },
    Fault,
    Thaw { id: i32, generation: u64 },
    Stall,
    StallEnds(Duration),
    Move,
}

/// A dial of one of the controllers.
#[derive(Clone, Copy, Debug)]
struct Dial {
    controller: usize,
    probe: ProbeId,
    /// When it began, by the active controller's waking time.
    began: Duration,
}

/// What happened in a run, or in many.
#[derive(Debug, Default)]
struct Tally {
    gone: u32,
    left: u32,
    silent: u32,
    /// Silent verdicts on processes that ran.
    false_silent: u32,
    kills: u32,
    freezes: u32,
    moves: u32,
    /// Silent verdicts on those that the quorum had given up.
    suspected: u32,
    /// How many were given up though they ran.
    falsely_suspected: u32,
}

struct World {
    seed: u64,
    weather: Weather,
    random: Random,
    now: Monotonic,
    queue: BTreeMap<(Monotonic, u64), Event>,
    sequence: u64,
    brokers: BTreeMap<i32, Broker>,
    controllers: [Detector; 2],
    active: usize,
    busy_until: Monotonic,
    /// How long the active controller has stalled.
    stalled: Duration,
    next_epoch: i64,
    next_connection: u64,
    dials_awaited: usize,
    tally: Tally,
}

impl World {
    fn new(seed: u64, weather: Weather) -> World {
        let mut random = Random::new(seed);
        let brokers = 1 + random.below(7) as i32;
        let mut world = World {
            seed,
            weather,
            now: Monotonic(3_600_000_000),
            queue: BTreeMap::new(),
            sequence: 0,
            brokers: BTreeMap::new(),
            controllers: [Detector::new(SESSION), Detector::new(SESSION)],
            active: 0,
            busy_until: Monotonic(0),
            stalled: Duration::ZERO,
            next_epoch: 1,
            next_connection: 1,
            dials_awaited: 0,
            tally: Tally::default(),
            random,
        };
        for id in 1..=brokers {
            let slow = world.random.chance(250);
            world.brokers.insert(
                id,
                Broker {
                    process: Process::Dead,
                    generation: 0,
                    epoch: BrokerEpoch::NONE,
                    fenced: true,
                    interval: Duration::from_millis(if slow { 2000 } else { 200 }),
                    connection: None,
                    arrives_after: world.now,
                    parted_until: world.now,
                    overrun_at: Monotonic(0),
                    truth: Truth::default(),
                },
            );
            world.start(id);
        }
        let mut effects = Vec::new();
        world.controllers[0].activate(world.now, None, &mut effects);
        let mut plan = |wanted: bool, count: u64, event: Event| {
            for _ in 0..if wanted { world.random.below(count) + 1 } else { 0 } {
                let after = world.random.duration(Duration::from_secs(3), RUN);
                world.sequence += 1;
                world.queue.insert((world.now + after, world.sequence), event.clone());
            }
        };
        plan(weather.process_faults || weather.partitions, 8, Event::Fault);
        plan(weather.stalls, 3, Event::Stall);
        plan(weather.moves, 3, Event::Move);
        world
    }

    fn run(mut self) -> Tally {
        let end = self.now + RUN;
        loop {
            let event_at = self.queue.first_key_value().map_or(end, |((at, _), _)| *at);
            let deadlines = [0, 1].map(|controller| self.deadline(controller));
            let (controller, deadline) =
                if deadlines[1] < deadlines[0] { (1, deadlines[1]) } else { (0, deadlines[0]) };
            self.now = self.now.max(event_at.min(deadline));
            if self.now >= end {
                return self.tally;
            }
            if deadline < event_at {
                self.with(controller, |detector, now, effects| detector.handle_timeout(now, effects));
                let next = self.controllers[controller].deadline();
                assert!(
                    next.is_none_or(|next| next > self.now),
                    "seed {}: spins at {:?}",
                    self.seed,
                    self.now
                );
            } else {
                let (_, event) = self.queue.pop_first().expect("its time was read");
                self.handle(event);
            }
            self.check_nobody_is_overdue();
        }
    }

    /// A stalled controller looks at its clock when it wakes.
    fn deadline(&self, controller: usize) -> Monotonic {
        let deadline = self.controllers[controller].deadline().unwrap_or(Monotonic(u64::MAX));
        if controller == self.active { deadline.max(self.busy_until) } else { deadline }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Monotonic, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn handle(&mut self, event: Event) {
        let waits_for_active = match &event {
            Event::Contact { .. } | Event::Closed { .. } | Event::Register { .. } | Event::Commit { .. } => {
                true
            }
            Event::Move => true,
            Event::Outcome { dial, .. } => dial.controller == self.active,
            _ => false,
        };
        if waits_for_active && self.now < self.busy_until {
            return self.at(self.busy_until, event);
        }
        match event {
            Event::Heartbeat { id, generation } => self.heartbeat(id, generation),
            Event::Contact { id, epoch, connection } => self.contact(id, epoch, connection),
            Event::Closed { connection } => self.closed(connection),
            Event::Dialled { dial, id, timeout } => self.dialled(dial, id, timeout),
            Event::Outcome { dial, outcome, id, epoch } => {
                self.dials_awaited -= 1;
                let is_active = dial.controller == self.active;
                let broker = self.brokers.get_mut(&id).unwrap();
                if broker.epoch == epoch && matches!(outcome, ProbeOutcome::Answered { .. }) {
                    broker.truth.proven[dial.controller] = true;
                    if is_active {
                        broker.truth.answered = broker.truth.answered.max(Some(dial.began));
                        if broker.truth.suspected.take().is_some() {
                            broker.truth.last = dial.began;
                        }
                    }
                }
                self.with(dial.controller, |detector, now, effects| {
                    detector.handle_probe_result(dial.probe, outcome, now, effects);
                });
            }
            Event::Register { id, generation } => self.register(id, generation),
            Event::Commit { id, epoch, fenced } => self.commit(id, epoch, fenced),
            Event::Fault => self.fault(),
            Event::Thaw { id, generation } => {
                let broker = self.brokers.get_mut(&id).unwrap();
                if broker.generation == generation && broker.process == Process::Frozen {
                    broker.process = Process::Running;
                    self.after(Duration::ZERO, Event::Heartbeat { id, generation });
                }
            }
            Event::Stall => {
                if self.now >= self.busy_until {
                    let stall = self.random.duration(Duration::from_millis(50), Duration::from_secs(4));
                    self.busy_until = self.now + stall;
                    self.at(self.busy_until, Event::StallEnds(stall));
                }
            }
            Event::StallEnds(stall) => {
                self.stalled += stall;
                let now = self.now;
                self.controllers[self.active].handle_stall(stall, now);
                for broker in self.brokers.values_mut() {
                    broker.truth.condemned_by = broker.truth.condemned_by.map(|by| by + stall);
                }
            }
            Event::Move => self.move_controller(),
        }
    }

    fn start(&mut self, id: i32) {
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.process = Process::Starting;
        broker.generation += 1;
        broker.parted_until = Monotonic(0);
        let generation = broker.generation;
        let took = self.random.duration(Duration::from_millis(1), Duration::from_millis(300));
        self.after(took, Event::Register { id, generation });
    }

    fn register(&mut self, id: i32, generation: u64) {
        let broker = &self.brokers[&id];
        if broker.generation != generation || broker.process != Process::Starting {
            return;
        }
        // Half of the brokers come back with another directory: no lock speaks for them.
        let predecessor = self.controllers[self.active].predecessor(NodeId(id), broker.epoch, self.now);
        let accepted = match predecessor {
            Predecessor::Gone => true,
            Predecessor::Disconnected => broker.epoch == BrokerEpoch::NONE || id % 2 == 0,
            Predecessor::MayLive => broker.epoch == BrokerEpoch::NONE || (broker.fenced && id % 2 == 0),
        };
        if !accepted {
            let died_at = broker.truth.died_at.unwrap();
            // Each new controller begins to count anew, and what was sent may arrive late.
            let patience = SESSION * (3 + self.tally.moves) + self.stalled;
            assert!(self.now - died_at <= patience, "seed {}: {id} is kept out: {predecessor:?}", self.seed);
            return self.after(Duration::from_millis(50), Event::Register { id, generation });
        }
        let epoch = BrokerEpoch(self.next_epoch);
        self.next_epoch += 1;
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.epoch = epoch;
        broker.fenced = true;
        broker.process = Process::Running;
        broker.connection = None;
        broker.truth = Truth::default();
        self.publish();
        self.after(Duration::from_millis(1), Event::Heartbeat { id, generation });
    }

    fn publish(&mut self) {
        let registrations: Vec<Registration> = self
            .brokers
            .iter()
            .filter(|(_, broker)| broker.epoch != BrokerEpoch::NONE)
            .map(|(&id, broker)| Registration {
                broker: NodeId(id),
                epoch: broker.epoch,
                endpoints: vec![ProbeEndpoint {
                    host: "b".to_owned(),
                    port: id as u16,
                    kind: EndpointKind::Broker,
                }],
                fenced: broker.fenced,
                is_ottla: broker.interval < Duration::from_secs(1),
            })
            .collect();
        for controller in [0, 1] {
            self.with(controller, |detector, now, effects| {
                detector.handle_registrations(&registrations, now, effects);
            });
        }
    }

    fn heartbeat(&mut self, id: i32, generation: u64) {
        let broker = &self.brokers[&id];
        if broker.generation != generation || broker.process != Process::Running {
            return;
        }
        let (epoch, interval) = (broker.epoch, broker.interval);
        let reconnects = self.random.chance(2);
        if let Some(old) = broker.connection.filter(|_| reconnects) {
            // It drops its connection, and takes its time to open another.
            let arrival = self.arrival(id);
            self.at(arrival, Event::Closed { connection: old });
            self.brokers.get_mut(&id).unwrap().connection = None;
            let pause = self.random.duration(Duration::ZERO, Duration::from_millis(150));
            return self.after(pause, Event::Heartbeat { id, generation });
        }
        let fresh = self.next_connection;
        self.next_connection += 1;
        let connection = *self.brokers.get_mut(&id).unwrap().connection.get_or_insert(fresh);
        let arrival = self.arrival(id);
        self.at(arrival, Event::Contact { id, epoch, connection });
        let late = if self.weather.saturated { self.heavy_tail() } else { Duration::ZERO };
        self.after(interval + late, Event::Heartbeat { id, generation });
    }

    /// Mostly milliseconds, now and then seconds.
    fn heavy_tail(&mut self) -> Duration {
        let u = (self.random.below(1_000_000) + 1) as f64 / 1e6;
        Duration::from_secs_f64((0.005 * u.powf(-0.9)).min(12.0))
    }

    /// When something that a broker sends now arrives: in order, retransmitted when lost, after a partition.
    fn arrival(&mut self, id: i32) -> Monotonic {
        let mut delay = self.random.duration(Duration::from_micros(50), Duration::from_millis(2));
        let mut retransmit = Duration::from_millis(200);
        while self.random.chance(self.weather.loss) {
            delay += retransmit;
            retransmit *= 2;
        }
        let broker = self.brokers.get_mut(&id).unwrap();
        let sent = self.now.max(broker.parted_until);
        broker.arrives_after = (sent + delay).max(broker.arrives_after);
        broker.arrives_after
    }

    fn contact(&mut self, id: i32, epoch: BrokerEpoch, connection: u64) {
        let awake = self.awake();
        let broker = self.brokers.get_mut(&id).unwrap();
        if broker.epoch == epoch {
            let truth = &mut broker.truth;
            if truth.contacts == 0 {
                truth.first = awake;
            } else if !truth.stands_still {
                truth.longest_gap = truth.longest_gap.max(awake.saturating_sub(truth.last));
            }
            truth.standstills += u32::from(std::mem::take(&mut truth.stands_still));
            truth.suspected = None;
            truth.contacts += 1;
            truth.last = awake;
            if broker.process != Process::Dead {
                truth.condemned_by = None;
            }
            if broker.fenced {
                self.after(COMMIT, Event::Commit { id, epoch, fenced: false });
            }
        }
        let now = self.now;
        self.controllers[self.active].handle_contact(NodeId(id), epoch, ConnectionRef(connection), now);
    }

    fn closed(&mut self, connection: u64) {
        let (calm, active, now) = (self.is_calm(), self.active, self.now);
        for broker in self.brokers.values_mut() {
            let last = broker.connection == Some(connection) && broker.process == Process::Dead;
            if last && calm && !broker.fenced && broker.truth.proven[active] && broker.truth.contacts > 0 {
                broker.truth.condemned_by.get_or_insert(now + KILLED_TO_CONDEMNED_MAX);
            }
        }
        self.with(active, |detector, now, effects| {
            detector.handle_connection_closed(ConnectionRef(connection), ClosedBy::Peer, now, effects);
        });
    }

    fn dialled(&mut self, dial: Dial, id: i32, timeout: Duration) {
        let broker = &self.brokers[&id];
        let alive = ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(id)) };
        let (epoch, process) = (broker.epoch, broker.process);
        let lost = self.now < broker.parted_until || self.random.chance(self.weather.loss * 2);
        let (outcome, took) = match process {
            _ if lost => (ProbeOutcome::TimedOut, timeout),
            Process::Frozen => (ProbeOutcome::TimedOut, timeout),
            Process::Dead | Process::Starting if self.weather.proxies && id % 2 == 1 => {
                (ProbeOutcome::AcceptedThenClosed, Duration::from_micros(100))
            }
            Process::Dead | Process::Starting => (ProbeOutcome::Refused, Duration::from_micros(100)),
            Process::Running if self.overruns(id) => (ProbeOutcome::Refused, Duration::from_micros(100)),
            Process::Running => (alive, self.random.duration(Duration::from_micros(100), timeout / 4)),
        };
        self.after(took, Event::Outcome { dial, outcome, id, epoch });
    }

    /// A running broker refuses a dial now and then, but not several in a row.
    fn overruns(&mut self, id: i32) -> bool {
        let now = self.now;
        let overruns = self.random.chance(300);
        let broker = self.brokers.get_mut(&id).unwrap();
        let overruns = overruns && now - broker.overrun_at >= Duration::from_secs(1);
        if overruns {
            broker.overrun_at = now;
        }
        overruns
    }

    fn commit(&mut self, id: i32, epoch: BrokerEpoch, fenced: bool) {
        let broker = self.brokers.get_mut(&id).unwrap();
        if broker.epoch == epoch && broker.fenced != fenced {
            broker.fenced = fenced;
            broker.truth.condemned_by = None;
            broker.truth.condemned_at = None;
            self.publish();
        }
    }

    fn fault(&mut self) {
        let id = 1 + self.random.index(self.brokers.len()) as i32;
        let broker = self.brokers.get_mut(&id).unwrap();
        if self.weather.partitions && self.random.chance(300) {
            broker.parted_until = self.now + self.random.duration(PAUSE_MIN, PAUSE_MAX);
        } else if self.weather.process_faults && broker.process == Process::Running {
            if self.random.chance(300) {
                self.freeze(id);
            } else {
                self.kill(id);
            }
        } else if self.weather.process_faults && broker.process == Process::Dead {
            self.start(id);
        }
    }

    fn freeze(&mut self, id: i32) {
        self.tally.freezes += 1;
        let pause = self.random.duration(PAUSE_MIN, PAUSE_MAX);
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.process = Process::Frozen;
        let generation = broker.generation;
        self.after(pause, Event::Thaw { id, generation });
    }

    fn kill(&mut self, id: i32) {
        self.tally.kills += 1;
        let now = self.now;
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.process = Process::Dead;
        broker.truth.died_at = Some(now);
        if let Some(connection) = broker.connection {
            let arrival = self.arrival(id);
            self.at(arrival, Event::Closed { connection });
        }
        if self.random.chance(600) {
            self.start(id);
        }
    }

    /// The active controller ends, perhaps with a broker; the standby takes over.
    fn move_controller(&mut self) {
        self.tally.moves += 1;
        let (now, stalled) = (self.now, self.stalled);
        let victim = 1 + self.random.index(self.brokers.len()) as i32;
        let is_given_up = self.random.chance(500);
        if self.weather.process_faults && self.brokers[&victim].process == Process::Running {
            match is_given_up {
                // Its controller stood still with it, or alone.
                true if self.random.chance(600) => self.freeze(victim),
                true => self.tally.falsely_suspected += 1,
                false => self.kill(victim),
            }
        }
        self.controllers[self.active].deactivate();
        let former = self.active;
        self.active = 1 - self.active;
        let closing = self.queue.values().filter_map(|event| match event {
            Event::Closed { connection } => Some(*connection),
            _ => None,
        });
        let open = self.brokers.values().filter_map(|broker| broker.connection);
        for connection in closing.chain(open).map(ConnectionRef).collect::<Vec<_>>() {
            self.with(former, |detector, now, effects| {
                detector.handle_connection_closed(connection, ClosedBy::Peer, now, effects);
            });
        }
        let (calm, active) = (self.is_calm(), self.active);
        let mut wake = Vec::new();
        for (&id, broker) in &mut self.brokers {
            broker.connection = None;
            let proven = broker.truth.proven;
            let must = calm && broker.process == Process::Dead && !broker.fenced && proven[active];
            broker.truth = Truth {
                proven,
                died_at: broker.truth.died_at,
                condemned_by: must.then_some(now + KILLED_TO_CONDEMNED_MAX),
                last: Duration::from_micros(now.0) - stalled,
                ..Truth::default()
            };
            wake.push((id, broker.generation));
        }
        // One heartbeat chain each: the running one is replaced.
        self.queue.retain(|_, event| !matches!(event, Event::Heartbeat { .. }));
        for (id, generation) in wake {
            let found = self.random.duration(Duration::from_millis(1), Duration::from_millis(50));
            self.after(found, Event::Heartbeat { id, generation });
        }
        // What was on its way to the old controller is lost with it.
        self.queue.retain(|_, event| !matches!(event, Event::Contact { .. } | Event::Closed { .. }));
        let silent = is_given_up.then(|| self.give_up(victim));
        self.with(active, |detector, now, effects| detector.activate(now, silent, effects));
    }

    /// The quorum has heard nothing of a process for too long.
    fn give_up(&mut self, id: i32) -> SilentController {
        let millis = Duration::from_millis;
        let silent_for = self.random.duration(millis(700), millis(2500));
        let allowed = silent_for.min(self.random.duration(millis(700), millis(2000)));
        let awake = self.awake();
        let broker = self.brokers.get_mut(&id).unwrap();
        if !broker.fenced {
            broker.truth.last = awake - silent_for;
            let over_at = broker.truth.last + allowed.max(Duration::from_secs(1));
            broker.truth.suspected = Some(over_at.max(awake + millis(250)));
        }
        let heard_at = Monotonic(self.now.0 - silent_for.as_micros() as u64);
        SilentController { node: NodeId(id), heard_at, allowed }
    }

    fn is_calm(&self) -> bool {
        self.weather.loss == 0 && !self.weather.partitions && !self.weather.proxies
    }

    /// The time that the active controller has been awake.
    fn awake(&self) -> Duration {
        Duration::from_micros(self.now.0) - self.stalled
    }

    fn with(
        &mut self,
        controller: usize,
        event: impl FnOnce(&mut Detector, Monotonic, &mut Vec<DetectorEffect>),
    ) {
        let mut effects = Vec::new();
        event(&mut self.controllers[controller], self.now, &mut effects);
        for effect in effects {
            match effect {
                DetectorEffect::Probe { id: probe, broker, timeout, .. } => {
                    self.dials_awaited += 1;
                    assert!(self.dials_awaited <= self.brokers.len() * 2 * 16, "seed {}", self.seed);
                    let way = self.random.duration(Duration::from_micros(50), Duration::from_millis(1));
                    let dial = Dial { controller, probe, began: self.awake() };
                    self.after(way, Event::Dialled { dial, id: broker.0, timeout });
                }
                DetectorEffect::Fence { broker, epoch, cause, evidence } => {
                    assert_eq!(controller, self.active, "seed {}: a standby judges", self.seed);
                    let story =
                        format!("seed {} at {:?}: {broker} {cause} [{evidence}]", self.seed, self.now);
                    self.check_verdict(broker.0, epoch, &cause, &story);
                    self.after(COMMIT, Event::Commit { id: broker.0, epoch, fenced: true });
                }
            }
        }
    }

    fn check_verdict(&mut self, id: i32, epoch: BrokerEpoch, cause: &Cause, story: &str) {
        let faulty = self.weather.loss > 0 || self.weather.partitions;
        let (now, awake) = (self.now, self.awake());
        let broker = self.brokers.get_mut(&id).unwrap();
        assert!(broker.epoch == epoch && !broker.fenced, "void: {story}");
        let again = broker.truth.condemned_at.replace(now);
        assert!(again.is_none_or(|before| now - before >= Duration::from_secs(1)), "twice: {story}");
        broker.truth.condemned_by = None;
        // A successor that is not registered is another process: the one of this epoch is dead.
        let dead = matches!(broker.process, Process::Dead | Process::Starting);
        match cause {
            Cause::Gone { .. } => {
                self.tally.gone += 1;
                assert!(dead, "it lives: {story}");
            }
            Cause::Left { .. } => {
                self.tally.left += 1;
                let frozen = broker.process == Process::Frozen;
                assert!(dead || frozen || faulty, "it lives: {story}");
            }
            Cause::Silent { .. } => {
                self.tally.silent += 1;
                let is_running = broker.process == Process::Running;
                self.tally.false_silent += u32::from(is_running);
                let over_at = silence_over_at(broker);
                broker.truth.stands_still = true;
                self.tally.suspected += u32::from(broker.truth.suspected.is_some());
                assert!(awake >= over_at, "at {awake:?} before {over_at:?}: {story}");
                let silence = awake.saturating_sub(broker.truth.last);
                assert!(!is_running || faulty || silence >= SESSION, "it answers: {story}");
            }
        }
    }

    fn check_nobody_is_overdue(&self) {
        if self.now < self.busy_until {
            return;
        }
        for (id, broker) in &self.brokers {
            let truth = &broker.truth;
            assert!(
                truth.condemned_by.is_none_or(|by| self.now <= by),
                "seed {} at {:?}: {id} is dead and not condemned: {truth:?}",
                self.seed,
                self.now,
            );
            let is_known = truth.contacts > 0 || truth.suspected.is_some();
            let watched = !broker.fenced && is_known && truth.condemned_at.is_none();
            assert!(
                !watched || self.awake() <= silence_over_at(broker) + Duration::from_millis(1),
                "seed {} at {:?}: {id} is silent and not condemned: {truth:?}",
                self.seed,
                self.now,
            );
        }
    }
}

/// The rule of silence, from all contacts of a run shorter than the rule's five minutes.
fn allowed(broker: &Broker) -> Duration {
    let truth = &broker.truth;
    let slow = broker.interval >= Duration::from_secs(1);
    let short = truth.last.saturating_sub(truth.first) < SESSION / 2;
    if truth.contacts < 3 || (slow && (short || truth.longest_gap >= Duration::from_secs(1))) {
        return SESSION;
    }
    let patience = 1 << truth.standstills.saturating_sub(1).min(10);
    ((truth.longest_gap * 4).max(Duration::from_secs(1)) * patience).min(SESSION)
}

/// When its silence is over the allowed, by the active controller's waking time.
fn silence_over_at(broker: &Broker) -> Duration {
    let truth = &broker.truth;
    if let Some(over_at) = truth.suspected {
        return over_at;
    }
    let answered = truth.answered.map(|at| (at + allowed(broker)).min(truth.last + SESSION));
    (truth.last + allowed(broker)).max(answered.unwrap_or_default())
}

fn run_seeds(seeds: u64, weather: Weather) -> Tally {
    let mut sum = Tally::default();
    for seed in 0..seeds {
        let tally = World::new(seed, weather).run();
        sum.gone += tally.gone;
        sum.left += tally.left;
        sum.silent += tally.silent;
        sum.false_silent += tally.false_silent;
        sum.kills += tally.kills;
        sum.freezes += tally.freezes;
        sum.moves += tally.moves;
        sum.suspected += tally.suspected;
        sum.falsely_suspected += tally.falsely_suspected;
    }
    println!("{weather:?}: {sum:?}");
    sum
}

#[test]
fn in_fair_weather_nobody_is_ever_fenced() {
    let tally = run_seeds(1000, Weather { stalls: true, moves: true, ..Weather::default() });

    assert_eq!((tally.gone, tally.left, tally.silent), (0, 0, 0));
    assert!(tally.moves > 500);
}

#[test]
fn the_killed_are_condemned_at_once_and_the_frozen_when_their_silence_is_over() {
    let tally = run_seeds(1000, Weather { process_faults: true, ..Weather::default() });

    assert!(tally.kills > 500 && tally.freezes > 300, "{tally:?}");
    assert!(tally.gone > 500 && tally.silent > 100, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
}

#[test]
fn stalls_and_moves_of_the_controller_change_nothing_of_that() {
    let weather = Weather { process_faults: true, stalls: true, moves: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 500 && tally.silent > 50, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
    assert!(tally.suspected > 100 && tally.falsely_suspected > 100, "{tally:?}");
}

#[test]
fn the_killed_behind_proxies_have_left() {
    let weather = Weather { proxies: true, process_faults: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.left > 200 && tally.gone > 200, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
}

#[test]
fn lost_packets_and_saturation_fence_nobody_within_its_silence() {
    let weather = Weather { loss: 100, saturated: true, process_faults: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 200 && tally.silent > 100, "{tally:?}");
    // Five times as many without the dial before the verdict.
    assert!(tally.false_silent < 150, "{tally:?}");
}

#[test]
fn everything_at_once_breaks_no_rule() {
    let weather = Weather {
        loss: 100,
        saturated: true,
        partitions: true,
        process_faults: true,
        stalls: true,
        moves: true,
        proxies: true,
    };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 500 && tally.silent > 300 && tally.left > 100, "{tally:?}");
}
