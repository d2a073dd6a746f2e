//! Runs simulated quorums: `quorum_seeds <first> <count>` looks for seeds that fail, `quorum_seeds <seed>`
//! writes down everything that happens in one.

#![expect(clippy::print_stdout, reason = "a tool for people")]

use ottla_raft::testing::Scenario;
use std::time::Duration;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    match *numbers.as_slice() {
        [seed] => replay(seed),
        [first, count] => search(first, count),
        _ => println!("usage: quorum_seeds <seed> | <first> <count>"),
    }
}

fn replay(seed: u64) {
    let mut trace = Vec::new();
    let outcome = Scenario { is_traced: true, ..Scenario::of_seed(seed) }.run(&mut trace);
    trace.iter().for_each(|line| println!("{line}"));
    println!("{outcome:?}");
}

fn search(first: u64, count: u64) {
    let (mut failed, mut committed, mut leaders, mut slowest) = (0, 0, 0, Duration::ZERO);
    for seed in first..first + count {
        match Scenario::of_seed(seed).run(&mut Vec::new()) {
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
