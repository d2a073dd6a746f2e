//! Replicas of one partition under kills, elections, lost and late messages, judged after every step.
//!
//! The replicas are the shipped machines over logs on a disk in memory. The controller, the network and the
//! fetchers are models, as small as they can be: the controller keeps one registration and publishes images
//! that each node learns of in its own time; messages arrive in any order or not at all; a killed node keeps
//! its page cache. Where hosts lose power too, records count once they are on disk (`power.rs`). `judge.rs` says
//! what must hold.

mod controller;
mod judge;
mod power;
mod world;

use crate::bug::Bug;
use world::{Hazards, World};

/// How many runs a test makes.
const SEEDS: u64 = 400;

/// How violations begin that are more than a lack of progress.
const SAFETY: [&str; 3] = ["ACK-1", "HW-2", "EPOCH-1"];

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The digest of everything that happened.
    trace: u64,
    /// How many records were acknowledged.
    acknowledged: usize,
    /// How many a loss of power took.
    lost: usize,
}

/// Runs a seed to its end; what came of it, or what was violated.
fn run(seed: u64, hazards: Hazards, bug: Option<Bug>) -> Result<Outcome, String> {
    let mut world = World::new(seed, hazards, bug);
    // What waits for syncs takes more steps to come about.
    let steps = if hazards == Hazards::PowerLosses { 3000 } else { 1000 };
    for _ in 0..steps {
        world.step()?;
    }
    world.settle()?;
    let (trace, acknowledged, lost) = (world.trace(), world.acknowledged_count(), world.lost_count());
    Ok(Outcome { trace, acknowledged, lost })
}

/// Runs all seeds; how many records were acknowledged, and how many were lost.
fn run_all(hazards: Hazards) -> (usize, usize) {
    let mut total = (0, 0);
    for seed in 0..SEEDS {
        match run(seed, hazards, None) {
            Ok(outcome) => total = (total.0 + outcome.acknowledged, total.1 + outcome.lost),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    total
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let (acknowledged, lost) = run_all(Hazards::Kills);

    assert!(acknowledged > 15 * SEEDS as usize, "{acknowledged} records are too few to lose any");
    assert_eq!(lost, 0, "nobody loses power");
}

#[test]
fn with_flush_messages_1_nothing_that_was_acknowledged_is_lost_though_all_lose_power() {
    let (acknowledged, lost) = run_all(Hazards::PowerLosses);

    assert!(acknowledged > 10 * SEEDS as usize, "{acknowledged} records are too few to lose any");
    assert!(lost > SEEDS as usize, "{lost} records lost: power losses that cost nothing prove nothing");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for hazards in [Hazards::Kills, Hazards::PowerLosses] {
        for seed in 0..10 {
            assert_eq!(run(seed, hazards, None), run(seed, hazards, None), "seed {seed}");
        }
        assert_ne!(run(1, hazards, None), run(2, hazards, None));
    }
}

fn is_caught(hazards: Hazards, bug: Bug) -> bool {
    let caught = |seed| {
        let outcome = run(seed, hazards, Some(bug));
        matches!(outcome, Err(violation) if SAFETY.iter().any(|id| violation.starts_with(id)))
    };
    (0..SEEDS).any(caught)
}

#[test]
fn a_high_watermark_past_an_in_sync_replica_is_noticed() {
    assert!(is_caught(Hazards::Kills, Bug::HighWatermarkPastInSync));
}

#[test]
fn truncation_to_the_high_watermark_is_noticed() {
    assert!(is_caught(Hazards::Kills, Bug::TruncationToHighWatermark));
}

#[test]
fn a_joining_member_that_does_not_count_is_noticed() {
    assert!(is_caught(Hazards::Kills, Bug::JoiningMemberNotCounted));
}

#[test]
fn a_leader_that_counts_what_is_not_on_its_disk_is_noticed() {
    assert!(is_caught(Hazards::PowerLosses, Bug::LeaderCountsBeforeSync));
}

#[test]
fn a_follower_that_acknowledges_what_is_not_on_its_disk_is_noticed() {
    assert!(is_caught(Hazards::PowerLosses, Bug::FollowerFetchesBeforeSync));
}
