//! The proofs: seeds without a violation, mistakes that are noticed, elections that are fast.

use super::*;
use crate::bug::Bug;
use ottla_types::NodeId;
use std::time::Duration;

const SEEDS: u64 = 3000;

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = Scenario { is_traced: true, ..Scenario::of_seed(7) };
    let (mut first, mut second) = (Vec::new(), Vec::new());

    let outcomes = (scenario.run(&mut first), scenario.run(&mut second));

    assert!(first.len() > 500, "{} lines", first.len());
    assert_eq!(first, second);
    assert_eq!(outcomes.0, outcomes.1);
}

#[test]
fn no_seed_breaks_a_promise_and_every_quorum_recovers() {
    let (mut committed, mut leaders, mut installations) = (0, 0, 0);

    for seed in ottla_types::seeds(SEEDS) {
        match Scenario::of_seed(seed).run(&mut Vec::new()) {
            Ok(outcome) => {
                committed += outcome.committed;
                leaders += outcome.leaders;
                installations += outcome.installations;
            }
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }

    // The runs are worth something only if much is committed and much goes wrong.
    assert!(committed as u64 > 50 * SEEDS, "{committed} batches committed");
    assert!(leaders as u64 > 4 * SEEDS, "{leaders} leaders");
    println!(
        "{SEEDS} seeds: {committed} batches committed, {leaders} leaders, {installations} snapshots installed"
    );
    assert!(installations > SEEDS / 4, "{installations} snapshots installed");
}

/// Seeds found by longer searches, each once a violation.
#[test]
fn seeds_that_once_failed_pass() {
    // 77: the checker asked too much of a leader that was stale. 5485 to 14134: an observer refused to follow
    // a leader that it had once seen gone. 229 to 7006: an observer followed a silent leader on hearsay,
    // each time for the full fetch time-out.
    for seed in [77, 5485, 5794, 11487, 12933, 14054, 14134, 229, 503, 553, 903, 1948, 2016, 2794, 7006] {
        let scenario = Scenario { has_snapshots: false, ..Scenario::of_seed(seed) };

        let outcome = scenario.run(&mut Vec::new());

        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
    }
}

/// 141176: an observer heard that its leader refused connections, which was late news, and never followed it again.
#[test]
fn a_seed_that_once_failed_while_voters_changed_passes() {
    let outcome = Scenario::of_seed(141_176).with_changing_voters().run(&mut Vec::new());

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// 240335: a voter wrote a snapshot of what it had appended in place of other records, and lost power before that was
/// synced: it came back with both, the snapshot and the other records.
#[test]
fn a_seed_that_once_left_a_log_that_contradicts_its_snapshot_passes() {
    let outcome = Scenario::of_seed(240_335).with_changing_voters().run(&mut Vec::new());

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// The same with voters that come, go and move, under the same faults.
#[test]
fn no_seed_breaks_a_promise_while_voters_change() {
    let (mut committed, mut leaders, mut voter_sets) = (0, 0, 0);

    for seed in ottla_types::seeds(SEEDS) {
        match Scenario::of_seed(seed).with_changing_voters().run(&mut Vec::new()) {
            Ok(outcome) => {
                committed += outcome.committed;
                leaders += outcome.leaders;
                voter_sets += outcome.voter_sets;
            }
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }

    println!("{SEEDS} seeds: {committed} batches committed, {leaders} leaders, {voter_sets} voter sets");
    assert!(committed as u64 > 50 * SEEDS, "{committed} batches committed");
    assert!(voter_sets as u64 > 5 * SEEDS, "{voter_sets} voter sets");
}

/// The same with voters that the configuration names at first, and then the log, under the same faults.
#[test]
fn no_seed_breaks_a_promise_while_the_log_begins_to_name_the_voters() {
    let mut voter_sets = 0;

    for seed in ottla_types::seeds(SEEDS) {
        match Scenario::of_seed(seed).with_upgrade().run(&mut Vec::new()) {
            Ok(outcome) => voter_sets += outcome.voter_sets,
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }

    assert_eq!(voter_sets as u64, SEEDS, "each log names the voters once");
}

/// 230: a follower that was installing a snapshot when its leader was elected again waited for it for ever.
#[test]
fn a_seed_that_once_failed_while_the_log_began_to_name_the_voters_passes() {
    let outcome = Scenario::of_seed(230).with_upgrade().run(&mut Vec::new());

    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Runs one seed after the other with a mistake, and checks that it is noticed before `seeds_max` of them.
fn notices(bug: Bug, seeds_max: u64, invariants: &[&str]) {
    let violation = |seed| Scenario::of_seed(seed).with_bug(bug).run(&mut Vec::new()).err();

    let noticed = (0..seeds_max).find_map(|seed| violation(seed).map(|violation| (seed + 1, violation)));

    let (seeds, violation) = noticed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(invariants.contains(&violation.invariant), "{violation}");
}

/// The same with voters that change.
fn notices_while_voters_change(bug: Bug, seeds_max: u64, invariants: &[&str]) {
    let run = |seed| Scenario::of_seed(seed).with_changing_voters().with_bug(bug).run(&mut Vec::new());

    let noticed = (0..seeds_max).find_map(|seed| run(seed).err().map(|violation| (seed + 1, violation)));

    let (seeds, violation) = noticed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {violation}");
    assert!(invariants.contains(&violation.invariant), "{violation}");
}

#[test]
fn notices_two_changes_of_the_voters_at_once() {
    notices_while_voters_change(
        Bug::TwoChangesAtOnce,
        500,
        &["RAFT-COMPLETE", "RAFT-COMMIT", "RAFT-1", "FATAL"],
    );
}

#[test]
fn notices_a_change_of_the_voters_before_the_epochs_first_commit() {
    let invariants = &["RAFT-COMPLETE", "RAFT-COMMIT", "RAFT-1", "FATAL"];
    notices_while_voters_change(Bug::ChangeBeforeFirstCommit, 2000, invariants);
}

#[test]
fn notices_an_old_voter_set_that_commits() {
    notices_while_voters_change(Bug::OldSetCommits, 100, &["HW-2", "RAFT-COMPLETE"]);
}

#[test]
fn notices_that_what_an_observer_fetched_counts() {
    notices_while_voters_change(Bug::ObserverAcknowledges, 1000, &["HW-2"]);
}

#[test]
fn notices_a_vote_that_was_not_written_down() {
    notices(Bug::VoteNotPersisted, 500, &["RAFT-VOTE", "RAFT-1"]);
}

#[test]
fn notices_a_commit_of_an_earlier_epochs_entry() {
    notices(Bug::CommitOfEarlierEpoch, 500, &["RAFT-COMPLETE", "RAFT-COMMIT", "FATAL"]);
}

#[test]
fn notices_an_acknowledgement_before_the_sync() {
    notices(Bug::AcknowledgementBeforeSync, 10, &["HW-2"]);
}

#[test]
fn notices_a_truncation_below_the_high_watermark() {
    notices(Bug::TruncationBelowHighWatermark, 100, &["LOG-3", "RAFT-COMPLETE"]);
}

/// Lets a sound quorum run for a second, does something to its leader, and returns how long it takes until
/// another leader has committed the record that opens its epoch, and how many candidacies that took.
fn time_to_new_leader(setup: Setup, harm: impl FnOnce(&mut World, NodeId)) -> (Duration, u64) {
    let mut world = World::new(setup).unwrap();
    world.run_for(Duration::from_secs(1)).unwrap();
    let leader = world.leader().expect("a leader within a second");
    world.append(leader, 1).unwrap();
    let off_beat = world.random.duration(Duration::from_millis(200), Duration::from_millis(400));
    world.run_for(off_beat).unwrap();
    let (committed, candidacies) = (world.checker.committed().len(), world.candidacies());

    harm(&mut world, leader);

    let limit = Duration::from_secs(10);
    let taken =
        world.run_until_holds(limit, |world| Ok(world.checker.committed().len() > committed)).unwrap();
    assert_ne!(world.leader(), Some(leader));
    (taken.expect("another leader"), world.candidacies() - candidacies)
}

/// The times of 300 seeds, sorted, and how many of them took more than one candidacy.
fn times_to_new_leader(
    setup: impl Fn(u64) -> Setup,
    harm: impl Fn(&mut World, NodeId),
) -> (Vec<Duration>, usize) {
    let runs: Vec<(Duration, u64)> = (0..300).map(|seed| time_to_new_leader(setup(seed), &harm)).collect();
    let mut times: Vec<Duration> = runs.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    (times, runs.iter().filter(|(_, candidacies)| *candidacies > 1).count())
}

#[test]
fn a_killed_leader_is_replaced_within_a_tenth_of_a_second() {
    for voters in [3, 5] {
        let (times, split) =
            times_to_new_leader(|seed| Setup::sound(voters, 1, seed), |world, leader| world.kill(leader));

        let (median, longest) = (times[150], times[299]);
        println!(
            "killed, {voters} voters: median {median:?}, longest {longest:?}, {split} of 300 votes split"
        );
        assert!(longest <= Duration::from_millis(100), "{voters} voters: {longest:?}");
        assert!(split <= 15, "{voters} voters: {split} of 300 votes split");
    }
}

#[test]
fn slow_links_split_few_votes() {
    for (delay, split_max) in [(5, 30), (20, 90)] {
        let setup = |seed| {
            let mut setup = Setup::sound(3, 0, seed);
            setup.network.delay = (Duration::from_millis(delay), Duration::from_millis(delay * 2));
            setup
        };

        let (times, split) = times_to_new_leader(setup, |world, leader| world.kill(leader));

        println!(
            "killed, links of {delay}-{} ms: median {:?}, longest {:?}, {split} of 300 votes split",
            delay * 2,
            times[150],
            times[299]
        );
        assert!(split <= split_max, "links of {delay} ms: {split} of 300 votes split");
    }
}

#[test]
fn a_frozen_leader_is_replaced_once_it_was_silent_for_700_ms() {
    let freeze = |world: &mut World, leader| world.freeze(leader, Duration::from_secs(60));

    let (times, _) = times_to_new_leader(|seed| Setup::sound(3, 1, seed), freeze);

    println!("frozen: median {:?}, longest {:?}", times[150], times[299]);
    assert!(times[0] >= Duration::from_millis(500), "{:?}", times[0]);
    assert!(times[299] <= Duration::from_millis(1100), "{:?}", times[299]);
}

#[test]
fn a_leader_that_resigns_is_replaced_at_once() {
    let resign = |world: &mut World, leader| world.resign(leader).unwrap();

    let (times, split) = times_to_new_leader(|seed| Setup::sound(3, 1, seed), resign);

    println!("resigned: median {:?}, longest {:?}, {split} of 300 votes split", times[150], times[299]);
    assert!(times[299] <= Duration::from_millis(60), "{:?}", times[299]);
}

#[test]
fn a_cold_start_has_a_leader_within_a_tenth_of_a_second() {
    for (voters, seed) in [1, 2, 3, 5].into_iter().flat_map(|voters| (0..50).map(move |seed| (voters, seed)))
    {
        let mut world = World::new(Setup::sound(voters, 2, seed)).unwrap();

        let limit = Duration::from_millis(100);
        let taken = world.run_until_holds(limit, |world| Ok(!world.checker.committed().is_empty())).unwrap();

        assert!(taken.is_some(), "{voters} voters, seed {seed}");
    }
}

#[test]
fn a_leader_without_a_majority_resigns() {
    let mut world = World::new(Setup::sound(3, 0, 1)).unwrap();
    world.run_for(Duration::from_secs(1)).unwrap();
    let leader = world.leader().unwrap();
    for other in world.ids().into_iter().filter(|&id| id != leader) {
        world.network.cut(leader, other);
        world.network.cut(other, leader);
    }

    world.run_for(Duration::from_millis(3500)).unwrap();

    assert_ne!(world.quorum(leader).unwrap().role(), crate::RoleName::Leader);
}
