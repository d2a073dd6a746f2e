//! The controller's decisions about one partition, while brokers are killed, fenced and lose power, leaders ask late and
//! controllers take over: judged after every step.
//!
//! The controller is the shipped machine. The brokers are models, as small as they can be: a log is a list, a follower
//! copies its leader's at once or not at all, and all that takes its time is what the controller is asked and when a
//! broker hears of what it has decided. `judge.rs` says what must hold.

mod broker;
mod judge;
mod world;

use crate::bug::Bug;
use world::World;

/// How many runs a test makes.
const SEEDS: u64 = 2000;

/// Runs a seed to its end; how many records were committed, and how many leaders there were.
fn run(seed: u64, bug: Option<Bug>) -> Result<(usize, usize), String> {
    let mut world = World::new(seed, bug);
    for _ in 0..1500 {
        world.step()?;
    }
    world.settle()?;
    Ok((world.committed_count(), world.leaders_count()))
}

#[test]
fn whoever_leads_has_everything_that_was_committed() {
    let (mut committed, mut leaders) = (0, 0);
    for seed in ottla_types::seeds(SEEDS) {
        match run(seed, None) {
            Ok((records, terms)) => (committed, leaders) = (committed + records, leaders + terms),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }

    println!("{SEEDS} seeds: {committed} records committed, {leaders} leaders");
    assert!(committed > 10 * SEEDS as usize, "{committed} records are too few to lose any");
    assert!(leaders > 5 * SEEDS as usize, "{leaders} leaders");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
    assert_ne!(run(1, None), run(2, None));
}

/// Runs one seed after the other with a mistake: it is noticed before `seeds_max` of them, by one of these ids.
fn notices(bug: Bug, seeds_max: u64, invariants: &[&str]) {
    let noticed = (0..seeds_max).find_map(|seed| Some((seed + 1, run(seed, Some(bug)).err()?)));

    let (seeds, violation) = noticed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(invariants.iter().any(|id| violation.starts_with(id)), "{violation}");
}

#[test]
fn notices_a_leader_from_outside_the_in_sync_set() {
    notices(Bug::LeaderOutsideInSync, 100, &["ACK-1", "HW-2"]);
}

#[test]
fn notices_a_restarted_replica_that_is_let_in_with_a_stale_broker_epoch() {
    notices(Bug::StaleBrokerEpochJoins, 2000, &["ACK-1", "HW-2"]);
}

#[test]
fn notices_a_replica_that_has_lost_records_and_stays_eligible() {
    notices(Bug::LostReplicaStaysEligible, 500, &["ACK-1", "HW-2"]);
}
