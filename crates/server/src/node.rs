//! A whole node: starts the parts in order, and stops them in order.

use crate::broker::controller_channel::ControllerChannel;
use crate::broker::cut_off::Answers;
use crate::broker::lifecycle::{Lifecycle, LifecycleError, Standing};
use crate::broker::{Broker, applier, cut_off};
use crate::config::{ListenerConfig, NodeConfig, ReplicaSelector};
use crate::directory::{DirectoryError, NodeDirectory};
use crate::groups::standby;
use crate::io_pool::{IoPool, Threads};
use crate::metrics::Observed;
use crate::metrics::observed::ObservedBroker;
use crate::quorum::actor::{self, QuorumFailed, SnapshotPolicy};
use crate::quorum::failure_detection::{Driver, FailureDetection};
use crate::quorum::peers::Peers;
use crate::quorum::snapshots::LoadError;
use crate::quorum::state_file::StateFile;
use crate::quorum::{Committed, Journal, QuorumHandle, QuorumLog, Snapshots, Start, balancing};
use crate::replicas::replica_manager::ReplicaManagerOptions;
use crate::replicas::{ReplicaManager, cleaner, fetcher, flusher, isr_channel};
use crate::request::controller_router::ControllerService;
use crate::request::router::BrokerService;
use ottla_controller::Settings;
use ottla_metadata::MetadataImage;
use ottla_net::network::Bound;
use ottla_net::{Clock, Limits, Listener, Network, Service, Task, task};
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME, WireContext};
use ottla_raft::{Endpoint, Quorum, QuorumConfig, ReplicaKey, Voter, VoterSet};
use ottla_storage::{Disk, Log, LogConfig, Recovery, StorageError};
use ottla_types::{BrokerEpoch, Offset, Random, TopicPartition, Uuid};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Why a node does not start, or ends.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Several directories are asked for.
    #[error("log.dirs={0}: several log directories are not supported yet; name one")]
    SeveralDirectories(String),
    /// A log cannot be opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A port cannot be had.
    #[error("listeners: {listener} cannot bind {address}: {source}")]
    Bind {
        /// The listener.
        listener: String,
        /// What was asked for.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A voter is listed twice.
    #[error("controller.quorum.voters: {0}")]
    Voters(#[from] ottla_raft::DuplicateVoter),
    /// The latest snapshot of the metadata log cannot be used.
    #[error(transparent)]
    Snapshot(#[from] LoadError),
    /// The vote cannot be read.
    #[error("{0}")]
    QuorumState(io::Error),
    /// The system gives no thread.
    #[error("no thread can be started: {0}")]
    Threads(io::Error),
    /// The cluster refuses this broker.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The quorum gave up.
    #[error(transparent)]
    Quorum(#[from] QuorumFailed),
    /// The disk failed.
    #[error("the log directory failed")]
    DirectoryFailed,
}

/// How long an orderly stop may take before it is ended.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long connections may take to come to rest.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// A port that is ours, and the listener it belongs to.
type NamedPort = (String, Box<dyn Bound>);

/// What a node runs on.
#[derive(Clone)]
pub struct Environment {
    /// The runtime of the broker's membership. Nothing on it waits for a disk: who cannot heartbeat is fenced.
    pub control: Handle,
    /// The runtime of quorum and controller, which write their log and their votes themselves.
    pub quorum: Handle,
    /// The runtime of records.
    pub data: Handle,
    /// How others are reached.
    pub network: Arc<dyn Network>,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// Where what blocks on the disk is done.
    pub threads: Threads,
    /// The clocks.
    pub clock: Clock,
    /// Decides every matter of chance.
    pub seed: u64,
}

/// A running node.
pub struct Node {
    config: Arc<NodeConfig>,
    environment: Environment,
    quorum: QuorumHandle,
    quorum_task: Task<Result<(), QuorumFailed>>,
    controller_listeners: Vec<Listener>,
    broker: Option<BrokerParts>,
    image: watch::Receiver<Arc<MetadataImage>>,
    _controller_tasks: Vec<Task>,
}

struct BrokerParts {
    broker: Arc<Broker>,
    lifecycle: Task<Result<(), LifecycleError>>,
    /// The last incarnation before this one of which everything is here.
    previous_epoch: BrokerEpoch,
    standing: watch::Receiver<Standing>,
    leaving: watch::Sender<bool>,
    listening: watch::Sender<bool>,
    applied: watch::Receiver<Offset>,
    bound: Vec<NamedPort>,
    listeners: Vec<Listener>,
    tasks: Vec<Task>,
}

impl Node {
    /// Starts everything that needs no other node: directories, ports, the quorum, the broker's tasks.
    ///
    /// # Errors
    /// When something that is needed cannot be had; nothing is left running then.
    pub fn start(config: NodeConfig, environment: Environment) -> Result<Node, StartError> {
        let config = Arc::new(config);
        if config.log_dirs.len() != 1 || config.log_dirs[0] != config.metadata_log_dir {
            let listed: Vec<String> = config.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
            return Err(StartError::SeveralDirectories(listed.join(",")));
        }
        let directory =
            NodeDirectory::open(environment.disk.clone(), &config.metadata_log_dir, config.node_id)?;
        let mut random = Random::new(environment.seed);
        let bound = bind_all(&config, &*environment.network)?;
        let io = environment.threads.pool("io", 2).map_err(StartError::Threads)?;
        let published = watch::Sender::new(Arc::<MetadataImage>::default());
        let image = published.subscribe();
        let (committed_sender, committed) = mpsc::channel(1024);

        let committed_sender = config.roles.broker.then_some(committed_sender);
        let snapshots = snapshots(&environment, &directory);
        let on_quorum = environment.quorum.enter();
        let (quorum, quorum_task) = start_quorum(
            &config,
            &environment,
            &directory,
            io.clone(),
            published,
            committed_sender,
            random.next_u64(),
        )?;
        let wire = Arc::new(wire_context(&config, &directory));
        let mut node = Node {
            config: config.clone(),
            environment: environment.clone(),
            quorum: quorum.clone(),
            quorum_task,
            controller_listeners: Vec::new(),
            broker: None,
            image: image.clone(),
            _controller_tasks: Vec::new(),
        };
        let channel = ControllerChannel::new(environment.network.clone(), config.node_id, &quorum);
        let session_timeout = config.properties.millis("broker.session.timeout.ms");
        let detection = Arc::new(FailureDetection::new(session_timeout, environment.clock));
        let mut broker_bound = Vec::new();
        for (listener, port) in bound {
            if config.controller_listeners.contains(&listener) {
                let service = Arc::new(ControllerService {
                    quorum: quorum.clone(),
                    image: image.clone(),
                    wire: wire.clone(),
                    node_id: config.node_id,
                    detection: detection.clone(),
                    snapshots: snapshots.clone(),
                    io: io.clone(),
                });
                node.controller_listeners.push(listen(&config, &listener, port, service)?);
            } else {
                broker_bound.push((listener, port));
            }
        }
        if config.roles.controller {
            let node_image = image.clone();
            let registration =
                crate::quorum::registration::run(config.clone(), channel.clone(), image, random.uuid());
            let journal =
                Journal::open(&environment.threads, environment.disk.clone(), directory.directory.path())
                    .map_err(StartError::Threads)?;
            let driver = Driver {
                detection: detection.clone(),
                node_id: config.node_id,
                cluster_id: directory.meta.cluster_id.clone(),
                network: environment.network.clone(),
                quorum: quorum.clone(),
                image: node_image,
                journal,
            };
            node._controller_tasks = vec![
                task::spawn("controller registration", registration),
                task::spawn("failure detection", driver.run()),
            ];
            if config.properties.switch("auto.leader.rebalance.enable") {
                let every = config.properties.number("leader.imbalance.check.interval.seconds");
                let every = Duration::from_secs(every.unsigned_abs());
                let balancing = balancing::run(quorum.clone(), detection, config.node_id, every);
                node._controller_tasks.push(task::spawn("balancing", balancing));
            }
        }
        drop(on_quorum);
        if config.roles.broker {
            let seed = random.next_u64();
            let incarnation = random.uuid();
            let parts = start_broker(
                &config,
                &environment,
                &directory,
                &quorum,
                channel,
                committed,
                broker_bound,
                incarnation,
                seed,
                io,
            )?;
            node.broker = Some(parts);
        }
        Ok(node)
    }

    /// Waits until the node serves: registered, caught up, listening and let in.
    ///
    /// # Errors
    /// When it cannot become a member, or fails meanwhile.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        let Some(parts) = &mut self.broker else { return Ok(()) };
        let mut standing = parts.standing.clone();
        let registered = wait_for(&mut standing, |standing| *standing != Standing::Starting);
        if !registered.await {
            return Err(self.failure().await);
        }
        let Some(parts) = &mut self.broker else { return Ok(()) };
        // Who answers is who is registered, and it has made its replicas what the log said then.
        let epoch = *parts.broker.epoch.borrow();
        let mut applied = parts.applied.clone();
        wait_for(&mut applied, |applied| applied.0 > epoch.0).await;
        let service: Arc<dyn Service> = Arc::new(BrokerService::new(parts.broker.clone()));
        {
            let _data = self.environment.data.enter();
            for (name, port) in parts.bound.drain(..) {
                parts.listeners.push(listen(&self.config, &name, port, service.clone())?);
            }
        }
        parts.listening.send_replace(true);
        let active = wait_for(&mut standing, |standing| *standing == Standing::Active).await;
        let fatal = !active;
        if fatal {
            return Err(self.failure().await);
        }
        // What container tests of Kafka wait for.
        tracing::info!(node = self.config.node_id.0, "Kafka Server started");
        Ok(())
    }

    /// Waits until something ends that the node cannot go on without.
    pub async fn failure(&mut self) -> StartError {
        let quorum = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.quorum_task).poll_task(cx));
        match &mut self.broker {
            Some(parts) => {
                let replicas = parts.broker.replicas.clone();
                let lifecycle =
                    std::future::poll_fn(|cx| std::pin::Pin::new(&mut parts.lifecycle).poll_task(cx));
                tokio::select! {
                    biased;
                    result = lifecycle => match result {
                        Some(Err(error)) => error.into(),
                        _ => StartError::DirectoryFailed,
                    },
                    result = quorum => match result {
                        Some(Err(error)) => error.into(),
                        _ => StartError::DirectoryFailed,
                    },
                    () = replicas.directory_failed() => StartError::DirectoryFailed,
                }
            }
            None => match quorum.await {
                Some(Err(error)) => error.into(),
                _ => StartError::DirectoryFailed,
            },
        }
    }

    /// The node, for those who watch it.
    pub fn observed(&self) -> Arc<Observed> {
        Arc::new(Observed {
            node_id: self.config.node_id,
            is_controller: self.config.roles.controller,
            quorum: self.quorum.clone(),
            image: self.image.clone(),
            broker: self.broker.as_ref().map(|parts| ObservedBroker {
                broker: parts.broker.clone(),
                standing: parts.standing.clone(),
            }),
        })
    }

    /// Where the node listens, by listener name.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let broker = self.broker.iter().flat_map(|parts| &parts.listeners);
        self.controller_listeners.iter().chain(broker).map(Listener::address).collect()
    }

    /// Stops in order: leaderships move away, connections come to rest, logs are closed, the quorum goes on
    /// without this node.
    pub async fn stop(self) {
        let stopping = async {
            if let Some(parts) = self.broker {
                let begun = tokio::time::Instant::now();
                // Without it the broker just goes, and is missed as one that died.
                let is_controlled = self.config.properties.switch("controlled.shutdown.enable");
                parts.leaving.send_replace(is_controlled);
                let mut standing = parts.standing.clone();
                let released = wait_for(&mut standing, |standing| *standing == Standing::Released);
                let released = async {
                    if is_controlled && tokio::time::timeout(RELEASE_PATIENCE, released).await.is_err() {
                        tracing::warn!("the controller did not release this broker; it stops all the same");
                    }
                };
                tokio::join!(released, leave_clients(&parts.broker, parts.listeners));
                let left = begun.elapsed();
                parts.broker.groups.stop();
                // First, for one of them may lead again what was cut off.
                drop(parts.tasks);
                parts.broker.replicas.stop_leading();
                drop(parts.lifecycle);
                let epoch = match *parts.broker.epoch.borrow() {
                    // Who was never registered has added nothing.
                    BrokerEpoch::NONE => parts.previous_epoch,
                    epoch => epoch,
                };
                if let Err(error) = parts.broker.replicas.close(epoch) {
                    tracing::error!(%error, "the logs could not be closed; the next start checks them");
                }
                tracing::info!(?left, closed = ?begun.elapsed(), "broker stopped");
            }
            self.quorum.shut_down().await;
            for listener in self.controller_listeners {
                listener.close(QUORUM_DRAIN).await;
            }
            drop(self.quorum_task);
        };
        if tokio::time::timeout(STOP_PATIENCE, stopping).await.is_err() {
            tracing::warn!("stopped without waiting any longer");
        }
    }
}

