//! Cutting the log's end, when its leader has another one.

use super::Log;
use crate::bug::Bug;
use crate::checkpoints;
use crate::disk::remove_if_exists;
use crate::error::{IoContext, StorageError};
use crate::file_names;
use crate::producer_state::ProducerStates;
use crate::segment::Segment;
use ottla_types::{Now, Offset};
use std::collections::BTreeMap;

impl Log {
    /// Cuts the log at `offset`: records from there on are gone, and with them a batch that starts before it and reaches beyond.
    /// The epochs that start at the new end or later are forgotten, though nothing else be cut. Returns the new log end.
    ///
    /// The cut is durable on return. The recovery point that the caller keeps must be written, if it was
    /// above the new end, before the log is appended to: else a power loss leaves what came later unchecked.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<Offset, StorageError> {
        if self.failed {
            return Err(StorageError::Failed { path: self.dir.clone() });
        }
        if offset < self.log_end && self.cut_offset(offset)? <= self.log_start {
            let start = offset.min(self.log_start);
            self.truncate_fully_and_start_at(start, now)?;
            return Ok(start);
        }
        self.guarded(|log| {
            if offset < log.log_end {
                log.cut(offset, now)?;
            }
            let end = log.log_end;
            if log.epochs.truncate_from_end(end) {
                log.write_epochs_durably()?;
            }
            Ok(end)
        })
    }

    /// Forgets everything and starts anew at `offset`: the leader's log starts there.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: Now) -> Result<(), StorageError> {
        self.guarded(|log| {
            log.truncations += 1;
            // From the end: a power loss in between leaves a shorter log, not one with a hole.
            while let Some((_, segment)) = log.segments.pop_last() {
                log.delete_files(segment, now)?;
            }
            log.remove_snapshots(|_| true)?;
            log.disk.sync_dir(&log.dir).at("sync", &log.dir)?;
            log.segments.insert(offset, Segment::create(&log.disk, &log.dir, offset, now.wall)?);
            log.epochs.clear();
            log.producers = ProducerStates::new(offset);
            (log.log_start, log.log_end) = (offset, offset);
            (log.durable_end, log.flushed_end) = (offset, offset);
            (log.flushed_bytes, log.bytes_since_snapshot) = (log.appended_bytes, 0);
            log.first_dirty = offset;
            log.write_epochs_durably()
        })
    }

    /// Where the log would end if it were cut at `offset`: where the batch starts that holds it.
    fn cut_offset(&self, offset: Offset) -> Result<Offset, StorageError> {
        let found = self.segment_floor(offset).map(|segment| segment.find(offset)).transpose()?.flatten();
        Ok(found.map_or(offset, |found| found.header.base_offset.min(offset)))
    }

    fn cut(&mut self, offset: Offset, now: Now) -> Result<(), StorageError> {
        self.truncations += 1;
        while self.active().base_offset >= offset && self.segments.len() > 1 {
            let (_, segment) = self.segments.pop_last().expect("a log has a segment");
            self.delete_files(segment, now)?;
        }
        self.log_end = self.active_mut().truncate_to(offset)?.max(self.log_start);
        self.durable_end = self.durable_end.min(self.log_end);
        self.flushed_end = self.flushed_end.min(self.log_end);
        self.count_flushed();
        self.first_dirty = self.first_dirty.min(self.log_end);
        let end = self.log_end;
        if !self.has(Bug::SnapshotPastTruncation) {
            self.remove_snapshots(|snapshot| snapshot > end)?;
        }
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        self.names_synced = self.names_changed;
        self.load_producers(&BTreeMap::new())
    }

    pub(super) fn write_epochs_durably(&mut self) -> Result<(), StorageError> {
        let path = self.dir.join(checkpoints::LEADER_EPOCH);
        self.disk.write_atomically(&path, &checkpoints::format_epochs(&self.epochs)).at("write", &path)?;
        self.epochs_unsynced = None;
        self.names_synced = self.names_changed;
        Ok(())
    }

    /// Removes the producer snapshots of the offsets that fulfil `doomed`.
    pub(super) fn remove_snapshots(&mut self, doomed: impl Fn(Offset) -> bool) -> Result<(), StorageError> {
        for offset in self.snapshot_offsets()? {
            if doomed(offset) {
                self.remove_snapshot(offset)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_snapshot(&mut self, offset: Offset) -> Result<(), StorageError> {
        let path = file_names::path(&self.dir, offset, file_names::SNAPSHOT);
        remove_if_exists(&*self.disk, &path).at("remove", &path)?;
        self.names_changed += 1;
        Ok(())
    }

    /// The offsets of the producer snapshots that there are, in order.
    pub(super) fn snapshot_offsets(&self) -> Result<Vec<Offset>, StorageError> {
        let entries = self.disk.list(&self.dir).at("list", &self.dir)?;
        Ok(entries.iter().filter_map(|entry| file_names::offset(&entry.name, file_names::SNAPSHOT)).collect())
    }
}
