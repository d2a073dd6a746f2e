//! Connections close: of members that die, and of members that live.

use super::bench::Bench;
use super::client::{Client, GROUP};
use crate::{ClosedBy, ConnectionToken, GroupState, Settings};
use ottla_protocol::ErrorCode;
use ottla_types::{Monotonic, Random};
use std::collections::BTreeMap;
use std::time::Duration;

/// Each client has a connection of its own, numbered as it is.
fn beat(bench: &mut Bench, clients: &[Client]) {
    for (number, client) in (0..).zip(clients) {
        bench.connection = ConnectionToken(number);
        assert_eq!(bench.heartbeat(&client.call()).error_code, 0);
    }
}

/// A stable group of three that has sent heartbeats for a while, one each three seconds.
fn beating(settings: Settings) -> (Bench, Vec<Client>) {
    let mut bench = Bench::with(settings);
    let clients = bench.stable(3);
    for _ in 0..3 {
        beat(&mut bench, &clients);
        bench.advance_secs(3);
    }
    beat(&mut bench, &clients);
    (bench, clients)
}

fn close(bench: &mut Bench, connection: u64, by: ClosedBy) {
    let decision = bench.machine.handle_disconnected(ConnectionToken(connection), by, bench.now);
    bench.carry_out(decision);
}

#[test]
fn a_member_whose_connection_has_closed_is_given_up_long_before_its_session() {
    let (mut bench, mut clients) = beating(Settings::default());
    clients.pop();

    bench.advance_secs(1);
    close(&mut bench, 2, ClosedBy::Client);
    bench.advance_secs(2);
    beat(&mut bench, &clients);
    assert_eq!(bench.state(), GroupState::Stable);
    bench.advance(Duration::from_millis(2249));
    assert_eq!(bench.state(), GroupState::Stable);
    bench.advance(Duration::from_millis(1));

    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.machine.groups[GROUP].members().len(), 2);
}

#[test]
fn one_that_comes_back_by_another_connection_stays() {
    let (mut bench, clients) = beating(Settings::default());

    bench.advance_secs(1);
    close(&mut bench, 2, ClosedBy::Client);
    bench.advance_secs(2);
    beat(&mut bench, &clients[..2]);
    bench.connection = ConnectionToken(77);
    assert_eq!(bench.heartbeat(&clients[2].call()).error_code, 0);
    close(&mut bench, 2, ClosedBy::Client);
    for _ in 0..3 {
        bench.advance_secs(3);
        beat(&mut bench, &clients);
    }

    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let (mut bench, mut clients) = beating(Settings::default());

    close(&mut bench, 2, ClosedBy::Client);
    bench.advance_secs(3);
    beat(&mut bench, &clients[..2]);
    bench.connection = ConnectionToken(77);
    let commit = clients[2].read_and_commit(1);
    bench.commit(9, &commit);
    bench.advance_secs(3);

    assert_eq!(bench.state(), GroupState::Stable);
}

