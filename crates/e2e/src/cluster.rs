//! Real nodes in a directory of their own, on ports of their own.

use crate::client::Client;
use crate::network::{Network, Site};
use crate::{eventually, process, slow_line};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take that should take well under a second: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster id of every test.
pub const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAZA";

/// Nodes that are killed when the test ends.
pub struct Cluster {
    directory: PathBuf,
    /// Removed at the end, unless the directory was given.
    _temporary: Option<TempDir>,
    nodes: Vec<Node>,
}

/// One node: combined broker and controller.
pub struct Node {
    /// Its `node.id`, from 1.
    pub id: usize,
    /// Where it runs.
    pub site: Site,
    /// Where clients reach it.
    pub port: u16,
    /// Where the quorum reaches it.
    pub controller_port: u16,
    /// Where its metrics are.
    pub http_port: u16,
    directory: PathBuf,
    data: PathBuf,
    child: Option<Child>,
    /// How much its earlier lives have logged.
    logged_before: usize,
}

impl Cluster {
    /// Formats and starts `count` nodes with Ottla's defaults, and waits until all serve. `extra` is added to
    /// every `server.properties`.
    pub fn start(count: usize, extra: &str) -> Cluster {
        let temporary = tempfile::tempdir().expect("a directory for the test");
        let cluster = Cluster::start_in(temporary.path(), count, extra);
        Cluster { _temporary: Some(temporary), ..cluster }
    }

    /// As [`Cluster::start`], with lines for each node that its id decides.
    pub fn start_each(count: usize, extra: impl Fn(usize) -> String) -> Cluster {
        let temporary = tempfile::tempdir().expect("a directory for the test");
        let cluster = Cluster::start_each_in(temporary.path(), count, extra);
        Cluster { _temporary: Some(temporary), ..cluster }
    }

    /// As [`Cluster::start`], in an empty directory that outlives the cluster.
    pub fn start_in(directory: &Path, count: usize, extra: &str) -> Cluster {
        Cluster::start_each_in(directory, count, |_| extra.to_owned())
    }

    /// As [`Cluster::start_in`] with three nodes, each on its host of a network. This thread must be on the clients' host,
    /// and so must whoever uses the cluster.
    pub fn start_on(network: &Network, directory: &Path, extra: &str) -> Cluster {
        Cluster::start_at(directory, 3, |id| network.site(id), |_, _| extra.to_owned())
    }

    /// Three nodes far from each other and from their clients: whatever is said is heard `delay` later.
    pub fn start_far_apart(directory: &Path, delay: Duration) -> Cluster {
        let behind = |_, node: &Node| {
            let ports = free_ports(2);
            for (near, far) in [(node.port, ports[0]), (node.controller_port, ports[1])] {
                for address in ["127.0.0.1", "::1"] {
                    slow_line::lay(TcpListener::bind((address, near)).expect("it was free"), far, delay);
                }
            }
            format!(
                "listeners=PLAINTEXT://localhost:{},CONTROLLER://localhost:{}\n\
                 advertised.listeners=PLAINTEXT://localhost:{},CONTROLLER://localhost:{}",
                ports[0], ports[1], node.port, node.controller_port
            )
        };
        Cluster::start_at(directory, 3, |_| Site::here(), behind)
    }

    fn start_each_in(directory: &Path, count: usize, extra: impl Fn(usize) -> String) -> Cluster {
        Cluster::start_at(directory, count, |_| Site::here(), |id, _| extra(id))
    }

    fn start_at(
        directory: &Path,
        count: usize,
        site: impl Fn(usize) -> Site,
        extra: impl Fn(usize, &Node) -> String,
    ) -> Cluster {
        let ports = free_ports(3 * count);
        let voters: Vec<String> =
            (1..=count).map(|id| format!("{id}@{}:{}", site(id).host, ports[count + id - 1])).collect();
        let factor = count.min(3);
        let nodes = (1..=count)
            .map(|id| {
                let own = [ports[id - 1], ports[count + id - 1], ports[2 * count + id - 1]];
                let node = Node::new(id, site(id), own, directory.join(id.to_string()));
                let text = format!(
                    "process.roles=broker,controller\nnode.id={id}\n\
                     controller.listener.names=CONTROLLER\n\
                     listeners=PLAINTEXT://{host}:{},CONTROLLER://{host}:{}\n\
                     controller.quorum.voters={}\nlog.dirs={}\n\
                     default.replication.factor={factor}\nmin.insync.replicas={}\n\
                     offsets.topic.replication.factor={factor}\n\
                     transaction.state.log.replication.factor={factor}\n\
                     transaction.state.log.min.isr={}\nhttp.listener={host}:{}\n{}\n",
                    node.port,
                    node.controller_port,
                    voters.join(","),
                    node.data().display(),
                    factor.min(2),
                    factor.min(2),
                    node.http_port,
                    extra(id, &node),
                    host = node.site.host,
                );
                fs::write(node.properties(), text).expect("a file for the node");
                node
            })
            .collect();
        let mut cluster = Cluster { directory: directory.to_owned(), _temporary: None, nodes };
        cluster.nodes.iter().for_each(Node::format_in_a_fixed_quorum);
        for node in &mut cluster.nodes {
            node.spawn();
        }
        for node in &cluster.nodes {
            node.wait_until_serving();
        }
        cluster
    }

