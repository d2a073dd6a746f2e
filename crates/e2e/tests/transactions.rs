//! Exactly once: a topic is copied into another by transactions, while the copier and brokers are killed (TXN-1, TXN-2, TXN-4).

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::copier::{Copier, Work};
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::topology;
use ottla_e2e::{Cluster, eventually, kcat};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// How many records are in each partition.
const RECORDS: usize = 400;

/// How long copying may take, with what is killed meanwhile.
const COPY_PATIENCE: Duration = Duration::from_secs(120);

const WORK: Work<'static> = Work { from: "in", to: "out", id: "copier" };

/// A cluster with `in`, which has records, and `out`, which has none.
fn cluster(partitions: usize) -> (tempfile::TempDir, Cluster) {
    let directory = tempfile::tempdir().expect("a directory for the cluster");
    let cluster = Cluster::start_in(directory.path(), 3, &format!("num.partitions={partitions}"));
    for topic in [WORK.from, WORK.to] {
        let count = partitions.to_string();
        let bootstrap = cluster.bootstrap();
        cluster.tool(&[
            "kafka-topics",
            "--bootstrap-server",
            &bootstrap,
            "--create",
            "--topic",
            topic,
            "--partitions",
            &count,
        ]);
    }
    for partition in 0..partitions {
        let mut lines = String::new();
        for number in 0..RECORDS {
            writeln!(lines, "{partition}-{number:05}").expect("into a string");
        }
        let partition = partition.to_string();
        kcat::run(&cluster, &["-P", "-t", WORK.from, "-p", &partition], &lines);
    }
    (directory, cluster)
}

/// What is in a partition of `out`.
fn copied(cluster: &Cluster, partition: usize, isolation: &str) -> Option<Vec<String>> {
    let partition = partition.to_string();
    let isolation = format!("isolation.level={isolation}");
    let arguments = ["-C", "-t", WORK.to, "-p", &partition, "-o", "beginning", "-e", "-q", "-X", &isolation];
    let output = kcat::try_run(cluster, &arguments, "");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then(|| text.lines().map(str::to_owned).collect())
}

fn copied_count(cluster: &Cluster, partitions: usize) -> usize {
    (0..partitions)
        .filter_map(|partition| copied(cluster, partition, "read_committed"))
        .map(|all| all.len())
        .sum()
}

/// Waits until a part of all is copied.
fn wait_for(cluster: &Cluster, partitions: usize, percent: usize) {
    let wanted = partitions * RECORDS * percent / 100;
    eventually(&format!("{percent} % is copied"), COPY_PATIENCE, || {
        (copied_count(cluster, partitions) >= wanted).then_some(())
    });
}

/// How often a copier is killed at most until it was in the midst of a transaction.
const KILLS_MAX: usize = 8;

/// Kills a copier that is at work, in the midst of a transaction that has written something: where it was not, another one goes on
/// and is killed.
fn kill_in_transaction(client: Client, cluster: &Cluster, mut copier: Copier, directory: &Path) {
    let partitions = topology::leaders(cluster, WORK.to).len();
    for _ in 0..KILLS_MAX {
        copier.kill();
        let count = |isolation| {
            let found = (0..partitions).map(|partition| copied(cluster, partition, isolation));
            found.map(|found| found.expect("it is read").len()).sum::<usize>()
        };
        let committed = count("read_committed");
        if count("read_uncommitted") > committed {
            return;
        }
        copier = Copier::start(client, cluster, WORK, directory);
        eventually("it goes on", COPY_PATIENCE, || {
            (copied_count(cluster, partitions) > committed).then_some(())
        });
    }
    panic!("it was never killed in the midst of a transaction");
}

/// Everything is there, once and in order; some of it was written more often, by transactions that were aborted.
fn judge(cluster: &Cluster, partitions: usize) {
    let mut aborted = 0;
    for partition in 0..partitions {
        let expected: Vec<String> = (0..RECORDS).map(|number| format!("{partition}-{number:05}")).collect();
        let found = copied(cluster, partition, "read_committed").expect("it is read");
        assert_eq!(found, expected, "partition {partition}");
        aborted += copied(cluster, partition, "read_uncommitted").expect("it is read").len() - RECORDS;
    }
    assert!(aborted > 0, "no transaction was aborted: nothing was shown");
    let committed = eventually("the offsets are committed", PATIENCE, || {
        let committed = topology::committed(cluster, WORK.id);
        (committed.len() == partitions).then_some(committed)
    });
    // Markers have offsets too, but not in `in`.
    assert!(committed.values().all(|&offset| offset == RECORDS as i64), "{committed:?}");
}

fn copied_once_by(client: Client) {
    const PARTITIONS: usize = 3;
    let (directory, mut cluster) = cluster(PARTITIONS);
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    wait_for(&cluster, PARTITIONS, 10);
    kill_in_transaction(client, &cluster, copier, directory.path());
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    wait_for(&cluster, PARTITIONS, 30);
    let leader = topology::leaders(&cluster, WORK.to)[&0];
    cluster.node(leader).kill();
    wait_for(&cluster, PARTITIONS, 50);
    cluster.node(leader).start();
    topology::wait_until_in_sync(&cluster);
    let coordinator = topology::coordinator(&cluster, WORK.id);
    cluster.node(coordinator).kill();
    copier.kill();
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    wait_for(&cluster, PARTITIONS, 80);
    cluster.node(coordinator).start();
    wait_for(&cluster, PARTITIONS, 100);
    copier.finish();
    judge(&cluster, PARTITIONS);
}

#[test]
fn librdkafka_copies_exactly_once() {
    copied_once_by(Client::SystemRdkafka);
}

#[test]
fn a_newer_librdkafka_copies_exactly_once() {
    copied_once_by(Client::NewRdkafka);
}

/// Apache Kafka's own copier, which its system tests kill likewise.
#[test]
fn kafkas_copier_copies_exactly_once() {
    let (directory, mut cluster) = cluster(1);
    let copier = Copier::start(Client::Java, &cluster, WORK, directory.path());
    wait_for(&cluster, 1, 10);
    kill_in_transaction(Client::Java, &cluster, copier, directory.path());
    let leader = topology::leaders(&cluster, WORK.to)[&0];
    cluster.node(leader).kill();
    let mut copier = Copier::start(Client::Java, &cluster, WORK, directory.path());
    eventually("all is copied", COPY_PATIENCE, || copier.is_over().then_some(()));
    cluster.node(leader).start();
    judge(&cluster, 1);
}
