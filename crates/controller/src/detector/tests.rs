//! The cases of the rules, one broker or a few at a time.

use super::*;
use crate::brokers::Predecessor;
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::time::Duration;

const SESSION: Duration = Duration::from_secs(9);
const ALIVE: fn(i32) -> ProbeOutcome =
    |id| ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(id)) };

/// A detector, its clock in milliseconds, and what it asked for.
struct Bench {
    detector: Detector,
    now: Monotonic,
    registrations: Vec<Registration>,
    effects: Vec<DetectorEffect>,
    dials: Vec<Probe>,
    fenced: Vec<(i32, Cause)>,
}

/// A dial that awaits its outcome.
type Probe = (ProbeId, i32);

impl Bench {
    /// A standby that knows brokers 1 to `brokers`, unfenced; their one endpoint has been dialled.
    fn standby(brokers: i32) -> Bench {
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
    fn new(brokers: i32) -> Bench {
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

    fn register(&mut self) {
        self.detector.handle_registrations(&self.registrations, self.now, &mut self.effects);
    }

    fn set(&mut self, id: i32, change: impl FnOnce(&mut Registration)) {
        change(&mut self.registrations[id as usize - 1]);
        self.register();
    }

    fn heartbeats(&mut self, ids: impl IntoIterator<Item = i32> + Clone, count: u32, every_ms: u64) {
        for _ in 0..count {
            self.wait(every_ms);
            ids.clone().into_iter().for_each(|id| self.contact(id));
        }
    }

    fn contact(&mut self, id: i32) {
        self.contact_by(id, 10, id as u64);
    }

    fn contact_by(&mut self, id: i32, epoch: i64, connection: u64) {
        self.detector.handle_contact(NodeId(id), BrokerEpoch(epoch), ConnectionRef(connection), self.now);
    }

    fn close(&mut self, connection: u64, by: ClosedBy) {
        let connection = ConnectionRef(connection);
        self.detector.handle_connection_closed(connection, by, self.now, &mut self.effects);
    }

    fn outcome(&mut self, probe: ProbeId, outcome: ProbeOutcome) {
        self.detector.handle_probe_result(probe, outcome, self.now, &mut self.effects);
    }

    /// Moves the clock, stopping at the deadlines on the way; dials of that time stay without outcome.
    fn wait(&mut self, millis: u64) -> Vec<Probe> {
        self.wait_answering(millis, |_| None)
    }

    /// Moves the clock; each dial ends at once with the outcome for its broker, if there is one.
    fn wait_answering(&mut self, millis: u64, answer: impl Fn(i32) -> Option<ProbeOutcome>) -> Vec<Probe> {
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
    fn probes(&mut self) -> Vec<Probe> {
        self.sort_effects();
        std::mem::take(&mut self.dials)
    }

    fn sort_effects(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                DetectorEffect::Probe { id, broker, .. } => self.dials.push((id, broker.0)),
                DetectorEffect::Fence { broker, cause, .. } => self.fenced.push((broker.0, cause)),
            }
        }
    }

    fn one_probe(&mut self) -> ProbeId {
        let probes = self.probes();
        assert_eq!(probes.len(), 1, "{probes:?}");
        probes[0].0
    }

    /// The one verdict's rule.
    fn rule(&mut self) -> &'static str {
        self.sort_effects();
        match self.fenced.as_slice() {
            [] => "none",
            [(_, Cause::Gone { .. })] => "gone",
            [(_, Cause::Left { .. })] => "left",
            [(_, Cause::Silent { .. })] => "silent",
            several => panic!("several: {several:?}"),
        }
    }

    fn predecessor(&self, id: i32, epoch: i64) -> Predecessor {
        self.detector.predecessor(NodeId(id), BrokerEpoch(epoch), self.now)
    }
}

fn registration(id: i32, epoch: i64) -> Registration {
    let endpoint = ProbeEndpoint { host: format!("b{id}"), port: 9092, kind: EndpointKind::Broker };
    Registration {
        broker: NodeId(id),
        epoch: BrokerEpoch(epoch),
        endpoints: vec![endpoint],
        fenced: false,
        is_ottla: true,
    }
}

