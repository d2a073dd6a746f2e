//! A node that either program may run.

use super::cluster::PATIENCE;
use crate::cluster::{CLUSTER_ID, binary, free_ports, run};
use crate::{eventually, jars, process};
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whose program runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Ottla,
    /// Apache Kafka's.
    Kafka,
}

impl Kind {
    /// One of its programs: a command of ours, or a class of Kafka's.
    fn program(self, ottla: &str, kafka: &str) -> Command {
        let (mut command, name) = match self {
            Kind::Ottla => (Command::new(binary()), ottla),
            Kind::Kafka => (java(), kafka),
        };
        command.arg(name);
        command
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// It votes.
    Controller,
    /// It holds partitions.
    Broker,
    /// Both.
    Combined,
}

/// A node, with a directory and ports of its own, whichever program runs it.
pub struct Node {
    /// Its `node.id`, from 1.
    pub id: usize,
    /// Whose program runs it, or is to run it next.
    pub kind: Kind,
    /// What it does.
    pub roles: Roles,
    /// Where clients reach it, if it is a broker.
    pub port: u16,
    /// Where the quorum reaches it, if it is a controller.
    pub controller_port: u16,
    directory: PathBuf,
    child: Option<Child>,
    /// How much its earlier lives have said.
    said_before: usize,
}

impl Node {
    /// One that does not run yet, and has no configuration.
    pub(super) fn new(id: usize, roles: Roles, kind: Kind, directory: &Path) -> Node {
        let ports = free_ports(2);
        let directory = directory.join(id.to_string());
        fs::create_dir_all(&directory).expect("a directory for the node");
        Node {
            id,
            kind,
            roles,
            port: ports[0],
            controller_port: ports[1],
            directory,
            child: None,
            said_before: 0,
        }
    }

    /// Writes its configuration, which both programs take: these lines, and what is the node's own.
    pub(super) fn configure(&self, lines: &str) {
        let broker = format!("PLAINTEXT://localhost:{}", self.port);
        let controller = format!("CONTROLLER://localhost:{}", self.controller_port);
        let (roles, listeners) = match self.roles {
            Roles::Controller => ("controller", controller),
            Roles::Broker => ("broker", broker),
            Roles::Combined => ("broker,controller", format!("{broker},{controller}")),
        };
        let text = format!(
            "process.roles={roles}\nnode.id={}\nlisteners={listeners}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\nhttp.listener=\n{lines}\n",
            self.id,
            self.data().display(),
        );
        fs::write(self.properties(), text).expect("a file for the node");
    }

    /// Formats its directory, by its own program. `more` are further arguments, as `kafka-storage` takes them.
    pub(super) fn format(&self, more: &[&str]) {
        let mut format = self.kind.program("kafka-storage", "kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER_ID]).args(more).arg("-c").arg(self.properties());
        if self.kind == Kind::Kafka {
            // What Ottla does not have: whoever serves a cluster that has it must know what it is.
            format.args(["--feature", "share.version=0", "--feature", "streams.version=0"]);
        }
        run(&mut format);
    }

    /// Starts it, and waits until it serves.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_serving();
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it runs.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        self.said_before = self.said().len();
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("server.log"))
            .expect("a log file");
        let child = self
            .kind
            .program("server", "kafka.Kafka")
            .arg(self.properties())
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a second handle"))
            .stderr(said)
            .spawn()
            .expect("the binary is built, and java installed, by `cargo xtask test`");
        self.child = Some(child);
    }

    /// Waits until it serves.
    pub fn wait_until_serving(&self) {
        let what = || format!("node {} serves; it says:\n{}", self.id, self.said());
        if self.roles == Roles::Controller {
            let listens = || TcpStream::connect(("127.0.0.1", self.controller_port)).ok().map(drop);
            return eventually(what, PATIENCE, listens);
        }
        eventually(what, PATIENCE, || {
            self.said()[self.said_before..].contains("Kafka Server started").then_some(())
        });
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let mut child = self.child.take().expect("the node runs");
        child.wait().expect("the child is ours");
    }

    /// Ends it as `kill` does, and waits until it has stopped in order.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("the node runs");
        let what = || format!("node {} stops; it says:\n{}", self.id, self.said());
        eventually(what, PATIENCE, || child.try_wait().expect("the child is ours"));
        let marker = self.data().join(".kafka_cleanshutdown");
        let is_clean = self.roles == Roles::Controller || marker.exists();
        assert!(is_clean, "node {} did not stop in order:\n{}", self.id, self.said());
    }

    /// Stops it from running: [`process::freeze`].
    pub fn freeze(&self) {
        process::freeze(self.child());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        process::thaw(self.child());
    }

    fn signal(&self, signal: Signal) {
        process::signal(self.child(), signal);
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("the node runs")
    }

    /// Whether it was started and has not been ended since.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// What it has said, in all its lives.
    pub fn said(&self) -> String {
        let bytes = fs::read(self.directory.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Where its logs are.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its configuration.
    pub fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    /// The bytes of a partition's log, all segments one after the other.
    pub fn log(&self, partition: &str) -> Vec<u8> {
        let segments = self.files(partition, "log");
        segments.iter().flat_map(|path| fs::read(path).unwrap_or_default()).collect()
    }

    /// The offset at which a file of a partition begins, or up to which a snapshot goes: the first and the last of those with
    /// this extension.
    pub fn offsets(&self, partition: &str, extension: &str) -> Option<(u64, u64)> {
        let offset = |path: &PathBuf| path.file_stem()?.to_str()?.split('-').next()?.parse().ok();
        let files = self.files(partition, extension);
        Some((files.first().and_then(offset)?, files.last().and_then(offset)?))
    }

    /// A partition's files with this extension, sorted.
    fn files(&self, partition: &str, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data().join(partition)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|found| found == extension));
        files.sort();
        files
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A JVM with Apache Kafka's server, which is about to be told what to run.
fn java() -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.args([
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        // That it serves is told at this level.
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "-Duser.timezone=UTC",
    ]);
    command.arg("-cp").arg(jars::server_class_path());
    command
}
