//! One library on one cluster: everything that it can.

use super::library::{Ability, Library};
use super::records::Scene;
use super::{admin, codecs, group, killed, transactions};
use crate::Cluster;
use crate::failover::now;
use std::fs;
use std::path::Path;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Records to each partition, in each step.
    pub records: usize,
    /// How often a leader is killed.
    pub kills: usize,
}

impl Effort {
    /// What every run of the tests can afford.
    pub const QUICK: Effort = Effort { records: 100, kills: 1 };
    /// What `cargo xtask clients` does.
    pub const WHOLE: Effort = Effort { records: 2000, kills: 10 };
}

/// Shows everything that a library can, and tells each step as it is done. What its programs say is kept in `directory`, beside
/// the nodes' own directories.
///
/// # Panics
/// When something is not as it should be.
pub fn show(library: Library, effort: Effort, directory: &Path, say: impl Fn(String)) {
    fs::create_dir_all(directory).expect("a directory for the cluster");
    // Nobody should wait for long. Members of the new protocol are told their session and rhythm by the broker.
    let properties = format!(
        "leader.imbalance.check.interval.seconds=1\ngroup.initial.rebalance.delay.ms=100\n\
         group.consumer.min.heartbeat.interval.ms=500\ngroup.consumer.heartbeat.interval.ms=500\n\
         group.consumer.min.session.timeout.ms={session}\ngroup.consumer.session.timeout.ms={session}",
        session = group::SESSION_MS
    );
    let mut cluster = Cluster::start_in(directory, 3, &properties);
    let Effort { records, kills } = effort;
    let mut scene = Scene { cluster: &mut cluster, library, directory, records, kills };
    let start = now();
    let say = |what: String| say(format!("{library}: {what} ({:.1} s)", (now() - start) as f64 / 1e6));

    let shown = codecs::show(&scene);
    say(format!("every record read back equal, compressed by {}", shown.join(", ")));
    if library.can(Ability::Groups) {
        group::show(&scene, "classic");
        say("a group shares, commits, and goes on after a crash and a departure".to_owned());
    }
    if library.can(Ability::NewGroups) {
        group::show(&scene, "consumer");
        say("a group of KIP-848 does too".to_owned());
    }
    if library.can(Ability::Transactions) {
        transactions::show(&scene);
        say("what is committed is seen, what is aborted is not".to_owned());
    }
    let given = admin::show(&scene);
    say(format!("{given} commands of administration do what they say"));
    let kept = killed::show(&mut scene);
    say(format!("{kept} records kept while {kills} leaders were killed"));
}
