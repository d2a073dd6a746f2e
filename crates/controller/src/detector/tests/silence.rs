//! How long who may say nothing.

use super::bench::*;
use crate::detector::*;
use ottla_types::{BrokerEpoch, NodeId};
use std::time::Duration;

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
