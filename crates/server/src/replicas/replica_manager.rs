//! Finds the partition, and carries out what its machine asks for.

mod cleaning;

use super::flusher::FlushQueue;
use super::log_config::log_config;
use super::offset_checkpoints::{Checkpoint, OffsetCheckpoints};
use super::waiting::Waiting;
use cleaning::Cleaner;
use ottla_metadata::{
    ConfigResource, MetadataDelta, MetadataImage, PartitionRegistration, TopicConfig, TopicImage,
};
use ottla_net::Clock;
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME};
use ottla_replication::{Assignment, Effects, IsrChange, Partition, Peer, Settings};
use ottla_storage::{
    FlushTarget, Log, LogConfig, LogDirectory, PartitionDir, Recovery, StorageError, partition_metadata,
};
use ottla_types::{
    LeaderEpoch, Monotonic, NodeId, Offset, OffsetAndEpoch, Random, TopicIdPartition, TopicPartition, Uuid,
};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Set, under the lock of `partition`, before the log's files go.
    removed: AtomicBool,
}

impl Replica {
    /// Returns whether this broker holds the partition no longer. Its log's files may be gone then, and that
    /// they are is no failure of the disk.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
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
    pub directory: Arc<LogDirectory>,
    /// Whether the directory's last user ended in order.
    pub clean: bool,
    /// What topics get that do not say otherwise, by topic configuration name.
    pub topic_defaults: BTreeMap<String, String>,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Duration,
    /// Whether consumers may be sent to followers.
    pub has_readers_elsewhere: bool,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// Where changes of in-sync sets are asked for.
    pub isr_changes: mpsc::Sender<IsrChange>,
    /// Decides every matter of chance.
    pub seed: u64,
}

/// All replicas of this broker.
pub struct ReplicaManager {
    options: ReplicaManagerOptions,
    /// What was written down before this start, of logs that were not opened yet.
    found: Mutex<OffsetCheckpoints>,
    /// The recovery points as they are on disk. Locked before any replica.
    recovery_points: Mutex<BTreeMap<TopicPartition, Offset>>,
    replicas: RwLock<HashMap<TopicIdPartition, Arc<Replica>>>,
    waiting: Arc<Waiting>,
    flushes: FlushQueue,
    random: Mutex<Random>,
    /// Woken when a replica gets another leader to follow.
    following: Notify,
    /// Set when the log directory failed: nothing is served any more.
    offline: AtomicBool,
    /// Set while the disk has no room for records.
    full: AtomicBool,
    failed: Notify,
    cleaner: Cleaner,
    /// Set while this broker may not lead.
    cut_off: AtomicBool,
}

impl ReplicaManager {
    /// Reads the directory's checkpoints; logs are opened when the image names them.
    ///
    /// # Errors
    /// When the checkpoints cannot be read.
    pub fn new(options: ReplicaManagerOptions) -> Result<ReplicaManager, StorageError> {
        let found = OffsetCheckpoints::read(&options.directory)?;
        let random = Mutex::new(Random::new(options.seed));
        Ok(ReplicaManager {
            options,
            recovery_points: Mutex::new(found.recovery_points.clone()),
            cleaner: Cleaner::new(found.first_dirty.clone()),
            found: Mutex::new(found),
            replicas: RwLock::default(),
            waiting: Arc::default(),
            flushes: FlushQueue::default(),
            random,
            following: Notify::new(),
            offline: AtomicBool::new(false),
            full: AtomicBool::new(false),
            failed: Notify::new(),
            cut_off: AtomicBool::new(false),
        })
    }

    /// The replica of a partition; `None` when this broker has none, or cannot serve any.
    pub fn get(&self, at: TopicIdPartition) -> Option<Arc<Replica>> {
        self.replicas.read().get(&at).cloned()
    }

