//! A node that is starting when its disk fails.

use ottla_sim::node::cluster::Cluster;
use ottla_sim::node::quorum::Voting;
use ottla_sim::node::story::Story;
use ottla_storage::sim_disk::FaultOn;
use std::time::Duration;

/// One node; its idle controller writes twice a second, so that no fault goes unnoticed.
const SETTINGS: &str = "default.replication.factor=1\nmin.insync.replicas=1\noffsets.topic.replication.factor=1\n\
                        metadata.max.idle.interval.ms=500";

/// How long a node may take to notice.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// Lets time pass until `is_over` says so.
fn run_until(cluster: &mut Cluster, bound: Duration, mut is_over: impl FnMut(&Cluster) -> bool) -> bool {
    let end = cluster.elapsed() + bound;
    while cluster.elapsed() < end {
        cluster.step().expect("only the node whose disk fails ends");
        if is_over(cluster) {
            return true;
        }
    }
    false
}

/// It must not wait for a controller that has ended with the disk: whoever watches processes would never know.
#[test]
fn a_node_whose_disk_fails_while_it_starts_ends() {
    for on in [FaultOn::Write, FaultOn::Sync] {
        for later in 0..25 {
            let story = Story::default();
            let _told = tracing::subscriber::set_default(story.subscriber("debug"));
            let mut cluster = Cluster::start(1, later, SETTINGS, Voting::CONFIGURED).expect("a node");
            cluster.break_disk(0, on, later);
            let ended = run_until(&mut cluster, NOTICED_WITHIN, |cluster| !cluster.is_running(0));
            assert!(ended, "{on:?} after {later} more: it goes on\n{}", story.text());
            cluster.heal_disk(0);
            cluster.restart(0);
            let ended = run_until(&mut cluster, NOTICED_WITHIN, |cluster| !cluster.is_running(0));
            assert!(!ended, "{on:?} after {later} more: it does not start again\n{}", story.text());
        }
    }
}
