//! Making it durable, in two steps: what to sync is taken under the lock, syncing happens without it.

use super::Log;
use crate::checkpoints;
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, StorageError};
use crate::segment::Segment;
use ottla_types::Offset;
use std::path::PathBuf;
use std::sync::Arc;

/// How much of the log a flush makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The records, and what a start does not find in them.
    Records,
    /// Every file.
    All,
}

/// The files that a flush syncs, and the log end that is durable then.
#[derive(Debug)]
pub struct FlushTarget {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    end: Offset,
    extent: Extent,
    files: Vec<Arc<dyn DiskFile>>,
    /// [`Log::appended_bytes`], [`Log::truncations`] and [`Log::names_changed`] when this was taken.
    appended_bytes: u64,
    truncations: u64,
    names_changed: u64,
    sync_dir: bool,
}

impl FlushTarget {
    /// What is durable after [`FlushTarget::sync`].
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Syncs, blocking. Needs no lock on the log, which may be appended to and truncated meanwhile.
    ///
    /// # Errors
    /// [`StorageError`]. The caller then closes the log to changes by [`Log::mark_failed`].
    pub fn sync(&self) -> Result<(), StorageError> {
        for file in &self.files {
            file.sync().at("sync", &self.dir)?;
        }
        if self.sync_dir { self.disk.sync_dir(&self.dir).at("sync", &self.dir) } else { Ok(()) }
    }
}

impl Log {
    /// Syncs everything up to the log end and returns that.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn flush(&mut self) -> Result<Offset, StorageError> {
        self.guarded(|log| {
            if let Some(target) = log.flush_target() {
                target.sync()?;
                log.mark_durable(&target);
            }
            Ok(log.log_end)
        })
    }

    /// Before a flush whose end is to be written down: writes a producer snapshot if `producer_snapshot_bytes` have passed
    /// since the last. Of those within segments, where Kafka has none but at an orderly end, two stay: the newest may
    /// not be durable yet.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn write_due_producer_snapshot(&mut self) -> Result<(), StorageError> {
        if !self.config.producer_state || self.bytes_since_snapshot < self.config.producer_snapshot_bytes {
            return Ok(());
        }
        self.guarded(|log| {
            let mut within = log.snapshot_offsets()?;
            within.retain(|offset| !log.segments.contains_key(offset));
            within.pop();
            for offset in within {
                log.remove_snapshot(offset)?;
            }
            log.write_producer_snapshot()
        })
    }

    /// What to sync for everything written so far to be durable; `None` when it is.
    pub fn flush_target(&self) -> Option<FlushTarget> {
        let is_durable = self.flushed_end == self.log_end
            && self.names_changed == self.names_synced
            && self.snapshots_unsynced.is_empty()
            && self.epochs_unsynced.is_none();
        (!is_durable).then(|| self.target(Extent::All))
    }

    /// What to sync for every record appended so far to be durable; `None` when they are. That is
    /// mostly one file: the indexes of the active segment are left out, for a start after a loss of power makes them
    /// anew.
    pub fn records_target(&self) -> Option<FlushTarget> {
        (self.durable_end < self.log_end).then(|| self.target(Extent::Records))
    }

    fn target(&self, extent: Extent) -> FlushTarget {
        // From the segment of the last durable record on: rolling may have written to its indexes since.
        let last_durable = match extent {
            Extent::Records => self.durable_end - 1,
            Extent::All => self.flushed_end - 1,
        };
        let first = self.segment_floor(last_durable).map_or(Offset::ZERO, |segment| segment.base_offset);
        let active = self.active().base_offset;
        let files_of = |(&base_offset, segment): (&Offset, &Segment)| {
            if extent == Extent::Records && base_offset == active {
                vec![Arc::clone(segment.file())]
            } else {
                segment.files()
            }
        };
        let mut files: Vec<_> = self.segments.range(first..).flat_map(files_of).collect();
        files.extend(self.epochs_unsynced.clone());
        files.extend(self.snapshots_unsynced.iter().cloned());
        FlushTarget {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            end: self.log_end,
            extent,
            files,
            appended_bytes: self.appended_bytes,
            truncations: self.truncations,
            names_changed: self.names_changed,
            sync_dir: self.names_changed != self.names_synced,
        }
    }

    /// Notes that `target` was synced. After a truncation it says nothing about the log as it is: then nothing
    /// is noted. Nor is anything when another sync has failed: what that left out, a later one does not bring back.
    pub fn mark_durable(&mut self, target: &FlushTarget) {
        if target.truncations != self.truncations || self.failed {
            return;
        }
        self.names_synced = self.names_synced.max(target.names_changed);
        let is_synced =
            |unsynced: &Arc<dyn DiskFile>| target.files.iter().any(|file| Arc::ptr_eq(file, unsynced));
        if self.epochs_unsynced.as_ref().is_some_and(is_synced) {
            self.epochs_unsynced = None;
        }
        self.snapshots_unsynced.retain(|unsynced| !is_synced(unsynced));
        self.durable_end = self.durable_end.max(target.end);
        if target.extent == Extent::All {
            self.flushed_end = self.flushed_end.max(target.end);
            self.flushed_bytes = self.flushed_bytes.max(target.appended_bytes);
        }
    }

    /// Where nothing is above the flushed end, nothing is unflushed.
    pub(super) fn count_flushed(&mut self) {
        if self.flushed_end == self.log_end {
            self.flushed_bytes = self.appended_bytes;
        }
    }

    /// Closes the log to changes: a sync failed, and what it left on disk is not known.
    pub fn mark_failed(&mut self) {
        self.failed = true;
    }

    /// Ends the use of the log in order: all is durable, and the next start needs no recovery once the
    /// directory's marker is written.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn close(mut self) -> Result<(), StorageError> {
        self.guarded(|log| {
            log.active_mut().seal()?;
            log.write_producer_snapshot()?;
            let path = log.dir.join(checkpoints::LEADER_EPOCH);
            let bytes = checkpoints::format_epochs(&log.epochs);
            log.disk.write_atomically(&path, &bytes).at("write", &path)?;
            log.names_changed += 1;
            match log.flush_target() {
                Some(target) => target.sync(),
                None => Ok(()),
            }
        })
    }
}
