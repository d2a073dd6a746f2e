//! One broker's registered incarnation, as this node sees it.

use super::contacts::{Contacts, SILENCE_MIN};
use super::event::ENDPOINTS_MAX;
use super::{
    Absence, ClosedBy, ConnectionRef, EndpointKind, Evidence, Observation, ProbeEndpoint, Registration,
    SilentController,
};
use ottla_types::{BrokerEpoch, Monotonic};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Two refusals count as two when the second dial began so long after the first was refused; and the first
/// pause after a dial in vain.
pub(super) const REFUSAL_INTERVAL: Duration = Duration::from_millis(5);
/// Two refusals count as two when the second came no later after the first: a full backlog refuses for a moment, and a network
/// that parts in between hides that it serves.
const REFUSAL_WINDOW: Duration = Duration::from_secs(1);
/// How long a broker without connections may leave dials unanswered.
pub(super) const LEFT_AFTER: Duration = Duration::from_millis(250);
/// A dial may be lost on its way: so long after one without an outcome, another one is begun.
const HEDGE_AFTER: Duration = Duration::from_millis(50);
/// How long a broker that is about to count as silent has to answer a dial before it does.
pub(super) const ANSWER_TIME: Duration = Duration::from_millis(250);
/// The longest pause between two dials of a broker without connections.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// The first and the longest pause between dials that answer, of a broker that does not reconnect.
const ANSWERED_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The pause between dials that answer, of a broker that is about to count as silent: such an answer did not say whose
/// it is, and the next one will not either.
const UNNAMED_RETRY: Duration = Duration::from_millis(50);
/// The first and the longest pause between dials to prove an endpoint.
const PROOF_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A fenced broker may have died long ago: its endpoints are dialled so often, then when it is unfenced.
const FENCED_PROOFS_MAX: u32 = 8;
/// Connections that one broker can tie to itself; more count as contacts only.
const CONNECTIONS_MAX: usize = 64;
const OBSERVATIONS_MAX: usize = 16;

/// A registered incarnation.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) epoch: BrokerEpoch,
    pub(super) fenced: bool,
    pub(super) is_ottla: bool,
    pub(super) endpoints: Vec<Endpoint>,
    /// The connections by which it spoke and that are open.
    pub(super) connections: BTreeSet<ConnectionRef>,
    /// Who closed the last of them; `None` while some are open, and before the first.
    pub(super) last_closed_by: Option<ClosedBy>,
    pub(super) contacts: Contacts,
    /// Silence is no reason before this: the time a live broker needs to find a new controller.
    pub(super) silent_not_before: Monotonic,
    /// When the latest dial began that a listener of its answered by its name; moved forward by our own stalls.
    pub(super) answered_at: Option<Monotonic>,
    /// When it was last asked whether it is silent or only does not heartbeat; moved forward by our own stalls.
    asked_at: Option<Monotonic>,
    /// While it is unfenced and has no connection, for a reason that lets it be dialled.
    pub(super) absent: Option<Absent>,
    /// When it was asked to be fenced, until it is, or is heard.
    pub(super) condemned_at: Option<Monotonic>,
    /// It led the quorum until that gave it up for its silence: how long it may be silent, counted from when the quorum
    /// last heard it, until it is heard or answers.
    pub(super) suspected: Option<Duration>,
    /// It was found silent, and not heard since.
    pub(super) stands_still: bool,
    /// It was found gone or left, and not heard since.
    pub(super) departed: bool,
    /// Another incarnation that spoke: it may be registered already, in an image not seen here yet.
    pub(super) other: Option<OtherIncarnation>,
    observations: VecDeque<(Monotonic, Observation)>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) at: ProbeEndpoint,
    /// It answered ApiVersions as this broker, to this controller, since this registration.
    pub(super) proven: bool,
    /// Refusals in a row since the broker is absent, [`REFUSAL_INTERVAL`] apart.
    pub(super) refusals: u32,
    pub(super) refused_at: Option<Monotonic>,
    /// Dials since it answered, or since the broker became absent.
    pub(super) attempts: u32,
    pub(super) next_dial: Option<Monotonic>,
}

