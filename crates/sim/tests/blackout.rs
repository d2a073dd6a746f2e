//! Losses of power of all hosts at once, with and without `flush.messages=1`.

use ottla_sim::node::{self, blackout};
use ottla_verify::Violation;

#[test]
fn with_flush_messages_1_nothing_is_lost_when_all_hosts_lose_power_at_once() {
    node::notice_panics();
    let count = if cfg!(debug_assertions) { 2 } else { 30 };
    for seed in 100..100 + count {
        let report = blackout::run(seed, "off");
        assert_eq!(report.failures, Vec::<String>::new(), "seed {seed}: {:#?}", report.plan);
        assert!(report.verdict.kept > 100, "seed {seed}: something is acknowledged");
    }
}

#[test]
fn without_it_that_loses_what_was_acknowledged() {
    let seeds = 100..if cfg!(debug_assertions) { 110 } else { 130 };
    let loses = |seed| {
        let violations = blackout::run_without_flushing(seed, "off").verdict.violations;
        violations
            .iter()
            .any(|violation| matches!(violation, Violation::Lost { .. } | Violation::Vanished { .. }))
    };
    assert!(seeds.into_iter().any(loses), "the blackouts cost nothing");
}
