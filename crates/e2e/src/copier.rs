//! Programs that copy a topic into another by transactions, and may be killed meanwhile.

use crate::failover::client::{Client, last_words};
use crate::{Cluster, jars, process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

/// How many records a transaction holds.
const RECORDS: &str = "20";

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The topic that is read.
    pub from: &'a str,
    /// The topic that is written: as many partitions.
    pub to: &'a str,
    /// The transactional id, and the name of the group.
    pub id: &'a str,
}

/// A running program. It ends with its owner.
pub struct Copier {
    child: Child,
    /// What it complains of.
    log: PathBuf,
}

impl Copier {
    /// Starts one: with librdkafka of all partitions, until it is told to end; in Java, where it is Apache Kafka's
    /// `TransactionalMessageCopier`, of the first partition, until it is at its end. Either aborts some transactions by itself.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start(client: Client, cluster: &Cluster, work: Work<'_>, directory: &Path) -> Copier {
        Copier::start_at(client, &cluster.bootstrap(), work, directory)
    }

    /// As [`Copier::start`], in any cluster.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start_at(client: Client, bootstrap: &str, work: Work<'_>, directory: &Path) -> Copier {
        let Work { from, to, id } = work;
        let mut command = if client == Client::Java {
            let mut command = jars::command("TransactionalMessageCopier");
            command.args(["--broker-list", bootstrap, "--input-topic", from, "--input-partition", "0"]);
            command.args(["--output-topic", to, "--consumer-group", id, "--transactional-id", id]);
            command.args(["--transaction-size", RECORDS, "--enable-random-aborts", "--use-group-metadata"]);
            // It waits for the offsets of the one before it, before it puts an end to that one's transaction.
            command.args(["--transaction-timeout", "5000"]);
            command
        } else {
            let mut command = client.with_rdkafka("copier");
            command.args([bootstrap, from, to, id, id, RECORDS]);
            command
        };
        let path = |kind: &str| directory.join(format!("{id}.{kind}"));
        let log = |kind: &str| {
            let file = File::options().create(true).append(true).open(path(kind));
            file.expect("a log file for the copier")
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(log("txt"))
            .stderr(log("log"))
            .spawn()
            .expect("`cargo xtask test` makes the clients ready");
        Copier { child, log: path("log") }
    }

    /// Stops it from running: [`process::freeze`].
    pub fn freeze(&self) {
        process::freeze(&self.child);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        process::thaw(&self.child);
    }

    /// `kill -9`, as whenever one is dropped.
    pub fn kill(self) {}

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When it has failed.
    pub fn is_over(&mut self) -> bool {
        let status = self.child.try_wait().expect("the child is ours");
        if let Some(status) = status {
            self.assert_success(status);
        }
        status.is_some()
    }

    fn assert_success(&self, status: ExitStatus) {
        assert!(status.success(), "the copier: {status}: {}", last_words(&self.log));
    }

    /// Lets it finish what it does.
    ///
    /// # Panics
    /// When it has failed.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("the child is ours");
        self.assert_success(status);
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