#[derive(Debug)]
pub(super) struct Absent {
    pub(super) why: Absence,
    pub(super) since: Monotonic,
    /// When the first dial began that is not followed by an answer; moved forward by our own stalls.
    pub(super) asking_since: Option<Monotonic>,
    pub(super) dials: u32,
    /// Answers in a row, without a contact.
    pub(super) answers: u32,
}

#[derive(Debug)]
pub(super) struct OtherIncarnation {
    pub(super) epoch: BrokerEpoch,
    pub(super) connection: ConnectionRef,
}

impl Watched {
    pub(super) fn new(registration: &Registration, now: Monotonic) -> Watched {
        Watched {
            epoch: registration.epoch,
            fenced: registration.fenced,
            is_ottla: registration.is_ottla,
            endpoints: endpoints(registration).map(|at| Endpoint::new(at.clone(), now)).collect(),
            connections: BTreeSet::new(),
            last_closed_by: None,
            contacts: Contacts::since(now),
            silent_not_before: now,
            answered_at: None,
            asked_at: None,
            absent: None,
            condemned_at: None,
            suspected: None,
            stands_still: false,
            departed: false,
            other: None,
            observations: VecDeque::new(),
        }
    }

    pub(super) fn observe(&mut self, now: Monotonic, what: Observation) {
        if self.observations.len() == OBSERVATIONS_MAX {
            self.observations.pop_front();
        }
        self.observations.push_back((now, what));
    }

    pub(super) fn evidence(&self, now: Monotonic) -> Evidence {
        Evidence(self.observations.iter().map(|(at, what)| (now - *at, what.clone())).collect())
    }

    /// Returns whether its endpoints are those of `registration`.
    pub(super) fn has_endpoints_of(&self, registration: &Registration) -> bool {
        self.endpoints.iter().map(|endpoint| &endpoint.at).eq(endpoints(registration))
    }

    /// Takes the endpoints of `registration`; what was proven stays proven.
    pub(super) fn replace_endpoints(&mut self, registration: &Registration, now: Monotonic) {
        let old = std::mem::take(&mut self.endpoints);
        self.endpoints = endpoints(registration)
            .map(|at| {
                let proven = old.iter().any(|endpoint| endpoint.proven && endpoint.at == *at);
                let dials = !proven || self.absent.is_some();
                Endpoint { proven, next_dial: dials.then_some(now), ..Endpoint::new(at.clone(), now) }
            })
            .collect();
    }

    /// It spoke, by a connection that is open: it is here.
    pub(super) fn is_heard(&mut self, connection: ConnectionRef, now: Monotonic) {
        self.record_contact(now);
        self.silent_not_before = now;
        if self.connections.len() < CONNECTIONS_MAX {
            self.connections.insert(connection);
        }
        self.last_closed_by = None;
        self.absent = None;
        self.condemned_at = None;
        self.departed = false;
        for endpoint in &mut self.endpoints {
            endpoint.refusals = 0;
            if endpoint.proven {
                endpoint.next_dial = None;
            }
        }
    }

    /// It led the quorum, which gave it up for its silence: it is asked at once.
    pub(super) fn is_suspected(&mut self, silent: SilentController, now: Monotonic) {
        self.contacts = Contacts::since(silent.heard_at.min(now));
        self.suspected = Some(silent.allowed.max(SILENCE_MIN));
        self.ask_whether_silent(now);
    }

    /// It spoke, now or a moment ago.
    pub(super) fn record_contact(&mut self, now: Monotonic) {
        if std::mem::take(&mut self.stands_still) {
            self.contacts.record_standstill(now);
        } else if self.suspected.take().is_some() {
            // What the quorum heard of it before was of another kind: no gap lies between.
            self.contacts = Contacts::since(now);
            self.contacts.record(now);
        } else {
            self.contacts.record(now);
        }
        self.suspected = None;
    }