/// Closes the connections of clients as soon as nothing is led here any more, without waiting until all others are
/// known to have heard of it: to clients a closed connection is the quickest news. librdkafka asks for new leaders
/// at once then, but a quarter of a second after NOT_LEADER_OR_FOLLOWER; and whom it asks holds the answer until
/// it has heard.
async fn leave_clients(broker: &Broker, listeners: Vec<Listener>) {
    let leads_nothing = |image: &MetadataImage| {
        let itself = image.cluster.broker(broker.node_id);
        itself.is_none_or(|itself| itself.fenced || itself.in_controlled_shutdown)
            && image
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.values())
                .all(|p| p.leader != Some(broker.node_id))
    };
    // After the patience they are closed all the same.
    broker.wait_for_image(leads_nothing, RELEASE_PATIENCE).await;
    for listener in listeners {
        listener.close(DRAIN_PATIENCE).await;
    }
}

/// How long the controller may take to move this broker's leaderships away.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the quorum's last words may take.
const QUORUM_DRAIN: Duration = Duration::from_millis(100);

/// Waits until a watched value is as `wanted`; false when its owner has gone.
async fn wait_for<T>(receiver: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) -> bool {
    receiver.wait_for(wanted).await.is_ok()
}

fn wire_context(config: &NodeConfig, directory: &NodeDirectory) -> WireContext {
    WireContext {
        cluster_id: directory.meta.cluster_id.clone(),
        listener: config.controller_listeners[0].clone(),
    }
}

