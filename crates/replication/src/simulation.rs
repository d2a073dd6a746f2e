//! Replicas of one partition under kills, elections, moves, lost and late messages, judged after every step.
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
const SEEDS: u64 = 2000;

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
    for seed in ottla_types::seeds(SEEDS) {
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

/// Runs one seed after the other with a mistake: it is noticed before `seeds_max` of them, by one of these ids.
fn notices(hazards: Hazards, bug: Bug, seeds_max: u64, invariants: &[&str]) {
    let noticed = (0..seeds_max).find_map(|seed| Some((seed + 1, run(seed, hazards, Some(bug)).err()?)));

    let (seeds, violation) = noticed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(invariants.iter().any(|id| violation.starts_with(id)), "{violation}");
}

#[test]
fn notices_a_high_watermark_past_an_in_sync_replica() {
    notices(Hazards::Kills, Bug::HighWatermarkPastInSync, 20, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_truncation_to_the_high_watermark() {
    notices(Hazards::Kills, Bug::TruncationToHighWatermark, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_joining_member_that_does_not_count() {
    notices(Hazards::Kills, Bug::JoiningMemberNotCounted, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_shrunk_in_sync_set_that_is_used_before_the_controller_agreed() {
    notices(Hazards::Kills, Bug::LeavingMemberNotCounted, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_an_acknowledgement_before_the_in_sync_set_has_it() {
    notices(Hazards::Kills, Bug::AcknowledgementBeforeInSync, 20, &["ACK-1"]);
}

#[test]
fn notices_a_fenced_leader_that_acknowledges() {
    notices(Hazards::Kills, Bug::DeposedLeaderAcknowledges, 20, &["ACK-1"]);
}

#[test]
fn notices_a_high_watermark_that_goes_back() {
    notices(Hazards::Kills, Bug::HighWatermarkGoesBack, 100, &["HW-1"]);
}

/// What a leader has forgotten is appended twice when it was a producer's first record; what is not is kept waiting.
#[test]
fn notices_a_duplicate_window_that_is_lost_when_leadership_moves() {
    notices(Hazards::Kills, Bug::ProducersForgottenByNewLeader, 100, &["IDEM-1", "LIVE-1"]);
}

#[test]
fn notices_a_leader_that_counts_what_is_not_on_its_disk() {
    notices(Hazards::PowerLosses, Bug::LeaderCountsBeforeSync, 400, &["ACK-1", "HW-2", "EPOCH-1"]);
}

#[test]
fn notices_a_follower_that_acknowledges_what_is_not_on_its_disk() {
    notices(Hazards::PowerLosses, Bug::FollowerFetchesBeforeSync, 400, &["ACK-1", "HW-2", "EPOCH-1"]);
}

/// A leader has to hear of a replica's going and coming at once, and take the replica for what it was before.
#[test]
fn notices_a_term_that_outlives_a_replica() {
    notices(Hazards::Kills, Bug::TermOutlivesReplica, 5 * SEEDS, &["ACK-1", "HW-2", "EPOCH-1"]);
}
