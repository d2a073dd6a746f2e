//! Replicas of one partition under kills, elections, lost and late messages, judged after every step.
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
const SEEDS: u64 = 2000;

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

/// Runs one seed after the other with a mistake: it is noticed before `seeds_max` of them, by one of these ids.
fn notices(bug: Bug, seeds_max: u64, invariants: &[&str]) {
    let noticed = (0..seeds_max).find_map(|seed| Some((seed + 1, run(seed, Some(bug)).err()?)));

    let (seeds, violation) = noticed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(invariants.iter().any(|id| violation.starts_with(id)), "{violation}");
}

#[test]
fn notices_a_high_watermark_past_an_in_sync_replica() {
    notices(Bug::HighWatermarkPastInSync, 20, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_truncation_to_the_high_watermark() {
    notices(Bug::TruncationToHighWatermark, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_joining_member_that_does_not_count() {
    notices(Bug::JoiningMemberNotCounted, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_a_shrunk_in_sync_set_that_is_used_before_the_controller_agreed() {
    notices(Bug::LeavingMemberNotCounted, 100, &["HW-2", "ACK-1"]);
}

#[test]
fn notices_an_acknowledgement_before_the_in_sync_set_has_it() {
    notices(Bug::AcknowledgementBeforeInSync, 20, &["ACK-1"]);
}

#[test]
fn notices_a_fenced_leader_that_acknowledges() {
    notices(Bug::DeposedLeaderAcknowledges, 20, &["ACK-1"]);
}

#[test]
fn notices_a_high_watermark_that_goes_back() {
    notices(Bug::HighWatermarkGoesBack, 100, &["HW-1"]);
}

#[test]
fn notices_a_duplicate_window_that_is_lost_when_leadership_moves() {
    notices(Bug::ProducersForgottenByNewLeader, 100, &["IDEM-1"]);
}