/// Where the metadata log is.
fn metadata_dir(directory: &NodeDirectory) -> PathBuf {
    directory.directory.partition_path(&TopicPartition::new(METADATA_TOPIC_NAME, METADATA_PARTITION))
}

/// The snapshots of the metadata log, which lie beside it.
fn snapshots(environment: &Environment, directory: &NodeDirectory) -> Snapshots {
    Snapshots::new(environment.disk.clone(), &metadata_dir(directory))
}

fn start_quorum(
    config: &Arc<NodeConfig>,
    environment: &Environment,
    directory: &NodeDirectory,
    io: IoPool,
    published: watch::Sender<Arc<MetadataImage>>,
    committed: Option<mpsc::Sender<Committed>>,
    seed: u64,
) -> Result<(QuorumHandle, Task<Result<(), QuorumFailed>>), StartError> {
    let dir = metadata_dir(directory);
    let recovery = Recovery { clean: directory.clean_shutdown.is_some(), ..Recovery::UNKNOWN };
    let now = environment.clock.now();
    let disk = environment.disk.clone();
    let properties = &config.properties;
    let log_config = LogConfig {
        segment_bytes: properties.number("metadata.log.segment.bytes").unsigned_abs(),
        segment_ms: properties.number("metadata.log.segment.ms"),
        ..LogConfig::metadata()
    };
    let (mut log, report) = Log::open(disk.clone(), dir.clone(), log_config, recovery, now)?;
    if report.truncated_bytes > 0 {
        tracing::warn!(bytes = report.truncated_bytes, "cut off a torn end of the metadata log");
    }
    let snapshots = snapshots(environment, directory);
    let (snapshot, image) = snapshots.load_latest(&mut log, now)?;
    let state_file = StateFile::new(disk, &dir);
    let state = state_file.load().map_err(StartError::QuorumState)?;
    let voters = VoterSet::new(config.voters.iter().map(|voter| Voter {
        key: ReplicaKey::new(voter.id, Uuid::ZERO),
        endpoint: Endpoint { host: voter.host.clone(), port: voter.port },
    }))?;
    let quorum_config = QuorumConfig {
        fetch_timeout: properties.millis("controller.quorum.fetch.timeout.ms"),
        election_timeout: properties.millis("controller.quorum.election.timeout.ms"),
        ..QuorumConfig::default()
    };
    let request_timeout = properties.millis("controller.quorum.request.timeout.ms");
    let wire = Arc::new(wire_context(config, directory));
    let peers = Peers::new(environment.network.clone(), wire, config.node_id, &voters, request_timeout);
    let identity = ReplicaKey::new(config.node_id, directory.id());
    let quorum = Quorum::new(quorum_config, identity, voters, state, QuorumLog::new(log, snapshot), seed);
    let settings = Settings {
        cluster_id: directory.meta.cluster_id.clone(),
        num_partitions: i32::try_from(properties.number("num.partitions")).unwrap_or(i32::MAX),
        default_replication_factor: i16::try_from(properties.number("default.replication.factor"))
            .unwrap_or(i16::MAX),
        min_insync_replicas: i32::try_from(properties.number("min.insync.replicas")).unwrap_or(i32::MAX),
        delete_topic_enable: properties.switch("delete.topic.enable"),
    };
    Ok(actor::start(Start {
        quorum,
        state_file,
        image,
        snapshots,
        snapshot_policy: SnapshotPolicy {
            bytes_between: properties
                .number("metadata.log.max.record.bytes.between.snapshots")
                .unsigned_abs(),
            interval: properties.millis("metadata.log.max.snapshot.interval.ms"),
            retention_bytes: properties.number("metadata.max.retention.bytes"),
            retention_ms: properties.number("metadata.max.retention.ms"),
        },
        published,
        bootstrap: directory.bootstrap_records()?,
        settings,
        idle_interval: properties.millis("metadata.max.idle.interval.ms"),
        peers,
        io,
        clock: environment.clock,
        committed,
        seed,
    }))
}

