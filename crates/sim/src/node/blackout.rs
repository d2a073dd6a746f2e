//! All hosts lose power at once, again and again, on topics with `flush.messages=1`; between that, everything else
//! goes wrong as well, and any host may lose power by itself.
//!
//! Without the setting this loses records, and may: `acks=all` is in the page caches of the in-sync set.

use super::faults::{Fault, Planned};
use super::plan::{self, Hazards, Severity};
use super::{Excused, Options, Report, run_with};
use ottla_types::Random;
use std::time::Duration;

/// What the brokers are set to: every topic's records count once they are on disk.
const SETTINGS: &str = "log.flush.interval.messages=1\n";

/// When the first faults come: by then clients run.
const BEGIN: Duration = Duration::from_secs(6);

/// How often all hosts lose power in a run.
const BLACKOUTS: usize = 3;

/// Runs one such simulation to its end; `seed` decides the plan too.
pub fn run(seed: u64, filter: &str) -> Report {
    run_with(&options(seed, filter), SETTINGS, Excused::Nothing)
}

/// The same faults on topics that leave it to the page cache: that records are lost then shows that the faults are
/// worth something.
pub fn run_without_flushing(seed: u64, filter: &str) -> Report {
    run_with(&options(seed, filter), "", Excused::Nothing)
}

fn options(seed: u64, filter: &str) -> Options {
    let plan = Some(plan(&mut Random::new(seed ^ 0xb1ac), 3));
    Options { seed, filter: filter.to_owned(), severity: Severity::PowerLossEverywhere, plan }
}

/// Stretches of faults of all kinds, each ended by a blackout.
fn plan(random: &mut Random, nodes: usize) -> Vec<Planned> {
    let millis = Duration::from_millis;
    let hazards = Hazards { severity: Severity::WithinPromise, wipes: false, nodes };
    let mut planned = Vec::new();
    let mut at = BEGIN;
    for _ in 0..BLACKOUTS {
        let end = at + random.duration(millis(1_000), millis(9_000));
        for mut one in plan::plan(random, hazards, at, end) {
            if let Fault::LosePower(node) = &mut one.fault {
                *node = random.index(nodes);
            }
            planned.push(one);
        }
        let dark = random.duration(millis(50), millis(2_000));
        planned.push(Planned { fault: Fault::LoseAllPower, from: end, until: end + dark });
        at = end + dark + random.duration(millis(100), millis(4_000));
    }
    planned
}
