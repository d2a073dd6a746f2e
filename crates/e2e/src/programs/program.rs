//! Which programs there are, and one cluster with one of them on it.

use super::{connect, mirrormaker, streams};
use crate::Cluster;
use crate::clients::Effort;
use crate::failover::now;
use std::fmt;
use std::fs;
use std::path::Path;

/// A program that is not ours, in the version that `crates/e2e/drivers/programs/pom.xml` pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// Kafka Streams: an application that counts.
    Streams,
    /// Kafka Connect: workers that copy a file into a topic, and the topic into a file.
    Connect,
    /// MirrorMaker 2: a topic, and what groups have committed, copied from one cluster to another.
    #[value(name = "mirrormaker")]
    MirrorMaker,
}

/// One cluster, and how much is done to what runs on it.
pub struct Stage<'a> {
    /// The nodes.
    pub cluster: &'a mut Cluster,
    /// Where programs have their files, and what they say is kept.
    pub directory: &'a Path,
    /// How much is done.
    pub effort: Effort,
}

impl Stage<'_> {
    /// Creates a topic of three replicas, with these further words.
    pub fn create_topic(&self, topic: &str, partitions: i32, more: &[&str]) {
        let (bootstrap, partitions) = (self.cluster.bootstrap(), partitions.to_string());
        let create = ["kafka-topics", "--bootstrap-server", &bootstrap, "--create", "--topic", topic];
        let shape = ["--partitions", &partitions, "--replication-factor", "3"];
        self.cluster.tool(&[&create[..], &shape, more].concat());
    }
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 3] = [Program::Streams, Program::Connect, Program::MirrorMaker];
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Program::Streams => "streams",
            Program::Connect => "connect",
            Program::MirrorMaker => "mirrormaker",
        })
    }
}

/// Shows what a program does, and tells each step as it is done. What is said is kept in `directory`, beside the nodes' own
/// directories.
///
/// # Panics
/// When something is not as it should be.
pub fn show(program: Program, effort: Effort, directory: &Path, say: impl Fn(String)) {
    fs::create_dir_all(directory).expect("a directory for the cluster");
    // Nobody should wait for long.
    let properties = "leader.imbalance.check.interval.seconds=1\ngroup.initial.rebalance.delay.ms=100";
    let mut cluster = Cluster::start_in(directory, 3, properties);
    let mut stage = Stage { cluster: &mut cluster, directory, effort };
    let start = now();
    let say = |what: String| say(format!("{program}: {what} ({:.1} s)", (now() - start) as f64 / 1e6));
    match program {
        Program::Streams => streams::show(&mut stage, say),
        Program::Connect => connect::show(&mut stage, say),
        Program::MirrorMaker => mirrormaker::show(&mut stage, say),
    }
}
