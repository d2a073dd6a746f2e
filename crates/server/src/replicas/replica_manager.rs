//! Finds the partition, and carries out what its machine asks for.

mod checkpoints;
mod cleaning;
pub mod moving;
mod opening;

use super::directories::{Directories, Directory, FoundDirectory};
use super::flusher::FlushQueue;
use super::log_config::{self, log_config};
use super::throttles::{Throttled, ThrottledLists, Throttles};
use super::waiting::Waiting;
use crate::io_pool::Threads;
use cleaning::Cleaner;
use moving::Moves;
use ottla_metadata::{
    ConfigResource, MetadataDelta, MetadataImage, PartitionRegistration, ResourceType, TopicConfig,
    TopicImage, broker_config,
};
use ottla_net::Clock;
use ottla_replication::{Assignment, Effects, IsrChange, Partition, Peer, Role, Settings};
use ottla_storage::{LogConfig, StorageError};
use ottla_types::{Monotonic, NodeId, Offset, Random, TopicIdPartition, TopicPartition, Uuid};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// One partition's replica on this broker.
#[derive(Debug)]
pub struct Replica {
    /// The partition, by the topic's id.
    pub id: TopicIdPartition,
    /// The partition, by the topic's name.
    pub name: TopicPartition,
    partition: Mutex<Partition>,
    log_config: RwLock<LogConfig>,
    /// When its log was last synced, or opened.
    flushed_at: Mutex<Monotonic>,
    /// Where the log is.
    directory: RwLock<Arc<Directory>>,
    /// Set, under the lock of `partition`, before the log's files go, and when their directory has failed.
    removed: AtomicBool,
    /// Whether copying it is throttled.
    pub throttled: Throttled,
    /// When this broker ceased to lead it, in the life of this process.
    ceded_at: Mutex<Option<Monotonic>>,
}

impl Replica {
    /// Returns whether this broker serves the partition no longer. Its log's files may be gone then, and that
    /// they are is no failure of the disk, or no news of one.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// When this broker ceased to lead it, in the life of this process.
    pub fn ceded_at(&self) -> Option<Monotonic> {
        *self.ceded_at.lock()
    }

    /// The directory that its log is in.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.read().clone()
    }

    /// The machine. Held for a synchronous call, never across an await.
    pub fn lock(&self) -> MutexGuard<'_, Partition> {
        self.partition.lock()
    }

    /// The log's configuration, for validating before the machine is locked.
    pub fn log_config(&self) -> LogConfig {
        *self.log_config.read()
    }
}

