//! One partition's log: segments, the lineage of its leader epochs, its producers (`UnifiedLog`).
//!
//! Synchronous: whoever owns it holds a lock around it, syncs elsewhere ([`Log::flush_target`]) and reads from
//! the regions it hands out without the lock. Opening and recovery are in [`mod@recovery`], appending in
//! [`mod@append`], reading in [`mod@read`], truncation in [`mod@truncate`], retention in [`mod@retention`], what
//! compaction needs in [`mod@cleaning`].
//!
//! Three offsets say how far it reaches: the start, the *durable* end (what a power loss leaves) and the end.
//! High watermark and last stable offset belong to the replica; the log is told.

pub mod append;
pub mod cleaning;
pub mod flush;
mod leftovers;
pub mod read;
pub mod recovery;
pub mod retention;
mod succession;
pub mod truncate;

use crate::bug::Bug;
use crate::checkpoints;
use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, StorageError};
use crate::file_names;
use crate::producer_snapshot;
use crate::producer_state::{ProducerState, ProducerStates};
use crate::segment::Segment;
use crate::verification::{VerificationGuard, Verifications};
use ottla_records::LeaderEpochs;
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, OffsetAndEpoch, ProducerEpoch, ProducerId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: LogConfig,
    /// By base offset; never empty. The last is the active one.
    segments: BTreeMap<Offset, Segment>,
    log_start: Offset,
    log_end: Offset,
    durable_end: Offset,
    /// Up to where every file is durable, the indexes too; never above `durable_end`.
    flushed_end: Offset,
    /// How many bytes were appended since the log was opened, and how many of these are below `flushed_end`; what a start
    /// found above the recovery point counts as appended.
    appended_bytes: u64,
    flushed_bytes: u64,
    /// How many bytes of the log are after the last producer snapshot.
    bytes_since_snapshot: u64,
    epochs: LeaderEpochs,
    /// The lineage's file, when what is in it may not survive a power loss.
    epochs_unsynced: Option<Arc<dyn DiskFile>>,
    /// Producer snapshots that may not survive a power loss.
    snapshots_unsynced: Vec<Arc<dyn DiskFile>>,
    /// How often names in the directory changed, and how many of these changes survive a power loss.
    names_changed: u64,
    names_synced: u64,
    /// How often the log was cut: a flush that began before says nothing about what came after.
    truncations: u64,
    /// Up to where compaction came; never above the log end.
    first_dirty: Offset,
    producers: ProducerStates,
    verifications: Verifications,
    deleted: Vec<DeletedFiles>,
    /// Set when the disk failed: what is on it is not known any more.
    failed: bool,
    #[cfg(test)]
    bug: Option<Bug>,
}

/// Files that are no longer part of the log, and when they go.
#[derive(Debug)]
struct DeletedFiles {
    due: Monotonic,
    paths: Vec<PathBuf>,
}

