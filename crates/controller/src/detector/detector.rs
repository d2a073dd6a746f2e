//! The machine: events in, dials and verdicts out.

use super::watched::{OtherIncarnation, Watched};
use super::{
    Absence, Cause, ClosedBy, ConnectionRef, DetectorEffect, EndpointKind, Observation, ProbeId,
    ProbeOutcome, Registration, SilentController,
};
use crate::brokers::Predecessor;
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A dial of a broker without connections.
const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
/// A dial to prove an endpoint: nothing waits for it.
const PROOF_TIMEOUT: Duration = Duration::from_secs(1);
/// A verdict that has not led to a fenced registration by then is found again.
const CONDEMNED_FOR: Duration = Duration::from_secs(1);
/// Dials of one endpoint whose outcome is awaited; the oldest gives way.
const PROBES_PER_ENDPOINT_MAX: usize = 8;
/// A contact may be handled after the close of the connection that carried it: so many closes are
/// remembered.
const CLOSED_REMEMBERED_MAX: usize = 256;

/// The failure detector of one controller, active or standby.
///
/// The driver calls `handle_…` for what happens, in the order in which it happened, and
/// [`Detector::handle_timeout`] when [`Detector::deadline`] is reached; on a standby too. After a stall of its
/// own it calls [`Detector::handle_stall`] before anything else. Every event that takes `effects` may add to
/// them. An event costs a walk over the registered brokers.
#[derive(Debug)]
pub struct Detector {
    session_timeout: Duration,
    active: bool,
    brokers: BTreeMap<NodeId, Watched>,
    connections: BTreeMap<ConnectionRef, NodeId>,
    closed: VecDeque<ConnectionRef>,
    probes: BTreeMap<ProbeId, Dial>,
    next_probe: u64,
}

/// A dial whose outcome is awaited.
#[derive(Debug)]
struct Dial {
    broker: NodeId,
    epoch: BrokerEpoch,
    endpoint: usize,
    started: Monotonic,
    /// How long this node stalled since.
    stalled: Duration,
}

impl Detector {
    /// A standby's detector that knows no broker. `session_timeout` is `broker.session.timeout.ms`.
    pub fn new(session_timeout: Duration) -> Detector {
        Detector {
            session_timeout,
            active: false,
            brokers: BTreeMap::new(),
            connections: BTreeMap::new(),
            closed: VecDeque::new(),
            probes: BTreeMap::new(),
            next_probe: 0,
        }
    }

    /// The registrations of the image changed: this is the complete list. What is known of an incarnation
    /// is kept while it is registered and forgotten with it.
    pub fn handle_registrations(
        &mut self,
        registrations: &[Registration],
        now: Monotonic,
        effects: &mut Vec<DetectorEffect>,
    ) {
        let listed: BTreeMap<NodeId, &Registration> = registrations.iter().map(|r| (r.broker, r)).collect();
        let gone: Vec<NodeId> = self.brokers.keys().copied().filter(|id| !listed.contains_key(id)).collect();
        for id in gone {
            self.forget(id);
        }
        for (id, registration) in listed {
            match self.brokers.get(&id) {
                Some(watched) if watched.epoch == registration.epoch => self.update(registration, now),
                _ => self.watch(registration, now),
            }
        }
        self.dial_due(now, effects);
    }

    /// That incarnation spoke (a heartbeat, or a fetch of the quorum) by a connection, which is tied to it
    /// from then on.
    pub fn handle_contact(
        &mut self,
        broker: NodeId,
        epoch: BrokerEpoch,
        connection: ConnectionRef,
        now: Monotonic,
    ) {
        let closed = self.closed.contains(&connection);
        let Some(watched) = self.brokers.get_mut(&broker) else {
            return;
        };
        if watched.epoch != epoch {
            if watched.other.as_ref().is_none_or(|other| other.epoch != epoch) {
                watched.observe(now, Observation::OtherEpoch(epoch));
            }
            watched.other = (!closed).then_some(OtherIncarnation { epoch, connection });
        } else if closed {
            // It spoke before its connection closed: no silence, but no sign that it is still here.
            watched.record_contact(now);
        } else {
            watched.is_heard(connection, now);
            if watched.connections.contains(&connection) {
                self.tie(connection, broker);
            }
        }
    }

