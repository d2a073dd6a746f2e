//! A run is a function of its seed. Alone in its process: tasks are numbered process-wide.

use ottla_sim::node::plan::Severity;
use ottla_sim::node::{self, Options};

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=3 {
        let [first, second] = [(); 2].map(|()| {
            node::run(&Options {
                seed,
                filter: "debug".to_owned(),
                severity: Severity::WithinPromise,
                plan: None,
            })
            .story
        });
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(first.lines().count() > 100, "a story is told");
    }
}