    /// A listener of its has answered by its name a dial that began `asked`.
    pub(super) fn has_answered(&mut self, asked: Monotonic) {
        self.answered_at = self.answered_at.max(Some(asked));
        if self.suspected.take().is_some() {
            // It lives: what it was suspected for is over, and it has the time that everybody has.
            self.contacts = Contacts::since(asked);
        }
    }

    /// It has no connection: every endpoint is dialled at once.
    pub(super) fn becomes_absent(&mut self, why: Absence, now: Monotonic) {
        self.absent = Some(Absent { why, since: now, asking_since: None, dials: 0, answers: 0 });
        self.dial_all(now);
        if self.endpoints.is_empty() {
            self.ask(now);
        }
    }

    /// Makes every endpoint due, with a clean slate.
    pub(super) fn dial_all(&mut self, now: Monotonic) {
        for endpoint in &mut self.endpoints {
            *endpoint = Endpoint { proven: endpoint.proven, ..Endpoint::new(endpoint.at.clone(), now) };
        }
    }

    /// A dial begins.
    pub(super) fn ask(&mut self, now: Monotonic) {
        if let Some(absent) = &mut self.absent {
            absent.dials = absent.dials.saturating_add(1);
            absent.asking_since.get_or_insert(now);
        }
    }

    /// A dial that began while it was absent was answered: it lives, and will be asked again.
    pub(super) fn is_alive(&mut self) {
        self.departed = false;
        for endpoint in &mut self.endpoints {
            endpoint.refusals = 0;
        }
        if let Some(absent) = &mut self.absent {
            absent.asking_since = None;
            absent.answers = absent.answers.saturating_add(1);
        }
    }

    /// Asked to be fenced: there is nothing more to find out.
    pub(super) fn is_condemned(&mut self, now: Monotonic) {
        self.condemned_at = Some(now);
        for endpoint in &mut self.endpoints {
            endpoint.next_dial = None;
        }
    }

    /// When an endpoint is dialled again if the dial that begins `now` stays without an outcome.
    pub(super) fn hedge(&self, index: usize, timeout: Duration, now: Monotonic) -> Option<Monotonic> {
        let is_urgent = self.absent.is_some() || self.is_asked();
        let again = HEDGE_AFTER.max(retry_after(self.endpoints[index].attempts));
        let pause = if is_urgent { again } else { timeout * 2 };
        Some(now + pause)
    }

    /// When an endpoint is dialled again after a dial that ended `now`.
    pub(super) fn next_dial(&self, index: usize, answered: bool, now: Monotonic) -> Option<Monotonic> {
        let endpoint = &self.endpoints[index];
        if self.condemned_at.is_some() {
            return None;
        }
        match &self.absent {
            Some(absent) if answered => Some(now + doubled(ANSWERED_RETRY, absent.answers.saturating_sub(1))),
            Some(_) => Some(now + retry_after(endpoint.attempts)),
            None if self.is_asked() && answered => Some(now + UNNAMED_RETRY),
            None if self.is_asked() => Some(now + retry_after(endpoint.attempts)),
            None if endpoint.proven || (self.fenced && endpoint.attempts >= FENCED_PROOFS_MAX) => None,
            None => Some(now + doubled(PROOF_RETRY, endpoint.attempts.saturating_sub(1))),
        }
    }

    /// When its silence is over the allowed: since it spoke, or since it answered a dial, but no answer excuses it
    /// for longer than a session.
    pub(super) fn silence_over_at(&self, session_timeout: Duration) -> Monotonic {
        if let Some(allowed) = self.suspected {
            return self.contacts.heard_at() + allowed.min(session_timeout);
        }
        let allowed = self.contacts.silence_allowed(session_timeout, self.is_ottla);
        let heard_at = self.contacts.heard_at();
        let answered = self.answered_at.map(|at| (at + allowed).min(heard_at + session_timeout));
        (heard_at + allowed).max(answered.unwrap_or(heard_at)).max(self.silent_not_before)
    }

