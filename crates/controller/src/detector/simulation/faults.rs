//! What happens to processes and controllers.

use super::brokers::{Process, Truth};
use super::world::{Event, World};
use super::{KILLED_TO_CONDEMNED_MAX, PAUSE_MAX, PAUSE_MIN};
use crate::detector::{ClosedBy, ConnectionRef, SilentController};
use ottla_types::{Monotonic, NodeId};
use std::time::Duration;

impl World {
    pub(super) fn fault(&mut self) {
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

    pub(super) fn freeze(&mut self, id: i32) {
        self.tally.freezes += 1;
        let pause = self.random.duration(PAUSE_MIN, PAUSE_MAX);
        let now = self.now;
        let broker = self.brokers.get_mut(&id).unwrap();
        broker.process = Process::Frozen;
        broker.wakes_at = now + pause;
        let generation = broker.generation;
        self.after(pause, Event::Thaw { id, generation });
    }

    pub(super) fn kill(&mut self, id: i32) {
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
    pub(super) fn move_controller(&mut self) {
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
        self.moved_at = now;
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
    pub(super) fn give_up(&mut self, id: i32) -> SilentController {
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
}