#[expect(clippy::too_many_arguments, reason = "called once, with the parts that a node has")]
fn start_broker(
    config: &Arc<NodeConfig>,
    environment: &Environment,
    directory: &NodeDirectory,
    quorum: &QuorumHandle,
    channel: ControllerChannel,
    committed: mpsc::Receiver<Committed>,
    bound: Vec<NamedPort>,
    incarnation_id: Uuid,
    seed: u64,
    io: IoPool,
) -> Result<BrokerParts, StartError> {
    let properties = &config.properties;
    let (isr_sender, isr_changes) = mpsc::channel(isr_channel::QUEUE_MAX);
    let replicas = Arc::new(ReplicaManager::new(ReplicaManagerOptions {
        node_id: config.node_id,
        clock: environment.clock,
        directory: directory.directory.clone(),
        clean: directory.clean_shutdown.is_some(),
        topic_defaults: config.topic_defaults.clone(),
        replica_lag_time_max: properties.millis("replica.lag.time.max.ms"),
        has_readers_elsewhere: config.replica_selector == ReplicaSelector::RackAware,
        producer_id_expiration_ms: properties.number("producer.id.expiration.ms"),
        isr_changes: isr_sender,
        seed,
    })?);
    let epoch = watch::Sender::new(BrokerEpoch::NONE);
    let standing = watch::Sender::new(Standing::Starting);
    let leaving = watch::Sender::new(false);
    let listening = watch::Sender::new(false);
    let applied = watch::Sender::new(Offset::ZERO);
    let answers = Arc::new(Answers::default());
    let broker = Arc::new(Broker::new(
        config.clone(),
        directory.meta.cluster_id.clone(),
        environment.clock,
        replicas.clone(),
        channel.clone(),
        epoch.subscribe(),
        seed.wrapping_add(1),
    ));
    let bound_ports = bound
        .iter()
        .filter_map(|(name, port)| Some((name.clone(), port.local_addr().ok()?.port())))
        .collect();
    let lifecycle = Lifecycle {
        config: config.clone(),
        cluster_id: directory.meta.cluster_id.clone(),
        incarnation_id,
        directories: vec![directory.id()],
        previous: directory.complete_since,
        directory: directory.directory.clone(),
        io: io.clone(),
        bound_ports,
        // Its own connection: heartbeats wait behind nobody's requests, nor for another runtime's threads.
        controller: ControllerChannel::new(environment.network.clone(), config.node_id, quorum),
        applied: applied.subscribe(),
        clock: environment.clock,
        answers: answers.clone(),
        epoch,
        standing: standing.clone(),
        listening: listening.subscribe(),
        leaving: leaving.subscribe(),
    };
    let standing = standing.subscribe();
    let applied_receiver = applied.subscribe();
    let (control, data) = (&environment.control, &environment.data);
    let asking =
        isr_channel::run(replicas.clone(), channel, config.node_id, broker.epoch.clone(), isr_changes);
    let syncs = environment.threads.pool("sync", flusher::SYNCS_MAX).map_err(StartError::Threads)?;
    let overdue = properties.millis("log.flush.scheduler.interval.ms");
    let fetchers = fetcher::run(broker.clone(), environment.network.clone(), syncs.clone());
    let mut tasks = vec![
        task::spawn_on(data, "applier", applier::run(broker.clone(), committed, applied)),
        task::spawn_on(data, "cut off", cut_off::run(broker.clone(), answers)),
        task::spawn_on(data, "in-sync sets", asking),
        task::spawn_on(data, "fetchers", fetchers),
        task::spawn_on(data, "overdue syncs", flusher::run_scheduler(replicas.clone(), overdue)),
        task::spawn_on(data, "standby coordinators", standby::run(broker.clone())),
        task::spawn_on(data, "replica timeouts", replica_timeouts(broker.clone())),
        task::spawn_on(data, "housekeeping", housekeeping(broker.clone(), io)),
    ];
    for _ in 0..flusher::SYNCS_MAX {
        tasks.push(task::spawn_on(data, "syncs", flusher::run(replicas.clone(), syncs.clone())));
    }
    tasks.extend(
        cleaner::start(&broker, &environment.threads, data, seed.wrapping_add(2))
            .map_err(StartError::Threads)?,
    );
    Ok(BrokerParts {
        broker,
        lifecycle: task::spawn_on(control, "lifecycle", lifecycle.run()),
        previous_epoch: directory.complete_since.epoch,
        standing,
        leaving,
        listening,
        applied: applied_receiver,
        bound,
        listeners: Vec::new(),
        tasks,
    })
}

