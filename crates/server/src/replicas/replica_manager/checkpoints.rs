//! What is written down of the logs, and when they are synced: now and then, when asked for, and at the end.

use super::{Replica, ReplicaManager};
use crate::bug::{Bug, is_made};
use crate::replicas::directories::Directory;
use crate::replicas::offset_checkpoints::OffsetCheckpoints;
use ottla_raft::wire::{METADATA_PARTITION, METADATA_TOPIC_NAME};
use ottla_replication::Effects;
use ottla_storage::{FlushTarget, PartitionDir, StorageError};
use ottla_types::{BrokerEpoch, LeaderEpoch, Offset, OffsetAndEpoch, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

impl ReplicaManager {
    /// Writes down the high watermarks.
    pub fn checkpoint_high_watermarks(&self) {
        self.write_down(|directory| self.current(directory).write_high_watermarks(&directory.files));
    }

    /// Syncs every log and writes down up to where.
    pub fn checkpoint_logs(&self) {
        for replica in self.all() {
            if is_made(Bug::RecoveryPointUnsynced) {
                continue;
            }
            if let Err(error) = self.flush_for_start(&replica) {
                self.handle_storage_error(&error);
            }
        }
        self.write_down(|directory| {
            let mut written = directory.recovery_points.lock();
            let checkpoints = self.current(directory);
            checkpoints.write_recovery_points(&directory.files)?;
            *written = checkpoints.recovery_points;
            Ok(())
        });
    }

    /// Writes down where every log begins.
    pub fn checkpoint_log_starts(&self) {
        self.write_down(|directory| self.current(directory).write_log_starts(&directory.files));
    }

    /// Writes something down in every directory that works.
    fn write_down(&self, write: impl Fn(&Directory) -> Result<(), StorageError>) {
        for directory in self.directories.online() {
            if let Err(error) = write(directory) {
                self.handle_storage_error(&error);
            }
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
        leader_start: Offset,
        asked_epoch: LeaderEpoch,
    ) -> Result<Offset, StorageError> {
        loop {
            let directory = replica.directory();
            // Held throughout, lest a checkpoint that was worked out before the cut be written after it.
            let mut written = directory.recovery_points.lock();
            let mut first_dirty = directory.first_dirty.lock();
            let mut partition = replica.lock();
            if replica.directory().id != directory.id {
                // It moved just now.
                continue;
            }
            let log = partition.log();
            let to = log.epochs().truncation(leaders, log.log_end_offset()).offset;
            directory.lower_first_dirty(&mut first_dirty, &replica.name, to)?;
            directory.lower_recovery_point(&mut written, &replica.name, to)?;
            let now = self.options.clock.now();
            return partition.handle_diverging(leaders, leader_start, asked_epoch, now);
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

    /// How many bytes a start after a kill would look at.
    pub fn unflushed_bytes(&self) -> u64 {
        self.all().iter().map(|replica| replica.lock().log().unflushed_bytes()).sum()
    }

    /// Syncs a log, with what a start from its end needs.
    fn flush_for_start(&self, replica: &Replica) -> Result<(), StorageError> {
        let target = {
            let mut partition = replica.lock();
            match partition.log_mut().write_due_producer_snapshot() {
                // Removed meanwhile, and its directory with it.
                Err(_) if replica.is_removed() => return Ok(()),
                written => written?,
            }
            partition.log().flush_target()
        };
        self.sync(replica, target)
    }

    pub(super) fn flush(&self, replica: &Replica) -> Result<(), StorageError> {
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

    /// The replicas that somebody else holds. Tasks that were ended go on until they wait for something the next time, on a
    /// busy machine for a while.
    pub fn in_use(&self) -> Vec<TopicPartition> {
        let replicas = self.replicas.read();
        let held = replicas.values().filter(|replica| Arc::strong_count(replica) > 1);
        held.map(|replica| replica.name.clone()).collect()
    }

    /// Ends in order: everything is on disk, and the next start need not look; unless a log that was left open by a kill
    /// was never opened since, and so never checked. That is so for each directory by itself.
    ///
    /// # Errors
    /// The last that a disk said; the next start looks in its directory then.
    pub fn close(&self, epoch: BrokerEpoch) -> Result<(), StorageError> {
        self.stop_cleaning();
        self.checkpoint_logs();
        self.checkpoint_log_starts();
        self.checkpoint_high_watermarks();
        let replicas = std::mem::take(&mut *self.replicas.write());
        let mut done = Ok(());
        let mut checked: BTreeMap<Uuid, BTreeSet<TopicPartition>> = BTreeMap::new();
        let mut left_open: BTreeSet<Uuid> = BTreeSet::new();
        for replica in replicas.into_values() {
            let directory = replica.directory().id;
            checked.entry(directory).or_default().insert(replica.name.clone());
            match Arc::try_unwrap(replica) {
                Ok(replica) => {
                    if let Err(error) = replica.partition.into_inner().into_log().close() {
                        left_open.insert(directory);
                        done = Err(error);
                    }
                }
                // Somebody still reads; what is written is on disk all the same, but the next start looks.
                Err(_) => {
                    left_open.insert(directory);
                }
            }
        }
        for directory in self.directories.online().filter(|directory| !left_open.contains(&directory.id)) {
            let checked = checked.remove(&directory.id).unwrap_or_default();
            match is_checked(directory, &checked) {
                Ok(true) => done = directory.files.write_clean_shutdown(epoch).and(done),
                Ok(false) => {}
                Err(error) => done = Err(error),
            }
        }
        done
    }

    /// What is to be written down about a directory's logs.
    pub(super) fn current(&self, directory: &Directory) -> OffsetCheckpoints {
        // What is said of logs that are not opened yet must outlive another kill.
        let mut checkpoints = directory.found.lock().clone();
        for replica in self.all().into_iter().filter(|replica| replica.directory().id == directory.id) {
            let partition = replica.lock();
            let name = &replica.name;
            checkpoints.high_watermarks.insert(name.clone(), partition.high_watermark());
            let durable = match is_made(Bug::RecoveryPointUnsynced) {
                true => partition.log().log_end_offset(),
                false => partition.log().recovery_point(),
            };
            checkpoints.recovery_points.insert(name.clone(), durable);
            checkpoints.log_starts.insert(name.clone(), partition.log().log_start_offset());
            if partition.log().config().cleanup_policy.compact {
                checkpoints.first_dirty.insert(name.clone(), partition.log().first_dirty_offset());
            }
        }
        checkpoints
    }
}

/// Returns whether all logs in a directory are known to be whole.
fn is_checked(directory: &Directory, checked: &BTreeSet<TopicPartition>) -> Result<bool, StorageError> {
    if directory.clean {
        return Ok(true);
    }
    let is_checked = |dir: &PartitionDir| match dir {
        PartitionDir::Partition(name) => is_metadata(name) || checked.contains(name),
        PartitionDir::Deleted | PartitionDir::Stray | PartitionDir::Future(_) => true,
    };
    Ok(directory.files.partition_dirs()?.iter().all(|(_, dir)| is_checked(dir)))
}

/// Returns whether a log is the metadata log's: the quorum's, which may lie in a directory of logs.
pub(super) fn is_metadata(name: &TopicPartition) -> bool {
    name.topic == METADATA_TOPIC_NAME && name.partition == METADATA_PARTITION
}
