//! Connections close: of members that die, and of members that live.

use super::stories::{Bench, alive, joining};
use crate::{ClosedBy, ConnectionToken};
use ottla_types::Random;
use std::time::Duration;

impl Bench {
    fn beat_by(&mut self, member_id: &str, epoch: i32, connection: u64) {
        self.connection = ConnectionToken(connection);
        let response = self.send(&alive(member_id, epoch));
        assert_eq!(response.error_code, 0, "{member_id}");
    }

    fn close(&mut self, connection: u64, by: ClosedBy) {
        let decision = self.machine.handle_disconnected(ConnectionToken(connection), by, self.now);
        self.commit(decision);
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        let decision = self.machine.handle_timeout(self.now);
        self.commit(decision);
    }

    fn members(&mut self) -> usize {
        self.describe().members.len()
    }
}

/// A member of connection 1 that has beaten each five seconds, as it is told.
fn beating() -> Bench {
    let mut bench = Bench::new();
    bench.connection = ConnectionToken(1);
    bench.send(&joining("a"));
    for _ in 0..3 {
        bench.pass(5);
        bench.beat_by("a", 1, 1);
    }
    bench
}

#[test]
fn a_member_whose_connection_has_closed_is_given_up_long_before_its_session() {
    let mut bench = beating();

    bench.pass(1);
    bench.close(1, ClosedBy::Client);
    bench.pass_ms(7_749);
    assert_eq!(bench.members(), 1);
    bench.pass_ms(1);

    assert_eq!(bench.members(), 0);
}

#[test]
fn in_its_first_seconds_it_is_expected_to_beat_as_it_was_told() {
    let mut bench = Bench::new();
    bench.connection = ConnectionToken(1);
    bench.send(&joining("a"));

    bench.close(1, ClosedBy::Client);
    bench.pass_ms(8_749);
    assert_eq!(bench.members(), 1);
    bench.pass_ms(1);

    assert_eq!(bench.members(), 0);
}

#[test]
fn whoever_comes_back_or_commits_stays_and_so_does_whom_the_broker_has_cut_off() {
    let mut bench = beating();
    bench.close(1, ClosedBy::Client);
    bench.pass(5);
    bench.beat_by("a", 1, 2);
    bench.close(1, ClosedBy::Client);
    bench.pass(8);
    bench.connection = ConnectionToken(3);
    assert_eq!(bench.offset_commit("a", 1, 9), 0);
    bench.close(2, ClosedBy::Client);
    bench.pass(8);
    bench.close(3, ClosedBy::Broker);
    bench.pass(20);

    assert_eq!(bench.members(), 1);
}

#[test]
fn a_static_member_is_expected_back() {
    let mut bench = Bench::new();
    bench.connection = ConnectionToken(1);
    let mut request = joining("a");
    request.instance_id = Some("i".to_owned());
    bench.send(&request);

    bench.close(1, ClosedBy::Client);
    bench.pass(44);

    assert_eq!(bench.members(), 1);
}

/// Members beat every five seconds, some late by up to one and a half; connections break, and are there again within as long.
#[test]
fn members_that_live_are_never_given_up_however_their_connections_break() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new();
        let names: Vec<String> = (0..5).map(|number| format!("m{number}")).collect();
        let mut connections: Vec<u64> = (0..5).collect();
        let mut due: Vec<u64> = Vec::new();
        let mut broken_at = [0; 5];
        for (number, name) in names.iter().enumerate() {
            bench.connection = ConnectionToken(connections[number]);
            // Without partitions there is nothing to be given up, which has a time of its own.
            let mut request = joining(name);
            request.subscribed_topic_names = Some(vec!["missing".to_owned()]);
            bench.send(&request);
            due.push(5_000);
        }
        for now in (100..1_200_000).step_by(100) {
            bench.pass_ms(100);
            for number in 0..names.len() {
                if random.below(400) == 0 && now > broken_at[number] + 2_000 {
                    broken_at[number] = now;
                    bench.close(connections[number], ClosedBy::Client);
                    connections[number] += 1_000;
                    due[number] = due[number].max(now + random.below(1_500));
                }
                if due[number] <= now {
                    let epoch = bench.epoch_of(&names[number]);
                    bench.beat_by(&names[number], epoch, connections[number]);
                    due[number] = now + 5_000 + if random.below(10) == 0 { random.below(1_500) } else { 0 };
                }
            }
        }
        assert_eq!(bench.members(), names.len(), "seed {seed}");
        assert!(bench.machine.connections.len() <= names.len(), "seed {seed}: closed ones are forgotten");
    }
}

impl Bench {
    fn epoch_of(&self, member_id: &str) -> i32 {
        let member = self.machine.consumer_groups["g"].member(member_id);
        member.unwrap_or_else(|| panic!("{member_id} was given up")).current.epoch
    }
}