/// Lets lagging followers leave the in-sync sets.
async fn replica_timeouts(broker: Arc<Broker>) {
    const PERIOD_MAX: Duration = Duration::from_secs(1);
    loop {
        let now = broker.clock.monotonic();
        let next = broker.replicas.handle_timeouts().unwrap_or(now + PERIOD_MAX);
        tokio::time::sleep((next - now).clamp(Duration::from_millis(10), PERIOD_MAX)).await;
    }
}

/// Checkpoints and retention, on the disk's own threads.
async fn housekeeping(broker: Arc<Broker>, io: IoPool) {
    let properties = &broker.config.properties;
    let mut high_watermarks =
        tokio::time::interval(properties.millis("replica.high.watermark.checkpoint.interval.ms"));
    let mut logs = tokio::time::interval(properties.millis("log.flush.offset.checkpoint.interval.ms"));
    let mut starts =
        tokio::time::interval(properties.millis("log.flush.start.offset.checkpoint.interval.ms"));
    let mut retention = tokio::time::interval(properties.millis("log.retention.check.interval.ms"));
    // The first tick of each comes at once, and there is nothing to do yet.
    high_watermarks.tick().await;
    logs.tick().await;
    starts.tick().await;
    retention.tick().await;
    loop {
        let replicas = broker.replicas.clone();
        let job: Box<dyn FnOnce() + Send> = tokio::select! {
            biased;
            _ = high_watermarks.tick() => Box::new(move || replicas.checkpoint_high_watermarks()),
            _ = logs.tick() => Box::new(move || replicas.checkpoint_logs()),
            _ = starts.tick() => Box::new(move || replicas.checkpoint_log_starts()),
            _ = retention.tick() => Box::new(move || replicas.handle_retention()),
        };
        if io.run(job).await.is_err() {
            tracing::error!("housekeeping failed; it is tried again");
        }
    }
}

