//! A whole node: starts the parts in order, and stops them in order.

mod broker;
mod ports;
mod quorum;

pub(crate) use quorum::controller_listeners;

use crate::broker::Broker;
use crate::broker::controller_channel::ControllerChannel;
use crate::broker::lifecycle::{LifecycleError, Standing};
use crate::config::NodeConfig;
use crate::directory::{DirectoryError, NodeDirectories};
use crate::io_pool::Threads;
use crate::log_levels::LogLevels;
use crate::metrics::Observed;
use crate::metrics::observed::ObservedBroker;
use crate::quorum::actor::QuorumFailed;
use crate::quorum::failure_detection::{Driver, FailureDetection};
use crate::quorum::snapshots::LoadError;
use crate::quorum::{Journal, QuorumHandle, balancing};
use crate::request::controller_router::ControllerService;
use crate::request::router::BrokerService;
use broker::BrokerParts;
use ottla_metadata::MetadataImage;
use ottla_net::{Clock, Listener, Network, Service, Task, task};
use ottla_storage::{Disk, StorageError};
use ottla_types::{BrokerEpoch, Random};
use ports::{advertise, bind_all, connection_quota, listen, quota_of};
use std::io;
use std::net::SocketAddr;
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
    /// The first voters make no sense.
    #[error("the snapshot of the metadata log names no voters: {0}")]
    FirstVoters(String),
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
    /// The task ended that makes the broker what the metadata log says.
    #[error(
        "this broker follows the metadata log no more: it met something that cannot be, which is said above"
    )]
    ApplierEnded,
}

/// How long an orderly stop may take before it is ended.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long connections may take to come to rest.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Who writes log lines.
    pub log_levels: Arc<dyn LogLevels>,
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

