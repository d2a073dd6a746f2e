//! Seeded runs: brokers as small state machines, a network that delays, loses and parts, two controllers.
//!
//! The detector never sees the truth; the checker does, and judges every verdict by it:
//!
//! - a verdict names an incarnation that is registered and unfenced;
//! - *gone* is never wrong: that process is dead;
//! - *left* is said of the dead and the frozen only, unless the network loses what they say;
//! - *silent* is said exactly when the rule, computed anew from all contacts and answers, is broken: neither
//!   before nor a millisecond later; and never of who runs and is reached by dials, before a session is over, whatever
//!   the quorum says of it;
//! - who is killed in a calm network, its endpoint proven, is condemned within 20 ms of its close, or of the
//!   activation of a new controller;
//! - one incarnation is not condemned twice within a second unless it was unfenced between;
//! - a dead broker's successor is let in when its sessions with the controllers are over, at the latest;
//! - dials are bounded, and no deadline lies in the past after a time-out.
//!
//! Reading order: `world`, `brokers`, `faults`, `checks`.

mod brokers;
mod checks;
mod faults;
mod world;

use std::time::Duration;
use world::World;

const SESSION: Duration = Duration::from_secs(9);
const RUN: Duration = Duration::from_secs(40);
const HOUR: Duration = Duration::from_secs(3600);
/// How late a heartbeat leaves a saturated machine at most, in [`RUN`]: later than a session allows.
const LATE_MAX: Duration = Duration::from_secs(12);
/// How long a process stands still, or is cut off.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(12);
const COMMIT: Duration = Duration::from_millis(2);
const KILLED_TO_CONDEMNED_MAX: Duration = Duration::from_millis(20);
/// What may happen in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Packets lost, of 1000.
    loss: u64,
    /// Heartbeats leave late, with a heavy tail.
    saturated: bool,
    /// Brokers are cut off from the controllers for a while.
    partitions: bool,
    /// Processes are killed, frozen and restarted.
    process_faults: bool,
    /// The active controller stalls.
    stalls: bool,
    /// The active controller changes.
    moves: bool,
    /// Brokers with odd ids are behind proxies, which accept for the dead.
    proxies: bool,
}

/// What happened in a run, or in many.
#[derive(Debug, Default)]
struct Tally {
    gone: u32,
    left: u32,
    silent: u32,
    /// Silent verdicts on processes that ran, and had not woken just then.
    false_silent: u32,
    kills: u32,
    freezes: u32,
    moves: u32,
    /// Silent verdicts on those that the quorum had given up.
    suspected: u32,
    /// How many were given up though they ran.
    falsely_suspected: u32,
    /// Heartbeats that left more than a second late.
    late: u32,
}

fn run_seeds(seeds: u64, weather: Weather) -> Tally {
    let mut sum = Tally::default();
    for seed in ottla_types::seeds(seeds) {
        let tally = World::new(seed, weather, LATE_MAX, RUN).run();
        sum.gone += tally.gone;
        sum.left += tally.left;
        sum.silent += tally.silent;
        sum.false_silent += tally.false_silent;
        sum.kills += tally.kills;
        sum.freezes += tally.freezes;
        sum.moves += tally.moves;
        sum.suspected += tally.suspected;
        sum.falsely_suspected += tally.falsely_suspected;
    }
    println!("{weather:?}: {sum:?}");
    sum
}

#[test]
fn in_fair_weather_nobody_is_ever_fenced() {
    let tally = run_seeds(1000, Weather { stalls: true, moves: true, ..Weather::default() });

    assert_eq!((tally.gone, tally.left, tally.silent), (0, 0, 0));
    assert!(tally.moves > 500);
}

#[test]
fn the_killed_are_condemned_at_once_and_the_frozen_when_their_silence_is_over() {
    let tally = run_seeds(1000, Weather { process_faults: true, ..Weather::default() });

    assert!(tally.kills > 500 && tally.freezes > 300, "{tally:?}");
    assert!(tally.gone > 500 && tally.silent > 100, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
}

#[test]
fn stalls_and_moves_of_the_controller_change_nothing_of_that() {
    let weather = Weather { process_faults: true, stalls: true, moves: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 500 && tally.silent > 50, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
    assert!(tally.suspected > 100 && tally.falsely_suspected > 100, "{tally:?}");
}

#[test]
fn the_killed_behind_proxies_have_left() {
    let weather = Weather { proxies: true, process_faults: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.left > 200 && tally.gone > 200, "{tally:?}");
    assert_eq!(tally.false_silent, 0);
}

#[test]
fn lost_packets_and_saturation_fence_nobody_within_its_silence() {
    let weather = Weather { loss: 100, saturated: true, process_faults: true, ..Weather::default() };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 200 && tally.silent > 100, "{tally:?}");
    // Five times as many without the dial before the verdict.
    assert!(tally.false_silent < 150, "{tally:?}");
}

#[test]
fn on_a_machine_that_is_saturated_for_an_hour_nobody_is_fenced() {
    let weather = Weather { saturated: true, stalls: true, moves: true, ..Weather::default() };
    let late_max = Duration::from_secs(6);
    let (mut late, mut moves) = (0, 0);
    for seed in ottla_types::seeds(30) {
        let tally = World::new(seed, weather, late_max, HOUR).run();
        assert_eq!((tally.gone, tally.left, tally.silent), (0, 0, 0), "seed {seed}");
        late += tally.late;
        moves += tally.moves;
    }
    println!("{late} heartbeats were more than a second late, {moves} moves of the controller");
    assert!(late > 1000 && moves > 1000);
}

#[test]
fn everything_at_once_breaks_no_rule() {
    let weather = Weather {
        loss: 100,
        saturated: true,
        partitions: true,
        process_faults: true,
        stalls: true,
        moves: true,
        proxies: true,
    };
    let tally = run_seeds(1000, weather);

    assert!(tally.gone > 500 && tally.silent > 300 && tally.left > 100, "{tally:?}");
}
