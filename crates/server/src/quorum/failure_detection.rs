//! The failure detector's driver: connections and heartbeats in, dials and fencing out.

use super::journal::Verdict;
use super::{Journal, Leadership, QuorumHandle};
use ottla_controller::brokers::Predecessor;
use ottla_controller::detector::{
    ClosedBy, ConnectionRef, Detector, DetectorEffect, EndpointKind, ProbeEndpoint, ProbeId, ProbeOutcome,
    Registration, SilentController,
};
use ottla_metadata::MetadataImage;
use ottla_net::outgoing::SOFTWARE_NAME;
use ottla_net::{CallError, Clock, Closed, ConnectionId, Network, Outgoing};
use ottla_protocol::ErrorCode;
use ottla_types::{BrokerEpoch, Decision, Monotonic, NodeId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// How often the driver looks whether it was itself asleep.
const STALL_PERIOD: Duration = Duration::from_millis(250);

/// How soon fencing is decided again, when the controller did not decide yet.
const FENCE_BACKOFF: Duration = Duration::from_millis(5);

/// How often at most: then the detector asks by itself.
const FENCE_ATTEMPTS_MAX: usize = 200;

/// A broker that was away so long ago is dialled again by every client: the default of librdkafka's
/// `reconnect.backoff.max.ms`, which is the longest of those that we know.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A later tick than this was a stall of our own.
const STALL_MIN: Duration = Duration::from_millis(400);

/// What the controller's listener tells the detector, and asks it.
pub struct FailureDetection {
    detector: Mutex<(Detector, Vec<DetectorEffect>)>,
    ours: Mutex<OttlaBrokers>,
    returns: Mutex<Returns>,
    /// How many heartbeats of each incarnation wait for their answers.
    unanswered: Mutex<BTreeMap<(NodeId, BrokerEpoch), usize>>,
    clock: Clock,
    wake: Notify,
}

impl FailureDetection {
    /// A standby's. `session_timeout` is `broker.session.timeout.ms`.
    pub fn new(session_timeout: Duration, clock: Clock) -> FailureDetection {
        FailureDetection {
            detector: Mutex::new((Detector::new(session_timeout), Vec::new())),
            ours: Mutex::default(),
            returns: Mutex::default(),
            unanswered: Mutex::default(),
            clock,
            wake: Notify::new(),
        }
    }

    /// An incarnation of a broker has sent a heartbeat by this connection.
    pub fn contact(&self, broker: NodeId, epoch: BrokerEpoch, connection: ConnectionId) {
        let now = self.clock.monotonic();
        self.detector.lock().0.handle_contact(broker, epoch, ConnectionRef(connection.0), now);
        if self.ours.lock().heard(broker, epoch, connection) {
            self.wake.notify_one();
        }
    }

    /// A heartbeat waits for its answer until what is returned is dropped.
    pub fn unanswered(self: &Arc<Self>, broker: NodeId, epoch: BrokerEpoch) -> Unanswered {
        *self.unanswered.lock().entry((broker, epoch)).or_default() += 1;
        Unanswered { detection: self.clone(), incarnation: (broker, epoch) }
    }

    /// Tells the detector, before it judges, whose heartbeats it is that wait.
    fn excuse_unanswered(&self) {
        let waiting: Vec<(NodeId, BrokerEpoch)> = self.unanswered.lock().keys().copied().collect();
        let now = self.clock.monotonic();
        let mut guard = self.detector.lock();
        for (broker, epoch) in waiting {
            guard.0.handle_unanswered(broker, epoch, now);
        }
    }

    /// Whoever has this connection has said what software it is.
    pub fn introduced(&self, connection: ConnectionId, software: &str) {
        if software == SOFTWARE_NAME {
            self.ours.lock().connections.insert(connection);
        }
    }

    /// A connection to the controller's listener has ended.
    pub fn connection_closed(&self, connection: ConnectionId, how: Closed) {
        let by = match how {
            Closed::ByPeer => ClosedBy::Peer,
            Closed::ByUs => ClosedBy::Us,
        };
        let now = self.clock.monotonic();
        self.ours.lock().connections.remove(&connection);
        {
            let mut guard = self.detector.lock();
            let (detector, effects) = &mut *guard;
            detector.handle_connection_closed(ConnectionRef(connection.0), by, now, effects);
        }
        self.wake.notify_one();
    }

    /// The brokers that came back a moment ago, for [`ottla_controller::Controller::set_newcomers`].
    pub fn newcomers(&self) -> BTreeSet<NodeId> {
        self.returns.lock().since(self.clock.monotonic())
    }

    /// What is known of the process registered under an id, for one that wants to take its place.
    pub fn predecessor(&self, broker: NodeId, epoch: BrokerEpoch) -> Predecessor {
        self.detector.lock().0.predecessor(broker, epoch, self.clock.monotonic())
    }
}

/// A heartbeat under way.
pub struct Unanswered {
    detection: Arc<FailureDetection>,
    incarnation: (NodeId, BrokerEpoch),
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut waiting = self.detection.unanswered.lock();
        let count = waiting.get_mut(&self.incarnation).expect("counted when it was made");
        *count -= 1;
        if *count == 0 {
            waiting.remove(&self.incarnation);
        }
        drop(waiting);
        let (broker, epoch) = self.incarnation;
        let now = self.detection.clock.monotonic();
        self.detection.detector.lock().0.handle_unanswered(broker, epoch, now);
    }
}