    /// A connection ended, and all contacts that it carried have been handed in. Closes of connections that
    /// carried none may be left out.
    pub fn handle_connection_closed(
        &mut self,
        connection: ConnectionRef,
        by: ClosedBy,
        now: Monotonic,
        effects: &mut Vec<DetectorEffect>,
    ) {
        if self.closed.len() == CLOSED_REMEMBERED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(connection);
        for watched in self.brokers.values_mut() {
            watched.other.take_if(|other| other.connection == connection);
        }
        let Some(id) = self.connections.remove(&connection) else {
            return;
        };
        let watched = self.brokers.get_mut(&id).expect("connections are tied to known brokers");
        watched.connections.remove(&connection);
        watched.observe(now, Observation::ConnectionClosed(by));
        if watched.connections.is_empty() {
            watched.last_closed_by = Some(by);
            self.look_for(id, now);
            self.dial_due(now, effects);
        }
    }

    /// A heartbeat of that incarnation is not answered yet, or is answered now. Brokers send the next only then, and a
    /// quorum that cannot commit answers nobody: without this every broker would be silent at once.
    pub fn handle_unanswered(&mut self, broker: NodeId, epoch: BrokerEpoch, now: Monotonic) {
        if let Some(watched) = self.brokers.get_mut(&broker).filter(|watched| watched.epoch == epoch) {
            watched.contacts.owed_answer(now);
        }
    }

    /// A dial ended. Outcomes of dials that the detector no longer waits for are ignored.
    pub fn handle_probe_result(
        &mut self,
        probe: ProbeId,
        outcome: ProbeOutcome,
        now: Monotonic,
        effects: &mut Vec<DetectorEffect>,
    ) {
        let Some(dial) = self.probes.remove(&probe) else {
            return;
        };
        let watched = self.brokers.get_mut(&dial.broker).expect("dials are forgotten with their broker");
        assert_eq!(watched.epoch, dial.epoch, "dials are forgotten with their incarnation");
        let endpoint = &mut watched.endpoints[dial.endpoint];
        let at = endpoint.at.clone();
        // What was dialled before the last connection closed says nothing of the time after.
        let counts = watched.absent.as_ref().is_some_and(|absent| dial.started >= absent.since);
        let mut answered = false;
        match outcome {
            ProbeOutcome::Answered { cluster_matches: true, node_id }
                if node_id.is_none_or(|id| id == dial.broker) =>
            {
                answered = true;
                endpoint.proven |= node_id.is_some();
                endpoint.attempts = 0;
                if node_id.is_some() && endpoint.at.kind == EndpointKind::Broker {
                    watched.has_answered((dial.started + dial.stalled).min(now));
                }
                if counts {
                    watched.is_alive();
                }
            }
            ProbeOutcome::Answered { .. } | ProbeOutcome::AcceptedThenClosed => endpoint.refusals = 0,
            ProbeOutcome::Refused if counts && endpoint.proven => endpoint.is_refused(dial.started, now),
            ProbeOutcome::Refused | ProbeOutcome::TimedOut | ProbeOutcome::Unreachable => {}
        }
        watched.observe(now, Observation::Probed(at.clone(), outcome));
        if counts || watched.absent.is_none() {
            watched.endpoints[dial.endpoint].next_dial = watched.next_dial(dial.endpoint, answered, now);
        }
        let refused_twice = watched.endpoints[dial.endpoint].refusals >= 2;
        if let Some(absent) = watched.absent.as_ref().filter(|_| refused_twice) {
            let cause = Cause::Gone { endpoint: at, absence: absent.why, absent: now - absent.since };
            self.condemn(dial.broker, cause, now, effects);
        }
    }

    /// This node itself did nothing for `stall`, until `now`: no silence of that time is the brokers'. To be
    /// called before the events that waited meanwhile.
    pub fn handle_stall(&mut self, stall: Duration, now: Monotonic) {
        for watched in self.brokers.values_mut() {
            watched.subtract_stall(stall, now);
        }
        for dial in self.probes.values_mut() {
            dial.stalled += stall;
        }
    }