    /// All replicas, in no order.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        let mut all: Vec<Arc<Replica>> = self.replicas.read().values().cloned().collect();
        all.sort_by_key(|replica| replica.id);
        all
    }

    /// Who waits.
    pub fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// The logs that are to be synced.
    pub fn flushes(&self) -> &FlushQueue {
        &self.flushes
    }

    /// The clocks.
    pub fn clock(&self) -> Clock {
        self.options.clock
    }

    /// The log directory.
    pub fn directory(&self) -> &Arc<LogDirectory> {
        &self.options.directory
    }

    /// Waits until some replica has another leader to follow.
    pub async fn following_changed(&self) {
        self.following.notified().await;
    }

    /// Waits until the log directory has failed.
    pub async fn directory_failed(&self) {
        if !self.offline.load(Ordering::Acquire) {
            self.failed.notified().await;
        }
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

    /// Takes the log directory offline when its disk has failed. One that is full has not.
    pub fn handle_storage_error(&self, error: &StorageError) {
        if matches!(error, StorageError::Full { .. }) {
            if !self.full.swap(true, Ordering::AcqRel) {
                tracing::warn!(%error, "records are refused until there is room");
            }
            return;
        }
        if !self.offline.swap(true, Ordering::AcqRel) {
            let directory = &self.options.directory;
            tracing::error!(%error, directory = %directory.path().display(), "log directory failed");
            if let Err(error) = directory.remove_incarnation() {
                tracing::debug!(%error, "nor can that be noted");
            }
            self.failed.notify_waiters();
            self.failed.notify_one();
        }
    }

    /// Takes note of records that were appended.
    pub fn handle_appended(&self) {
        if self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::AcqRel) {
            tracing::info!("there is room for records again");
        }
    }

    /// Makes the replicas what the image says. `full` applies everything, else what `delta` names.
    pub fn apply(&self, image: &MetadataImage, delta: &MetadataDelta, full: bool) {
        for (topic_id, _) in &delta.removed_topics {
            self.remove_topic(*topic_id);
        }
        if full {
            self.remove_strays(image);
            for topic in image.topics.iter() {
                for &partition in topic.partitions.keys() {
                    self.apply_partition(image, TopicIdPartition::new(topic.id, partition));
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
        if self.is_cut_off() {
            // Those that were made just now do not know it.
            self.stop_leading();
        }
        self.following.notify_one();
    }

    /// Stops leading everything: this broker is cut off, or stops.
    pub fn stop_leading(&self) {
        self.cut_off.store(true, Ordering::Release);
        for replica in self.all() {
            let mut effects = Effects::default();
            replica.lock().handle_cut_off(&mut effects);
            self.carry_out(effects);
        }
    }

    /// Returns whether the log directory has failed.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Returns whether this broker may not lead: it may be deposed and not know it, or is about to stop.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Leads again what it led, unless the image has said otherwise meanwhile.
    pub fn resume_leading(&self) {
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

    /// Writes down the high watermarks.
    pub fn checkpoint_high_watermarks(&self) {
        if let Err(error) = self.current().write_high_watermarks(&self.options.directory) {
            self.handle_storage_error(&error);
        }
    }

    /// Syncs every log and writes down up to where.
    pub fn checkpoint_logs(&self) {
        for replica in self.all() {
            if let Err(error) = self.flush(&replica) {
                self.handle_storage_error(&error);
                return;
            }
        }
        let mut written = self.recovery_points.lock();
        let checkpoints = self.current();
        match checkpoints.write_recovery_points(&self.options.directory) {
            Ok(()) => *written = checkpoints.recovery_points,
            Err(error) => self.handle_storage_error(&error),
        }
    }

    /// Cuts off what the leader does not have (KIP-279), and returns the new end. That the log was on disk further
    /// than that is no longer written down then: else what is appended next would not be checked after a loss of
    /// power.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate(
        &self,
        replica: &Replica,
        leaders: OffsetAndEpoch,
        asked_epoch: LeaderEpoch,
    ) -> Result<Offset, StorageError> {
        // Held throughout, lest a checkpoint that was worked out before the cut be written after it.
        let mut written = self.recovery_points.lock();
        let mut first_dirty = self.cleaner.written.lock();
        let mut partition = replica.lock();
        let log = partition.log();
        let to = log.epochs().truncation(leaders, log.log_end_offset()).offset;
        self.lower_first_dirty(&mut first_dirty, &replica.name, to)?;
        self.lower_recovery_point(&mut written, &replica.name, to)?;
        partition.handle_diverging(leaders, asked_epoch, self.options.clock.now())
    }

    /// Writes down that a log is on disk up to `end` at most, unless nothing else was written.
    fn lower_recovery_point(
        &self,
        written: &mut BTreeMap<TopicPartition, Offset>,
        name: &TopicPartition,
        end: Offset,
    ) -> Result<(), StorageError> {
        let Some(point) = written.get_mut(name).filter(|point| **point > end) else { return Ok(()) };
        *point = end;
        let checkpoints = OffsetCheckpoints { recovery_points: written.clone(), ..Default::default() };
        checkpoints.write_recovery_points(&self.options.directory)
    }

    /// Writes down where every log begins.
    pub fn checkpoint_log_starts(&self) {
        if let Err(error) = self.current().write_log_starts(&self.options.directory) {
            self.handle_storage_error(&error);
        }
    }

    /// Asks for syncs of the logs that were not synced for `flush.ms`, and have something to sync.
    pub fn request_overdue_flushes(&self) {
        let now = self.options.clock.monotonic();
        for replica in self.all() {
            let Ok(flush_ms) = u64::try_from(replica.log_config().flush_ms) else { continue };
            if now - *replica.flushed_at.lock() < Duration::from_millis(flush_ms) {
                continue;
            }
            let is_due = {
                let partition = replica.lock();
                partition.log().durable_end() < partition.log().log_end_offset()
            };
            if is_due {
                self.flushes.request(replica.id);
            }
        }
    }

    /// Syncs the records that a log holds now, blocking, and lets them count as durable.
    pub fn flush_records(&self, replica: &Replica) {
        let target = replica.lock().log().records_target();
        if let Err(error) = self.sync(replica, target) {
            self.handle_storage_error(&error);
        }
    }

    fn flush(&self, replica: &Replica) -> Result<(), StorageError> {
        let target = replica.lock().log().flush_target();
        self.sync(replica, target)
    }

    fn sync(&self, replica: &Replica, target: Option<FlushTarget>) -> Result<(), StorageError> {
        let Some(target) = target else { return Ok(()) };
        let synced = target.sync();
        let now = self.options.clock.monotonic();
        let mut effects = Effects::default();
        {
            let mut partition = replica.lock();
            match synced {
                Ok(()) => partition.handle_flushed(&target, now, &mut effects),
                // Removed meanwhile, and its directory with it.
                Err(_) if replica.is_removed() => return Ok(()),
                Err(error) => {
                    partition.log_mut().mark_failed();
                    return Err(error);
                }
            }
        }
        *replica.flushed_at.lock() = now;
        self.carry_out(effects);
        Ok(())
    }

    /// Ends in order: everything is on disk, and the next start need not look; unless a log that was left open by a kill
    /// was never opened since, and so never checked.
    ///
    /// # Errors
    /// When the disk refuses; the next start then looks.
    pub fn close(&self, epoch: ottla_types::BrokerEpoch) -> Result<(), StorageError> {
        self.stop_cleaning();
        self.checkpoint_logs();
        self.checkpoint_log_starts();
        self.checkpoint_high_watermarks();
        let replicas: Vec<Arc<Replica>> = self.replicas.write().drain().map(|(_, replica)| replica).collect();
        let mut checked = BTreeSet::from([TopicPartition::new(METADATA_TOPIC_NAME, METADATA_PARTITION)]);
        for replica in replicas {
            checked.insert(replica.name.clone());
            match Arc::try_unwrap(replica) {
                Ok(replica) => replica.partition.into_inner().into_log().close()?,
                // Somebody still reads; what is written is on disk all the same, but the next start looks.
                Err(_) => return Ok(()),
            }
        }
        if self.is_offline() {
            return Ok(());
        }
        let is_unchecked =
            |dir: &PartitionDir| matches!(dir, PartitionDir::Partition(name) if !checked.contains(name));
        if !self.options.clean
            && self.options.directory.partition_dirs()?.iter().any(|(_, dir)| is_unchecked(dir))
        {
            return Ok(());
        }
        self.options.directory.write_clean_shutdown(epoch)
    }

    fn current(&self) -> OffsetCheckpoints {
        // What is said of logs that are not opened yet must outlive another kill.
        let mut checkpoints = self.found.lock().clone();
        for replica in self.all() {
            let partition = replica.lock();
            let name = &replica.name;
            checkpoints.high_watermarks.insert(name.clone(), partition.high_watermark());
            checkpoints.recovery_points.insert(name.clone(), partition.log().recovery_point());
            checkpoints.log_starts.insert(name.clone(), partition.log().log_start_offset());
            if partition.log().config().cleanup_policy.compact {
                checkpoints.first_dirty.insert(name.clone(), partition.log().first_dirty_offset());
            }
        }
        checkpoints
    }

    fn apply_partition(&self, image: &MetadataImage, at: TopicIdPartition) {
        let Some(topic) = image.topics.by_id(at.topic_id) else { return };
        let Some(registration) = topic.partitions.get(&at.partition) else { return };
        if !registration.has_replica(self.options.node_id) {
            self.remove_replica(at);
            return;
        }
        let replica = match self.get(at) {
            Some(replica) => replica,
            None => match self.open(image, topic, at) {
                Ok(replica) => replica,
                Err(error) => {
                    self.handle_storage_error(&error);
                    return;
                }
            },
        };
        let mut effects = Effects::default();
        let brokers = peers(image, registration);
        let now = self.options.clock.now();
        let done = replica.lock().handle_assignment(&assignment(registration), brokers, now, &mut effects);
        self.carry_out(effects);
        if let Err(error) = done {
            self.handle_storage_error(&error);
        }
    }

    fn open(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        at: TopicIdPartition,
    ) -> Result<Arc<Replica>, StorageError> {
        let name = TopicPartition::new(&topic.name, at.partition);
        let dir = self.options.directory.partition_path(&name);
        let disk = self.options.directory.disk();
        // Once only: what was written down is of the log that was there at the start, and of no later one.
        let mut checkpoint = self.found.lock().take(&name);
        match partition_metadata::read(&**disk, &dir)? {
            Some(found) if found == topic.id => {}
            Some(_) => {
                // Left by a topic of the same name that was deleted while this broker was away.
                self.set_aside(&name)?;
                checkpoint = Checkpoint::default();
            }
            None => checkpoint = Checkpoint::default(),
        }
        let (config, settings) = self.topic_settings(image, &topic.name);
        let recovery = Recovery {
            clean: self.options.clean,
            recovery_point: checkpoint.recovery_point,
            log_start: checkpoint.log_start,
        };
        let now = self.options.clock.now();
        let (mut log, report) = Log::open(disk.clone(), dir.clone(), config, recovery, now)?;
        log.restore_first_dirty_offset(checkpoint.first_dirty);
        partition_metadata::write(&**disk, &dir, topic.id)?;
        // What is written down may be about a log of the same name that was deleted.
        self.lower_recovery_point(&mut self.recovery_points.lock(), &name, log.log_end_offset())?;
        self.lower_first_dirty(&mut self.cleaner.written.lock(), &name, log.first_dirty_offset())?;
        if report.truncated_bytes > 0 {
            tracing::warn!(partition = %name, bytes = report.truncated_bytes, "cut off a torn end");
        }
        let high_watermark = checkpoint.high_watermark;
        let partition = Partition::new(at, name.clone(), self.options.node_id, settings, log, high_watermark);
        let replica = Arc::new(Replica {
            id: at,
            name,
            partition: Mutex::new(partition),
            log_config: RwLock::new(config),
            flushed_at: Mutex::new(now.monotonic),
            removed: AtomicBool::new(false),
        });
        self.replicas.write().insert(at, replica.clone());
        Ok(replica)
    }

    fn topic_settings(&self, image: &MetadataImage, topic: &str) -> (LogConfig, Settings) {
        let overrides = image.configs.get(&ConfigResource::topic(topic)).cloned().unwrap_or_default();
        let config = TopicConfig::new(overrides, self.options.topic_defaults.clone());
        let settings = Settings {
            min_insync_replicas: usize::try_from(config.number("min.insync.replicas")).unwrap_or(1),
            replica_lag_time_max: self.options.replica_lag_time_max,
            has_readers_elsewhere: self.options.has_readers_elsewhere,
        };
        (log_config(&config, self.options.producer_id_expiration_ms), settings)
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
        let Some(topic) = image.topics.by_name(&resource.name) else { return };
        let (config, settings) = self.topic_settings(image, &topic.name);
        for &number in topic.partitions.keys() {
            let Some(replica) = self.get(TopicIdPartition::new(topic.id, number)) else { continue };
            let mut effects = Effects::default();
            *replica.log_config.write() = config;
            let now = self.options.clock.monotonic();
            replica.lock().handle_settings(settings, config, now, &mut effects);
            self.carry_out(effects);
        }
    }

    fn remove_topic(&self, topic_id: Uuid) {
        let gone: Vec<TopicIdPartition> =
            self.all().iter().map(|replica| replica.id).filter(|at| at.topic_id == topic_id).collect();
        for at in gone {
            self.remove_replica(at);
        }
    }

    fn remove_replica(&self, at: TopicIdPartition) {
        let Some(replica) = self.replicas.write().remove(&at) else { return };
        let mut effects = Effects::default();
        {
            let mut partition = replica.lock();
            partition.handle_removed(&mut effects);
            replica.removed.store(true, Ordering::Release);
        }
        self.carry_out(effects);
        if let Err(error) = self.set_aside(&replica.name) {
            self.handle_storage_error(&error);
        }
    }

    /// Renames a partition's directory and removes it.
    fn set_aside(&self, name: &TopicPartition) -> Result<(), StorageError> {
        let unique = self.random.lock().uuid();
        let path: PathBuf = self.options.directory.mark_deleted(name, unique)?;
        self.options.directory.remove(&path)
    }

    /// Directories of partitions that this broker is no longer to have are kept aside under another name;
    /// those already marked as deleted go.
    fn remove_strays(&self, image: &MetadataImage) {
        let dirs = match self.options.directory.partition_dirs() {
            Ok(dirs) => dirs,
            Err(error) => return self.handle_storage_error(&error),
        };
        for (path, dir) in dirs {
            let done = match dir {
                PartitionDir::Deleted => self.options.directory.remove(&path),
                PartitionDir::Stray | PartitionDir::Future => Ok(()),
                PartitionDir::Partition(name) if name.topic == METADATA_TOPIC_NAME => Ok(()),
                PartitionDir::Partition(name) => {
                    let registered = image
                        .topics
                        .by_name(&name.topic)
                        .and_then(|topic| topic.partitions.get(&name.partition))
                        .is_some_and(|registration| registration.has_replica(self.options.node_id));
                    if registered {
                        Ok(())
                    } else {
                        tracing::warn!(partition = %name, "not assigned to this broker: set aside");
                        let unique = self.random.lock().uuid();
                        self.options.directory.mark_stray(&name, unique).map(|_| ())
                    }
                }
            };
            if let Err(error) = done {
                self.handle_storage_error(&error);
            }
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

#[cfg(test)]
mod tests;