/// Which brokers are Ottla's: their heartbeats come at a known pace, so that silence means something sooner.
#[derive(Debug, Default)]
struct OttlaBrokers {
    /// Open connections of our own software, of brokers or not.
    connections: BTreeSet<ConnectionId>,
    /// The incarnations that were heard by them.
    incarnations: BTreeMap<NodeId, BrokerEpoch>,
    /// There are some that the detector has not been told of.
    news: bool,
}

impl OttlaBrokers {
    /// An incarnation has spoken by a connection. Returns whether it is known as ours only since now.
    fn heard(&mut self, broker: NodeId, epoch: BrokerEpoch, connection: ConnectionId) -> bool {
        if !self.connections.contains(&connection) || self.incarnations.get(&broker) == Some(&epoch) {
            return false;
        }
        self.incarnations.insert(broker, epoch);
        self.news = true;
        true
    }
}

/// When brokers came back. Standbys watch too, for they may be asked next.
#[derive(Debug, Default)]
struct Returns(BTreeMap<NodeId, Membership>);

#[derive(Debug)]
struct Membership {
    epoch: BrokerEpoch,
    /// It was a member, and is one no more.
    is_away: bool,
    was_member: bool,
    returned_at: Option<Monotonic>,
}

impl Returns {
    /// This incarnation of a broker is registered, and fenced or not. The first that is seen of it does not count as a
    /// return.
    fn registered(&mut self, broker: NodeId, epoch: BrokerEpoch, fenced: bool, now: Monotonic) {
        let first = Membership { epoch, is_away: false, was_member: false, returned_at: None };
        let known = self.0.entry(broker).or_insert(first);
        if known.epoch != epoch || (known.is_away && !fenced) {
            known.returned_at = Some(now);
        }
        known.epoch = epoch;
        known.was_member |= !fenced;
        known.is_away = known.was_member && fenced;
    }

    fn since(&self, now: Monotonic) -> BTreeSet<NodeId> {
        let is_new = |at: Monotonic| now - at < SETTLED_AFTER;
        let returned = self.0.iter().filter(|(_, known)| known.returned_at.is_some_and(is_new));
        returned.map(|(&broker, _)| broker).collect()
    }
}

/// What the driver's task needs besides.
pub struct Driver {
    /// Shared with the controller's listeners.
    pub detection: Arc<FailureDetection>,
    /// This node.
    pub node_id: NodeId,
    /// The cluster.
    pub cluster_id: String,
    /// How brokers are dialled.
    pub network: Arc<dyn Network>,
    /// Where fencing is decided.
    pub quorum: QuorumHandle,
    /// What is committed.
    pub image: watch::Receiver<Arc<MetadataImage>>,
    /// Where the reasons are kept.
    pub journal: Journal,
}

