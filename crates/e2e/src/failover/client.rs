//! Foreign clients, as processes that tell what happens to them (`crates/e2e/drivers/README.md`).

use super::history::History;
use crate::cluster::{PATIENCE, profile_directory};
use crate::eventually;
use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a client may take to have everything acknowledged at its end.
const FLUSH_PATIENCE: Duration = Duration::from_secs(90);

/// A client library that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    /// Debian's librdkafka, 2.0.2 in Debian 12.
    #[value(name = "librdkafka-2.0")]
    SystemRdkafka,
    /// The librdkafka that `crates/e2e/drivers/requirements.txt` pins.
    #[value(name = "librdkafka-2")]
    NewRdkafka,
    /// Apache Kafka's Java client, which `crates/e2e/drivers/pom.xml` pins.
    #[value(name = "java")]
    Java,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 3] = [Client::SystemRdkafka, Client::NewRdkafka, Client::Java];

    /// The setting by which it gives a request up after a second, instead of its default of half a minute or more.
    pub fn impatient(self) -> &'static str {
        match self {
            Client::SystemRdkafka | Client::NewRdkafka => "socket.timeout.ms=1000",
            Client::Java => "request.timeout.ms=1000",
        }
    }

    fn command(self) -> Command {
        match self {
            Client::SystemRdkafka | Client::NewRdkafka => self.with_rdkafka("rdkafka"),
            Client::Java => {
                let java = clients_directory().join("java");
                let mut command = Command::new("java");
                let class_path =
                    format!("{}:{}/*", java.join("classes").display(), java.join("jars").display());
                command.args(["-cp", &class_path, "Driver"]);
                command
            }
        }
    }
}

impl Client {
    /// A program of ours that is linked with librdkafka, run with this one.
    pub(crate) fn with_rdkafka(self, program: &str) -> Command {
        let clients = clients_directory();
        let mut command = Command::new(clients.join(program));
        if self == Client::NewRdkafka {
            command.env("LD_LIBRARY_PATH", clients.join("librdkafka-2"));
        }
        command
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Client::SystemRdkafka => "librdkafka-2.0",
            Client::NewRdkafka => "librdkafka-2",
            Client::Java => "java",
        })
    }
}

/// Where `cargo xtask failover` puts the drivers.
pub(crate) fn clients_directory() -> PathBuf {
    let target = profile_directory().parent().map(Path::to_owned).expect("target/<profile>");
    let clients = target.join("clients");
    assert!(
        clients.exists(),
        "{} is missing: run `cargo xtask failover`, `clients` or `test`",
        clients.display()
    );
    clients
}

/// A running client. It ends with its owner.
pub struct Driver {
    child: Child,
    /// What it writes to standard error.
    errors: PathBuf,
    history: Arc<Mutex<History>>,
    reader: Option<JoinHandle<()>>,
}

impl Driver {
    /// An idempotent producer with `acks=all` that sends a record to each partition every `interval_ms`.
    pub fn produce(client: Client, at: &Place<'_>, partitions: usize, interval_ms: u32) -> Driver {
        Driver::produce_as(client, at, partitions, interval_ms, &Manner::default())
    }

    /// As [`Driver::produce`], in this manner.
    pub fn produce_as(
        client: Client,
        at: &Place<'_>,
        partitions: usize,
        interval_ms: u32,
        manner: &Manner<'_>,
    ) -> Driver {
        let (partitions, interval) = (partitions.to_string(), interval_ms.to_string());
        let number = manner.number.to_string();
        let words = ["produce", at.bootstrap, at.topic, &partitions, &interval, &number];
        Driver::start(client, at, &format!("produce-{number}"), &words, manner)
    }

    /// A consumer of all partitions, from their ends.
    pub fn consume(client: Client, at: &Place<'_>, partitions: usize) -> Driver {
        let partitions = partitions.to_string();
        let words = ["consume", at.bootstrap, at.topic, &partitions];
        Driver::start(client, at, "consume", &words, &Manner::default())
    }

