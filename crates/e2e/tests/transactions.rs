//! Exactly once: a topic is copied into another by transactions, while the copier and brokers are killed (TXN-1, TXN-2, TXN-4).

use ottla_e2e::cluster::PATIENCE;
use ottla_e2e::copier::{Copier, Work};
use ottla_e2e::failover::client::Client;
use ottla_e2e::failover::topology;
use ottla_e2e::{Cluster, eventually, kcat};
use std::time::Duration;

/// How long copying may take, with what is killed meanwhile.
const COPY_PATIENCE: Duration = Duration::from_secs(120);

const WORK: Work<'static> = Work { from: "in", to: "out", id: "copier" };

/// How much is copied.
#[derive(Clone, Copy)]
struct Amount {
    partitions: usize,
    /// How many records are in each.
    records: usize,
}

impl Amount {
    fn all(self) -> usize {
        self.partitions * self.records
    }

    /// What is in a partition.
    fn lines(self, partition: usize) -> impl Iterator<Item = String> {
        (0..self.records).map(move |number| format!("{partition}-{number:05}"))
    }
}

/// A cluster with `in`, which has records, and `out`, which has none.
fn cluster(amount: Amount) -> (tempfile::TempDir, Cluster) {
    let Amount { partitions, .. } = amount;
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
        let lines: String = amount.lines(partition).map(|line| line + "\n").collect();
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

/// How many committed records are in all of `out`, unless one of its partitions cannot be read now.
fn copied_count(cluster: &Cluster, amount: Amount) -> Option<usize> {
    (0..amount.partitions).map(|partition| Some(copied(cluster, partition, "read_committed")?.len())).sum()
}

/// Waits until a part of all is copied.
fn wait_for(cluster: &Cluster, amount: Amount, percent: usize) {
    eventually(&format!("{percent} % is copied"), COPY_PATIENCE, || {
        (copied_count(cluster, amount)? * 100 >= amount.all() * percent).then_some(())
    });
}

/// Whether a transaction is open that has written to a partition of `out`.
fn is_written_to(cluster: &Cluster, partition: usize) -> bool {
    let (bootstrap, partition) = (cluster.bootstrap(), partition.to_string());
    let of = ["describe-producers", "--topic", WORK.to, "--partition", &partition];
    let said = cluster.tool(&[&["kafka-transactions", "--bootstrap-server", &bootstrap][..], &of].concat());
    // In the last column is the offset at which the producer's transaction began.
    said.lines().skip(1).any(|line| !line.trim_end().ends_with("None"))
}

/// Kills a copier in the midst of a transaction that has written something: it is stopped where it is, and goes on for a moment
/// where that is between two.
fn kill_in_transaction(cluster: &Cluster, amount: Amount, copier: Copier) {
    eventually("it is in the midst of a transaction", COPY_PATIENCE, || {
        copier.freeze();
        let is_in_transaction = (0..amount.partitions).any(|partition| is_written_to(cluster, partition));
        if !is_in_transaction {
            copier.thaw();
        }
        is_in_transaction.then_some(())
    });
    copier.kill();
}

/// Everything is there, once and in order; some of it was written more often, by transactions that were aborted.
fn judge(cluster: &Cluster, amount: Amount) {
    let Amount { partitions, records } = amount;
    let mut aborted = 0;
    for partition in 0..partitions {
        let expected: Vec<String> = amount.lines(partition).collect();
        let found = copied(cluster, partition, "read_committed").expect("it is read");
        assert_eq!(found, expected, "partition {partition}");
        aborted += copied(cluster, partition, "read_uncommitted").expect("it is read").len() - records;
    }
    assert!(aborted > 0, "no transaction was aborted: nothing was shown");
    let committed = eventually("the offsets are committed", PATIENCE, || {
        let committed = topology::committed(cluster, WORK.id);
        (committed.len() == partitions).then_some(committed)
    });
    // Markers have offsets too, but not in `in`.
    assert!(committed.values().all(|&offset| offset == records as i64), "{committed:?}");
}

fn copied_once_by(client: Client) {
    const AMOUNT: Amount = Amount { partitions: 3, records: 400 };
    let (directory, mut cluster) = cluster(AMOUNT);
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    kill_in_transaction(&cluster, AMOUNT, copier);
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    wait_for(&cluster, AMOUNT, 30);
    let leader = topology::leaders(&cluster, WORK.to)[&0];
    cluster.node(leader).kill();
    wait_for(&cluster, AMOUNT, 50);
    cluster.node(leader).start();
    topology::wait_until_in_sync(&cluster);
    let coordinator = topology::coordinator(&cluster, WORK.id);
    cluster.node(coordinator).kill();
    copier.kill();
    let copier = Copier::start(client, &cluster, WORK, directory.path());
    wait_for(&cluster, AMOUNT, 80);
    cluster.node(coordinator).start();
    wait_for(&cluster, AMOUNT, 100);
    copier.finish();
    judge(&cluster, AMOUNT);
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
    // It copies some thousands a second.
    const AMOUNT: Amount = Amount { partitions: 1, records: 4000 };
    let (directory, mut cluster) = cluster(AMOUNT);
    let copier = Copier::start(Client::Java, &cluster, WORK, directory.path());
    kill_in_transaction(&cluster, AMOUNT, copier);
    let leader = topology::leaders(&cluster, WORK.to)[&0];
    cluster.node(leader).kill();
    let mut copier = Copier::start(Client::Java, &cluster, WORK, directory.path());
    eventually("all is copied", COPY_PATIENCE, || copier.is_over().then_some(()));
    cluster.node(leader).start();
    judge(&cluster, AMOUNT);
}
