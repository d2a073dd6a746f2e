//! More than one node dies: in a storm, all at once, two at a time. An idempotent producer and a group that commits go on
//! afterwards, and have lost nothing.

use ottla_e2e::Cluster;
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::load::Load;
use ottla_e2e::failover::now;
use ottla_e2e::failover::run::pause;
use ottla_types::Random;
use std::time::Duration;
use tempfile::TempDir;

/// A cluster at work.
fn at_work(client: Client) -> (TempDir, Cluster, Load) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let cluster = Cluster::start_in(directory.path(), 3, "");
    let load = Load::start(&cluster, client, directory.path());
    (directory, cluster, load)
}

/// How many nodes are killed or started in the storm, and how far apart.
const GUSTS: usize = 40;
const LULL: Duration = Duration::from_millis(300);

/// Whoever runs may be killed, whoever does not may be started, whatever the others do: often while a node is starting,
/// while it catches up, or with nobody left.
#[test]
fn a_storm_of_kills_loses_nothing() {
    let (_directory, mut cluster, mut load) = at_work(Client::SystemRdkafka);
    let mut random = Random::new(4);

    for _ in 0..GUSTS {
        let id = 1 + random.below(3) as usize;
        let node = cluster.node(id);
        if node.runs() {
            node.kill()
        } else {
            node.spawn()
        }
        pause(LULL);
    }
    for id in 1..=3 {
        if !cluster.node(id).runs() {
            cluster.node(id).spawn();
        }
    }

    load.goes_on();
    load.judge(&cluster);
}

/// Page caches are all that is left, and enough: everybody was in sync, and knows it.
#[test]
fn all_three_are_killed_at_once_and_all_goes_on() {
    let (_directory, mut cluster, mut load) = at_work(Client::Java);

    for _ in 0..3 {
        cluster.kill();
        cluster.restart();
        load.goes_on();
    }

    load.judge(&cluster);
}

/// One in-sync replica is fewer than `min.insync.replicas`: it takes nothing that it could not keep.
#[test]
fn with_two_down_writes_stop_and_go_on_with_the_first_that_is_back() {
    let (_directory, mut cluster, mut load) = at_work(Client::NewRdkafka);

    for (first, second) in [(1, 2), (2, 3)] {
        cluster.node(first).kill();
        cluster.node(second).kill();
        let down = now();
        pause(Duration::from_secs(3));
        assert_eq!(load.acknowledging_since(down), Vec::<i32>::new(), "nobody else has these");

        cluster.node(first).start();
        load.goes_on();
        cluster.node(second).start();
        load.goes_on();
    }

    load.judge(&cluster);
}
