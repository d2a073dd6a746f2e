//! What the end of a broker's connections, and what its endpoints answer then, say of it.

use super::bench::*;
use crate::brokers::Predecessor;
use crate::detector::*;
use ottla_types::{BrokerEpoch, NodeId};

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
