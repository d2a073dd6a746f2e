//! A few runs of simulated clusters. `cargo xtask sim` makes more of them.

use ottla_sim::node::{self, Options};

fn options(seed: u64, filter: &str) -> Options {
    Options { seed, filter: filter.to_owned(), plan: None }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=3 {
        let [first, second] = [(); 2].map(|()| node::run(&options(seed, "debug")).story);
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(first.lines().count() > 100, "a story is told");
    }
}

#[test]
fn nothing_is_lost_and_all_goes_on_once_faults_end() {
    node::notice_panics();
    // Without optimisation a run takes ten times as long.
    let count = if cfg!(debug_assertions) { 3 } else { 60 };
    for seed in 100..100 + count {
        let report = node::run(&options(seed, "off"));
        assert_eq!(report.failures, Vec::<String>::new(), "seed {seed}: {:#?}", report.plan);
        assert!(report.verdict.kept > 100, "seed {seed}: something is acknowledged");
    }
}