impl Node {
    /// Starts everything that needs no other node: directories, ports, the quorum, the broker's tasks.
    ///
    /// # Errors
    /// When something that is needed cannot be had; nothing is left running then.
    pub fn start(mut config: NodeConfig, environment: Environment) -> Result<Node, StartError> {
        let NodeDirectories { metadata: directory, data, unusable } =
            NodeDirectories::open(&environment.disk, &config)?;
        let mut random = Random::new(environment.seed);
        let bound = bind_all(&config, &*environment.network)?;
        advertise(&mut config, &bound);
        let config = Arc::new(config);
        let io = environment.threads.pool("io", 2).map_err(StartError::Threads)?;
        let published = watch::Sender::new(Arc::<MetadataImage>::default());
        let image = published.subscribe();
        let (committed_sender, committed) = mpsc::channel(1024);

        let committed_sender = config.roles.broker.then_some(committed_sender);
        let snapshots = quorum::snapshots(&environment, &directory);
        let on_quorum = environment.quorum.enter();
        let (quorum, quorum_task) = quorum::start(
            &config,
            &environment,
            &directory,
            io.clone(),
            published,
            committed_sender,
            random.next_u64(),
        )?;
        let wire = Arc::new(quorum::wire_context(&config, &directory));
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
        let quota = connection_quota(&config);
        for (listener, port) in bound {
            if config.controller_listeners.contains(&listener) {
                let service = Arc::new(ControllerService {
                    quorum: quorum.clone(),
                    image: image.clone(),
                    wire: wire.clone(),
                    node_id: config.node_id,
                    config: config.clone(),
                    log_levels: environment.log_levels.clone(),
                    detection: detection.clone(),
                    snapshots: snapshots.clone(),
                    io: io.clone(),
                });
                node.controller_listeners.push(listen(&config, &listener, port, service, quota.clone())?);
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
            let parts = broker::start(
                &config,
                &environment,
                data,
                unusable,
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
        let Some(parts) = &self.broker else { return Ok(()) };
        let epoch = parts.broker.epoch.clone();
        let mut standing = parts.standing.clone();
        let mut applied = parts.applied.clone();
        self.unless_failed(wait_for(&mut standing, |standing| *standing != Standing::Starting)).await?;
        // Who answers is who is registered, and it has made its replicas what the log said then.
        let epoch = *epoch.borrow();
        self.unless_failed(wait_for(&mut applied, |applied| applied.0 > epoch.0)).await?;
        self.listen()?;
        self.unless_failed(wait_for(&mut standing, |standing| *standing == Standing::Active)).await?;
        // What tests in containers wait for (Testcontainers), of a broker and of any server.
        tracing::info!("let in: Transitioning from RECOVERY to RUNNING");
        tracing::info!(node = self.config.node_id.0, "Kafka Server started");
        Ok(())
    }

    /// Waits for what a starting node waits for: true once it has come, false when it cannot any more. Without what
    /// has failed it would wait for ever.
    async fn unless_failed(&mut self, wanted: impl Future<Output = bool>) -> Result<(), StartError> {
        tokio::select! {
            biased;
            error = self.failure() => Err(error),
            true = wanted => Ok(()),
        }
    }

    /// Accepts clients.
    fn listen(&mut self) -> Result<(), StartError> {
        let Some(parts) = &mut self.broker else { return Ok(()) };
        let service: Arc<dyn Service> = Arc::new(BrokerService::new(parts.broker.clone()));
        let _data = self.environment.data.enter();
        let quota = connection_quota(&self.config);
        for (name, port) in parts.bound.drain(..) {
            let quota = quota_of(&name, &self.config, &quota);
            parts.listeners.push(listen(&self.config, &name, port, service.clone(), quota)?);
        }
        parts.listening.send_replace(true);
        Ok(())
    }

    /// Waits until something ends that the node cannot go on without.
    pub async fn failure(&mut self) -> StartError {
        let quorum = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.quorum_task).poll_task(cx));
        match &mut self.broker {
            Some(parts) => {
                let replicas = parts.broker.replicas.clone();
                // It ends in a panic only, and nothing else would show that this broker hears of nothing any more.
                let applied = async { while parts.applied.changed().await.is_ok() {} };
                let lifecycle =
                    std::future::poll_fn(|cx| std::pin::Pin::new(&mut parts.lifecycle).poll_task(cx));
                tokio::select! {
                    biased;
                    result = lifecycle => why_ended(result),
                    result = quorum => why_ended(result),
                    () = replicas.directories().given_up() => StartError::DirectoryFailed,
                    () = applied => StartError::ApplierEnded,
                }
            }
            None => why_ended(quorum.await),
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
                parts.broker.leaving.send_replace(is_controlled);
                let mut standing = parts.standing.clone();
                let released = wait_for(&mut standing, |standing| *standing == Standing::Released);
                let released = async {
                    if is_controlled && tokio::time::timeout(RELEASE_PATIENCE, released).await.is_err() {
                        tracing::warn!("the controller did not release this broker; it stops all the same");
                    }
                };
                tokio::join!(released, leave_clients(&parts.broker, parts.listeners));
                let left = begun.elapsed();
                // First, for one of them may lead or follow again what was cut off.
                drop(parts.tasks);
                parts.broker.stop_serving();
                drop(parts.lifecycle);
                let epoch = match *parts.broker.epoch.borrow() {
                    // Who was never registered has added nothing.
                    BrokerEpoch::NONE => parts.previous_epoch,
                    epoch => epoch,
                };
                // A log that somebody holds is not left as one that was closed: the next start would have to check it.
                let at_rest = async {
                    while !parts.broker.replicas.in_use().is_empty() {
                        tokio::time::sleep(REST_PERIOD).await;
                    }
                };
                if tokio::time::timeout(REST_PATIENCE, at_rest).await.is_err() {
                    let logs: Vec<String> =
                        parts.broker.replicas.in_use().iter().map(ToString::to_string).collect();
                    tracing::warn!(
                        logs = logs.join(", "),
                        "logs are still in use; the next start checks them"
                    );
                }
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

/// What ends a node with a task that it cannot go on without.
fn why_ended<E: Into<StartError>>(result: Option<Result<(), E>>) -> StartError {
    match result {
        Some(Err(error)) => error.into(),
        _ => StartError::DirectoryFailed,
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
    // All doors first: who is sent away at one must not be let in at another.
    listeners.iter().for_each(Listener::stop_accepting);
    for listener in listeners {
        listener.close(DRAIN_PATIENCE).await;
    }
}

/// How long the controller may take to move this broker's leaderships away.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

/// How long what still uses a log may take to end.
const REST_PATIENCE: Duration = Duration::from_secs(2);

/// How often to look whether it has.
const REST_PERIOD: Duration = Duration::from_millis(2);

/// How long the quorum's last words may take.
const QUORUM_DRAIN: Duration = Duration::from_millis(100);

/// Waits until a watched value is as `wanted`; false when its owner has gone.
async fn wait_for<T>(receiver: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) -> bool {
    receiver.wait_for(wanted).await.is_ok()
}