    /// A group whose members commit every `interval_ms`.
    pub fn group(client: Client, at: &Place<'_>, group: &str, members: usize, interval_ms: u32) -> Driver {
        Driver::group_as(client, at, group, members, interval_ms, &Manner::default())
    }

    /// As [`Driver::group`], in this manner.
    pub fn group_as(
        client: Client,
        at: &Place<'_>,
        group: &str,
        members: usize,
        interval_ms: u32,
        manner: &Manner<'_>,
    ) -> Driver {
        let (members, interval) = (members.to_string(), interval_ms.to_string());
        let words = ["group", at.bootstrap, at.topic, group, &members, &interval];
        Driver::start(client, at, "group", &words, manner)
    }

    fn start(client: Client, at: &Place<'_>, name: &str, words: &[&str], manner: &Manner<'_>) -> Driver {
        let errors = at.directory.join(format!("{name}.log"));
        let later: &[&str] = if manner.later { &["later"] } else { &[] };
        let mut child = client
            .command()
            .args([later, words].concat())
            .args(at.settings)
            .args(manner.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a log file for the client"))
            .spawn()
            .expect("`cargo xtask failover` and `test` make the clients ready");
        let history = Arc::new(Mutex::new(History::default()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let told = history.clone();
        let kept = File::create(at.directory.join(format!("{name}.txt")));
        let mut kept = BufWriter::new(kept.expect("a file for what the client says"));
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // For who wants to look closer; nothing depends on it.
                let _ = writeln!(kept, "{line}");
                told.lock().record(&line);
            }
        });
        let mut driver = Driver { child, errors, history, reader: Some(reader) };
        if manner.later {
            driver.wait_for("the client is there", |told| told.is_ready.then_some(()));
        }
        driver
    }

    /// Lets one begin that was started to do so later.
    ///
    /// # Panics
    /// When it has ended.
    pub fn begin(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("the client reads");
    }

    /// What it has said so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }

    /// Ends it in order: everything that was sent is acknowledged or given up.
    ///
    /// # Panics
    /// When it does not end, or has failed.
    pub fn finish(mut self) -> History {
        drop(self.child.stdin.take());
        let status = eventually("the client ends", FLUSH_PATIENCE, || {
            self.child.try_wait().expect("the child is ours")
        });
        assert!(status.success(), "the client ended with {status}: {}", last_words(&self.errors));
        let reader = self.reader.take().expect("only taken here");
        reader.join().expect("the reader does not panic");
        std::mem::take(&mut self.history.lock())
    }

    /// Waits until `look` finds something in the history.
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&History) -> Option<T>) -> T {
        self.wait_long_for(what, PATIENCE, look)
    }

    /// As [`Driver::wait_for`], for somebody who is known to take his time.
    pub fn wait_long_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        look: impl Fn(&History) -> Option<T>,
    ) -> T {
        eventually(what, patience, || {
            let ended = self.child.try_wait().expect("the child is ours");
            assert!(ended.is_none(), "the client ended: {ended:?}: {}", last_words(&self.errors));
            look(&self.history())
        })
    }
}

/// The end of what a client wrote to standard error.
pub(crate) fn last_words(errors: &Path) -> String {
    const LINES_MAX: usize = 20;
    let text = std::fs::read_to_string(errors).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a client goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner<'a> {
    /// A producer's number among those whose records are in the topic.
    pub number: u32,
    /// Settings that differ from its library's defaults, each `NAME=VALUE`.
    pub settings: &'a [&'a str],
    /// Whether it waits, started and not connected, for [`Driver::begin`].
    pub later: bool,
}

/// What a client works on.
pub struct Place<'a> {
    /// Where it begins.
    pub bootstrap: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Settings of every client there, each `NAME=VALUE`.
    pub settings: &'a [String],
    /// Where its own log goes.
    pub directory: &'a Path,
}
