//! Replicas of one partition under kills, elections, moves, lost and late messages, judged after every step.
//!
//! The replicas are the shipped machines over logs on a disk in memory. The controller, the network and the
//! fetchers are models, as small as they can be: the controller keeps one registration and publishes images
//! that each node learns of in its own time; messages arrive in any order or not at all; a killed node keeps
//! its page cache. `judge.rs` says what must hold.

mod controller;
mod judge;
mod world;

use crate::bug::Bug;
use world::World;

/// How many runs a test makes.
const SEEDS: u64 = 400;

/// How violations begin that are more than a lack of progress.
const SAFETY: [&str; 3] = ["ACK-1", "HW-2", "EPOCH-1"];

/// Runs a seed to its end; the trace's digest and how much was acknowledged, or what was violated.
fn run(seed: u64, bug: Option<Bug>) -> Result<(u64, usize), String> {
    let mut world = World::new(seed, bug);
    for _ in 0..1000 {
        world.step()?;
    }
    world.settle()?;
    Ok((world.trace(), world.acknowledged_count()))
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let mut acknowledged = 0;
    for seed in 0..SEEDS {
        match run(seed, None) {
            Ok((_, count)) => acknowledged += count,
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }

    assert!(acknowledged > 15 * SEEDS as usize, "{acknowledged} records are too few to lose any");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
    assert_ne!(run(1, None), run(2, None));
}

fn is_caught(bug: Bug) -> bool {
    is_caught_within(SEEDS, bug)
}

fn is_caught_within(seeds: u64, bug: Bug) -> bool {
    let caught = |seed| matches!(run(seed, Some(bug)), Err(violation) if SAFETY.iter().any(|id| violation.starts_with(id)));
    (0..seeds).any(caught)
}

#[test]
fn a_high_watermark_past_an_in_sync_replica_is_noticed() {
    assert!(is_caught(Bug::HighWatermarkPastInSync));
}

#[test]
fn truncation_to_the_high_watermark_is_noticed() {
    assert!(is_caught(Bug::TruncationToHighWatermark));
}

#[test]
fn a_joining_member_that_does_not_count_is_noticed() {
    assert!(is_caught(Bug::JoiningMemberNotCounted));
}

/// A leader has to hear of a replica's going and coming at once, and take the replica for what it was before.
#[test]
fn a_term_that_outlives_a_replica_is_noticed() {
    assert!(is_caught_within(5 * SEEDS, Bug::TermOutlivesReplica));
}
