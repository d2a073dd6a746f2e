//! Nodes and clients on simulated hosts.

use super::hosts::{self, Host, Program, TICK};
use super::mounts::{self, Mounts};
use super::network::SimNetwork;
use super::quorum::{CONTROLLER_PORT, Voting};
use super::wire::{HostId, Wire};
use anyhow::{Context as _, Result};
use ottla_metadata::MetadataVersion;
use ottla_net::Clock;
use ottla_server::format::{self, Beginning, FirstVoters, Formatted};
use ottla_server::io_pool::Threads;
use ottla_server::log_levels::FixedLevels;
use ottla_server::node::Environment;
use ottla_server::{Node, NodeConfig, Properties};
use ottla_storage::MetaProperties;
use ottla_storage::sim_disk::FaultOn;
use ottla_types::{Random, Timestamp, Uuid};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The time of day at which every simulation begins: 2026-01-01.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// Where clients connect.
pub const CLIENT_PORT: u16 = 9092;

/// A sync or a cold read takes as long as this at most, mostly less.
const DISK_DELAY_MAX: Duration = Duration::from_millis(8);

/// The host of the clients.
const CLIENTS: &str = "clients";

/// Nodes with both roles, and a host for their clients.
pub struct Cluster {
    /// What connects them.
    pub wire: Wire,
    nodes: Vec<SimNode>,
    clients: Host,
    names: Arc<BTreeMap<String, HostId>>,
    cluster_id: String,
    elapsed: Duration,
    random: Random,
}

struct SimNode {
    host: Host,
    config: NodeConfig,
    disk: Mounts,
    has_power: bool,
    /// Whether its process may end by itself: its disk is failing, or was a moment ago.
    may_end: bool,
    /// How many milliseconds its time of day is wrong.
    skew_ms: i64,
    /// How many it gains in a second, and since when.
    drift: (i64, Duration),
    machine: Arc<Machine>,
}

impl SimNode {
    /// How many milliseconds its time of day is wrong by now.
    fn skew_ms(&self, elapsed: Duration) -> i64 {
        let (gained, since) = self.drift;
        let drifted = (elapsed - since).as_millis() as i64 * gained / 1_000;
        self.skew_ms + drifted
    }
}

/// What a node's process finds on its machine.
struct Machine {
    /// How many times longer than usual its disk takes.
    slowness: AtomicU32,
    /// Turns true when the process is to end in order.
    leaving: watch::Sender<bool>,
}

impl Cluster {
    /// `count` formatted nodes that have just been started.
    ///
    /// # Errors
    /// When they cannot be formatted.
    pub fn start(count: usize, seed: u64, settings: &str, voting: Voting) -> Result<Cluster> {
        let mut random = Random::new(seed);
        let latency_max = random.duration(Duration::from_micros(200), Duration::from_millis(5));
        let wire = Wire::new(Random::new(random.next_u64()), latency_max);
        let hosts = (0..count).map(|node| (name(node), HostId(node)));
        let names = Arc::new(hosts.chain([(CLIENTS.to_owned(), HostId(count))]).collect::<BTreeMap<_, _>>());
        let cluster_id = random.uuid().to_string();
        let node_names: Vec<String> = (0..count).map(name).collect();
        let settings = voting.settings(&node_names) + settings;
        let mut nodes = Vec::new();
        for (node, voters) in voting.first_voters(&node_names, &mut random).into_iter().enumerate() {
            let config = config(node, &settings)?;
            let disk = Mounts::default();
            format(&disk, &config, &cluster_id, voters, &mut random)?;
            let network = SimNetwork { wire: wire.clone(), host: HostId(node), names: names.clone() };
            let machine =
                Arc::new(Machine { slowness: AtomicU32::new(1), leaving: watch::Sender::new(false) });
            let program = program(config.clone(), disk.clone(), network, machine.clone(), random.next_u64());
            let mut host = Host::new(name(node), program);
            host.start(random.next_u64());
            nodes.push(SimNode {
                host,
                config,
                disk,
                has_power: true,
                may_end: false,
                skew_ms: 0,
                drift: (0, Duration::ZERO),
                machine,
            });
        }
        let clients = Host::new(CLIENTS.to_owned(), Box::new(|| Box::pin(std::future::pending())));
        Ok(Cluster { wire, nodes, clients, names, cluster_id, elapsed: Duration::ZERO, random })
    }

    /// The network as clients see it.
    pub fn clients_network(&self) -> SimNetwork {
        SimNetwork { wire: self.wire.clone(), host: self.clients(), names: self.names.clone() }
    }

    /// Runs a program on the clients' host.
    pub fn run_clients(&mut self, program: Program) {
        self.clients = Host::new(CLIENTS.to_owned(), program);
        self.clients.start(self.random.next_u64());
    }