    /// This node became the active controller. Every unfenced broker is dialled at once. Its silence counts from now, and it
    /// has at least half a session to find the new controller; but for the one that led the quorum until that gave it
    /// up, if it is `silent` still: nobody knows better than the quorum how long it has said nothing.
    pub fn activate(
        &mut self,
        now: Monotonic,
        silent: Option<SilentController>,
        effects: &mut Vec<DetectorEffect>,
    ) {
        self.active = true;
        let ids: Vec<NodeId> = self.brokers.keys().copied().collect();
        for id in ids {
            self.meet(id, now);
        }
        if let Some(silent) = silent
            && let Some(watched) = self.brokers.get_mut(&silent.node).filter(|watched| !watched.fenced)
        {
            watched.is_suspected(silent, now);
        }
        self.dial_due(now, effects);
    }

    /// This node is no longer the active controller: it judges nobody, and goes on proving endpoints.
    pub fn deactivate(&mut self) {
        self.active = false;
        for watched in self.brokers.values_mut() {
            watched.absent = None;
            watched.condemned_at = None;
            watched.departed = false;
            watched.suspected = None;
            watched.stands_still = false;
            for endpoint in watched.endpoints.iter_mut().filter(|endpoint| endpoint.proven) {
                endpoint.next_dial = None;
            }
        }
    }

    /// The time is [`Detector::deadline`] or later.
    pub fn handle_timeout(&mut self, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        self.reconsider_condemned(now);
        self.ask_silent(now);
        self.condemn_silent(now, effects);
        self.condemn_left(now, effects);
        self.dial_due(now, effects);
    }

    /// When to call [`Detector::handle_timeout`]; `None` for never. Changes with every event.
    pub fn deadline(&self) -> Option<Monotonic> {
        let judges_left = self.active && !self.looks_cut_off();
        let of_broker = |watched: &Watched| {
            let dial = watched.endpoints.iter().filter_map(|endpoint| endpoint.next_dial).min();
            let verdict = match watched.condemned_at {
                Some(at) => Some(at + CONDEMNED_FOR),
                None if !self.is_judged(watched) => None,
                None => {
                    let left = watched.left_at().filter(|_| judges_left);
                    let question = watched.question_at(self.session_timeout);
                    let silent = watched.silent_at(self.session_timeout);
                    [left, question, silent].into_iter().flatten().min()
                }
            };
            dial.into_iter().chain(verdict).min()
        };
        self.brokers.values().filter_map(of_broker).min()
    }

    /// What is known of the process registered with this epoch, for whoever wants to take its place
    /// (KIP-631). An epoch that is not the registered one, and a standby's ignorance, count as "may live".
    pub fn predecessor(&self, broker: NodeId, epoch: BrokerEpoch, now: Monotonic) -> Predecessor {
        match self.brokers.get(&broker).filter(|watched| self.active && watched.epoch == epoch) {
            None => Predecessor::MayLive,
            Some(watched) if watched.departed => Predecessor::Gone,
            Some(watched) if now >= watched.session_over_at(self.session_timeout) => Predecessor::Gone,
            Some(watched) if watched.connections.is_empty() => Predecessor::Disconnected,
            Some(_) => Predecessor::MayLive,
        }
    }

    /// Returns whether verdicts about it are wanted.
    fn is_judged(&self, watched: &Watched) -> bool {
        self.active && !watched.fenced && watched.condemned_at.is_none()
    }

    /// Returns whether half of the brokers or more look as if they had left: then it is this node that is
    /// cut off. Those that are fenced or condemned are not asked.
    fn looks_cut_off(&self) -> bool {
        let judged = || self.brokers.values().filter(|watched| self.is_judged(watched));
        let left = judged().filter(|watched| watched.looks_left()).count();
        left > 0 && left * 2 >= judged().count()
    }

    fn watch(&mut self, registration: &Registration, now: Monotonic) {
        let id = registration.broker;
        let heard = self.brokers.get_mut(&id).and_then(|old| old.other.take());
        self.forget(id);
        self.brokers.insert(id, Watched::new(registration, now));
        if let Some(other) = heard.filter(|other| other.epoch == registration.epoch) {
            self.handle_contact(id, registration.epoch, other.connection, now);
        }
        if self.active {
            self.look_for(id, now);
        }
    }

