//! A cluster of `ottla up` in the background, on a machine of its own as far as ports go, and what `ottla` says of it.

use crate::cluster::{PATIENCE, binary};
use crate::{Machine, eventually};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A machine for a cluster of `ottla up`, which ends with its owner.
pub struct Laptop {
    machine: Machine,
    directory: tempfile::TempDir,
}

impl Laptop {
    /// Nothing runs yet.
    pub fn new() -> Laptop {
        Laptop { machine: Machine::new(), directory: tempfile::tempdir().expect("a directory for the test") }
    }

    /// A cluster of three runs.
    pub fn up() -> Laptop {
        let laptop = Laptop::new();
        laptop.says(&["up", "--detach", "--brokers", "3"]);
        laptop
    }

    /// A directory for whatever a test writes.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The cluster's directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A call of `ottla` in another directory than the cluster's, with `OTTLA_DATA` as `ottla env` exports it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.command(binary().to_str().expect("text"));
        command.args(arguments).current_dir("/").env("OTTLA_DATA", self.data());
        command
    }

    /// Runs `ottla`.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it is built")
    }

    /// What it writes to standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ottla {arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// How the cluster is.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.says(&["status", "--json"])).expect("one object of JSON")
    }

    /// What happened to it, as far as these arguments ask for it.
    pub fn events(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.says(&[&["events", "--json"], arguments].concat());
        text.lines().map(|line| serde_json::from_str(line).expect("an object of JSON a line")).collect()
    }

    /// The last event of this kind that concerns a node.
    pub fn event(&self, name: &str, node: u64) -> Option<Value> {
        self.events(&[]).into_iter().rfind(|event| event["event"] == name && event["node"] == node)
    }

    /// The active controller.
    ///
    /// # Panics
    /// When there is none.
    pub fn controller(&self) -> u64 {
        let quorum =
            ["kafka-metadata-quorum", "--bootstrap-server", "localhost:9092", "describe", "--status"];
        let said = self.says(&quorum);
        let leader = said.lines().find_map(|line| line.strip_prefix("LeaderId:"));
        leader.and_then(|id| id.trim().parse().ok()).expect("there is a leader")
    }

    /// Waits until the status is as it should be.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn settles(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, || Some(self.status()).filter(&is_so))
    }
}

impl Default for Laptop {
    fn default() -> Self {
        Laptop::new()
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        // A test that has ended it already, or never begun, gets an error.
        let _ = self.run(&["down"]);
    }
}