impl Log {
    /// Ends the active segment and starts a new one at the log end; does nothing when the active one is empty
    /// and starts there.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn roll(&mut self, now: Now) -> Result<(), StorageError> {
        self.guarded(|log| log.roll_at(log.log_end, now))
    }

    /// Notes that `epoch` starts at the log end, though nothing is written yet: this replica leads now.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    ///
    /// # Panics
    /// When the log has a later epoch (EPOCH-1).
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        assert!(epoch >= self.epochs.latest(), "EPOCH-1: {epoch} after {}", self.epochs.latest());
        self.guarded(|log| log.assign_epoch_at(epoch, log.log_end))
    }

    /// Moves the log start forward to `offset`: records before it are no longer read, and their segments fall to
    /// the next [`Log::delete_old_segments`]. Returns whether it moved. The caller has seen to it that `offset` is
    /// not above the high watermark.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    ///
    /// # Panics
    /// When `offset` is above the log end (LOG-3).
    pub fn increment_log_start_offset(&mut self, offset: Offset) -> Result<bool, StorageError> {
        assert!(offset <= self.log_end, "LOG-3: log start {offset} above log end {}", self.log_end);
        if offset <= self.log_start {
            return Ok(false);
        }
        self.guarded(|log| {
            log.log_start = offset;
            if log.epochs.truncate_from_start(offset) { log.write_epochs() } else { Ok(()) }
        })?;
        Ok(true)
    }

    /// Changes the configuration from here on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// Tells the log how far all in-sync replicas have copied it: transactions that ended below no longer hold
    /// back the last stable offset.
    pub fn advance_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.advance_high_watermark(high_watermark);
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&mut self, now: Now) {
        self.producers.remove_expired(now.wall, self.config.producer_id_expiration_ms);
        self.verifications.remove_expired(now.wall, self.config.producer_id_expiration_ms);
    }

    /// What a transactional batch needs before it is appended (KIP-890): a guard, to be handed to [`Log::append_on`] once
    /// the transaction's coordinator has agreed; `None` while the producer has a transaction open here in this epoch.
    /// `supports_epoch_bump` is whether its epoch grows with each transaction (transaction version 2).
    pub fn start_verification(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: i32,
        supports_epoch_bump: bool,
        now: Now,
    ) -> Option<VerificationGuard> {
        if self.producers.has_open_transaction(producer_id, epoch) {
            return None;
        }
        Some(self.verifications.take(producer_id, epoch, sequence, supports_epoch_bump, now.wall))
    }

    /// The directory of the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The offset of the first record that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset of the next record.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// The offset up to which a power loss takes no record.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// The offset up to which a start after a power loss need not look: what goes into
    /// `recovery-point-offset-checkpoint`. Before [`Log::durable_end`] while indexes are not durable that far, for a start
    /// takes them as they are.
    pub fn recovery_point(&self) -> Offset {
        self.flushed_end
    }

    /// How many bytes a start after a power loss would look at, at most.
    pub fn unflushed_bytes(&self) -> u64 {
        self.appended_bytes - self.flushed_bytes
    }

    /// Whether the disk failed under this log; all changes are refused then.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// The last stable offset at this high watermark: what a consumer of committed records may see.
    ///
    /// # Panics
    /// When `high_watermark` is not within the log (LOG-3).
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let unstable = self.producers.first_unstable_offset().unwrap_or(high_watermark);
        let last_stable = high_watermark.min(unstable.max(self.log_start));
        assert!(self.log_start <= last_stable, "LOG-3: log start {} above {last_stable}", self.log_start);
        assert!(high_watermark <= self.log_end, "LOG-3: {high_watermark} above log end {}", self.log_end);
        last_stable
    }

    /// The start of the earliest transaction that is open, or whose marker is not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.producers.first_unstable_offset()
    }

    /// The lineage of leader epochs.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The latest leader epoch, or [`LeaderEpoch::NONE`].
    pub fn latest_epoch(&self) -> LeaderEpoch {
        self.epochs.latest()
    }

    /// Where `epoch` ends in this log; see [`LeaderEpochs::end_offset_for`].
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    /// What is known of a producer.
    pub fn producer(&self, producer_id: ProducerId) -> Option<&ProducerState> {
        self.producers.get(producer_id)
    }

    /// All producers, by id.
    pub fn producers(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.producers.iter()
    }

    /// The size of all segments' log files.
    pub fn size_bytes(&self) -> u64 {
        self.segments.values().map(Segment::size).sum()
    }

    /// How many segments there are.
    pub fn segments_count(&self) -> usize {
        self.segments.len()
    }

    /// Where the active segment starts.
    pub fn active_segment_base_offset(&self) -> Offset {
        self.active().base_offset
    }

    /// Returns whether a test asked for this mistake.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests make mistakes on purpose"))]
    fn has(&self, bug: Bug) -> bool {
        #[cfg(test)]
        return self.bug == Some(bug);
        #[cfg(not(test))]
        {
            let _ = bug;
            false
        }
    }

    fn active(&self) -> &Segment {
        self.segments.last_key_value().expect("a log has a segment").1
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_entry().expect("a log has a segment").into_mut()
    }

    /// The segment that holds `offset`, or would.
    fn segment_floor(&self, offset: Offset) -> Option<&Segment> {
        self.segments.range(..=offset).next_back().map(|(_, segment)| segment)
    }

    /// Runs a change. When it fails, memory and disk may disagree: all later ones are refused.
    fn guarded<T>(
        &mut self,
        change: impl FnOnce(&mut Log) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.failed {
            return Err(StorageError::Failed { path: self.dir.clone() });
        }
        let outcome = change(self);
        self.failed = outcome.is_err();
        if outcome.is_ok() {
            self.assert_ordered();
        }
        outcome
    }

    fn assert_ordered(&self) {
        assert!(self.log_start <= self.log_end, "LOG-3: {} above {}", self.log_start, self.log_end);
        assert!(self.durable_end <= self.log_end, "LOG-3: {} above {}", self.durable_end, self.log_end);
        assert!(
            self.flushed_end <= self.durable_end,
            "LOG-3: {} above {}",
            self.flushed_end,
            self.durable_end
        );
        assert!(
            self.active().base_offset <= self.log_end,
            "LOG-2: the active segment starts past the log end"
        );
    }

    fn roll_at(&mut self, base_offset: Offset, now: Now) -> Result<(), StorageError> {
        if self.active().size() == 0 {
            if self.active().base_offset == base_offset {
                return Ok(());
            }
            let (_, empty) = self.segments.pop_last().expect("a log has a segment");
            self.delete_files(empty, now)?;
        } else {
            self.active_mut().seal()?;
            self.write_producer_snapshot()?;
        }
        let segment = Segment::create(&self.disk, &self.dir, base_offset, now.wall)?;
        assert!(self.segments.keys().next_back().is_none_or(|last| *last < base_offset), "LOG-2");
        self.segments.insert(base_offset, segment);
        self.names_changed += 1;
        Ok(())
    }

    fn assign_epoch_at(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> Result<(), StorageError> {
        if epoch.is_some() && self.epochs.assign(epoch, start_offset) { self.write_epochs() } else { Ok(()) }
    }

    /// Replaces the lineage's file without waiting for the disk: what it says of records that are not durable
    /// themselves is found again in those records.
    fn write_epochs(&mut self) -> Result<(), StorageError> {
        let path = self.dir.join(checkpoints::LEADER_EPOCH);
        let bytes = checkpoints::format_epochs(&self.epochs);
        self.epochs_unsynced = Some(self.disk.replace(&path, &bytes).at("write", &path)?);
        self.names_changed += 1;
        Ok(())
    }

    /// Writes what is known of the producers at the log end. A torn one has a wrong crc and is not used.
    fn write_producer_snapshot(&mut self) -> Result<(), StorageError> {
        if !self.config.producer_state {
            return Ok(());
        }
        self.producers.advance(self.log_end);
        let path = file_names::path(&self.dir, self.log_end, file_names::SNAPSHOT);
        let bytes = producer_snapshot::encode(self.producers.iter());
        self.snapshots_unsynced.push(self.disk.replace(&path, &bytes).at("write", &path)?);
        self.bytes_since_snapshot = 0;
        self.names_changed += 1;
        Ok(())
    }

    /// Takes a segment's files out of the log; they go when `file.delete.delay.ms` has passed, for readers that
    /// still hold regions of them.
    fn delete_files(&mut self, segment: Segment, now: Now) -> Result<(), StorageError> {
        let delay = std::time::Duration::from_millis(self.config.file_delete_delay_ms);
        let paths = segment.mark_deleted()?;
        self.deleted.push(DeletedFiles { due: now.monotonic + delay, paths });
        self.names_changed += 1;
        Ok(())
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod starts;
#[cfg(test)]
mod tests;
