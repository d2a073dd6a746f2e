//! Runs simulated quorums: `quorum_seeds <first> <count>` looks for seeds that fail, `quorum_seeds <seed>`
//! writes down everything that happens in one. With `changing` in front, voters come and go; with `upgrading`, the
//! configuration names them at first, and then the log.

#![expect(clippy::print_stdout, reason = "a tool for people")]

use ottla_raft::testing::Scenario;
use std::time::Duration;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let scenario = match std::env::args().nth(1).as_deref() {
        Some("changing") => |seed| Scenario::of_seed(seed).with_changing_voters(),
        Some("upgrading") => |seed| Scenario::of_seed(seed).with_upgrade(),
        _ => Scenario::of_seed as fn(u64) -> Scenario,
    };
    match *numbers.as_slice() {
        [seed] => replay(scenario(seed)),
        [first, count] => search(scenario, first, count),
        _ => println!("usage: quorum_seeds [changing | upgrading] <seed> | <first> <count>"),
    }
}

fn replay(scenario: Scenario) {
    let mut trace = Vec::new();
    let outcome = Scenario { is_traced: true, ..scenario }.run(&mut trace);
    trace.iter().for_each(|line| println!("{line}"));
    println!("{outcome:?}");
}

fn search(scenario: impl Fn(u64) -> Scenario, first: u64, count: u64) {
    let (mut failed, mut committed, mut leaders, mut slowest) = (0, 0, 0, Duration::ZERO);
    for seed in first..first + count {
        match scenario(seed).run(&mut Vec::new()) {
            Ok(outcome) => {
                committed += outcome.committed;
                leaders += outcome.leaders;
                slowest = slowest.max(outcome.recovery);
            }
            Err(violation) => {
                failed += 1;
                println!("seed {seed}: {violation}");
            }
        }
    }
    println!(
        "{count} seeds, {failed} failed; {committed} batches committed under {leaders} leaders; slowest recovery {slowest:?}"
    );
}
