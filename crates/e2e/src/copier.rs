//! Programs that copy a topic into another by transactions, and may be killed meanwhile.

use crate::failover::client::{Client, clients_directory};
use crate::{Cluster, jars};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

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
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Copier {
    /// Starts one: with librdkafka of all partitions, until it is told to end; in Java, where it is Apache Kafka's
    /// `TransactionalMessageCopier`, of the first partition, until it is at its end. Either aborts some transactions by itself.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn start(client: Client, cluster: &Cluster, work: Work<'_>, directory: &Path) -> Copier {
        let bootstrap = cluster.bootstrap();
        let Work { from, to, id } = work;
        let mut command = if client == Client::Java {
            let mut command = jars::command("TransactionalMessageCopier");
            command.args(["--broker-list", &bootstrap, "--input-topic", from, "--input-partition", "0"]);
            command.args(["--output-topic", to, "--consumer-group", id, "--transactional-id", id]);
            command.args(["--transaction-size", RECORDS, "--enable-random-aborts", "--use-group-metadata"]);
            command
        } else {
            let clients = clients_directory();
            let mut command = Command::new(clients.join("copier"));
            if client == Client::NewRdkafka {
                command.env("LD_LIBRARY_PATH", clients.join("librdkafka-2"));
            }
            command.args([&bootstrap, from, to, id, id, RECORDS]);
            command
        };
        let errors = File::options().create(true).append(true).open(directory.join(format!("{id}.log")));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.expect("a log file for the copier"))
            .spawn()
            .expect("`cargo xtask test` makes the clients ready");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = lines.clone();
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let reader = std::thread::spawn(move || {
            output.map_while(Result::ok).for_each(|line| told.lock().push(line));
        });
        Copier { child, lines, reader: Some(reader) }
    }

    /// What it has said.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When it has failed.
    pub fn is_over(&mut self) -> bool {
        let status = self.child.try_wait().expect("the child is ours");
        if let Some(status) = status {
            assert!(status.success(), "the copier: {status}");
        }
        status.is_some()
    }

    /// Lets it finish what it does.
    ///
    /// # Panics
    /// When it has failed.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("the child is ours");
        assert!(status.success(), "the copier: {status}");
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.end();
    }
}
