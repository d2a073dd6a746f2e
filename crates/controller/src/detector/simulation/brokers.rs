//! Brokers as small state machines, and the truth about them.

use super::world::{Dial, Event, World};
use super::{COMMIT, KILLED_TO_CONDEMNED_MAX, SESSION};
use crate::brokers::Predecessor;
use crate::detector::{ClosedBy, ConnectionRef, EndpointKind, ProbeEndpoint, ProbeOutcome, Registration};
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Process {
    Dead,
    /// Its ports are bound, but nobody listens before it is registered.
    Starting,
    Running,
    Frozen,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) process: Process,
    /// Counts the processes of this broker.
    pub(super) generation: u64,
    pub(super) epoch: BrokerEpoch,
    pub(super) fenced: bool,
    pub(super) interval: Duration,
    pub(super) connection: Option<u64>,
    /// What it sent arrives in order.
    pub(super) arrives_after: Monotonic,
    pub(super) parted_until: Monotonic,
    /// When it last refused a dial though it ran: its backlog was full for a moment.
    pub(super) overrun_at: Monotonic,
    /// When it last woke from a standstill, or will.
    pub(super) wakes_at: Monotonic,
    pub(super) truth: Truth,
}

/// What the checker knows of an incarnation, by the active controller's waking time.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) contacts: u32,
    pub(super) first: Duration,
    pub(super) last: Duration,
    pub(super) longest_gap: Duration,
    /// It was found silent, and has said nothing since.
    pub(super) stands_still: bool,
    /// How often it was heard after that.
    pub(super) standstills: u32,
    /// When its silence is over by what the quorum says, while that counts.
    pub(super) suspected: Option<Duration>,
    /// When the latest dial began that it answered.
    pub(super) answered: Option<Duration>,
    /// To which of the controllers it answered.
    pub(super) proven: [bool; 2],
    /// Condemned by then at the latest.
    pub(super) condemned_by: Option<Monotonic>,
    pub(super) condemned_at: Option<Monotonic>,
    pub(super) died_at: Option<Monotonic>,
}

impl World {
    pub(super) fn start(&mut self, id: i32) {
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.process = Process::Starting;
        broker.generation += 1;
        broker.parted_until = Monotonic(0);
        let generation = broker.generation;
        let took = self.random.duration(Duration::from_millis(1), Duration::from_millis(300));
        self.after(took, Event::Register { id, generation });
    }

    pub(super) fn register(&mut self, id: i32, generation: u64) {
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
            // A new controller begins to count anew, and what was sent may arrive late.
            let patience = SESSION * 3 + self.stalled;
            assert!(
                self.now - died_at.max(self.moved_at) <= patience,
                "seed {}: {id} is kept out: {predecessor:?}",
                self.seed
            );
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

    pub(super) fn publish(&mut self) {
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

    pub(super) fn heartbeat(&mut self, id: i32, generation: u64) {
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
        self.tally.late += u32::from(late > Duration::from_secs(1));
        self.after(interval + late, Event::Heartbeat { id, generation });
    }

    /// Mostly milliseconds, now and then seconds.
    pub(super) fn heavy_tail(&mut self) -> Duration {
        let u = (self.random.below(1_000_000) + 1) as f64 / 1e6;
        Duration::from_secs_f64(0.005 * u.powf(-0.9)).min(self.late_max)
    }

    /// When something that a broker sends now arrives: in order, retransmitted when lost, after a partition.
    pub(super) fn arrival(&mut self, id: i32) -> Monotonic {
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

    pub(super) fn contact(&mut self, id: i32, epoch: BrokerEpoch, connection: u64) {
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

    pub(super) fn closed(&mut self, connection: u64) {
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

    pub(super) fn dialled(&mut self, dial: Dial, id: i32, timeout: Duration) {
        let broker = &self.brokers[&id];
        let alive = ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(id)) };
        let (epoch, process) = (broker.epoch, broker.process);
        let lost = self.now < broker.parted_until || self.random.chance(self.weather.loss * 2);
        let (outcome, took) = match process {
            _ if lost => (ProbeOutcome::TimedOut, timeout),
            // Its kernel takes the connection, and it answers when it wakes.
            Process::Frozen if broker.wakes_at < self.now + timeout => (alive, broker.wakes_at - self.now),
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
    pub(super) fn overruns(&mut self, id: i32) -> bool {
        let now = self.now;
        let overruns = self.random.chance(300);
        let broker = self.brokers.get_mut(&id).unwrap();
        let overruns = overruns && now - broker.overrun_at >= Duration::from_secs(1);
        if overruns {
            broker.overrun_at = now;
        }
        overruns
    }

    pub(super) fn commit(&mut self, id: i32, epoch: BrokerEpoch, fenced: bool) {
        let broker = self.brokers.get_mut(&id).unwrap();
        if broker.epoch == epoch && broker.fenced != fenced {
            broker.fenced = fenced;
            broker.truth.condemned_by = None;
            broker.truth.condemned_at = None;
            self.publish();
        }
    }
}