    fn update(&mut self, registration: &Registration, now: Monotonic) {
        let id = registration.broker;
        let watched = self.brokers.get_mut(&id).expect("it is watched");
        watched.is_ottla = registration.is_ottla;
        if !watched.has_endpoints_of(registration) {
            watched.replace_endpoints(registration, now);
            self.probes.retain(|_, dial| dial.broker != id);
        }
        let watched = self.brokers.get_mut(&id).expect("it is watched");
        let was_fenced = std::mem::replace(&mut watched.fenced, registration.fenced);
        if registration.fenced {
            watched.absent = None;
            watched.condemned_at = None;
            for endpoint in watched.endpoints.iter_mut().filter(|endpoint| endpoint.proven) {
                endpoint.next_dial = None;
            }
        } else if was_fenced {
            watched.departed = false;
            for endpoint in watched.endpoints.iter_mut().filter(|endpoint| !endpoint.proven) {
                endpoint.attempts = 0;
                endpoint.next_dial = Some(now);
            }
            self.look_for(id, now);
        }
    }

    /// This node is active and has yet to hear of that broker.
    fn meet(&mut self, id: NodeId, now: Monotonic) {
        let session_timeout = self.session_timeout;
        let watched = self.brokers.get_mut(&id).expect("it is watched");
        watched.contacts = super::contacts::Contacts::since(now);
        watched.silent_not_before = now + session_timeout / 2;
        watched.answered_at = None;
        watched.condemned_at = None;
        watched.suspected = None;
        watched.stands_still = false;
        watched.departed = false;
        watched.absent = None;
        // Brokers leave a controller that is not the active one: closes of that time mean nothing.
        watched.last_closed_by = None;
        watched.observe(now, Observation::Activated);
        if !watched.fenced {
            watched.dial_all(now);
            self.look_for(id, now);
        }
    }

    /// Begins to dial a broker that has no connection, if it is judged, and did not lose it through us.
    fn look_for(&mut self, id: NodeId, now: Monotonic) {
        let active = self.active;
        let watched = self.brokers.get_mut(&id).expect("it is watched");
        let why = match watched.last_closed_by {
            Some(ClosedBy::Us) => return,
            Some(ClosedBy::Peer) => Absence::Closed,
            None => Absence::NeverConnected,
        };
        if active && !watched.fenced && watched.connections.is_empty() && watched.absent.is_none() {
            watched.becomes_absent(why, now);
        }
    }

    fn tie(&mut self, connection: ConnectionRef, broker: NodeId) {
        let before = self.connections.insert(connection, broker);
        if let Some(before) = before.filter(|&before| before != broker) {
            let watched = self.brokers.get_mut(&before).expect("connections are tied to known brokers");
            watched.connections.remove(&connection);
        }
    }

    fn forget(&mut self, id: NodeId) {
        self.brokers.remove(&id);
        self.connections.retain(|_, broker| *broker != id);
        self.probes.retain(|_, dial| dial.broker != id);
    }

    fn dial_due(&mut self, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        let due: Vec<(NodeId, usize)> = self
            .brokers
            .iter()
            .flat_map(|(&id, watched)| watched.endpoints.iter().enumerate().map(move |(i, e)| (id, i, e)))
            .filter(|(_, _, endpoint)| endpoint.next_dial.is_some_and(|at| at <= now))
            .map(|(id, index, _)| (id, index))
            .collect();
        for (id, index) in due {
            self.dial(id, index, now, effects);
        }
    }

    fn dial(&mut self, id: NodeId, index: usize, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        self.make_room_for_probe(id, index);
        let watched = self.brokers.get_mut(&id).expect("it is watched");
        watched.ask(now);
        let is_urgent = watched.absent.is_some() || watched.is_asked();
        let timeout = if is_urgent { PROBE_TIMEOUT } else { PROOF_TIMEOUT };
        let attempts = watched.endpoints[index].attempts.saturating_add(1);
        watched.endpoints[index].attempts = attempts;
        watched.endpoints[index].next_dial = watched.hedge(index, timeout, now);
        let probe = ProbeId(self.next_probe);
        self.next_probe += 1;
        self.probes.insert(
            probe,
            Dial { broker: id, epoch: watched.epoch, endpoint: index, started: now, stalled: Duration::ZERO },
        );
        effects.push(DetectorEffect::Probe {
            id: probe,
            broker: id,
            epoch: watched.epoch,
            endpoint: watched.endpoints[index].at.clone(),
            timeout,
        });
    }

