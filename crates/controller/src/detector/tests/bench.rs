//! A detector and its surroundings, moved by hand.

use crate::brokers::Predecessor;
use crate::detector::*;
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::time::Duration;

pub(super) const SESSION: Duration = Duration::from_secs(9);
pub(super) const ALIVE: fn(i32) -> ProbeOutcome =
    |id| ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(id)) };

/// A detector, its clock in milliseconds, and what it asked for.
pub(super) struct Bench {
    pub(super) detector: Detector,
    pub(super) now: Monotonic,
    pub(super) registrations: Vec<Registration>,
    pub(super) effects: Vec<DetectorEffect>,
    pub(super) dials: Vec<Probe>,
    pub(super) fenced: Vec<(i32, Cause)>,
}

/// A dial that awaits its outcome.
pub(super) type Probe = (ProbeId, i32);

impl Bench {
    /// A standby that knows brokers 1 to `brokers`, unfenced; their one endpoint has been dialled.
    pub(super) fn standby(brokers: i32) -> Bench {
        let registrations = (1..=brokers).map(|id| registration(id, 10)).collect();
        let mut bench = Bench {
            detector: Detector::new(SESSION),
            now: Monotonic(1_000_000_000),
            registrations,
            effects: Vec::new(),
            dials: Vec::new(),
            fenced: Vec::new(),
        };
        bench.register();
        bench
    }

    /// The active controller of brokers with proven endpoints that have heartbeated, broker n by
    /// connection n, for two seconds.
    pub(super) fn new(brokers: i32) -> Bench {
        let mut bench = Bench::standby(brokers);
        let now = bench.now;
        bench.detector.activate(now, None, &mut bench.effects);
        for (probe, id) in bench.probes() {
            bench.outcome(probe, ALIVE(id));
        }
        bench.heartbeats(1..=brokers, 10, 200);
        assert_eq!(bench.probes(), []);
        bench
    }

    pub(super) fn register(&mut self) {
        self.detector.handle_registrations(&self.registrations, self.now, &mut self.effects);
    }

    pub(super) fn set(&mut self, id: i32, change: impl FnOnce(&mut Registration)) {
        change(&mut self.registrations[id as usize - 1]);
        self.register();
    }

    pub(super) fn heartbeats(
        &mut self,
        ids: impl IntoIterator<Item = i32> + Clone,
        count: u32,
        every_ms: u64,
    ) {
        for _ in 0..count {
            self.wait(every_ms);
            ids.clone().into_iter().for_each(|id| self.contact(id));
        }
    }

    pub(super) fn contact(&mut self, id: i32) {
        self.contact_by(id, 10, id as u64);
    }

    pub(super) fn contact_by(&mut self, id: i32, epoch: i64, connection: u64) {
        self.detector.handle_contact(NodeId(id), BrokerEpoch(epoch), ConnectionRef(connection), self.now);
    }

    pub(super) fn close(&mut self, connection: u64, by: ClosedBy) {
        let connection = ConnectionRef(connection);
        self.detector.handle_connection_closed(connection, by, self.now, &mut self.effects);
    }

    pub(super) fn outcome(&mut self, probe: ProbeId, outcome: ProbeOutcome) {
        self.detector.handle_probe_result(probe, outcome, self.now, &mut self.effects);
    }

    /// Moves the clock, stopping at the deadlines on the way; dials of that time stay without outcome.
    pub(super) fn wait(&mut self, millis: u64) -> Vec<Probe> {
        self.wait_answering(millis, |_| None)
    }

    /// Moves the clock; each dial ends at once with the outcome for its broker, if there is one.
    pub(super) fn wait_answering(
        &mut self,
        millis: u64,
        answer: impl Fn(i32) -> Option<ProbeOutcome>,
    ) -> Vec<Probe> {
        let until = self.now + Duration::from_millis(millis);
        let mut dialled = Vec::new();
        loop {
            for (probe, id) in self.probes() {
                dialled.push((probe, id));
                if let Some(outcome) = answer(id) {
                    self.outcome(probe, outcome);
                }
            }
            match self.detector.deadline().filter(|&at| at <= until) {
                None => break,
                Some(at) => {
                    self.now = self.now.max(at);
                    self.detector.handle_timeout(self.now, &mut self.effects);
                    assert!(self.detector.deadline().is_none_or(|next| next > self.now), "spins");
                }
            }
        }
        self.now = until;
        dialled
    }

    /// The dials asked for since the last look.
    pub(super) fn probes(&mut self) -> Vec<Probe> {
        self.sort_effects();
        std::mem::take(&mut self.dials)
    }

    pub(super) fn sort_effects(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                DetectorEffect::Probe { id, broker, .. } => self.dials.push((id, broker.0)),
                DetectorEffect::Fence { broker, cause, .. } => self.fenced.push((broker.0, cause)),
            }
        }
    }

    pub(super) fn one_probe(&mut self) -> ProbeId {
        let probes = self.probes();
        assert_eq!(probes.len(), 1, "{probes:?}");
        probes[0].0
    }

    /// The one verdict's rule.
    pub(super) fn rule(&mut self) -> &'static str {
        self.sort_effects();
        match self.fenced.as_slice() {
            [] => "none",
            [(_, Cause::Gone { .. })] => "gone",
            [(_, Cause::Left { .. })] => "left",
            [(_, Cause::Silent { .. })] => "silent",
            several => panic!("several: {several:?}"),
        }
    }

    pub(super) fn predecessor(&self, id: i32, epoch: i64) -> Predecessor {
        self.detector.predecessor(NodeId(id), BrokerEpoch(epoch), self.now)
    }
}

pub(super) fn registration(id: i32, epoch: i64) -> Registration {
    let endpoint = ProbeEndpoint { host: format!("b{id}"), port: 9092, kind: EndpointKind::Broker };
    Registration {
        broker: NodeId(id),
        epoch: BrokerEpoch(epoch),
        endpoints: vec![endpoint],
        fenced: false,
        is_ottla: true,
    }
}