/// Takes possession of every listener's port. A host that stands for several addresses gets one each.
fn bind_all(config: &NodeConfig, network: &dyn Network) -> Result<Vec<NamedPort>, StartError> {
    let mut bound = Vec::new();
    for listener in config.broker_listeners().chain(config.bound_controller_listeners()) {
        let failed = |address: String, source: io::Error| StartError::Bind {
            listener: listener.name.clone(),
            address,
            source,
        };
        let asked = format!("{}:{}", listener.host, listener.port);
        let addresses = addresses(listener).map_err(|error| failed(asked.clone(), error))?;
        let mut ports = Vec::new();
        let mut last = None;
        for address in addresses {
            match network.bind(address) {
                Ok(port) => ports.push((listener.name.clone(), port)),
                // A name may stand for a family of addresses that this machine does not have.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    last = Some((address.to_string(), error));
                }
                Err(error) => return Err(failed(address.to_string(), error)),
            }
        }
        if ports.is_empty() {
            let (address, error) =
                last.unwrap_or_else(|| (asked, io::Error::other("the host has no address")));
            return Err(failed(address, error));
        }
        bound.append(&mut ports);
    }
    Ok(bound)
}

fn addresses(listener: &ListenerConfig) -> io::Result<Vec<SocketAddr>> {
    let port = listener.port;
    if listener.host.is_empty() {
        return Ok(vec![SocketAddr::from(([0, 0, 0, 0], port))]);
    }
    if listener.host == "localhost" && port != 0 {
        // Clients try whichever of the two their resolver gives first.
        return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((LOOPBACK_V6, port))]);
    }
    let mut found: Vec<SocketAddr> = (listener.host.as_str(), port).to_socket_addrs()?.collect();
    found.dedup();
    if port == 0 {
        // Two addresses would get two ports.
        found.truncate(1);
    }
    Ok(found)
}

const LOOPBACK_V6: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// How long a connection may be idle; a negative setting is no bound.
fn idle_max(millis: i64) -> Duration {
    const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(millis).map_or(FOR_EVER, |millis| Duration::from_millis(millis).min(FOR_EVER))
}

fn listen(
    config: &NodeConfig,
    name: &str,
    port: Box<dyn Bound>,
    service: Arc<dyn Service>,
) -> Result<Listener, StartError> {
    let number = |name| usize::try_from(config.properties.number(name)).unwrap_or(usize::MAX);
    let limits = Limits {
        request_bytes_max: number("socket.request.max.bytes"),
        idle_max: idle_max(config.properties.number("connections.max.idle.ms")),
        ..Limits::default()
    };
    let address = port.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let failed = |source| StartError::Bind { listener: name.to_owned(), address, source };
    let connections_max = u32::try_from(config.properties.number("max.connections")).unwrap_or(u32::MAX);
    port.listen()
        .and_then(|acceptor| Listener::start(acceptor, name.into(), service, limits, connections_max))
        .map_err(failed)
}
