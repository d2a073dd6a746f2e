//! Nodes of both kinds in one cluster.

use super::node::{Kind, Node, Roles};
use crate::cluster::binary;
use crate::eventually;
use crate::failover::topology;
use ottla_types::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take: a JVM on a busy machine is slow to begin.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// What nodes of either kind are told. A broker that falls silent is fenced sooner than by default, for the tests' sake.
const SETTINGS: &str = "min.insync.replicas=1\n\
                        transaction.state.log.min.isr=1\n\
                        offsets.topic.num.partitions=4\n\
                        transaction.state.log.num.partitions=4\n\
                        group.initial.rebalance.delay.ms=0\n\
                        broker.session.timeout.ms=3000\n\
                        broker.heartbeat.interval.ms=500\n";

/// The metadata log's directory.
pub const METADATA: &str = "__cluster_metadata-0";

/// Where it is written who votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voters {
    /// In every configuration (kraft.version 0).
    Configured,
    /// In the metadata log (kraft.version 1, KIP-853).
    Logged,
}

/// How a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Who leads it, if anybody does.
    pub leader: Option<usize>,
    /// Who has it, the preferred leader first.
    pub replicas: Vec<usize>,
    /// Who is in sync.
    pub in_sync: BTreeSet<usize>,
}

/// A voter's directory, as a quorum names it that keeps its voters in the log.
fn directory_id(node: &Node) -> Uuid {
    // The first hundred mean something.
    Uuid::from_u128(1000 + node.id as u128)
}

/// Nodes of both kinds, which are killed when the test ends.
pub struct Cluster {
    directory: TempDir,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Formats nodes of these roles and kinds, whose ids are their places from 1, each by its own program, and starts none.
    /// Whoever has a controller votes. `more` is added to every `server.properties`.
    pub fn format(plan: &[(Roles, Kind)], voters: Voters, more: &str) -> Cluster {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let nodes: Vec<Node> = plan
            .iter()
            .enumerate()
            .map(|(index, &(roles, kind))| Node::new(index + 1, roles, kind, directory.path()))
            .collect();
        let of_voters = |told: fn(&Node) -> String| {
            let voters = nodes.iter().filter(|node| node.roles != Roles::Broker);
            voters.map(told).collect::<Vec<_>>().join(",")
        };
        let quorum = match voters {
            Voters::Configured => {
                let voters = of_voters(|node| format!("{}@localhost:{}", node.id, node.controller_port));
                format!("controller.quorum.voters={voters}")
            }
            Voters::Logged => {
                let servers = of_voters(|node| format!("localhost:{}", node.controller_port));
                format!("controller.quorum.bootstrap.servers={servers}")
            }
        };
        let initial = of_voters(|node| {
            format!("{}@localhost:{}:{}", node.id, node.controller_port, directory_id(node))
        });
        let factor = nodes.iter().filter(|node| node.roles != Roles::Controller).count().min(3);
        let lines = format!(
            "{quorum}\ndefault.replication.factor={factor}\n\
             offsets.topic.replication.factor={factor}\ntransaction.state.log.replication.factor={factor}\n\
             {SETTINGS}{more}"
        );
        for node in &nodes {
            node.configure(&lines);
            match (voters, node.roles) {
                (Voters::Configured, _) => node.format(&[]),
                (Voters::Logged, Roles::Broker) => node.format(&["--no-initial-controllers"]),
                (Voters::Logged, _) => node.format(&["--initial-controllers", &initial]),
            }
        }
        Cluster { directory, nodes }
    }

    /// As [`Cluster::format`], and starts all.
    pub fn start(plan: &[(Roles, Kind)], voters: Voters, more: &str) -> Cluster {
        let mut cluster = Cluster::format(plan, voters, more);
        cluster.nodes.iter_mut().for_each(Node::spawn);
        cluster.nodes.iter().for_each(Node::wait_until_serving);
        cluster
    }

    /// The node with this id.
    pub fn node(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The brokers' addresses.
    pub fn bootstrap(&self) -> String {
        let brokers = self.nodes.iter().filter(|node| node.roles != Roles::Controller);
        brokers.map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs one of Kafka's tools, as Ottla has them, and returns what it says; `None` when it fails.
    pub fn try_tool(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new(binary())
            .args([name, "--bootstrap-server", &self.bootstrap()])
            .args(arguments)
            .output()
            .expect("the binary is built");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("tools print text"))
    }

    /// As [`Cluster::try_tool`], tried until it works.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> String {
        eventually(&format!("{name} {arguments:?}"), PATIENCE, || self.try_tool(name, arguments))
    }

    /// Makes a topic whose partitions have these replicas, the preferred leader first.
    pub fn create_topic(&self, topic: &str, replicas: &[&[usize]]) {
        let of_partition = |ids: &&[usize]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(":");
        let assignment: Vec<String> = replicas.iter().map(of_partition).collect();
        self.tool(
            "kafka-topics",
            &["--create", "--topic", topic, "--replica-assignment", &assignment.join(",")],
        );
    }

