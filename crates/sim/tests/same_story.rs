//! A run is a function of its seed. Alone in its process: tasks are numbered process-wide.

use ottla_sim::node::faults::{Fault, Planned};
use ottla_sim::node::plan::Severity;
use ottla_sim::node::{self, Options};
use ottla_storage::sim_disk::FaultOn;
use std::time::Duration;

#[test]
fn the_same_seed_is_the_same_story() {
    // All replicas end at once when a disk fails, and when a node ends in order.
    let at = |from, fault| Planned {
        fault,
        from: Duration::from_secs(from),
        until: Duration::from_secs(from + 2),
    };
    let ends = vec![at(4, Fault::BreakDisk(1, FaultOn::Read, 10)), at(8, Fault::Stop(0))];
    for (seed, plan) in [(1, None), (2, None), (3, None), (900_109, Some(ends))] {
        let [first, second] = [(); 2].map(|()| {
            node::run(&Options {
                seed,
                filter: "debug".to_owned(),
                severity: Severity::WithinPromise,
                plan: plan.clone(),
            })
            .story
        });
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(first.lines().count() > 100, "a story is told");
    }
}
