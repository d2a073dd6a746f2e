//! Mistakes that servers make on purpose, each noticed within its bound of seeds. Takes the feature `bugs`.

use ottla_server::bug::{self, Bug};
use ottla_sim::node::plan::Severity;
use ottla_sim::node::{self, Options};

/// Looks for the first seed whose run fails as `ids` say.
#[expect(clippy::print_stdout, reason = "after how many seeds is what one wants to know")]
fn notices(bug: Bug, seeds_max: u64, ids: &[&str]) {
    node::notice_panics();
    bug::make(Some(bug));
    let failed = (1..=seeds_max).find_map(|seed| {
        let options =
            Options { seed, filter: "off".to_owned(), severity: Severity::WithinPromise, plan: None };
        let failures = node::run(&options).failures;
        Some((seed, failures.into_iter().find(|failure| ids.iter().any(|id| failure.contains(id)))?))
    });
    bug::make(None);
    let (seeds, failure) = failed.unwrap_or_else(|| panic!("{bug:?}: unnoticed after {seeds_max} seeds"));
    println!("{bug:?}: noticed after {seeds} seeds: {failure}");
}

#[test]
fn notices_a_producer_that_is_answered_before_the_in_sync_set_has_it() {
    notices(Bug::ProducerAnsweredBeforeCommit, 50, &["lost", "moved"]);
}

#[test]
fn notices_a_commit_that_is_answered_before_it_is_replicated() {
    notices(Bug::CommitAnsweredBeforeReplicated, 50, &["GROUP-1"]);
}

#[test]
fn notices_that_damage_is_not_looked_for() {
    notices(Bug::EveryEndTakenForOrderly, 50, &["the log directory failed", "HW-2", "EPOCH-1", "lost"]);
}

#[test]
fn notices_that_a_follower_is_not_told_where_logs_part() {
    notices(Bug::DivergenceUnchecked, 50, &["EPOCH-1", "vanished", "lost", "contradiction"]);
}

#[test]
fn notices_that_a_broker_begins_with_the_first_image_that_it_knows() {
    notices(Bug::FirstImageTaken, 100, &["ACK-1"]);
}

#[test]
fn notices_that_of_changes_that_piled_up_only_the_last_is_applied() {
    notices(Bug::EarlierChangesForgotten, 100, &["LIVE-1"]);
}

#[test]
fn notices_a_recovery_point_beyond_what_was_synced() {
    notices(Bug::RecoveryPointUnsynced, 100, &["the log directory failed", "HW-2", "EPOCH-1", "lost"]);
}