/// What the replica manager is made with.
pub struct ReplicaManagerOptions {
    /// This broker.
    pub node_id: NodeId,
    /// The clocks.
    pub clock: Clock,
    /// Where the logs are.
    pub directories: Vec<FoundDirectory>,
    /// Where logs were to be as well: directories that could not be used at the start.
    pub unusable_directories: Vec<PathBuf>,
    /// Where the metadata log is.
    pub metadata_directory: PathBuf,
    /// What topics get that do not say otherwise, by topic configuration name.
    pub topic_defaults: BTreeMap<String, String>,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Duration,
    /// Whether consumers may be sent to followers.
    pub has_readers_elsewhere: bool,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`.
    pub transaction_verification: bool,
    /// Where changes of in-sync sets are asked for.
    pub isr_changes: mpsc::Sender<IsrChange>,
    /// Decides every matter of chance.
    pub seed: u64,
    /// Where the threads come from that open logs at the start.
    pub threads: Threads,
}

/// All replicas of this broker.
pub struct ReplicaManager {
    options: ReplicaManagerOptions,
    directories: Directories,
    /// In an order: whoever waits for them is told in it, the same in every run of a seed.
    replicas: RwLock<BTreeMap<TopicIdPartition, Arc<Replica>>>,
    /// The replicas that are in a directory that does not work, by its id.
    offline: Mutex<BTreeMap<TopicIdPartition, Uuid>>,
    /// Set when a replica may be in another directory than the image says.
    has_misplaced: AtomicBool,
    /// Woken once the image that says so is published.
    misplaced: Notify,
    waiting: Arc<Waiting>,
    flushes: FlushQueue,
    random: Mutex<Random>,
    /// Woken when a replica gets another leader to follow.
    following: Notify,
    /// Set while a disk has no room for records.
    full: AtomicBool,
    cleaner: Cleaner,
    moves: Moves,
    throttles: Throttles,
    /// Where the image ends that the replicas are made to be, or were.
    applying: AtomicI64,
    /// Set while this broker may not lead; changed by who holds `leading`.
    cut_off: AtomicBool,
    /// Held while the replicas stop leading, or begin to again: all of them, or none.
    leading: Mutex<()>,
}

impl ReplicaManager {
    /// Reads the directories' checkpoints; logs are opened when the image names them.
    ///
    /// # Errors
    /// When the checkpoints cannot be read.
    pub fn new(mut options: ReplicaManagerOptions) -> Result<ReplicaManager, StorageError> {
        let directories = Directories::open(
            std::mem::take(&mut options.directories),
            std::mem::take(&mut options.unusable_directories),
            options.metadata_directory.clone(),
        )?;
        let random = Mutex::new(Random::new(options.seed));
        Ok(ReplicaManager {
            options,
            directories,
            cleaner: Cleaner::default(),
            moves: Moves::default(),
            throttles: Throttles::default(),
            replicas: RwLock::default(),
            offline: Mutex::default(),
            has_misplaced: AtomicBool::new(false),
            misplaced: Notify::new(),
            waiting: Arc::default(),
            flushes: FlushQueue::default(),
            random,
            following: Notify::new(),
            full: AtomicBool::new(false),
            applying: AtomicI64::new(0),
            cut_off: AtomicBool::new(false),
            leading: Mutex::default(),
        })
    }

    /// The replica of a partition; `None` when this broker has none, or cannot serve any.
    pub fn get(&self, at: TopicIdPartition) -> Option<Arc<Replica>> {
        self.replicas.read().get(&at).cloned()
    }

    /// All replicas, by their ids.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().values().cloned().collect()
    }

    /// Who waits.
    pub fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// The logs that are to be synced.
    pub fn flushes(&self) -> &FlushQueue {
        &self.flushes
    }

    /// What copying replicas may take.
    pub fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    /// The clocks.
    pub fn clock(&self) -> Clock {
        self.options.clock
    }

    /// The log directories.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Returns whether a replica is in a directory that does not work.
    pub fn is_offline(&self, at: TopicIdPartition) -> bool {
        self.offline.lock().contains_key(&at)
    }

    /// How many replicas are in directories that do not work.
    pub fn offline_count(&self) -> usize {
        self.offline.lock().len()
    }

    /// Waits until some replica has another leader to follow.
    pub async fn following_changed(&self) {
        self.following.notified().await;
    }

    /// Waits until a replica may be in another directory than the published image says.
    pub async fn misplaced(&self) {
        self.misplaced.notified().await;
    }

    /// The image that was applied last is published.
    pub fn handle_published(&self) {
        if self.has_misplaced.swap(false, Ordering::AcqRel) {
            self.misplaced.notify_one();
        }
    }

    /// The replicas that are in another directory than the image says, by the directory that they are in:
    /// [`Uuid::LOST_DIR`] where that one has failed, and only this broker knows that they were in it.
    pub fn misplacements(&self, image: &MetadataImage) -> BTreeMap<Uuid, Vec<TopicIdPartition>> {
        let mut found: BTreeMap<Uuid, Vec<TopicIdPartition>> = BTreeMap::new();
        let registered = |at| image.topics.partition(at).map(|found| found.directory(self.options.node_id));
        for replica in self.all() {
            let directory = replica.directory().id;
            if registered(replica.id).is_some_and(|known| known != directory) {
                found.entry(directory).or_default().push(replica.id);
            }
        }
        for (&at, directory) in &*self.offline.lock() {
            if registered(at).is_some_and(|known| known != *directory && known != Uuid::LOST_DIR) {
                found.entry(Uuid::LOST_DIR).or_default().push(at);
            }
        }
        found
    }

    /// Tells the waiters, and asks for in-sync sets and syncs.
    pub fn carry_out(&self, effects: Effects) {
        for (id, outcome) in effects.produced {
            self.waiting.produced(id, outcome);
        }
        for id in effects.fetches {
            self.waiting.wake(id);
        }
        if let Some(at) = effects.flush {
            self.flushes.request(at);
        }
        if let Some(change) = effects.isr_change {
            let partition = change.partition;
            let partition_epoch = change.partition_epoch;
            if self.options.isr_changes.try_send(change).is_err() {
                // The queue is longer than all partitions together only when its reader is gone; the change is
                // asked for again by whoever makes the next one.
                tracing::warn!(%partition, "too many in-sync sets are asked for");
                if let Some(replica) = self.get(partition) {
                    replica.lock().handle_isr_refused(partition_epoch);
                }
            }
        }
    }

    /// Takes a log directory offline when its disk has failed, and its replicas with it. One that is full has not.
    /// Takes the locks of replicas.
    pub fn handle_storage_error(&self, error: &StorageError) {
        if matches!(error, StorageError::Full { .. }) {
            if !self.full.swap(true, Ordering::AcqRel) {
                tracing::warn!(%error, "records are refused until there is room");
            }
            return;
        }
        let Some(directory) = self.directories.holding(error.path()) else {
            tracing::error!(%error, "a disk failed");
            return self.directories.give_up();
        };
        if self.directories.fail(directory) {
            let path = directory.files.path().display();
            tracing::error!(%error, directory = %path, "log directory failed");
            self.take_offline(directory);
        }
    }

    fn take_offline(&self, directory: &Directory) {
        let gone: Vec<Arc<Replica>> = {
            let mut replicas = self.replicas.write();
            let mut offline = self.offline.lock();
            let gone = replicas.extract_if(.., |_, replica| replica.directory().id == directory.id);
            gone.map(|(at, replica)| {
                offline.insert(at, directory.id);
                replica
            })
            .collect()
        };
        for replica in &gone {
            self.retire(replica);
        }
        self.misplaced.notify_one();
    }

    /// Lets nobody wait for a replica that is not served any more.
    fn retire(&self, replica: &Replica) {
        let mut effects = Effects::default();
        {
            let mut partition = replica.lock();
            partition.handle_removed(&mut effects);
            replica.removed.store(true, Ordering::Release);
        }
        self.carry_out(effects);
    }

    /// Takes note of records that were appended.
    pub fn handle_appended(&self) {
        if self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::AcqRel) {
            tracing::info!("there is room for records again");
        }
    }

    /// Makes the replicas what the image says. `full` applies everything, else what `delta` names.
    pub fn apply(&self, image: &MetadataImage, delta: &MetadataDelta, full: bool) {
        self.applying.store(image.end.offset.0, Ordering::Release);
        for (topic_id, _) in &delta.removed_topics {
            self.remove_topic(*topic_id);
        }
        if full {
            self.apply_throttles(image);
            for (resource, set) in image.configs.iter() {
                warn_of_topic(resource, set);
            }
            let held = self.remove_strays(image);
            self.open_held(image, &held);
            for topic in image.topics.iter() {
                for &partition in topic.partitions.keys() {
                    self.apply_partition(image, TopicIdPartition::new(topic.id, partition));
                }
            }
            for directory in self.directories.online() {
                if let Err(error) = self.resume_moves(directory) {
                    self.handle_storage_error(&error);
                }
            }
        } else {
            for &at in &delta.partitions {
                self.apply_partition(image, at);
            }
            self.apply_brokers(image, &delta.brokers);
            for resource in &delta.configs {
                self.apply_config(image, resource);
            }
        }
        let leading = self.leading.lock();
        if self.is_cut_off() {
            // Those that were made just now do not know it.
            self.cut_off_all();
        }
        drop(leading);
        self.following.notify_one();
    }

    /// One past the last record of the metadata log that the replicas may have heard of.
    pub fn applying(&self) -> Offset {
        Offset(self.applying.load(Ordering::Acquire))
    }

    /// Stops leading everything: this broker is cut off, or stops.
    pub fn stop_leading(&self) {
        let _leading = self.leading.lock();
        self.cut_off.store(true, Ordering::Release);
        self.cut_off_all();
    }

    fn cut_off_all(&self) {
        for replica in self.all() {
            let mut effects = Effects::default();
            replica.lock().handle_cut_off(&mut effects);
            self.carry_out(effects);
        }
    }

    /// Returns whether this broker may not lead: it may be deposed and not know it, or is about to stop.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Leads again what it led, unless the image has said otherwise meanwhile.
    pub fn resume_leading(&self) {
        let _leading = self.leading.lock();
        self.cut_off.store(false, Ordering::Release);
        let now = self.options.clock.monotonic();
        for replica in self.all() {
            let mut effects = Effects::default();
            replica.lock().handle_reconnected(now, &mut effects);
            self.carry_out(effects);
        }
    }

    /// Hands every partition whose deadline has come the present; returns the next deadline.
    pub fn handle_timeouts(&self) -> Option<ottla_types::Monotonic> {
        let now = self.options.clock.monotonic();
        let mut next = None;
        for replica in self.all() {
            let mut effects = Effects::default();
            let deadline = {
                let mut partition = replica.lock();
                if partition.deadline().is_some_and(|deadline| deadline <= now) {
                    partition.handle_timeout(now, &mut effects);
                }
                partition.deadline()
            };
            self.carry_out(effects);
            next = [next, deadline].into_iter().flatten().min();
        }
        next
    }

    /// Deletes what retention no longer keeps, and forgets silent producers.
    pub fn handle_retention(&self) {
        for replica in self.all() {
            match self.retain(&replica) {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(partition = %replica.name, deleted, "old segments deleted"),
                Err(error) => self.handle_storage_error(&error),
            }
        }
    }

    fn retain(&self, replica: &Replica) -> Result<usize, StorageError> {
        let now = self.options.clock.now();
        let mut partition = replica.lock();
        if replica.is_removed() {
            return Ok(0);
        }
        let high_watermark = partition.high_watermark();
        let log = partition.log_mut();
        log.remove_expired_producers(now);
        let deleted = log.delete_old_segments(now, high_watermark)?;
        log.remove_deleted_files(now.monotonic)?;
        Ok(deleted)
    }

    fn apply_partition(&self, image: &MetadataImage, at: TopicIdPartition) {
        let Some(topic) = image.topics.by_id(at.topic_id) else { return };
        let Some(registration) = topic.partitions.get(&at.partition) else { return };
        if !registration.has_replica(self.options.node_id) {
            self.remove_replica(at);
            return;
        }
        let opened = self.get(at).or_else(|| self.open(image, topic, at, registration));
        let Some(replica) = opened else { return };
        if registration.directory(self.options.node_id) != replica.directory().id {
            self.has_misplaced.store(true, Ordering::Release);
        }
        let mut effects = Effects::default();
        let brokers = peers(image, registration);
        let now = self.options.clock.now();
        let mut partition = replica.lock();
        let leads = |partition: &Partition| matches!(partition.role(), Role::Leader(_));
        let led = leads(&partition);
        let done = partition.handle_assignment(&assignment(registration), brokers, now, &mut effects);
        if led && !leads(&partition) {
            *replica.ceded_at.lock() = Some(now.monotonic);
        }
        drop(partition);
        self.carry_out(effects);
        if let Err(error) = done {
            self.handle_storage_error(&error);
        }
    }

    fn apply_throttles(&self, image: &MetadataImage) {
        self.throttles.apply(&image.configs, self.options.node_id, self.options.clock.monotonic());
    }

    fn topic_config(&self, image: &MetadataImage, topic: &str) -> TopicConfig {
        let overrides = image.configs.get(&ConfigResource::topic(topic)).cloned().unwrap_or_default();
        let written = &self.options.topic_defaults;
        let defaults = broker_config::topic_defaults(&image.configs, self.options.node_id, written);
        TopicConfig::new(overrides, defaults)
    }

    fn topic_settings(&self, config: &TopicConfig) -> (LogConfig, Settings) {
        let settings = Settings {
            min_insync_replicas: usize::try_from(config.number("min.insync.replicas")).unwrap_or(1),
            replica_lag_time_max: self.options.replica_lag_time_max,
            has_readers_elsewhere: self.options.has_readers_elsewhere,
        };
        let ReplicaManagerOptions { producer_id_expiration_ms, transaction_verification, .. } = self.options;
        let log_config = log_config(config, producer_id_expiration_ms);
        (LogConfig { transaction_verification, ..log_config }, settings)
    }

    fn apply_brokers(&self, image: &MetadataImage, brokers: &BTreeSet<NodeId>) {
        if brokers.is_empty() {
            return;
        }
        let now = self.options.clock.monotonic();
        for replica in self.all() {
            let Some(registration) = image.topics.partition(replica.id) else { continue };
            if !brokers.iter().any(|&broker| registration.has_replica(broker)) {
                continue;
            }
            let mut effects = Effects::default();
            replica.lock().handle_brokers(peers(image, registration), now, &mut effects);
            self.carry_out(effects);
        }
    }

    fn apply_config(&self, image: &MetadataImage, resource: &ConfigResource) {
        match resource.resource_type {
            ResourceType::Topic => {
                if let Some(set) = image.configs.get(resource) {
                    warn_of_topic(resource, set);
                }
                if let Some(topic) = image.topics.by_name(&resource.name) {
                    self.apply_topic_settings(image, topic);
                }
            }
            ResourceType::Broker => {
                let own = ConfigResource::broker(self.options.node_id);
                if *resource == own || *resource == ConfigResource::cluster() {
                    self.apply_throttles(image);
                    image.topics.iter().for_each(|topic| self.apply_topic_settings(image, topic));
                }
            }
            ResourceType::ClientMetrics | ResourceType::Group => {}
        }
    }

    fn apply_topic_settings(&self, image: &MetadataImage, topic: &TopicImage) {
        let topic_config = self.topic_config(image, &topic.name);
        let (config, settings) = self.topic_settings(&topic_config);
        let throttled = ThrottledLists::new(&topic_config);
        for &number in topic.partitions.keys() {
            let Some(replica) = self.get(TopicIdPartition::new(topic.id, number)) else { continue };
            let mut effects = Effects::default();
            replica.throttled.apply(&throttled, number, self.options.node_id);
            *replica.log_config.write() = config;
            let now = self.options.clock.monotonic();
            replica.lock().handle_settings(settings, config, now, &mut effects);
            self.carry_out(effects);
        }
    }
}

fn assignment(registration: &PartitionRegistration) -> Assignment {
    Assignment {
        replicas: registration.replicas.clone(),
        isr: registration.isr.clone(),
        leader: registration.leader,
        leader_epoch: registration.leader_epoch,
        partition_epoch: registration.partition_epoch,
    }
}

/// What the image says of the brokers that hold a partition.
fn peers(image: &MetadataImage, registration: &PartitionRegistration) -> BTreeMap<NodeId, Peer> {
    registration
        .replicas
        .iter()
        .filter_map(|&node| {
            let broker = image.cluster.broker(node)?;
            Some((node, Peer { broker_epoch: broker.epoch, eligible: broker.is_active() }))
        })
        .collect()
}

/// Tells of what a topic sets and nothing comes of here: it cannot be refused any more.
fn warn_of_topic(resource: &ConfigResource, set: &BTreeMap<String, String>) {
    if resource.resource_type != ResourceType::Topic {
        return;
    }
    for (name, value) in log_config::without_effect(&resource.name, set) {
        tracing::warn!(
            topic = resource.name,
            name,
            value,
            "a topic's setting is not supported: without effect"
        );
    }
}

#[cfg(test)]
mod tests;
