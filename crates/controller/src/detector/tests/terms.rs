//! New and former controllers, and incarnations that come and go.

use super::bench::*;
use crate::brokers::Predecessor;
use crate::detector::*;
use ottla_types::{BrokerEpoch, Monotonic, NodeId};
use std::time::Duration;

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
fn a_former_controller_judges_nobody() {
    let mut bench = Bench::new(3);
    bench.close(1, ClosedBy::Peer);

    bench.detector.deactivate();
    bench.wait_answering(20_000, |_| Some(ProbeOutcome::Refused));

    assert_eq!(bench.rule(), "none");
    assert_eq!(bench.predecessor(1, 10), Predecessor::MayLive);
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
