//! Drives `kcat`, the tutorial's `kafkacat`.

use crate::{Cluster, process};
use rustix::process::Signal;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs `kcat` against the cluster with this input, and returns what it wrote to standard output.
///
/// # Panics
/// When it fails, with what it said.
pub fn run(cluster: &Cluster, arguments: &[&str], input: &str) -> String {
    at(&cluster.bootstrap(), arguments, input)
}

/// As [`run`], against any cluster.
///
/// # Panics
/// When it fails, with what it said.
pub fn at(bootstrap: &str, arguments: &[&str], input: &str) -> String {
    let output = try_at(bootstrap, arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("kcat prints what was produced: text")
}

/// As [`run`], whatever becomes of it.
///
/// # Panics
/// When `kcat` is not installed.
pub fn try_run(cluster: &Cluster, arguments: &[&str], input: &str) -> Output {
    try_at(&cluster.bootstrap(), arguments, input)
}

fn try_at(bootstrap: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("timeout")
        .args(["60", "kcat", "-b", bootstrap])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcat is installed by `cargo xtask test`");
    let mut stdin = child.stdin.take().expect("piped");
    // A consumer does not read its input, and may be gone before it is written.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the child is ours")
}

/// What one node says of a topic; empty when it says nothing.
///
/// # Panics
/// When `kcat` is not installed.
pub fn listed_by(node: &crate::Node, topic: &str) -> String {
    let output = Command::new("timeout")
        .args(["60", "kcat", "-L", "-b", &node.address(), "-t", topic])
        .output()
        .expect("kcat is installed by `cargo xtask test`");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Produces one record a line.
pub fn produce(cluster: &Cluster, topic: &str, lines: &str) {
    run(cluster, &["-P", "-t", topic, "-X", "acks=all"], lines);
}

/// Everything in a topic, a record a line, sorted.
pub fn consume_all(cluster: &Cluster, topic: &str) -> Vec<String> {
    let text = run(cluster, &["-C", "-t", topic, "-e", "-q", "-o", "beginning"], "");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A producer that is fed a line at a time, a few milliseconds apart. From a pipe `kcat` takes its input a
/// kilobyte at a time.
pub struct Producer {
    child: std::process::Child,
    pace: crate::patience::Pace,
}

/// How far apart lines are: far enough for each to be a batch of its own.
const PACE: std::time::Duration = std::time::Duration::from_millis(2);

impl Producer {
    /// Starts `kcat -P` with these further arguments.
    ///
    /// # Panics
    /// When `kcat` is not installed.
    pub fn start(cluster: &Cluster, arguments: &[&str]) -> Producer {
        let child = Command::new("kcat")
            .args(["-P", "-b", &cluster.bootstrap(), "-X", "linger.ms=0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kcat is installed by `cargo xtask test`");
        Producer { child, pace: crate::patience::Pace::new(PACE) }
    }

    /// Produces one record.
    ///
    /// # Panics
    /// When `kcat` has ended.
    pub fn line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        self.pace.wait();
        writeln!(stdin, "{line}").expect("kcat still reads");
    }

    /// Ends the input and waits until everything is acknowledged.
    ///
    /// # Panics
    /// When something is not.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("the child is ours");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kcat -P: {}\n{errors}", output.status);
        assert!(!errors.contains("Delivery failed"), "{errors}");
    }
}

/// A member of a group: `kcat -G`.
pub struct Member {
    child: std::process::Child,
    directory: tempfile::TempDir,
}

impl Member {
    /// Starts a member that begins with the first record it finds no committed offset for.
    ///
    /// # Panics
    /// When `kcat` is not installed.
    pub fn start(cluster: &Cluster, group: &str, topic: &str, arguments: &[&str]) -> Member {
        Member::start_at(&cluster.bootstrap(), group, topic, arguments)
    }

    /// As [`Member::start`], of a group of any cluster.
    ///
    /// # Panics
    /// When `kcat` is not installed.
    pub fn start_at(bootstrap: &str, group: &str, topic: &str, arguments: &[&str]) -> Member {
        let directory = tempfile::tempdir().expect("a directory for the member");
        let file = |name: &str| std::fs::File::create(directory.path().join(name)).expect("a file for it");
        let child = Command::new("kcat")
            .args(["-b", bootstrap, "-u", "-G", group])
            .args(["-X", "auto.offset.reset=earliest"])
            .args(arguments)
            .arg(topic)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("kcat is installed by `cargo xtask test`");
        Member { child, directory }
    }

    /// What it has received.
    pub fn records(&self) -> Vec<String> {
        self.read("out").lines().map(str::to_owned).collect()
    }

    /// The partitions it was given last.
    pub fn assigned(&self) -> std::collections::BTreeSet<u32> {
        let said = self.read("err");
        let last = said.lines().rfind(|line| line.contains("assigned: ") || line.contains("revoked: "));
        let Some((_, list)) = last.and_then(|line| line.split_once(" assigned: ")) else {
            return Default::default();
        };
        list.split(", ").filter_map(|at| at.split(['[', ']']).nth(1)?.parse().ok()).collect()
    }

    /// How often it was given anything.
    pub fn rebalances(&self) -> usize {
        self.read("err").matches(" assigned: ").count()
    }

    /// Ends it as Ctrl-C does, and waits until it has gone. Returns what it has received.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn interrupt(mut self) -> Vec<String> {
        process::signal(&self.child, Signal::INT);
        self.child.wait().expect("the child is ours");
        self.records()
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A consumer that starts at the end of a topic: `kcat -t topic -o end`.
pub struct Tail {
    child: std::process::Child,
    directory: tempfile::TempDir,
}

impl Tail {
    /// Starts the consumer, and waits until it has found where every partition ends.
    ///
    /// # Panics
    /// When `kcat` is not installed, or finds no topic.
    pub fn start(cluster: &Cluster, topic: &str) -> Tail {
        let directory = tempfile::tempdir().expect("a directory for the consumer");
        let file = |name: &str| std::fs::File::create(directory.path().join(name)).expect("a file for it");
        let child = Command::new("kcat")
            .args(["-b", &cluster.bootstrap(), "-u", "-C", "-t", topic, "-o", "end"])
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("kcat is installed by `cargo xtask test`");
        let tail = Tail { child, directory };
        crate::eventually("the consumer is at the end", crate::cluster::PATIENCE, || {
            (tail.read("err").matches("Reached end of topic").count() >= 8).then_some(())
        });
        tail
    }

    /// What it has received.
    pub fn records(&self) -> Vec<String> {
        self.read("out").lines().map(str::to_owned).collect()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