impl Driver {
    /// Detects until the node stops.
    pub async fn run(mut self) {
        let mut leadership = self.quorum.leadership();
        let mut probes: JoinSet<(ProbeId, ProbeOutcome)> = JoinSet::new();
        let mut fencing: JoinSet<()> = JoinSet::new();
        let mut is_active = false;
        let mut last_tick = self.detection.clock.monotonic();
        let mut ticks = tokio::time::interval(STALL_PERIOD);
        loop {
            let leads = leads(&leadership.borrow_and_update(), self.node_id);
            if leads != is_active {
                is_active = leads;
                ticks.reset();
                last_tick = self.detection.clock.monotonic();
                self.set_active(leads);
            }
            self.carry_out(&mut probes, &mut fencing);
            let deadline = self.detection.detector.lock().0.deadline();
            let clock = self.detection.clock;
            tokio::select! {
                biased;
                // A standby judges nobody: it may sleep.
                _ = ticks.tick(), if is_active => {
                    let now = clock.monotonic();
                    let since = now - last_tick;
                    last_tick = now;
                    if since > STALL_MIN {
                        tracing::warn!(stalled = ?since, "this node was asleep");
                        self.detection.detector.lock().0.handle_stall(since - STALL_PERIOD, now);
                    }
                }
                Some(Ok((id, outcome))) = probes.join_next(), if !probes.is_empty() => {
                    self.handle(|detector, now, effects| {
                        detector.handle_probe_result(id, outcome, now, effects);
                    });
                }
                Some(_) = fencing.join_next(), if !fencing.is_empty() => {}
                () = self.detection.wake.notified() => {
                    if std::mem::take(&mut self.detection.ours.lock().news) {
                        self.tell_registrations();
                    }
                }
                changed = self.image.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.tell_registrations();
                }
                changed = leadership.changed() => if changed.is_err() {
                    return;
                },
                () = clock.sleep_until(deadline) => {
                    self.detection.excuse_unanswered();
                    self.handle(|detector, now, effects| detector.handle_timeout(now, effects));
                }
            }
        }
    }

    fn handle(&self, event: impl FnOnce(&mut Detector, Monotonic, &mut Vec<DetectorEffect>)) {
        let now = self.detection.clock.monotonic();
        let mut guard = self.detection.detector.lock();
        let (detector, effects) = &mut *guard;
        event(detector, now, effects);
    }

    fn set_active(&mut self, active: bool) {
        let registrations = self.registrations();
        let silent = self.quorum.leadership().borrow().silent.map(|silent| SilentController {
            node: silent.id,
            heard_at: silent.since,
            allowed: silent.allowed,
        });
        self.handle(|detector, now, effects| {
            detector.handle_registrations(&registrations, now, effects);
            if active {
                detector.activate(now, silent, effects);
            } else {
                detector.deactivate();
            }
        });
    }

    fn tell_registrations(&mut self) {
        let registrations = self.registrations();
        self.handle(|detector, now, effects| {
            detector.handle_registrations(&registrations, now, effects);
        });
    }

    /// The brokers of the image; where a process has both roles, its quorum's endpoint counts too.
    fn registrations(&mut self) -> Vec<Registration> {
        let image = self.image.borrow_and_update().clone();
        let mut ours = self.detection.ours.lock();
        ours.incarnations.retain(|id, _| image.cluster.brokers.contains_key(id));
        let now = self.detection.clock.monotonic();
        let mut returns = self.detection.returns.lock();
        returns.0.retain(|id, _| image.cluster.brokers.contains_key(id));
        let mut registration = |broker: &ottla_metadata::BrokerRegistration| {
            returns.registered(broker.id, broker.epoch, broker.fenced, now);
            let mut registration = Registration::from_image(broker);
            registration.is_ottla = ours.incarnations.get(&broker.id) == Some(&broker.epoch);
            if let Some(controller) = image.cluster.controllers.get(&broker.id) {
                registration.endpoints.extend(controller.endpoints.iter().map(|endpoint| ProbeEndpoint {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    kind: EndpointKind::Quorum,
                }));
            }
            registration
        };
        image.cluster.brokers.values().map(&mut registration).collect()
    }

    fn carry_out(&self, probes: &mut JoinSet<(ProbeId, ProbeOutcome)>, fencing: &mut JoinSet<()>) {
        let effects = std::mem::take(&mut self.detection.detector.lock().1);
        for effect in effects {
            match effect {
                DetectorEffect::Probe { id, broker, endpoint, timeout, .. } => {
                    let (network, cluster_id) = (self.network.clone(), self.cluster_id.clone());
                    probes.spawn(async move {
                        (id, probe(&*network, &endpoint, &cluster_id, broker, timeout).await)
                    });
                }
                DetectorEffect::Fence { broker, epoch, cause, evidence } => {
                    let verdict = Verdict { broker, epoch, cause, evidence };
                    let (quorum, node_id, journal) =
                        (self.quorum.clone(), self.node_id, self.journal.clone());
                    let newcomers = self.detection.newcomers();
                    fencing.spawn(async move {
                        let Verdict { cause, evidence, .. } = &verdict;
                        tracing::info!(broker = broker.0, %epoch, %cause, "fenced");
                        tracing::debug!(broker = broker.0, ?evidence, "evidence");
                        fence(&quorum, node_id, &verdict, newcomers, &journal).await;
                    });
                }
            }
        }
    }
}

/// Whether this node leads the quorum, as far as it knows.
pub(super) fn leads(leadership: &Leadership, node_id: NodeId) -> bool {
    leadership.leader.as_ref().is_some_and(|(leader, _)| *leader == node_id)
}

