//! The run: what is to happen, in its order, and the controllers' detectors.

use super::brokers::{Broker, Process, Truth};
use super::{COMMIT, RUN, SESSION, Tally, Weather};
use crate::detector::{Detector, DetectorEffect, ProbeId, ProbeOutcome};
use ottla_types::{BrokerEpoch, Monotonic, Random};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) enum Event {
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
pub(super) struct Dial {
    pub(super) controller: usize,
    pub(super) probe: ProbeId,
    /// When it began, by the active controller's waking time.
    pub(super) began: Duration,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) weather: Weather,
    pub(super) late_max: Duration,
    pub(super) end: Monotonic,
    pub(super) random: Random,
    pub(super) now: Monotonic,
    pub(super) queue: BTreeMap<(Monotonic, u64), Event>,
    pub(super) sequence: u64,
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) controllers: [Detector; 2],
    pub(super) active: usize,
    /// When another controller became the active one.
    pub(super) moved_at: Monotonic,
    pub(super) busy_until: Monotonic,
    /// How long the active controller has stalled.
    pub(super) stalled: Duration,
    pub(super) next_epoch: i64,
    pub(super) next_connection: u64,
    pub(super) dials_awaited: usize,
    pub(super) tally: Tally,
}

impl World {
    /// A run of so long, in which heartbeats leave so late at most where the weather is saturated.
    pub(super) fn new(seed: u64, weather: Weather, late_max: Duration, run: Duration) -> World {
        let mut random = Random::new(seed);
        let brokers = 1 + random.below(7) as i32;
        let now = Monotonic(3_600_000_000);
        let mut world = World {
            seed,
            weather,
            late_max,
            end: now + run,
            now,
            queue: BTreeMap::new(),
            sequence: 0,
            brokers: BTreeMap::new(),
            controllers: [Detector::new(SESSION), Detector::new(SESSION)],
            active: 0,
            moved_at: now,
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
                    wakes_at: Monotonic(0),
                    truth: Truth::default(),
                },
            );
            world.start(id);
        }
        let mut effects = Vec::new();
        world.controllers[0].activate(world.now, None, &mut effects);
        let times = (run.as_secs() / RUN.as_secs()).max(1);
        let mut plan = |wanted: bool, count: u64, event: Event| {
            let count = count * times;
            for _ in 0..if wanted { world.random.below(count) + 1 } else { 0 } {
                let after = world.random.duration(Duration::from_secs(3), run);
                world.sequence += 1;
                world.queue.insert((world.now + after, world.sequence), event.clone());
            }
        };
        plan(weather.process_faults || weather.partitions, 8, Event::Fault);
        plan(weather.stalls, 3, Event::Stall);
        plan(weather.moves, 3, Event::Move);
        world
    }

    pub(super) fn run(mut self) -> Tally {
        let end = self.end;
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
    pub(super) fn deadline(&self, controller: usize) -> Monotonic {
        let deadline = self.controllers[controller].deadline().unwrap_or(Monotonic(u64::MAX));
        if controller == self.active { deadline.max(self.busy_until) } else { deadline }
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn at(&mut self, at: Monotonic, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    pub(super) fn handle(&mut self, event: Event) {
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

    pub(super) fn is_calm(&self) -> bool {
        self.weather.loss == 0 && !self.weather.partitions && !self.weather.proxies
    }

    /// The time that the active controller has been awake.
    pub(super) fn awake(&self) -> Duration {
        Duration::from_micros(self.now.0) - self.stalled
    }

    pub(super) fn with(
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
}
