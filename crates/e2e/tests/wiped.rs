//! A node comes back with an empty disk, under load, though its process was only killed and its machine runs: whoever takes it
//! for one that has everything loses what it had.

use ottla_e2e::Cluster;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::run::pause;
use ottla_e2e::failover::topology;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A cluster at work.
fn at_work() -> (TempDir, Cluster, Load) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let cluster = Cluster::start_in(directory.path(), 3, "");
    let load = Load::start(&cluster, Client::SystemRdkafka, directory.path());
    (directory, cluster, load)
}

#[test]
fn a_wiped_node_comes_back_empty_and_catches_up() {
    let (_directory, mut cluster, mut load) = at_work();

    for wiped in [3, 1] {
        cluster.node(wiped).kill();
        load.goes_on();
        cluster.node(wiped).wipe();
        assert_eq!(logs(&cluster.node(wiped).data()), 0, "nothing is left");
        cluster.node(wiped).start();
        load.goes_on();
        topology::wait_until_in_sync(&cluster);
        assert!(logs(&cluster.node(wiped).data()) > 0, "it has partitions again");
    }
    // Whoever had it first is down: what was got anew is all that there is beside one other.
    cluster.node(2).kill();
    load.goes_on();
    cluster.node(2).start();

    load.judge(&cluster);
}

/// How many partitions' logs a directory has.
fn logs(data: &Path) -> usize {
    let entries = std::fs::read_dir(data).expect("a log directory").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("failover-")).count()
}

/// All three die, and one comes back empty: of the others at least one has everything, and only they may lead.
#[test]
fn a_node_that_was_wiped_while_all_were_down_leads_nothing_before_it_has_caught_up() {
    let (_directory, mut cluster, mut load) = at_work();

    cluster.kill();
    cluster.node(2).wipe();
    // It is the first that is there.
    cluster.node(2).spawn();
    pause(Duration::from_secs(1));
    cluster.node(1).spawn();
    pause(Duration::from_secs(1));
    cluster.node(3).spawn();
    load.goes_on();

    load.judge(&cluster);
}