    /// How the partitions of a topic stand; empty when nobody says.
    pub fn partitions(&self, topic: &str) -> BTreeMap<i32, Partition> {
        let said = self.try_tool("kafka-topics", &["--describe", "--topic", topic]).unwrap_or_default();
        let field = |line: &str, name: &str| {
            let value = line.split('\t').find_map(|cell| cell.trim().strip_prefix(name))?;
            Some(value.trim().to_owned())
        };
        let ids = |text: &str| -> Vec<usize> { text.split(',').filter_map(|id| id.parse().ok()).collect() };
        let of_line = |line: &str| {
            let partition = Partition {
                leader: field(line, "Leader:")?.parse().ok(),
                replicas: ids(&field(line, "Replicas:")?),
                in_sync: ids(&field(line, "Isr:")?).into_iter().collect(),
            };
            Some((field(line, "Partition:")?.parse().ok()?, partition))
        };
        said.lines().filter_map(of_line).collect()
    }

    /// Waits until it is so of every partition of a topic.
    pub fn wait_for(&self, what: &str, topic: &str, is_so: impl Fn(&Partition) -> bool) {
        let what = || format!("{what}: {:?}\n{}", self.partitions(topic), self.complaints());
        eventually(what, PATIENCE, || {
            let partitions = self.partitions(topic);
            (!partitions.is_empty() && partitions.values().all(&is_so)).then_some(())
        });
    }

    /// Waits until every replica is in sync.
    pub fn wait_until_in_sync(&self, topic: &str) {
        self.wait_for("all are in sync", topic, |partition| {
            partition.in_sync.len() == partition.replicas.len()
        });
    }

    /// Waits until a node leads every partition of a topic, and is alone in sync.
    pub fn wait_until_alone(&self, topic: &str, id: usize) {
        self.wait_for(&format!("{id} is alone"), topic, |partition| {
            partition.leader == Some(id) && partition.in_sync == BTreeSet::from([id])
        });
    }

    /// Has every partition of a topic led by the first of its replicas.
    pub fn elect_preferred(&self, topic: &str) {
        let arguments = ["--election-type", "preferred", "--all-topic-partitions"];
        self.tool("kafka-leader-election", &arguments);
        self.wait_for("the first lead", topic, |partition| {
            partition.leader == partition.replicas.first().copied()
        });
    }

    /// The active controller, as the quorum says it.
    pub fn controller(&self) -> Option<usize> {
        let said = self.try_tool("kafka-metadata-quorum", &["describe", "--status"])?;
        said.lines().find_map(|line| line.strip_prefix("LeaderId:")?.trim().parse().ok())
    }

    /// The controllers that vote, as the one that leads has it; nothing while there is none.
    pub fn voters(&self) -> Option<Vec<usize>> {
        topology::voters(&self.try_tool("kafka-metadata-quorum", &["describe", "--status"])?)
    }

    /// Takes a controller out of the quorum.
    pub fn remove_voter(&self, id: usize) {
        let (number, directory) = (id.to_string(), directory_id(&self.nodes[id - 1]).to_string());
        let removal = ["--controller-id", &number, "--controller-directory-id", &directory];
        self.tool("kafka-metadata-quorum", &[&["remove-controller"], &removal[..]].concat());
    }

    /// Adds a controller to the quorum.
    pub fn add_voter(&self, id: usize) {
        let properties = self.nodes[id - 1].properties();
        let properties = properties.to_str().expect("a path in text");
        self.tool("kafka-metadata-quorum", &["--command-config", properties, "add-controller"]);
    }

    /// Waits until a node has snapshotted the metadata log, further than its beginning.
    pub fn wait_for_snapshot(&self, id: usize) {
        let snapshots = || self.nodes[id - 1].offsets(METADATA, "checkpoint");
        eventually(&format!("a snapshot of {id}"), PATIENCE, || snapshots().filter(|&(_, last)| last > 0));
    }

    /// What a group has committed, as `kafka-consumer-groups` tells it: the offset of each partition of a topic.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let said =
            self.try_tool("kafka-consumer-groups", &["--describe", "--group", group]).unwrap_or_default();
        let of_line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // GROUP TOPIC PARTITION CURRENT-OFFSET ...
            (words.get(1) == Some(&topic)).then_some(())?;
            Some((words.get(2)?.parse().ok()?, words.get(3)?.parse().ok()?))
        };
        said.lines().filter_map(of_line).collect()
    }

    /// Waits until the logs of a partition are equal on these nodes, byte for byte, and returns how long they are.
    pub fn wait_for_equal_logs(&self, partition: &str, ids: &[usize]) -> usize {
        let of_node = |id: &usize| self.nodes[id - 1].log(partition);
        let lengths = || ids.iter().map(|id| of_node(id).len()).collect::<Vec<_>>();
        let what = || format!("equal logs of {partition}: {:?} bytes", lengths());
        eventually(what, PATIENCE, || {
            let logs: Vec<Vec<u8>> = ids.iter().map(of_node).collect();
            let is_equal = !logs[0].is_empty() && logs.iter().all(|log| *log == logs[0]);
            is_equal.then(|| logs[0].len())
        })
    }

    /// What nodes have said that is no mere information, the last of it.
    pub fn complaints(&self) -> String {
        let of_node = |node: &Node| {
            let said = node.said();
            let lines: Vec<String> = said
                .lines()
                .filter(|line| !line.contains(" INFO "))
                .map(|line| format!("{}: {line}", node.id))
                .collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        self.nodes.iter().map(of_node).collect::<Vec<_>>().join("\n")
    }
}
