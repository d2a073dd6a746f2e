//! What compaction needs of a log: what there is to clean, and putting a cleaned segment in the place of others.

use super::Log;
use crate::cleaner::{Cleanable, CleanedSegment, Cleaning, Last, Snapshot, Source, discard};
use crate::error::{IoContext, StorageError};
use crate::file_names::{self, CLEANED, SEGMENT_SUFFIXES, SWAP};
use crate::segment::Segment;
use ottla_types::{Now, Offset, ProducerId, Timestamp};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

impl Log {
    /// Where the part of the log starts that compaction has not seen: what goes into
    /// `cleaner-offset-checkpoint`.
    pub fn first_dirty_offset(&self) -> Offset {
        self.first_dirty.max(self.log_start)
    }

    /// Takes over what the checkpoint says, after opening. An offset outside of the log is another history's: then
    /// all of the log is dirty.
    pub fn restore_first_dirty_offset(&mut self, checkpoint: Offset) {
        let is_within = self.log_start <= checkpoint && checkpoint <= self.log_end;
        self.first_dirty = if is_within { checkpoint } else { self.log_start };
    }

    /// What there is to clean. `committed` is the replica's last stable offset: what is above may yet be cut
    /// or aborted.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn cleanable(&self, committed: Offset, now: Timestamp) -> Result<Cleanable, StorageError> {
        let first_dirty = self.first_dirty_offset();
        let mut end = committed.min(self.active().base_offset);
        if self.config.min_compaction_lag_ms > 0 {
            let youngest = now.0.saturating_sub(self.config.min_compaction_lag_ms);
            let is_young = |segment: &&Segment| {
                segment.latest().is_some_and(|latest| latest.timestamp.0 > youngest)
                    && self.end_of(segment) > first_dirty
            };
            if let Some(segment) = self.segments.values().find(is_young) {
                end = end.min(segment.base_offset);
            }
        }
        // Whole segments only: else a transaction that stays open would be come up to again and again.
        let end = self.segment_floor(end).map_or(first_dirty, |segment| segment.base_offset);
        let mut cleanable = Cleanable {
            first_dirty,
            end: end.max(first_dirty),
            log_end: self.log_end,
            clean_bytes: 0,
            dirty_bytes: 0,
            dirty_since: None,
        };
        for segment in self.segments.values() {
            if segment.base_offset >= cleanable.end {
                break;
            }
            if self.end_of(segment) <= first_dirty {
                cleanable.clean_bytes += segment.size();
                continue;
            }
            if cleanable.dirty_bytes == 0 && self.config.max_compaction_lag_ms < i64::MAX {
                let first = segment.headers(0).next().map(|found| segment.found(found)).transpose()?;
                let time = first.map(|found| found.header.max_timestamp);
                cleanable.dirty_since = time.filter(|time| time.0 >= 0);
            }
            cleanable.dirty_bytes += segment.size();
        }
        Ok(cleanable)
    }

    /// Begins a pass over what [`Log::cleanable`] found. The caller has flushed the log in between: a record must not
    /// go because of a later one, or because of a marker, that a power loss may take. Without that the pass is empty.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn begin_cleaning(&self, cleanable: &Cleanable, now: Timestamp) -> Result<Cleaning, StorageError> {
        let mut cleanable = *cleanable;
        // It may have been cut meanwhile.
        cleanable.first_dirty = cleanable.first_dirty.min(self.first_dirty_offset());
        cleanable.end = cleanable.end.min(self.active().base_offset).max(cleanable.first_dirty);
        if self.durable_end < cleanable.log_end {
            cleanable.end = cleanable.first_dirty;
        }
        let below = self.segments.range(..cleanable.end).map(|(_, segment)| segment);
        let source = |segment: &Segment| Source {
            base_offset: segment.base_offset,
            end: self.end_of(segment),
            path: segment.path().to_owned(),
            file: Arc::clone(segment.file()),
            size: segment.size(),
            offset_index_bytes: segment.offset_index_bytes(),
            time_index_bytes: segment.time_index_bytes(),
        };
        let first = *self.segments.first_key_value().expect("a log has a segment").0;
        let sources: VecDeque<Source> = below.map(source).collect();
        let upper = sources.back().map_or(first, |last| last.end);
        let snapshot = Snapshot {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            config: self.config,
            truncations: self.truncations,
            sources,
            // What is beyond the pass in the last segment moves with it.
            aborted: self.aborted_transactions(first, upper)?,
            last_of_producers: self.last_of_producers().collect(),
        };
        Ok(Cleaning::new(snapshot, &cleanable, now))
    }

    fn last_of_producers(&self) -> impl Iterator<Item = (ProducerId, Last)> {
        self.producers.iter().map(|(id, state)| {
            let last = state.batches.back().map(|batch| Last::Data(batch.last_offset));
            (id, last.unwrap_or(Last::Marker(state.epoch)))
        })
    }

    /// Puts a cleaned segment in the place of those it was made of. Returns `false`, and drops it, when they are
    /// no longer what they were: cut, or deleted.
    ///
    /// Only names change here, and none is waited for: the files were synced before. From the moment when the
    /// new log file has its second name (`.swap`) a start completes the replacement, before that it undoes it.
    ///
    /// # Errors
    /// [`StorageError`]; the log is closed to changes then.
    pub fn replace_segments(&mut self, cleaned: &CleanedSegment, now: Now) -> Result<bool, StorageError> {
        if self.failed {
            return Err(StorageError::Failed { path: self.dir.clone() });
        }
        if cleaned.truncations != self.truncations || !self.has_all(&cleaned.sources) {
            discard(&*self.disk, &self.dir, cleaned.base_offset())?;
            return Ok(false);
        }
        self.guarded(|log| {
            let base_offset = cleaned.base_offset();
            log.rename_segment(base_offset, CLEANED, SWAP)?;
            for source in &cleaned.sources {
                let segment = log.segments.remove(&source.base_offset).expect("looked up above");
                log.delete_files(segment, now)?;
            }
            log.rename_segment(base_offset, SWAP, "")?;
            let (segment, intact) = Segment::open(&log.disk, &log.dir, base_offset, None, now.wall)?;
            if !intact || segment.size() != cleaned.size {
                return Err(StorageError::invalid(segment.path(), "it is not what was written a moment ago"));
            }
            log.segments.insert(base_offset, segment);
            log.names_changed += 1;
            // What they said of producers, the batches that stay say again.
            let end = cleaned.end();
            log.remove_snapshots(|snapshot| base_offset < snapshot && snapshot < end)
        })?;
        Ok(true)
    }

    /// Notes that a pass is over and its replacements are durable.
    pub fn finish_cleaning(&mut self, cleaning: &Cleaning) {
        if cleaning.truncations == self.truncations {
            self.first_dirty = self.first_dirty.max(cleaning.end());
        }
    }

    fn has_all(&self, sources: &[Source]) -> bool {
        sources.iter().all(|source| {
            self.segments.get(&source.base_offset).is_some_and(|segment| {
                Arc::ptr_eq(segment.file(), &source.file) && segment.size() == source.size
            })
        })
    }

    /// Renames a segment's files from one ending to another, the log last: what it is called says how far this
    /// came.
    fn rename_segment(&self, base_offset: Offset, from: &str, to: &str) -> Result<(), StorageError> {
        for suffix in SEGMENT_SUFFIXES.iter().rev() {
            let plain = file_names::path(&self.dir, base_offset, suffix);
            let old = file_names::with_suffix(&plain, from);
            match self.disk.rename(&old, &file_names::with_suffix(&plain, to)) {
                // Most segments have no aborted transactions.
                Err(error) if error.kind() == ErrorKind::NotFound && *suffix != file_names::LOG => {}
                outcome => outcome.at("rename", &old)?,
            }
        }
        Ok(())
    }
}
