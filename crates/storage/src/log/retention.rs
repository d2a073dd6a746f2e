//! Deleting old segments (`UnifiedLog.deleteOldSegments`).

use super::Log;
use crate::disk::remove_if_exists;
use crate::error::{IoContext, StorageError};
use crate::segment::Segment;
use ottla_types::{Monotonic, Now, Offset};

impl Log {
    /// Deletes the oldest segments as far as the log start, `retention.bytes` and `retention.ms` allow and no record at or
    /// above `high_watermark` is lost. Returns how many. When even the active segment is due, a new one is rolled first.
    ///
    /// The files are only renamed here; see [`Log::remove_deleted_files`].
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn delete_old_segments(&mut self, now: Now, high_watermark: Offset) -> Result<usize, StorageError> {
        self.guarded(|log| {
            let mut deleted = log.delete_while(now, high_watermark, Self::is_below_log_start)?;
            if log.config.cleanup_policy.delete {
                let mut surplus = log.size_surplus();
                deleted += log.delete_while(now, high_watermark, |_, segment, _, _| {
                    surplus -= segment.size() as i64;
                    surplus >= 0
                })?;
                deleted += log.delete_while(now, high_watermark, Self::is_expired)?;
            }
            Ok(deleted)
        })
    }

    /// Removes the files of segments that were deleted `file.delete.delay.ms` ago or longer.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn remove_deleted_files(&mut self, now: Monotonic) -> Result<(), StorageError> {
        self.guarded(|log| {
            let (due, later) =
                std::mem::take(&mut log.deleted).into_iter().partition(|files| files.due <= now);
            log.deleted = later;
            let due: Vec<super::DeletedFiles> = due;
            for path in due.iter().flat_map(|files| &files.paths) {
                remove_if_exists(&*log.disk, path).at("remove", path)?;
            }
            Ok(())
        })
    }

    /// When the next files are due to be removed.
    pub fn deleted_files_due(&self) -> Option<Monotonic> {
        self.deleted.iter().map(|files| files.due).min()
    }

    /// How many bytes the log is larger than `retention.bytes`; negative when it is not.
    fn size_surplus(&self) -> i64 {
        if self.config.retention_bytes < 0 {
            return -1;
        }
        self.size_bytes() as i64 - self.config.retention_bytes
    }

    fn is_below_log_start(&self, _: &Segment, end: Offset, _: Now) -> bool {
        end <= self.log_start
    }

    fn is_expired(&self, segment: &Segment, _: Offset, now: Now) -> bool {
        let Some(latest) = segment.latest() else { return false };
        self.config.retention_ms >= 0
            && now.wall.0.saturating_sub(latest.timestamp.0) > self.config.retention_ms
    }

    /// Deletes the oldest segments that `is_due`, up to the first that is not.
    fn delete_while(
        &mut self,
        now: Now,
        high_watermark: Offset,
        mut is_due: impl FnMut(&Log, &Segment, Offset, Now) -> bool,
    ) -> Result<usize, StorageError> {
        let mut count = 0;
        let mut segments = self.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let end = segments.peek().map_or(self.log_end, |next| next.base_offset);
            // An empty segment is the active one: there is nothing in it to delete.
            if end > high_watermark || segment.size() == 0 || !is_due(self, segment, end, now) {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        if count == self.segments.len() {
            self.roll_at(self.log_end, now)?;
        }
        for _ in 0..count {
            let (_, segment) = self.segments.pop_first().expect("counted above");
            self.delete_files(segment, now)?;
        }
        self.start_at_first_segment()?;
        Ok(count)
    }

    fn start_at_first_segment(&mut self) -> Result<(), StorageError> {
        let first = *self.segments.first_key_value().expect("a log has a segment").0;
        self.log_start = self.log_start.max(first);
        if self.flushed_end < first {
            // What was deleted was not durable: unless its going is, a power loss leaves half of it.
            self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
            self.names_synced = self.names_changed;
            self.durable_end = self.durable_end.max(first);
            self.flushed_end = first;
            self.count_flushed();
        }
        if self.epochs.truncate_from_start(self.log_start) {
            self.write_epochs()?;
        }
        self.remove_snapshots(|snapshot| snapshot < first)
    }
}