/// As in Kafka: only its session ends it.
fn is_kept(settings: Settings, by: ClosedBy) {
    let (mut bench, clients) = beating(settings);

    close(&mut bench, 2, by);
    for _ in 0..3 {
        bench.advance_secs(3);
        beat(&mut bench, &clients[..2]);
    }
    assert_eq!(bench.state(), GroupState::Stable);
    bench.advance_secs(1);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_connection_that_the_broker_closes_says_nothing() {
    is_kept(Settings::default(), ClosedBy::Broker);
}

#[test]
fn a_grace_of_zero_is_kafkas_behaviour() {
    is_kept(Settings { disconnect_grace: Duration::ZERO, ..Settings::default() }, ClosedBy::Client);
}

#[test]
fn a_static_member_is_expected_back_for_its_whole_session() {
    let mut bench = Bench::new();
    let mut client = Client::new(Some("instance".to_owned()));
    let token = bench.enter(&mut client);
    bench.advance_secs(3);
    client.joined(&bench.joined(token));
    bench.settle(std::slice::from_mut(&mut client));
    for _ in 0..3 {
        bench.advance_secs(1);
        assert_eq!(bench.heartbeat(&client.call()).error_code, 0);
    }

    close(&mut bench, 0, ClosedBy::Client);
    bench.advance(Duration::from_millis(9999));

    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn nobody_waits_for_the_dead_to_join() {
    let (mut bench, mut clients) = beating(Settings::default());
    let dead = clients.pop().unwrap();
    let leave = clients.remove(1).leave();
    bench.leave(5, &leave);
    let error = ErrorCode::from(bench.heartbeat(&clients[0].call()).error_code);
    clients[0].fail(error);
    bench.connection = ConnectionToken(0);
    let token = bench.enter(&mut clients[0]);

    close(&mut bench, 2, ClosedBy::Client);
    bench.advance(Duration::from_millis(5249));
    assert!(bench.is_parked(token), "{} may still come", dead.member_id);
    bench.advance(Duration::from_millis(1));

    assert_eq!(bench.joined(token).members.len(), 1);
}

/// A client that lives: how often it beats, and what befalls its connection.
struct Habits {
    interval: Duration,
    /// Its connection breaks once in so long, on average.
    breaks: Duration,
    /// How long it takes to have another one, at most.
    redials: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

/// As clients are by default; eager; with a connection that flaps; slow to come back.
const HABITS: [Habits; 4] = [
    Habits { interval: Duration::from_secs(3), breaks: Duration::from_secs(60), redials: SECOND },
    Habits {
        interval: Duration::from_millis(300),
        breaks: Duration::from_secs(20),
        redials: Duration::from_millis(2300),
    },
    Habits { interval: Duration::from_secs(2), breaks: SECOND, redials: Duration::from_millis(500) },
    Habits {
        interval: Duration::from_secs(3),
        breaks: Duration::from_secs(30),
        redials: Duration::from_millis(1500),
    },
];

enum Event {
    /// A heartbeat is due.
    Beat,
    /// The connection breaks.
    Break,
}

/// Members beat by their habits, late by up to a tenth and slowed down by the network, until `end`. None may be given up.
fn live_on(bench: &mut Bench, clients: &[Client], random: &mut Random, end: Monotonic) {
    let mut events = BTreeMap::new();
    let mut connections: Vec<u64> = (0..clients.len() as u64).collect();
    // When each has a connection again.
    let mut dialled = vec![bench.now.monotonic; clients.len()];
    let mut count = 0;
    let mut plan = |events: &mut BTreeMap<_, _>, at: Monotonic, member: usize, event: Event| {
        count += 1;
        events.insert((at, count), (member, event));
    };
    for (member, habits) in (0..clients.len()).zip(HABITS.iter().cycle()) {
        plan(&mut events, bench.now.monotonic + habits.interval, member, Event::Beat);
        plan(&mut events, bench.now.monotonic + habits.breaks, member, Event::Break);
    }
    while let Some(((at, _), (member, event))) = events.pop_first()
        && at < end
    {
        bench.advance(at.max(bench.now.monotonic) - bench.now.monotonic);
        let habits = &HABITS[member % HABITS.len()];
        match event {
            // It waits until it is connected.
            Event::Beat if dialled[member] > at => plan(&mut events, dialled[member], member, Event::Beat),
            Event::Beat => {
                bench.connection = ConnectionToken(connections[member]);
                assert_eq!(bench.heartbeat(&clients[member].call()).error_code, 0, "member {member} lives");
                let late = random.duration(Duration::ZERO, habits.interval / 10);
                plan(&mut events, at + habits.interval + late, member, Event::Beat);
            }
            Event::Break => {
                close(bench, connections[member], ClosedBy::Client);
                connections[member] += 1000;
                dialled[member] = at + random.duration(Duration::ZERO, habits.redials);
                let next = random.duration(habits.breaks / 2, habits.breaks * 3 / 2);
                plan(&mut events, at + next, member, Event::Break);
            }
        }
    }
    // Whoever is left closes nothing more; all are heard of once.
    for (member, client) in clients.iter().enumerate() {
        bench.connection = ConnectionToken(connections[member]);
        assert_eq!(bench.heartbeat(&client.call()).error_code, 0);
    }
}

#[test]
fn members_that_live_cause_no_rebalance_however_their_connections_break() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new();
        let clients = bench.stable(8);
        let records = bench.log.len();
        let end = bench.now.monotonic + Duration::from_secs(20 * 60);

        live_on(&mut bench, &clients, &mut random, end);

        assert_eq!(bench.state(), GroupState::Stable, "seed {seed}");
        assert_eq!(bench.log.len(), records, "seed {seed}: nothing was decided");
        assert!(bench.machine.connections.len() <= clients.len(), "seed {seed}: closed ones are forgotten");
    }
}

#[test]
fn members_that_die_are_given_up_within_two_of_their_own_heartbeats() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new();
        let mut clients = bench.stable(3);
        let interval = random.duration(Duration::from_millis(200), Duration::from_secs(4));
        for _ in 0..10 {
            beat(&mut bench, &clients);
            bench.advance(interval);
        }
        beat(&mut bench, &clients);
        clients.pop();
        let lived = random.duration(Duration::ZERO, interval);

        bench.advance(lived);
        close(&mut bench, 2, ClosedBy::Client);
        let died = bench.now.monotonic;
        while bench.state() == GroupState::Stable {
            bench.advance(Duration::from_millis(50));
            for (number, client) in (0..).zip(&clients) {
                bench.connection = ConnectionToken(number);
                bench.heartbeat(&client.call());
            }
        }

        let took = bench.now.monotonic - died;
        let bound = (interval * 2).max(Duration::from_secs(3)) + Duration::from_millis(50);
        assert!(took <= bound, "seed {seed}: {took:?} at {interval:?}");
    }
}