#[test]
fn refused_twice_is_gone() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    let first = bench.one_probe();
    bench.outcome(first, ProbeOutcome::Refused);
    assert_eq!(bench.rule(), "none");
    assert_eq!(bench.wait(4), [], "the second dial is 5 ms after the first refusal");
    let second = bench.wait(1)[0].0;
    bench.outcome(second, ProbeOutcome::Refused);

    assert_eq!(bench.rule(), "gone");
    assert_eq!(bench.fenced[0].1.to_string(), "gone: its connections closed 5 ms ago, b1:9092 refused twice");
}

/// What a broker's endpoint does after its only connection closed, and the verdict with its time.
#[test]
fn each_way_to_go_has_its_rule_and_its_time() {
    let other_node = ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(7)) };
    let other_cluster = ProbeOutcome::Answered { cluster_matches: false, node_id: Some(NodeId(1)) };
    let unnamed = ProbeOutcome::Answered { cluster_matches: true, node_id: None };
    let cases = [
        ("it refuses", Some(ProbeOutcome::Refused), "gone", 5),
        ("proxied: accepts and closes", Some(ProbeOutcome::AcceptedThenClosed), "left", 250),
        ("moved: another node has its address", Some(other_node), "left", 250),
        ("moved: another cluster has its address", Some(other_cluster), "left", 250),
        ("dials time out", Some(ProbeOutcome::TimedOut), "left", 250),
        ("no route", Some(ProbeOutcome::Unreachable), "left", 250),
        ("dials are lost", None, "left", 250),
        // It lives, but does not heartbeat any more.
        ("it answers", Some(ALIVE(1)), "silent", 9000),
        // Four times its gap of 200 ms is less than a second.
        ("it answers without a name", Some(unnamed), "silent", 1000),
    ];
    for (name, outcome, rule, after_ms) in cases {
        let mut bench = Bench::new(3);

        bench.close(1, ClosedBy::Peer);
        let mut dials = 0;
        for elapsed in 0..after_ms {
            assert_eq!(bench.rule(), "none", "{name} after {elapsed} ms");
            dials += bench.wait_answering(1, |_| outcome).len();
            if elapsed % 200 == 199 {
                bench.contact(2);
                bench.contact(3);
            }
        }

        assert_eq!(bench.rule(), rule, "{name} after {after_ms} ms");
        assert!(dials <= 20.max(after_ms / 400), "{name}: {dials} dials");
    }
}