    /// Formats `count` nodes whose voters the log names (KIP-853), and starts the first, which votes alone. The
    /// others are formatted to join it, and not started. `extra` is added to every `server.properties`.
    pub fn standalone(count: usize, extra: &str) -> Cluster {
        let temporary = tempfile::tempdir().expect("a directory for the test");
        let directory = temporary.path().to_owned();
        let ports = free_ports(3 * count);
        let controllers: Vec<String> =
            ports[count..2 * count].iter().map(|port| format!("localhost:{port}")).collect();
        let node = |id: usize| {
            let own = [ports[id - 1], ports[count + id - 1], ports[2 * count + id - 1]];
            Node::new(id, Site::here(), own, directory.join(id.to_string()))
        };
        let mut nodes: Vec<Node> = (1..=count).map(node).collect();
        for node in &nodes {
            let text = format!(
                "process.roles=broker,controller\nnode.id={}\ncontroller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://localhost:{},CONTROLLER://localhost:{}\n\
                 controller.quorum.bootstrap.servers={}\nlog.dirs={}\nhttp.listener=localhost:{}\n{extra}\n",
                node.id,
                node.port,
                node.controller_port,
                controllers.join(","),
                node.data().display(),
                node.http_port,
            );
            fs::write(node.properties(), text).expect("a file for the node");
            node.format(if node.id == 1 { "--standalone" } else { "--no-initial-controllers" });
        }
        nodes[0].start();
        Cluster { directory, _temporary: Some(temporary), nodes }
    }

    /// The addresses of all nodes, for `-b`.
    pub fn bootstrap(&self) -> String {
        addresses(self.nodes.iter())
    }

    /// The addresses of all nodes but one.
    pub fn bootstrap_without(&self, id: usize) -> String {
        addresses(self.nodes.iter().filter(|node| node.id != id))
    }

    /// The first controller, for `--zookeeper`.
    pub fn zookeeper(&self) -> String {
        format!("{}:{}", self.nodes[0].site.host, self.nodes[0].controller_port)
    }

