//! Brokers of two log directories, of which one host's second fails again and again, among all other faults.

use super::faults::{Fault, Planned};
use super::plan::{self, Hazards, Severity};
use super::{Excused, Options, Report, mounts, run_with};
use ottla_storage::sim_disk::FaultOn;
use ottla_types::Random;
use std::time::Duration;

/// When the first faults come: by then clients run.
const BEGIN: Duration = Duration::from_secs(6);

/// When the last faults go.
const END: Duration = Duration::from_secs(28);

/// How often the directory fails in a run.
const FAILURES: usize = 4;

/// Runs one such simulation to its end; `seed` decides the plan too.
pub fn run(seed: u64, filter: &str) -> Report {
    let plan = Some(plan(&mut Random::new(seed ^ 0xd125), 3));
    let settings = format!("log.dirs={},{}\n", mounts::FIRST, mounts::SECOND);
    let options = Options { seed, filter: filter.to_owned(), severity: Severity::WithinPromise, plan };
    run_with(&options, &settings, Excused::Unsynced)
}

fn plan(random: &mut Random, nodes: usize) -> Vec<Planned> {
    let millis = Duration::from_millis;
    let hazards = Hazards { severity: Severity::WithinPromise, wipes: false, nodes };
    let mut planned = plan::plan(random, hazards, BEGIN, END);
    // What may be lost, one host loses: the promise allows no more.
    let unsafe_one = planned.iter().find_map(|planned| match planned.fault {
        Fault::LosePower(node) | Fault::BreakDisk(node, ..) => Some(node),
        _ => None,
    });
    let node = unsafe_one.unwrap_or_else(|| random.index(nodes));
    for _ in 0..FAILURES {
        let on = [FaultOn::Write, FaultOn::Sync, FaultOn::Read, FaultOn::Name][random.index(4)];
        let from = random.duration(BEGIN, END - millis(4_000));
        let until = from + random.duration(millis(200), millis(4_000));
        planned.push(Planned { fault: Fault::BreakDirectory(node, on, random.below(50)), from, until });
    }
    planned.sort_by_key(|planned| planned.from);
    planned
}