    /// When to ask it, before its silence is over, whether it lives all the same; `None` when it was asked, or no
    /// answer would help it.
    pub(super) fn question_at(&self, session_timeout: Duration) -> Option<Monotonic> {
        let over_at = self.silence_over_at(session_timeout);
        let may_help = over_at < self.session_over_at(session_timeout);
        (may_help && !self.is_asked()).then(|| over_at.earlier_by(ANSWER_TIME))
    }

    /// When it counts as silent, unless it is heard or answers before; `None` while it must be asked first.
    pub(super) fn silent_at(&self, session_timeout: Duration) -> Option<Monotonic> {
        if self.question_at(session_timeout).is_some() {
            return None;
        }
        let over_at = self.silence_over_at(session_timeout);
        let asked_at = self.asked_at.filter(|_| self.is_asked());
        Some(asked_at.map_or(over_at, |at| over_at.max(at + ANSWER_TIME)))
    }

    /// Returns whether it was asked since it last spoke or answered.
    pub(super) fn is_asked(&self) -> bool {
        let is_after = |at: Monotonic| {
            at > self.contacts.heard_at() && self.answered_at.is_none_or(|answered| at > answered)
        };
        self.asked_at.is_some_and(is_after)
    }

    /// Makes its listeners due. The quorum's endpoint is not asked: what it answers says nothing of the broker.
    pub(super) fn ask_whether_silent(&mut self, now: Monotonic) {
        self.asked_at = Some(now);
        for endpoint in self.endpoints.iter_mut().filter(|endpoint| endpoint.at.kind == EndpointKind::Broker)
        {
            endpoint.next_dial = Some(now);
        }
    }

    /// When a whole session is over.
    pub(super) fn session_over_at(&self, session_timeout: Duration) -> Monotonic {
        (self.contacts.heard_at() + session_timeout).max(self.silent_not_before)
    }

    /// Returns whether it looks as if it had left, however long ago.
    pub(super) fn looks_left(&self) -> bool {
        self.absent
            .as_ref()
            .is_some_and(|absent| absent.why == Absence::Closed && absent.asking_since.is_some())
    }

    /// When it counts as left, unless it is heard or answers before.
    pub(super) fn left_at(&self) -> Option<Monotonic> {
        let absent = self.absent.as_ref().filter(|absent| absent.why == Absence::Closed)?;
        Some(absent.asking_since? + LEFT_AFTER)
    }

    pub(super) fn subtract_stall(&mut self, stall: Duration, now: Monotonic) {
        self.contacts.subtract_stall(stall, now);
        self.silent_not_before = self.silent_not_before + stall;
        for at in [&mut self.answered_at, &mut self.asked_at].into_iter().flatten() {
            *at = (*at + stall).min(now.max(*at));
        }
        if let Some(asking_since) = self.absent.as_mut().and_then(|absent| absent.asking_since.as_mut()) {
            *asking_since = (*asking_since + stall).min(now.max(*asking_since));
        }
        if !self.fenced {
            self.observe(now, Observation::Stalled(stall));
        }
    }
}

impl Endpoint {
    fn new(at: ProbeEndpoint, now: Monotonic) -> Endpoint {
        Endpoint { at, proven: false, refusals: 0, refused_at: None, attempts: 0, next_dial: Some(now) }
    }

    /// A dial that began at `started` was refused `now`.
    pub(super) fn is_refused(&mut self, started: Monotonic, now: Monotonic) {
        let before = self.refused_at.filter(|before| self.refusals > 0 && now - *before <= REFUSAL_WINDOW);
        if before.is_none_or(|before| started >= before + REFUSAL_INTERVAL) {
            self.refusals = before.map_or(1, |_| self.refusals.saturating_add(1));
            self.refused_at = Some(now);
        }
    }
}

fn endpoints(registration: &Registration) -> impl Iterator<Item = &ProbeEndpoint> {
    registration.endpoints.iter().take(ENDPOINTS_MAX)
}

/// The pause after the `attempts`th dial in vain: four short ones, then each four twice as long.
fn retry_after(attempts: u32) -> Duration {
    doubled((REFUSAL_INTERVAL, RETRY_MAX), attempts.saturating_sub(1) / 4)
}

fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}
