//! Several log directories, of which one fails.

use ottla_sim::node::{self, directories};

#[test]
fn nothing_is_lost_when_one_of_two_directories_fails_among_all_other_faults() {
    node::notice_panics();
    let count = if cfg!(debug_assertions) { 2 } else { 30 };
    for seed in 200..200 + count {
        let report = directories::run(seed, "off");
        assert_eq!(report.failures, Vec::<String>::new(), "seed {seed}: {:#?}", report.plan);
        assert!(report.verdict.kept > 100, "seed {seed}: something is acknowledged");
    }
}

/// Else the test above would show nothing.
#[test]
fn a_directory_that_fails_is_noticed() {
    let failed = |seed| directories::run(seed, "error").story.contains("log directory failed");
    assert!((200..210).any(failed));
}