/// Has a broker fenced. A controller that was just elected decides nothing until the record that opens its
/// term is committed: it is asked again until then, for the detector repeats itself only after a second.
async fn fence(
    quorum: &QuorumHandle,
    node_id: NodeId,
    verdict: &Verdict,
    newcomers: BTreeSet<NodeId>,
    journal: &Journal,
) {
    let leadership = quorum.leadership();
    for _ in 0..FENCE_ATTEMPTS_MAX {
        let (newcomers, verdict, journal) = (newcomers.clone(), verdict.clone(), journal.clone());
        let fencing = quorum.decide(move |controller, now| {
            controller.set_newcomers(newcomers);
            let records = controller.fence(verdict.broker, verdict.epoch);
            if !records.is_empty() {
                // The record that fences is the first.
                let offset = controller.image().end.offset;
                journal.record(verdict.entry(node_id, offset, now.wall));
            }
            Decision::write(records, ())
        });
        if fencing.await.is_ok() {
            return;
        }
        if !leads(&leadership.borrow(), node_id) {
            break;
        }
        tokio::time::sleep(FENCE_BACKOFF).await;
    }
    tracing::debug!(broker = verdict.broker.0, "fencing was not decided here");
}

/// Dials a broker and asks whether it is the one.
async fn probe(
    network: &dyn Network,
    endpoint: &ProbeEndpoint,
    cluster_id: &str,
    broker: NodeId,
    timeout: Duration,
) -> ProbeOutcome {
    match Outgoing::identify(network, &endpoint.host, endpoint.port, cluster_id, broker, timeout).await {
        Ok(ErrorCode::None) => ProbeOutcome::Answered { cluster_matches: true, node_id: Some(broker) },
        // Somebody else's node answers there.
        Ok(ErrorCode::RebootstrapRequired) => {
            ProbeOutcome::Answered { cluster_matches: false, node_id: None }
        }
        // It lives, and is too old to say who it is.
        Ok(_) | Err(CallError::Malformed(_) | CallError::Unsupported { .. }) => {
            ProbeOutcome::Answered { cluster_matches: true, node_id: None }
        }
        Err(CallError::Refused(_)) => ProbeOutcome::Refused,
        Err(CallError::Closed) => ProbeOutcome::AcceptedThenClosed,
        Err(CallError::TimedOut(_)) => ProbeOutcome::TimedOut,
        Err(CallError::Connect { .. }) => ProbeOutcome::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_that_speaks_by_a_connection_of_ours_is_ours() {
        let mut ours = OttlaBrokers::default();
        let (broker, first, second) = (NodeId(1), BrokerEpoch(5), BrokerEpoch(9));
        ours.connections.insert(ConnectionId(7));

        assert!(!ours.heard(broker, first, ConnectionId(8)), "nobody knows whose that is");
        assert!(ours.heard(broker, first, ConnectionId(7)));
        assert!(!ours.heard(broker, first, ConnectionId(7)), "no news");
        assert!(ours.heard(broker, second, ConnectionId(7)), "another incarnation");
        assert_eq!(ours.incarnations, BTreeMap::from([(broker, second)]));
    }

    #[test]
    fn a_broker_that_came_back_is_a_newcomer_for_ten_seconds() {
        let mut returns = Returns::default();
        let at = |seconds: u64| Monotonic(seconds * 1_000_000);
        returns.registered(NodeId(1), BrokerEpoch(5), false, at(1));
        returns.registered(NodeId(2), BrokerEpoch(6), true, at(1));
        returns.registered(NodeId(2), BrokerEpoch(6), false, at(1));
        assert!(returns.since(at(1)).is_empty(), "nobody was away");

        returns.registered(NodeId(1), BrokerEpoch(9), true, at(2));
        returns.registered(NodeId(1), BrokerEpoch(9), true, at(3));

        assert_eq!(returns.since(at(11)), BTreeSet::from([NodeId(1)]));
        assert!(returns.since(at(12)).is_empty());
    }

    #[test]
    fn a_broker_that_was_fenced_though_it_lived_is_a_newcomer_too() {
        let mut returns = Returns::default();
        let at = |seconds: u64| Monotonic(seconds * 1_000_000);
        let mut registered = |fenced, seconds| {
            returns.registered(NodeId(1), BrokerEpoch(5), fenced, at(seconds));
            returns.since(at(seconds))
        };

        assert!(registered(false, 1).is_empty());
        assert!(registered(true, 2).is_empty());
        assert_eq!(registered(false, 3), BTreeSet::from([NodeId(1)]));
        assert!(registered(false, 13).is_empty());
    }
}
