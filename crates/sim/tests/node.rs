//! A few runs of simulated clusters. `cargo xtask sim` makes more of them.

use ottla_sim::node::plan::Severity;
use ottla_sim::node::{self, Options, Report};

fn run(seed: u64, severity: Severity) -> Report {
    let report = node::run(&Options { seed, filter: "off".to_owned(), severity, plan: None });
    assert_eq!(report.failures, Vec::<String>::new(), "seed {seed}: {:#?}", report.plan);
    report
}

/// Without optimisation a run takes ten times as long.
const fn runs(count: u64) -> u64 {
    if cfg!(debug_assertions) { count / 5 } else { count }
}

#[test]
fn nothing_is_lost_and_all_goes_on_once_faults_end() {
    node::notice_panics();
    let (mut told, mut deleted, mut voter_changes) = (0, 0, 0);
    for seed in 100..100 + runs(60) {
        let report = run(seed, Severity::WithinPromise);
        assert!(report.verdict.kept > 100, "seed {seed}: something is acknowledged");
        assert!(report.compared > 100, "seed {seed}: logs are compared");
        told += report.told;
        deleted += report.verdict.deleted;
        voter_changes += report.voter_changes;
    }
    assert!(told as u64 > 2 * runs(60), "{told}: groups commit, and come back");
    assert!(deleted as u64 > 10 * runs(60), "{deleted}: administrators delete records");
    assert!(voter_changes as u64 > runs(60) / 2, "{voter_changes}: voters come and go");
}

#[test]
fn when_all_lose_power_only_what_was_not_synced_is_lost() {
    node::notice_panics();
    let excused = (100..100 + runs(20)).map(|seed| run(seed, Severity::PowerLossEverywhere).verdict.excused);

    assert!(excused.sum::<usize>() > 0, "records are lost, or nothing is shown");
}
