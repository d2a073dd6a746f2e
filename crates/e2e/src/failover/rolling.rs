//! A rolling restart, as an operator makes one: each node in turn is stopped in order and started again, and the next one
//! follows once every replica is in sync.

use super::client::{Driver, Place};
use super::run::{
    INTERVAL_MS, PARTITIONS, Plan, Report, TOPIC, await_acknowledgements, create_topic, millis, pause,
};
use super::table::Row;
use super::{Micros, now, topology, verdict};
use crate::Cluster;
use std::path::Path;

/// Restarts all three nodes of a cluster, `plan.faults` times, under a producer and a consumer with their defaults. `say` is
/// told of each restart.
///
/// A gap is the longest time between two acknowledgements, or between two records given to the consumer, of a partition
/// that the node led, from the signal that stops it until the cluster is whole again.
///
/// # Panics
/// When the cluster or a client does not recover, a node did not close its logs, the producer gave up a record, or the logs
/// differ in the end.
pub fn carry_out(plan: &Plan, directory: &Path, mut say: impl FnMut(String)) -> Report {
    let mut cluster = Cluster::start_in(directory, 3, "");
    create_topic(&cluster);
    let bootstrap = cluster.bootstrap();
    let place = Place { bootstrap: &bootstrap, topic: TOPIC, settings: &plan.settings, directory };
    let mut consumer = Driver::consume(plan.client, &place, PARTITIONS);
    let mut producer = Driver::produce(plan.client, &place, PARTITIONS, INTERVAL_MS);
    await_acknowledgements(&mut producer);
    consumer.wait_for("every partition is read", |told| (told.reads.len() == PARTITIONS).then_some(()));
    let (mut acknowledged, mut given) = (Vec::new(), Vec::new());
    for number in 1..=plan.faults {
        topology::wait_until_balanced(&cluster, TOPIC);
        for node in 1..=cluster.nodes().len() {
            pause(plan.settle);
            let leaders = topology::leaders(&cluster, TOPIC);
            let led: Vec<i32> = leaders.keys().copied().filter(|at| leaders[at] == node).collect();
            let begun = now();
            cluster.node(node).stop();
            let stopped = now();
            let marker = cluster.node(node).data().join(".kafka_cleanshutdown");
            assert!(marker.exists(), "node {node} did not close its logs:\n{}", cluster.node(node).log());
            cluster.node(node).start();
            topology::wait_until_in_sync(&cluster);
            await_acknowledgements(&mut producer);
            let until = now();
            consumer.wait_for("every partition is read on", |told| {
                let is_read_on =
                    |reads: &Vec<super::history::Read>| reads.last().is_some_and(|read| read.at > until);
                told.reads.values().all(is_read_on).then_some(())
            });
            let of =
                |gap: &dyn Fn(i32) -> Option<Micros>| led.iter().filter_map(|&p| gap(p)).collect::<Vec<_>>();
            let sent = of(&|partition| producer.history().longest_gap(partition, begun, until));
            let read = of(&|partition| consumer.history().longest_gap_of_reads(partition, begun, until));
            say(format!(
                "{} rolling {number}/{}: node {node} at {begun} us, stopped in {}, whole after {}: producer {}, consumer {}",
                plan.client,
                plan.faults,
                millis(&[stopped - begun]),
                millis(&[until - begun]),
                millis(&sent),
                millis(&read),
            ));
            acknowledged.extend(sent);
            given.extend(read);
        }
    }
    let told = producer.finish();
    let read = consumer.finish();
    assert!(told.failures.is_empty(), "sends failed: {:?}", told.failures);
    verdict::wait_for_equal_logs(&cluster, TOPIC, PARTITIONS);
    let verdict = verdict::judge(&cluster, TOPIC, &[&told], &[&read]);
    cluster.stop();
    let row = |what: &str, samples| Row { client: plan.client, what: what.to_owned(), samples };
    let rows = vec![row("rolling restart: producer's gap", acknowledged), row("  consumer's gap", given)];
    Report { rows, verdict, set_back: 0, rebalances: 0 }
}