    /// The names of the nodes' hosts.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.host.name.clone()).collect()
    }

    /// The clients' host.
    pub fn clients(&self) -> HostId {
        HostId(self.nodes.len())
    }

    /// All hosts but this one.
    pub fn others(&self, host: HostId) -> Vec<HostId> {
        (0..=self.nodes.len()).map(HostId).filter(|&other| other != host).collect()
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Lets a millisecond pass. Returns whether the clients have come to their end.
    ///
    /// # Errors
    /// What ended a node or the clients before.
    pub fn step(&mut self) -> Result<bool> {
        self.elapsed += TICK;
        hosts::set_now(Some(self.elapsed));
        self.wire.advance(self.elapsed);
        for node in &mut self.nodes {
            let span = tracing::info_span!("on", host = node.host.name);
            let _entered = span.enter();
            hosts::set_skew_ms(node.skew_ms(self.elapsed));
            match node.host.tick() {
                Ok(_) => {}
                Err(error) if node.may_end => tracing::info!("the process ended: {error:#}"),
                Err(error) => return Err(error.context(node.host.name.clone())),
            }
        }
        hosts::set_skew_ms(0);
        let ended = self.clients.tick();
        hosts::set_now(Some(self.elapsed));
        ended
    }

    /// Ends a node's process, as SIGKILL does: its host closes its connections and refuses new ones.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].host.end();
    }

    /// A node's host loses power: nobody hears of it, and what was not synced is gone or torn.
    pub fn lose_power(&mut self, node: usize) {
        let id = HostId(node);
        if std::mem::replace(&mut self.nodes[node].has_power, false) {
            for other in self.others(id) {
                self.wire.cut(id, other);
                self.wire.cut(other, id);
            }
        }
        self.wire.power_off(id);
        let node = &mut self.nodes[node];
        node.host.end();
        node.disk.lose_power(&mut self.random);
    }

    /// Ends a node's process in order, as SIGTERM does. It takes its time.
    pub fn stop(&mut self, node: usize) {
        self.nodes[node].machine.leaving.send_replace(true);
    }

    /// A node's disk begins to fail: every operation of a kind, after so many more of them.
    pub fn break_disk(&mut self, node: usize, on: FaultOn, later: u64) {
        let node = &mut self.nodes[node];
        node.may_end = true;
        node.disk.fail(on, later);
    }

    /// A node's second disk begins to fail: every operation of a kind, after so many more of them.
    pub fn break_directory(&mut self, node: usize, on: FaultOn, later: u64) {
        self.nodes[node].disk.fail_second(on, later);
    }

    /// A node's disk has room for so many more bytes.
    pub fn fill_disk(&mut self, node: usize, room: u64) {
        let node = &mut self.nodes[node];
        node.may_end = true;
        node.disk.fill_up_to(room);
    }

    /// A node's disk works again. Its process may have found out before, and not have ended yet.
    pub fn heal_disk(&mut self, node: usize) {
        self.nodes[node].disk.heal();
    }

    /// A node's disk takes so many times longer than usual to sync and to read.
    pub fn slow_disk(&mut self, node: usize, times: u32) {
        self.nodes[node].machine.slowness.store(times, Ordering::Relaxed);
    }

    /// A node's time of day is wrong by so many milliseconds, and becomes no more wrong.
    pub fn set_skew_ms(&mut self, node: usize, skew_ms: i64) {
        self.nodes[node].skew_ms = skew_ms;
        self.nodes[node].drift = (0, self.elapsed);
    }

    /// A node's time of day gains so many milliseconds a second from now on.
    pub fn set_drift_ms(&mut self, node: usize, gained: i64) {
        let node = &mut self.nodes[node];
        node.skew_ms = node.skew_ms(self.elapsed);
        node.drift = (gained, self.elapsed);
    }

    /// A node's timers go so many thousandths faster than those of others.
    pub fn set_pace(&mut self, node: usize, faster: i64) {
        self.nodes[node].host.set_pace(faster);
    }

    /// Ends a node's process, as SIGKILL does, and replaces its disks: they are formatted for a node that comes to a cluster that
    /// there is.
    ///
    /// # Panics
    /// When they cannot be formatted.
    pub fn wipe(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.host.end();
        node.disk.wipe();
        format(&node.disk, &node.config, &self.cluster_id, FirstVoters::Unknown, &mut self.random)
            .expect("an empty disk is formatted");
    }

    /// The ids of the nodes' first directories.
    ///
    /// # Errors
    /// When one is not formatted.
    pub fn directory_ids(&self) -> Result<Vec<Uuid>> {
        let read = |node: &SimNode| -> Result<Uuid> {
            let meta = MetaProperties::read(&node.disk, Path::new(mounts::FIRST))?;
            Ok(meta.context("a formatted disk")?.directory_id)
        };
        self.nodes.iter().map(read).collect()
    }

    /// Each node's name and its disk.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &Mounts)> {
        self.nodes.iter().map(|node| (node.host.name.as_str(), &node.disk))
    }

    /// Starts a node that has ended, was killed or has lost its power.
    pub fn restart(&mut self, node: usize) {
        let id = HostId(node);
        if !std::mem::replace(&mut self.nodes[node].has_power, true) {
            for other in self.others(id) {
                self.wire.mend(id, other);
                self.wire.mend(other, id);
            }
        }
        let seed = self.random.next_u64();
        let node = &mut self.nodes[node];
        node.machine.leaving.send_replace(false);
        node.may_end = false;
        hosts::set_skew_ms(node.skew_ms(self.elapsed));
        node.host.start(seed);
        hosts::set_skew_ms(0);
    }

    /// Stops a node's process, as SIGSTOP does.
    pub fn freeze(&mut self, node: usize) {
        self.nodes[node].host.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        hosts::set_skew_ms(node.skew_ms(self.elapsed));
        node.host.thaw();
        hosts::set_skew_ms(0);
    }

    /// How many nodes there are.
    pub fn nodes_count(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether a node's process was asked to end, and has not yet.
    pub fn is_leaving(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.host.is_running() && *node.machine.leaving.borrow()
    }

    /// Returns whether a node's process runs, or is frozen.
    pub fn is_running(&self, node: usize) -> bool {
        self.nodes[node].host.is_running()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        hosts::set_now(None);
        hosts::set_skew_ms(0);
    }
}