#[test]
fn an_accepted_connection_delays_the_refusals_by_one_dial() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    let reset = bench.one_probe();
    bench.outcome(reset, ProbeOutcome::AcceptedThenClosed);
    bench.wait_answering(9, |_| Some(ProbeOutcome::Refused));
    assert_eq!(bench.rule(), "none");
    bench.wait_answering(1, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn an_unproven_endpoint_that_refuses_proves_nothing() {
    let mut bench = Bench::new(3);
    bench.set(1, |registration| registration.endpoints[0].port = 9999);
    let unproven = bench.one_probe();
    bench.outcome(unproven, ProbeOutcome::Refused);

    bench.close(1, ClosedBy::Peer);
    bench.wait_answering(249, |_| Some(ProbeOutcome::Refused));
    assert_eq!(bench.rule(), "none");
    bench.wait_answering(1, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "left");
}

#[test]
fn a_lost_dial_is_followed_by_another() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    bench.probes();
    let hedge = bench.wait(50)[0].0;
    bench.outcome(hedge, ProbeOutcome::Refused);
    bench.wait_answering(5, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn a_refusal_dialled_before_the_close_does_not_count() {
    let mut bench = Bench::standby(3);
    for (probe, id) in bench.probes() {
        bench.outcome(probe, ALIVE(id));
    }
    let now = bench.now;
    bench.detector.activate(now, None, &mut bench.effects);
    let before = bench.probes()[0].0;
    (1..=3).for_each(|id| bench.contact(id));
    bench.wait(1);

    bench.close(1, ClosedBy::Peer);
    bench.outcome(before, ProbeOutcome::Refused);
    bench.probes();
    bench.wait_answering(54, |_| Some(ProbeOutcome::Refused));
    assert_eq!(bench.rule(), "none", "the first dial was lost, the second refused after 50 ms");
    bench.wait_answering(1, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn an_answer_dialled_before_the_close_is_no_sign_of_life() {
    let mut bench = Bench::new(3);
    bench.set(1, |registration| registration.endpoints[0].port = 9999);
    let before = bench.one_probe();
    bench.wait(1);

    bench.close(1, ClosedBy::Peer);
    bench.wait(1);
    bench.outcome(before, ALIVE(1));
    bench.wait(249);

    assert_eq!(bench.rule(), "left", "250 ms after the close");
}

#[test]
fn a_frozen_broker_is_silent_though_its_kernel_accepts() {
    let mut bench = Bench::new(3);

    bench.heartbeats(2..=3, 3, 200);
    assert_eq!(bench.wait(149), [], "nothing closed, nobody is dialled");
    assert!(!bench.wait(1).is_empty(), "a quarter of a second before the verdict it is asked");
    bench.wait(49);
    bench.heartbeats(2..=3, 1, 1);
    bench.wait(199);
    assert_eq!(bench.rule(), "none");
    bench.heartbeats(2..=3, 1, 1);

    assert_eq!(bench.rule(), "silent");
    assert_eq!(
        bench.fenced[0].1.to_string(),
        "silent: not heard of for 1.00 s, 1.00 s allowed, its longest gap before was 200 ms; \
         its connection is still open"
    );
}

/// Its listeners are served, whatever keeps its heartbeats: it is asked again and again, until the session is over.
#[test]
fn who_answers_dials_is_not_silent_before_the_session_is_over() {
    let mut bench = Bench::new(3);

    let mut asked = 0;
    for _ in 0..44 {
        asked += bench.wait_answering(200, |id| Some(ALIVE(id))).len();
        (2..=3).for_each(|id| bench.contact(id));
    }
    assert_eq!(bench.rule(), "none", "after 8.8 s");
    assert!((9..=12).contains(&asked), "once in 750 ms, but not when it would not help: {asked}");
    bench.wait(200);

    assert_eq!(
        bench.fenced[0].1.to_string(),
        "silent: not heard of for 9.00 s, 9.00 s allowed, its longest gap before was 200 ms; \
         its connection is still open"
    );
}

#[test]
fn who_stops_answering_dials_is_silent_when_the_last_answer_no_longer_counts() {
    let mut bench = Bench::new(3);
    bench.heartbeats(2..=3, 3, 200);

    assert_eq!(bench.wait_answering(150, |id| Some(ALIVE(id))).len(), 1);
    for _ in 0..4 {
        bench.wait(200);
        (2..=3).for_each(|id| bench.contact(id));
    }
    bench.wait(199);
    assert_eq!(bench.rule(), "none");
    bench.wait(1);

    assert_eq!(bench.rule(), "silent", "a second after the dial that was answered");
}

#[test]
fn what_others_answer_does_not_help_who_is_silent() {
    let other = ProbeOutcome::Answered { cluster_matches: true, node_id: Some(NodeId(7)) };
    let unnamed = ProbeOutcome::Answered { cluster_matches: true, node_id: None };
    for outcome in [other, unnamed, ProbeOutcome::AcceptedThenClosed, ProbeOutcome::Refused] {
        let mut bench = Bench::new(3);

        let mut dials = 0;
        for _ in 0..5 {
            dials += bench.wait_answering(200, |_| Some(outcome)).len();
            (2..=3).for_each(|id| bench.contact(id));
        }

        assert_eq!(bench.rule(), "silent", "{outcome}");
        assert!(dials <= 16, "{outcome}: {dials} dials");
    }
}

/// The controller's listener is there before the broker's, and does not speak for it.
#[test]
fn what_the_quorums_endpoint_answers_does_not_help_who_is_silent() {
    let mut bench = Bench::new(3);
    bench.set(1, |registration| {
        let port = registration.endpoints[0].port + 1;
        let host = registration.endpoints[0].host.clone();
        registration.endpoints = vec![ProbeEndpoint { host, port, kind: EndpointKind::Quorum }];
    });

    for _ in 0..5 {
        bench.wait_answering(200, |id| Some(ALIVE(id)));
        (2..=3).for_each(|id| bench.contact(id));
    }

    assert_eq!(bench.rule(), "silent");
}

#[test]
fn nobody_is_silent_who_was_not_asked() {
    let mut bench = Bench::new(1);

    // This node slept, too short to call it a stall, and comes late to the question.
    bench.now = bench.now + Duration::from_millis(1100);
    let now = bench.now;
    bench.detector.handle_timeout(now, &mut bench.effects);
    assert_eq!(bench.probes().len(), 1);
    bench.wait(249);
    assert_eq!(bench.rule(), "none");
    bench.wait(1);

    assert_eq!(bench.rule(), "silent");
}

#[test]
fn who_waits_for_our_answer_is_not_silent() {
    let mut bench = Bench::new(3);
    for _ in 0..10 {
        bench.heartbeats([2, 3], 2, 200);
        let now = bench.now;
        bench.detector.handle_unanswered(NodeId(1), BrokerEpoch(10), now);
        bench.detector.handle_unanswered(NodeId(2), BrokerEpoch(9), now);
    }
    assert_eq!(bench.fenced, []);

    bench.heartbeats([2, 3], 6, 200);

    assert_eq!(bench.rule(), "silent", "it was answered more than a second ago");
}

#[test]
fn an_open_connection_keeps_a_broker_that_closed_another() {
    let mut bench = Bench::new(1);
    bench.contact_by(1, 10, 71);

    bench.close(1, ClosedBy::Peer);
    assert_eq!(bench.probes(), []);

    bench.close(71, ClosedBy::Peer);
    assert_eq!(bench.probes().len(), 1);
}

#[test]
fn a_connection_closed_by_us_proves_nothing() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Us);

    assert_eq!(bench.wait(700), []);
    assert_eq!(bench.predecessor(1, 10), Predecessor::Disconnected);
}

#[test]
fn a_broker_that_reconnects_is_not_looked_for() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    let probe = bench.one_probe();
    bench.outcome(probe, ProbeOutcome::Refused);
    bench.contact_by(1, 10, 71);

    assert_eq!(bench.wait_answering(300, |_| Some(ProbeOutcome::Refused)), []);
    assert_eq!(bench.rule(), "none");
}

#[test]
fn a_heartbeat_handled_after_the_close_of_its_connection_does_not_hide_the_close() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    bench.contact(1);
    bench.wait_answering(5, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn a_broker_that_answers_and_then_dies_is_still_found() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    bench.wait_answering(90, |_| Some(ALIVE(1)));
    bench.wait_answering(15, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn a_quick_restart_voids_what_was_found_of_the_old_incarnation() {
    let mut bench = Bench::new(3);

    bench.close(1, ClosedBy::Peer);
    let first = bench.one_probe();
    bench.outcome(first, ProbeOutcome::Refused);
    let second = bench.wait(5)[0].0;
    assert_eq!(bench.predecessor(1, 10), Predecessor::Disconnected);
    bench.contact_by(1, 20, 71);
    bench.set(1, |registration| registration.epoch = BrokerEpoch(20));
    bench.outcome(second, ProbeOutcome::Refused);

    assert_eq!(bench.rule(), "none");
    assert_eq!(bench.predecessor(1, 10), Predecessor::MayLive, "an epoch that is not registered");
    assert_eq!(bench.predecessor(1, 20), Predecessor::MayLive, "its early contact tied its connection");
}

#[test]
fn a_contact_under_another_epoch_is_no_sign_of_life() {
    let mut bench = Bench::new(3);

    for _ in 0..5 {
        bench.heartbeats(2..=3, 1, 200);
        bench.contact_by(1, 9, 71);
    }

    assert_eq!(bench.rule(), "silent");
}

#[test]
fn half_of_the_brokers_do_not_leave_at_once() {
    let cases = [(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 2, 0), (5, 2, 2), (5, 3, 0), (6, 3, 0), (7, 3, 3)];
    for (brokers, closing, fenced) in cases {
        let mut bench = Bench::new(brokers);

        (1..=closing).for_each(|id| bench.close(id as u64, ClosedBy::Peer));
        bench.wait(900);

        assert_eq!(bench.fenced.len(), fenced, "{closing} of {brokers}");
    }
}

#[test]
fn half_of_the_brokers_can_be_gone_at_once() {
    let mut bench = Bench::new(4);

    (1..=4).for_each(|id| bench.close(id, ClosedBy::Peer));
    bench.wait_answering(5, |_| Some(ProbeOutcome::Refused));
    bench.probes();

    assert_eq!(bench.fenced.len(), 4);
}

#[test]
fn who_has_left_is_fenced_once_it_is_fewer_than_half() {
    let mut bench = Bench::new(4);
    bench.close(1, ClosedBy::Peer);
    bench.close(2, ClosedBy::Peer);
    bench.wait(400);
    assert_eq!(bench.rule(), "none");

    bench.contact_by(2, 10, 72);
    bench.wait(0);

    assert_eq!(bench.rule(), "left");
    assert_eq!(bench.fenced[0].0, 1);
}

#[test]
fn a_new_controller_dials_everybody_at_once() {
    let cases = [
        ("proven, refuses", true, Some(ProbeOutcome::Refused), "gone", 5),
        ("not proven, refuses", false, Some(ProbeOutcome::Refused), "none", 5000),
        ("cannot be dialled, never connected", true, Some(ProbeOutcome::TimedOut), "none", 5000),
        ("answers, heartbeats late", true, Some(ALIVE(1)), "none", 5000),
    ];
    for (name, proven, outcome, rule, after_ms) in cases {
        let mut bench = Bench::standby(3);
        for (probe, id) in bench.probes() {
            bench.outcome(probe, if proven { ALIVE(id) } else { ProbeOutcome::TimedOut });
        }
        bench.close(1, ClosedBy::Peer);
        bench.wait(60_000);
        assert_eq!(bench.rule(), "none", "{name}: a standby judges nobody");

        let now = bench.now;
        bench.detector.activate(now, None, &mut bench.effects);
        let dialled = bench.wait_answering(0, |id| outcome.filter(|_| id == 1));
        assert_eq!(dialled.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [1, 2, 3], "{name}");
        bench.contact(2);
        bench.contact(3);
        bench.wait_answering(after_ms, |_| outcome);

        assert_eq!(bench.rule(), rule, "{name}");
    }
}

#[test]
fn a_new_controller_gives_everybody_a_session_to_be_heard() {
    let mut bench = Bench::standby(1);
    bench.probes();
    let now = bench.now;

    bench.detector.activate(now, None, &mut bench.effects);
    bench.wait(8999);
    assert_eq!(bench.rule(), "none");
    bench.wait(1);

    assert_eq!(bench.rule(), "silent");
}

/// Its predecessor said nothing to the quorum for so long, of so much that it might have.
#[test]
fn a_new_controller_believes_the_quorum_that_its_predecessor_is_silent() {
    let silent = Some(ProbeOutcome::TimedOut);
    let cases = [
        ("a second at least, and asked", 700, 700, silent, "silent", 300),
        ("a quarter of a second to answer", 950, 700, silent, "silent", 250),
        ("irregular before", 1600, 1500, silent, "silent", 250),
        ("a long time ago", 60_000, 700, silent, "silent", 250),
        ("more than it was allowed, not yet", 1200, 2000, silent, "silent", 800),
        ("it answers: the quorum's thread alone stood still", 700, 700, Some(ALIVE(1)), "none", 5000),
        ("its address refuses", 700, 700, Some(ProbeOutcome::Refused), "gone", 5),
    ];
    for (name, silent_ms, allowed_ms, outcome, rule, after_ms) in cases {
        let mut bench = Bench::standby(3);
        for (probe, id) in bench.probes() {
            bench.outcome(probe, ALIVE(id));
        }
        bench.wait(120_000);
        let now = bench.now;
        let silent = SilentController {
            node: NodeId(1),
            heard_at: Monotonic(now.0 - silent_ms * 1000),
            allowed: Duration::from_millis(allowed_ms),
        };

        bench.detector.activate(now, Some(silent), &mut bench.effects);
        bench.contact(2);
        bench.contact(3);
        bench.wait_answering(after_ms - 1, |id| outcome.filter(|_| id == 1));
        assert_eq!(bench.rule(), "none", "{name}");
        bench.wait_answering(1, |id| outcome.filter(|_| id == 1));

        assert_eq!(bench.rule(), rule, "{name}");
        assert!(bench.fenced.iter().all(|(id, _)| *id == 1), "{name}: {:?}", bench.fenced);
    }
}

#[test]
fn a_predecessor_that_heartbeats_is_not_silent() {
    let mut bench = Bench::standby(3);
    bench.probes();
    let now = bench.now;
    let heard_at = Monotonic(now.0 - 700_000);
    let silent = SilentController { node: NodeId(1), heard_at, allowed: Duration::from_millis(700) };

    bench.detector.activate(now, Some(silent), &mut bench.effects);
    bench.wait(240);
    bench.contact(1);
    bench.wait(5000);

    assert_eq!(bench.rule(), "none", "it has a session as everybody has who was heard once");
}

#[test]
fn a_broker_that_stood_still_is_found_as_soon_the_second_time_and_later_then() {
    let mut bench = Bench::new(3);
    for (standstill, allowed_ms) in [(1, 1000), (2, 1000), (3, 2000), (4, 4000), (5, 8000)] {
        for _ in 0..allowed_ms / 200 {
            assert_eq!(bench.rule(), "none", "standstill {standstill}");
            bench.heartbeats(2..=3, 1, 200);
        }
        assert_eq!(bench.rule(), "silent", "standstill {standstill} after {allowed_ms} ms");
        bench.set(1, |registration| registration.fenced = true);
        bench.heartbeats(2..=3, 10, 200);

        bench.contact(1);
        bench.set(1, |registration| registration.fenced = false);
        bench.fenced.clear();
        bench.heartbeats(1..=3, 10, 200);
        assert_eq!(bench.rule(), "none");
    }
}

#[test]
fn a_former_controller_judges_nobody() {
    let mut bench = Bench::new(3);
    bench.close(1, ClosedBy::Peer);

    bench.detector.deactivate();
    bench.wait_answering(20_000, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "none");
    assert_eq!(bench.predecessor(1, 10), Predecessor::MayLive);
}

#[test]
fn slow_heartbeats_have_a_whole_session() {
    let mut bench = Bench::new(1);
    bench.set(1, |registration| {
        registration.epoch = BrokerEpoch(20);
        registration.is_ottla = false;
    });
    // A burst at its start, as Apache Kafka's brokers have.
    (0..4).for_each(|_| {
        bench.contact_by(1, 20, 71);
        bench.wait(10);
    });
    for _ in 0..10 {
        bench.wait(2000);
        bench.contact_by(1, 20, 71);
    }
    bench.wait(8999);
    assert_eq!(bench.rule(), "none");
    bench.wait(1);

    assert_eq!(bench.rule(), "silent");
}

#[test]
fn our_own_stall_is_nobodys_silence() {
    let mut bench = Bench::new(3);
    bench.close(3, ClosedBy::Peer);
    bench.wait(100);

    bench.now = bench.now + Duration::from_secs(3);
    bench.detector.handle_stall(Duration::from_secs(3), bench.now);
    bench.wait(149);
    assert_eq!(bench.rule(), "none");
    bench.wait(1);
    assert_eq!(bench.rule(), "left");
    bench.fenced.clear();
    bench.contact(1);
    bench.wait(750);

    assert_eq!(bench.rule(), "silent", "broker 2, a second of our time after its last contact");
    assert_eq!(bench.fenced[0].0, 2);
}

#[test]
fn a_verdict_without_effect_is_found_again_and_one_with_effect_is_not() {
    for (fence, verdicts) in [(false, 2), (true, 1)] {
        let mut bench = Bench::new(3);
        bench.close(1, ClosedBy::Peer);
        bench.wait_answering(6, |_| Some(ProbeOutcome::Refused));
        assert_eq!(bench.rule(), "gone");

        if fence {
            bench.set(1, |registration| registration.fenced = true);
        }
        bench.heartbeats(2..=3, 9, 130);
        bench.probes();

        assert_eq!(bench.fenced.len(), verdicts, "{:?}", bench.fenced);
        assert_eq!(bench.predecessor(1, 10), Predecessor::Gone);
    }
}

#[test]
fn a_fenced_broker_that_comes_back_is_judged_anew() {
    let mut bench = Bench::new(3);
    bench.set(1, |registration| registration.fenced = true);
    bench.close(1, ClosedBy::Peer);
    assert_eq!(bench.probes(), [], "who is fenced is not looked for");
    bench.heartbeats(2..=3, 10, 200);

    bench.contact_by(1, 10, 71);
    bench.set(1, |registration| registration.fenced = false);
    assert_eq!(bench.rule(), "none");
    bench.close(71, ClosedBy::Peer);
    bench.wait_answering(5, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn a_broker_that_dies_between_its_unfencing_and_our_image_is_found() {
    let mut bench = Bench::new(3);
    bench.set(1, |registration| registration.fenced = true);
    bench.contact(1);
    bench.close(1, ClosedBy::Peer);

    bench.set(1, |registration| registration.fenced = false);
    bench.wait_answering(5, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "gone");
}

#[test]
fn an_endpoint_is_proven_by_registration_and_by_unfencing() {
    let mut bench = Bench::new(1);
    bench.set(1, |registration| {
        registration.epoch = BrokerEpoch(20);
        registration.fenced = true;
    });
    let early = bench.one_probe();
    bench.outcome(early, ProbeOutcome::Refused);
    let dialled = bench.wait_answering(300_000, |_| Some(ProbeOutcome::Refused));
    assert_eq!(dialled.len(), 7, "a fenced broker is not dialled for ever");

    bench.set(1, |registration| registration.fenced = false);

    assert_eq!(bench.probes().len(), 1);
}

#[test]
fn a_predecessor_lives_until_it_is_known_not_to() {
    let mut bench = Bench::new(3);
    assert_eq!(bench.predecessor(1, 10), Predecessor::MayLive);
    assert_eq!(bench.predecessor(9, 10), Predecessor::MayLive);

    bench.heartbeats(2..=3, 44, 200);
    bench.sort_effects();
    assert!(!bench.fenced.is_empty(), "silent for longer than it may");
    assert_eq!(bench.predecessor(1, 10), Predecessor::MayLive, "frozen, its connection is open");
    bench.heartbeats(2..=3, 1, 200);

    assert_eq!(bench.predecessor(1, 10), Predecessor::Gone, "its session is over");
}

#[test]
fn outcomes_nobody_waits_for_are_ignored() {
    let mut bench = Bench::new(1);

    bench.outcome(ProbeId(99_999), ProbeOutcome::Refused);
    bench.close(1, ClosedBy::Peer);
    let probe = bench.one_probe();
    bench.registrations.clear();
    bench.register();
    bench.outcome(probe, ProbeOutcome::Refused);

    assert_eq!(bench.wait(20_000), []);
    assert_eq!(bench.rule(), "none");
    assert_eq!(bench.detector.deadline(), None);
}
