//! Starts the broker's tasks.

use super::ports::NamedPort;
use super::{Environment, StartError};
use crate::broker::controller_channel::ControllerChannel;
use crate::broker::cut_off::Answers;
use crate::broker::lifecycle::{Lifecycle, LifecycleError, Standing};
use crate::broker::{Broker, applier, cut_off};
use crate::config::{NodeConfig, ReplicaSelector};
use crate::coordination::standby;
use crate::directory::{NodeDirectory, complete_since};
use crate::io_pool::IoPool;
use crate::quorum::{Committed, QuorumHandle};
use crate::replicas::replica_manager::{ReplicaManagerOptions, moving};
use crate::replicas::{ReplicaManager, assignments, cleaner, fetcher, flusher, isr_channel};
use crate::transactions::{markers, verifier};
use ottla_net::{Listener, Task, task};
use ottla_types::{BrokerEpoch, Offset, Uuid};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The parts of a node that is a broker.
pub(super) struct BrokerParts {
    pub(super) broker: Arc<Broker>,
    pub(super) lifecycle: Task<Result<(), LifecycleError>>,
    /// The last incarnation before this one of which everything is here.
    pub(super) previous_epoch: BrokerEpoch,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) listening: watch::Sender<bool>,
    pub(super) applied: watch::Receiver<Offset>,
    pub(super) bound: Vec<NamedPort>,
    pub(super) listeners: Vec<Listener>,
    pub(super) tasks: Vec<Task>,
}

#[expect(clippy::too_many_arguments, reason = "called once, with the parts that a node has")]
pub(super) fn start(
    config: &Arc<NodeConfig>,
    environment: &Environment,
    directories: Vec<NodeDirectory>,
    unusable: Vec<PathBuf>,
    quorum: &QuorumHandle,
    channel: ControllerChannel,
    committed: mpsc::Receiver<Committed>,
    bound: Vec<NamedPort>,
    incarnation_id: Uuid,
    seed: u64,
    io: IoPool,
) -> Result<BrokerParts, StartError> {
    let properties = &config.properties;
    let cluster_id =
        directories.first().map(|directory| directory.meta.cluster_id.clone()).unwrap_or_default();
    let (isr_sender, isr_changes) = mpsc::channel(isr_channel::QUEUE_MAX);
    let replicas = Arc::new(ReplicaManager::new(ReplicaManagerOptions {
        node_id: config.node_id,
        clock: environment.clock,
        directories: directories.iter().map(NodeDirectory::to_found).collect(),
        unusable_directories: unusable,
        metadata_directory: config.metadata_log_dir.clone(),
        topic_defaults: config.topic_defaults.clone(),
        replica_lag_time_max: properties.millis("replica.lag.time.max.ms"),
        has_readers_elsewhere: config.replica_selector == ReplicaSelector::RackAware,
        producer_id_expiration_ms: properties.number("producer.id.expiration.ms"),
        transaction_verification: properties.switch("transaction.partition.verification.enable"),
        isr_changes: isr_sender,
        seed,
        threads: environment.threads.clone(),
    })?);
    let is_any_missing = replicas.directories().offline().next().is_some();
    let complete_since = complete_since(&directories, is_any_missing);
    let epoch = watch::Sender::new(BrokerEpoch::NONE);
    let standing = watch::Sender::new(Standing::Starting);
    let listening = watch::Sender::new(false);
    let applied = watch::Sender::new(Offset::ZERO);
    let answers = Arc::new(Answers::default());
    let broker = Arc::new(Broker::new(
        config.clone(),
        cluster_id.clone(),
        replicas.clone(),
        channel.clone(),
        epoch.subscribe(),
        environment.log_levels.clone(),
        seed.wrapping_add(1),
    ));
    let lifecycle = Lifecycle {
        config: config.clone(),
        cluster_id,
        incarnation_id,
        failed_directories: replicas.directories().failed(),
        replicas: replicas.clone(),
        previous: complete_since,
        io: io.clone(),
        // Its own connection: heartbeats wait behind nobody's requests, nor for another runtime's threads.
        controller: ControllerChannel::new(environment.network.clone(), config.node_id, quorum),
        applied: applied.subscribe(),
        clock: environment.clock,
        answers: answers.clone(),
        epoch,
        standing: standing.clone(),
        listening: listening.subscribe(),
        leaving: broker.leaving.subscribe(),
    };
    let standing = standing.subscribe();
    let applied_receiver = applied.subscribe();
    let (control, data) = (&environment.control, &environment.data);
    let asking = isr_channel::run(
        replicas.clone(),
        channel.clone(),
        config.node_id,
        broker.epoch.clone(),
        isr_changes,
    );
    let syncs = environment.threads.pool("sync", flusher::SYNCS_MAX).map_err(StartError::Threads)?;
    let overdue = properties.millis("log.flush.scheduler.interval.ms");
    let every = properties.millis("log.flush.offset.checkpoint.interval.ms");
    let recovery_points = flusher::run_recovery_points(replicas.clone(), io.clone(), every);
    let fetchers = fetcher::run(broker.clone(), environment.network.clone(), syncs.clone());
    let mut tasks = vec![
        task::spawn_on(data, "applier", applier::run(broker.clone(), io.clone(), committed, applied)),
        task::spawn_on(data, "cut off", cut_off::run(broker.clone(), answers)),
        task::spawn_on(control, "pulse", cut_off::keep_pulse(broker.clone())),
        task::spawn_on(data, "in-sync sets", asking),
        task::spawn_on(data, "assignments", assignments::run(broker.clone(), channel)),
        task::spawn_on(data, "fetchers", fetchers),
        task::spawn_on(data, "overdue syncs", flusher::run_scheduler(replicas.clone(), overdue)),
        task::spawn_on(data, "standby coordinators", standby::run(broker.clone())),
        task::spawn_on(data, "transaction markers", markers::run(broker.clone())),
        task::spawn_on(data, "transaction verifications", verifier::run(broker.clone())),
        task::spawn_on(data, "replica timeouts", replica_timeouts(broker.clone())),
        task::spawn_on(data, "recovery points", recovery_points),
        task::spawn_on(data, "housekeeping", housekeeping(broker.clone(), io)),
    ];
    let mover = environment.threads.pool("mover", 1).map_err(StartError::Threads)?;
    tasks.push(task::spawn_on(data, "moves", moving::run(replicas.clone(), mover)));
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
        previous_epoch: complete_since.epoch,
        standing,
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
    let mut starts =
        tokio::time::interval(properties.millis("log.flush.start.offset.checkpoint.interval.ms"));
    let mut retention = tokio::time::interval(properties.millis("log.retention.check.interval.ms"));
    // The first tick of each comes at once, and there is nothing to do yet.
    high_watermarks.tick().await;
    starts.tick().await;
    retention.tick().await;
    loop {
        let replicas = broker.replicas.clone();
        let job: Box<dyn FnOnce() + Send> = tokio::select! {
            biased;
            _ = high_watermarks.tick() => Box::new(move || replicas.checkpoint_high_watermarks()),
            _ = starts.tick() => Box::new(move || replicas.checkpoint_log_starts()),
            _ = retention.tick() => Box::new(move || replicas.handle_retention()),
        };
        if io.run(job).await.is_err() {
            tracing::error!("housekeeping failed; it is tried again");
        }
    }
}
