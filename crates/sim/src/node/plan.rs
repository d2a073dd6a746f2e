//! What goes wrong in a run, by its seed.

use super::faults::{Fault, Planned};
use ottla_storage::DISK_RESERVE_BYTES;
use ottla_storage::sim_disk::FaultOn;
use ottla_types::Random;
use std::time::Duration;

/// How much may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing that is promised to be kept. Faults overlap as they come; but of all hosts only one loses power, as often as
    /// it may be, and only that one's disk fails: two could lose what the smallest in-sync set has acknowledged, and that is
    /// not against the promise (ACK-1). A broker whose disk has failed says itself that it may have lost something.
    WithinPromise,
    /// All hosts lose power at once, now and then: what was acknowledged and not synced may be lost, and no more than that.
    PowerLossEverywhere,
}

/// What a run may suffer.
#[derive(Clone, Copy, Debug)]
pub struct Hazards {
    /// How much may be lost.
    pub severity: Severity,
    /// Whether the host that may lose its power may lose its disks too.
    pub wipes: bool,
    /// How many nodes there are.
    pub nodes: usize,
}

/// A plan by a seed, in the order of beginnings.
pub fn plan(random: &mut Random, hazards: Hazards, from: Duration, until: Duration) -> Vec<Planned> {
    let Hazards { severity, wipes, nodes } = hazards;
    let millis = Duration::from_millis;
    let calmness = random.duration(millis(300), millis(4_000));
    // The host that may lose what it has.
    let unsafe_one = random.index(nodes);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = from;
    loop {
        at += random.duration(Duration::ZERO, calmness * 2);
        let end = at + random.duration(millis(20), millis(6_000));
        if end >= until {
            break;
        }
        let node = random.index(nodes);
        let other = (node + 1 + random.index(nodes - 1)) % nodes;
        let mut again = None;
        let fault = match random.below(24) {
            0..=3 => Fault::Kill(node),
            4..=5 => Fault::LosePower(unsafe_one),
            6 => Fault::Freeze(node),
            7 => Fault::Isolate(node),
            8 => Fault::Cut(node, other),
            9 => Fault::CutOneWay(node, other),
            10 => Fault::Lossy(node),
            11 => Fault::CutFromClients(node),
            12..=13 => Fault::Stop(node),
            14 => {
                let on = [FaultOn::Write, FaultOn::Sync, FaultOn::Read][random.index(3)];
                Fault::BreakDisk(unsafe_one, on, random.below(50))
            }
            // The reserve is left to the metadata log, or else the process ends as if the disk had failed.
            15 if node == unsafe_one => Fault::FillDisk(node, random.below(2 * DISK_RESERVE_BYTES)),
            15 => Fault::FillDisk(node, DISK_RESERVE_BYTES + random.below(64 << 10)),
            16 => Fault::SlowDisk(node, 1 + random.below(100) as u32),
            17 => Fault::Skew(node, either_way(random, SKEW_MS_MAX)),
            18 => Fault::Drift(node, either_way(random, DRIFT_MS_MAX)),
            19 => Fault::Pace(node, either_way(random, PACE_MAX)),
            20 => [Fault::Ring, Fault::RingBackwards][random.index(2)],
            21 if wipes => Fault::Wipe(unsafe_one),
            21 => Fault::Kill(node),
            // These come and go and come again.
            _ => {
                again = Some(random.duration(millis(20), millis(1_000)));
                match random.below(6) {
                    0 => Fault::Isolate(node),
                    1 => Fault::CutOneWay(node, other),
                    2 => Fault::CutFromClients(node),
                    3 => Fault::Skew(node, either_way(random, SKEW_MS_MAX)),
                    _ => Fault::Cut(node, other),
                }
            }
        };
        let Some(period) = again else {
            planned.push(Planned { fault, from: at, until: end });
            continue;
        };
        let mut begin = at;
        while begin < end {
            let until = (begin + random.duration(millis(10), period)).min(end);
            planned.push(Planned { fault, from: begin, until });
            begin = until + random.duration(millis(10), period);
        }
    }
    planned.sort_by_key(|planned| planned.from);
    if severity == Severity::PowerLossEverywhere {
        for _ in 0..1 + random.index(3) {
            let begin = random.duration(from, until - millis(4_000));
            let until = begin + random.duration(millis(20), millis(4_000));
            planned.push(Planned { fault: Fault::LoseAllPower, from: begin, until });
        }
        planned.sort_by_key(|planned| planned.from);
    }
    planned
}

/// A clock is wrong by twenty days at most: idempotence lasts for `producer.id.expiration.ms` by the leader's clock, which may
/// be set to 24 days.
const SKEW_MS_MAX: u64 = 20 * 24 * 3_600_000;

/// The time of day gains or loses so much in a second at most.
const DRIFT_MS_MAX: u64 = 2_000;

/// Timers are faster or slower by a hundredth at most: quartz is a hundred times better.
const PACE_MAX: u64 = 10;

/// A number from `-max` to `max`.
fn either_way(random: &mut Random, max: u64) -> i64 {
    random.below(2 * max + 1) as i64 - max as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All faults of some hundred plans.
    fn faults(wipes: bool) -> Vec<Fault> {
        let hazards = Hazards { severity: Severity::WithinPromise, wipes, nodes: 3 };
        let plan = |seed| plan(&mut Random::new(seed), hazards, Duration::ZERO, Duration::from_secs(25));
        (0..300).flat_map(|seed| plan(seed).into_iter().map(|planned| planned.fault)).collect()
    }

    #[test]
    fn only_one_host_of_a_run_may_lose_what_it_has() {
        let hazards = Hazards { severity: Severity::WithinPromise, wipes: true, nodes: 3 };
        for seed in 0..300 {
            let plan = plan(&mut Random::new(seed), hazards, Duration::ZERO, Duration::from_secs(25));
            let loses = plan.iter().filter_map(|planned| match planned.fault {
                Fault::LosePower(node) | Fault::BreakDisk(node, ..) | Fault::Wipe(node) => Some(node),
                _ => None,
            });
            let mut loses: Vec<usize> = loses.collect();
            loses.dedup();
            assert!(loses.len() < 2, "seed {seed}: {loses:?}");
            assert!(plan.is_sorted_by_key(|planned| planned.from), "seed {seed}");
        }
    }

    #[test]
    fn disks_are_lost_only_where_that_is_allowed() {
        let is_wipe = |fault: &Fault| matches!(fault, Fault::Wipe(_));
        assert!(faults(true).iter().any(is_wipe) && !faults(false).iter().any(is_wipe));
    }
}
