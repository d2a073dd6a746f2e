//! A few runs of simulated clusters. `cargo xtask sim` makes more of them.

use ottla_sim::node::faults::Severity;
use ottla_sim::node::{self, Options};

#[test]
fn nothing_is_lost_and_all_goes_on_once_faults_end() {
    node::notice_panics();
    // Without optimisation a run takes ten times as long.
    let count = if cfg!(debug_assertions) { 3 } else { 60 };
    for seed in 100..100 + count {
        let report = node::run(&Options {
            seed,
            filter: "off".to_owned(),
            severity: Severity::WithinPromise,
            plan: None,
        });
        assert_eq!(report.failures, Vec::<String>::new(), "seed {seed}: {:#?}", report.plan);
        assert!(report.verdict.kept > 100, "seed {seed}: something is acknowledged");
    }
}