    fn make_room_for_probe(&mut self, id: NodeId, index: usize) {
        let mut awaited = self
            .probes
            .iter()
            .filter(|(_, dial)| dial.broker == id && dial.endpoint == index)
            .map(|(&p, _)| p);
        let oldest = awaited.next();
        if awaited.count() + 1 >= PROBES_PER_ENDPOINT_MAX {
            self.probes.remove(&oldest.expect("there are as many"));
        }
    }

    /// Verdicts that led to nothing are withdrawn; the look-out begins anew.
    fn reconsider_condemned(&mut self, now: Monotonic) {
        for watched in self.brokers.values_mut() {
            if watched.condemned_at.is_some_and(|at| at + CONDEMNED_FOR <= now) {
                watched.condemned_at = None;
                if watched.absent.is_some() {
                    watched.dial_all(now);
                }
            }
        }
    }

    /// Dials those who will soon count as silent: a process that answers lives, though its heartbeats do not come.
    fn ask_silent(&mut self, now: Monotonic) {
        let session_timeout = self.session_timeout;
        let is_due = |watched: &Watched| {
            self.is_judged(watched) && watched.question_at(session_timeout).is_some_and(|at| at <= now)
        };
        let due: Vec<NodeId> =
            self.brokers.iter().filter(|(_, watched)| is_due(watched)).map(|(&id, _)| id).collect();
        for id in due {
            let watched = self.brokers.get_mut(&id).expect("it was looked at just before");
            watched.ask_whether_silent(now);
        }
    }

    fn condemn_silent(&mut self, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        let session_timeout = self.session_timeout;
        let is_silent = |watched: &Watched| {
            self.is_judged(watched) && watched.silent_at(session_timeout).is_some_and(|at| at <= now)
        };
        let silent: Vec<(NodeId, Cause)> = self
            .brokers
            .iter()
            .filter(|(_, watched)| is_silent(watched))
            .map(|(&id, watched)| (id, silent_cause(watched, session_timeout, now)))
            .collect();
        for (id, cause) in silent {
            self.condemn(id, cause, now, effects);
        }
    }

    fn condemn_left(&mut self, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        if self.looks_cut_off() {
            return;
        }
        let is_left =
            |watched: &Watched| self.is_judged(watched) && watched.left_at().is_some_and(|at| at <= now);
        let left: Vec<(NodeId, Cause)> = self
            .brokers
            .iter()
            .filter(|(_, watched)| is_left(watched))
            .filter_map(|(&id, watched)| Some((id, left_cause(watched, now)?)))
            .collect();
        for (id, cause) in left {
            self.condemn(id, cause, now, effects);
        }
    }

    fn condemn(&mut self, id: NodeId, cause: Cause, now: Monotonic, effects: &mut Vec<DetectorEffect>) {
        let watched = &self.brokers[&id];
        if !self.is_judged(watched) {
            return;
        }
        let (epoch, evidence) = (watched.epoch, watched.evidence(now));
        let watched = self.brokers.get_mut(&id).expect("it was looked at just before");
        watched.is_condemned(now);
        let is_silent = matches!(cause, Cause::Silent { .. });
        watched.departed |= !is_silent;
        watched.stands_still |= is_silent;
        effects.push(DetectorEffect::Fence { broker: id, epoch, cause, evidence });
    }
}

fn silent_cause(watched: &Watched, session_timeout: Duration, now: Monotonic) -> Cause {
    Cause::Silent {
        silence: now - watched.contacts.heard_at(),
        allowed: watched.silence_over_at(session_timeout) - watched.contacts.heard_at(),
        longest_gap: watched.contacts.longest_gap(),
        connections: watched.connections.len(),
    }
}

fn left_cause(watched: &Watched, now: Monotonic) -> Option<Cause> {
    let absent = watched.absent.as_ref()?;
    Some(Cause::Left {
        absent: now - absent.since,
        unanswered: now - absent.asking_since?,
        dials: absent.dials,
    })
}