/// The host name of a node.
fn name(node: usize) -> String {
    format!("node-{}", node + 1)
}

/// Formats the disks of a node.
fn format(
    disk: &Mounts,
    config: &NodeConfig,
    cluster_id: &str,
    voters: FirstVoters,
    random: &mut Random,
) -> Result<()> {
    let beginning = Beginning { voters, ..Beginning::at(MetadataVersion::LATEST) };
    let disk = Arc::new(disk.clone());
    format::format(disk, config, cluster_id, &beginning, Formatted::Refuse, Timestamp(0), random)?;
    Ok(())
}

fn config(node: usize, settings: &str) -> Result<NodeConfig> {
    let text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         listeners=PLAINTEXT://0.0.0.0:{CLIENT_PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}\n\
         advertised.listeners=PLAINTEXT://{name}:{CLIENT_PORT},CONTROLLER://{name}:{CONTROLLER_PORT}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={data}\n\
         default.replication.factor=3\n\
         min.insync.replicas=2\n\
         offsets.topic.replication.factor=3\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.num.partitions=3\n\
         group.consumer.min.session.timeout.ms=1000\n\
         group.consumer.session.timeout.ms=6000\n\
         group.consumer.min.heartbeat.interval.ms=100\n\
         group.consumer.heartbeat.interval.ms=500\n\
         {settings}",
        id = node + 1,
        data = mounts::FIRST,
        name = name(node)
    );
    let properties = Properties::parse("server.properties", text.as_bytes())?;
    Ok(NodeConfig::new(properties)?)
}

/// What a node's process does.
fn program(
    config: NodeConfig,
    disk: Mounts,
    network: SimNetwork,
    machine: Arc<Machine>,
    seed: u64,
) -> Program {
    let seeds = Mutex::new(Random::new(seed));
    Box::new(move || {
        let seed = seeds.lock().next_u64();
        let delays = Mutex::new(Random::new(seed ^ 1));
        let (config, network, disk) = (config.clone(), Arc::new(network.clone()), Arc::new(disk.clone()));
        let machine = machine.clone();
        let mut leaving = machine.leaving.subscribe();
        Box::pin(async move {
            let runtime = Handle::current();
            let environment = Environment {
                control: runtime.clone(),
                quorum: runtime.clone(),
                data: runtime,
                network,
                disk,
                threads: Threads::Simulated(Arc::new(move || {
                    disk_delay(&mut delays.lock()) * machine.slowness.load(Ordering::Relaxed)
                })),
                clock: Clock::simulated(wall),
                log_levels: Arc::new(FixedLevels),
                seed,
            };
            let mut node = Node::start(config, environment).context("a node starts")?;
            tokio::select! {
                biased;
                ready = node.ready() => {
                    ready.context("a node becomes a member")?;
                    tokio::select! {
                        biased;
                        failure = node.failure() => return Err(failure.into()),
                        () = is_asked_to_leave(&mut leaving) => {}
                    }
                }
                () = is_asked_to_leave(&mut leaving) => {}
            }
            node.stop().await;
            Ok(())
        })
    })
}

async fn is_asked_to_leave(leaving: &mut watch::Receiver<bool>) {
    // The machine outlives its processes.
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

/// The time of day, as the host that is running has it.
pub fn wall() -> Timestamp {
    let elapsed = hosts::now().unwrap_or_default();
    let true_time = BEGINNING.0.saturating_add_unsigned(elapsed.as_millis() as u64);
    Timestamp(true_time.saturating_add(hosts::skew_ms()))
}

/// Mostly short, now and then long.
fn disk_delay(random: &mut Random) -> Duration {
    let longest = if random.chance(100) { DISK_DELAY_MAX } else { DISK_DELAY_MAX / 8 };
    random.duration(Duration::from_micros(50), longest)
}