    /// Runs one of Kafka's tools and returns what it wrote to standard output. When that was to create a topic, all brokers know
    /// it then.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn tool(&self, arguments: &[&str]) -> String {
        let output = Command::new(binary()).args(arguments).output().expect("the binary is built");
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8(output.stdout).expect("tools print text");
        assert!(output.status.success(), "{arguments:?}: {}\n{said}{errors}", output.status);
        let topic = arguments.iter().skip_while(|argument| **argument != "--topic").nth(1);
        if let (Some(topic), true) = (topic, arguments.contains(&"--create")) {
            self.wait_until_known(topic);
        }
        said
    }

    /// Waits until every broker that runs knows of a topic: the next command may ask any.
    fn wait_until_known(&self, topic: &str) {
        let name = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![name]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let is_known = |node: &Node| {
            // One that cannot be reached from here is not asked.
            let Some(mut client) = Client::reach(&node.address()) else { return true };
            client
                .call(12, &request)
                .is_none_or(|answer| answer.topics.iter().all(|topic| topic.error_code == 0))
        };
        eventually(&format!("all brokers know of {topic}"), PATIENCE, || {
            self.nodes.iter().filter(|node| node.runs()).all(is_known).then_some(())
        });
    }

    /// The node with this id.
    pub fn node(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    /// A broker that is no controller, in a directory of this name; formatted for the cluster with this id, and not
    /// started.
    pub fn broker(&self, id: usize, directory: &str, cluster_id: &str) -> Node {
        let ports = free_ports(2);
        let node = Node::new(id, Site::here(), [ports[0], 0, ports[1]], self.directory.join(directory));
        let first = fs::read_to_string(self.nodes[0].properties()).expect("its configuration");
        // The controllers, as the first node has them.
        let quorum = first.lines().find(|line| line.starts_with("controller.quorum."));
        let text = format!(
            "process.roles=broker\nnode.id={id}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://localhost:{}\n{}\nlog.dirs={}\n\
             http.listener=localhost:{}\n",
            node.port,
            quorum.expect("a node knows its controllers"),
            node.data().display(),
            node.http_port,
        );
        fs::write(node.properties(), text).expect("a file for the node");
        run(Command::new(binary()).args(["format", "-t", cluster_id, "-c"]).arg(node.properties()));
        node
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Ends all that run as `kill` does, at the same time, and waits until they have stopped in order.
    pub fn stop(&mut self) {
        let mut running: Vec<&mut Node> = self.nodes.iter_mut().filter(|node| node.child.is_some()).collect();
        running.iter().for_each(|node| node.signal(Signal::TERM));
        running.iter_mut().for_each(|node| node.wait_until_stopped());
    }

    /// Ends all as `kill -9` does, at the same time.
    pub fn kill(&mut self) {
        self.nodes.iter().for_each(|node| node.signal(Signal::KILL));
        self.nodes.iter_mut().for_each(Node::wait_until_killed);
    }

    /// Starts all again, and waits until they serve.
    pub fn restart(&mut self) {
        self.nodes.iter_mut().for_each(Node::spawn);
        self.nodes.iter().for_each(Node::wait_until_serving);
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Node {
    /// One that does not run, in a directory of its own. `ports` are those of clients, of the quorum and of metrics.
    fn new(id: usize, site: Site, ports: [u16; 3], directory: PathBuf) -> Node {
        fs::create_dir_all(&directory).expect("a directory for the node");
        let [port, controller_port, http_port] = ports;
        let data = directory.join("data");
        Node { id, site, port, controller_port, http_port, directory, data, child: None, logged_before: 0 }
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.site.host, self.port)
    }

    fn format_in_a_fixed_quorum(&self) {
        run(Command::new(binary()).args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.properties()));
    }

    /// Puts an empty disk in place of the one that it had, formatted as a new one is.
    ///
    /// # Panics
    /// When it runs.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "the node runs");
        fs::remove_dir_all(self.data()).expect("it had a disk");
        self.format_in_a_fixed_quorum();
    }

    /// Formats its directory as a member of a quorum whose log names the voters.
    pub fn format(&self, voters: &str) {
        let mut format = Command::new(binary());
        format.args(["kafka-storage", "format", "-t", CLUSTER_ID, voters, "-c"]).arg(self.properties());
        run(&mut format);
    }

    /// The id of its metadata directory.
    pub fn directory_id(&self) -> String {
        let text = fs::read_to_string(self.data().join("meta.properties")).expect("it is formatted");
        let id = text.lines().find_map(|line| line.strip_prefix("directory.id="));
        id.expect("a formatted directory has an id").to_owned()
    }

    /// Where its logs are.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Says where its logs are, of one whose `log.dirs` was set otherwise.
    pub fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    /// Whether it was started and has not been ended since.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it again, and waits until it serves.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_serving();
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_until_killed();
    }

    fn wait_until_killed(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.wait().expect("the child is ours");
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

    /// Ends it as `kill` does, and waits until it has stopped in order.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait_until_stopped();
    }

    fn wait_until_stopped(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        let status = eventually("the node stops", PATIENCE, || child.try_wait().expect("the child is ours"));
        assert!(status.success(), "node {} stopped with {status}:\n{}", self.id, self.log());
    }

    /// Waits until it has ended by itself, in failure.
    ///
    /// # Panics
    /// When it ends well, or not within [`PATIENCE`].
    pub fn wait_until_failed(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        let status =
            eventually("the node gives up", PATIENCE, || child.try_wait().expect("the child is ours"));
        assert!(!status.success(), "node {} ended with {status}:\n{}", self.id, self.log());
    }

    /// Its configuration.
    pub fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    /// Starts it again.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        self.logged_before = self.log().len();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("server.log"))
            .expect("a log file");
        let child = self
            .site
            .command(binary())
            .arg("server")
            .arg(self.properties())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary is built by `cargo xtask test`");
        self.child = Some(child);
    }

    /// Waits until it serves.
    pub fn wait_until_serving(&self) {
        eventually(&format!("node {} serves", self.id), PATIENCE, || {
            self.log()[self.logged_before..].contains("Kafka Server started").then_some(())
        });
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

fn addresses<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    nodes.map(Node::address).collect::<Vec<_>>().join(",")
}

/// The `ottla` that was built with these tests.
pub fn binary() -> PathBuf {
    let profile = profile_directory();
    let binary = profile.join("ottla");
    assert!(binary.exists(), "{} is missing: run `cargo xtask test`", binary.display());
    binary
}

/// Where this program was built: `target/<profile>`, in which tests lie one level deeper.
pub fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a file");
    let directory = program.parent().expect("a file lies in a directory");
    let deps = directory.file_name().is_some_and(|name| name == "deps");
    let profile = if deps { directory.parent() } else { Some(directory) };
    profile.expect("deps lies in target/<profile>").to_owned()
}

/// Ports that nobody listens on: below those that the system gives to outgoing connections, which would otherwise
/// take one between a node's death and its return.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 18_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests in other processes begin elsewhere.
    let start = std::process::id().wrapping_mul(61);
    let candidates = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("a port")
    });
    // Nodes listen on both families.
    let is_free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("::1", *port)).is_ok()
    };
    candidates.take(COUNT as usize).filter(is_free).take(count).collect()
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the binary is built by `cargo xtask test`");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
}
