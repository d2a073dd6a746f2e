//! Writes a cleaned segment beside the log, under names that no log has.

use crate::config::LogConfig;
use crate::disk::{Disk, remove_if_exists};
use crate::error::{IoContext, StorageError};
use crate::file_names::{self, CLEANED, SEGMENT_SUFFIXES};
use crate::segment::{DISK_RESERVE_BYTES, Segment};
use crate::transaction_index::AbortedTransaction;
use ottla_types::{Offset, Timestamp};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is written at a time.
const WRITE_BYTES: usize = 256 << 10;
/// What fits a segment's positions in Kafka, too.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// A segment being written.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: LogConfig,
    segment: Segment,
    waiting: Vec<u8>,
}

impl Writer {
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        config: LogConfig,
    ) -> Result<Writer, StorageError> {
        let segment = Segment::create_named(disk, dir, base_offset, CLEANED, Timestamp::NONE)?;
        Ok(Writer { disk: Arc::clone(disk), dir: dir.to_owned(), config, segment, waiting: Vec::new() })
    }

    /// Adds a whole batch.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<(), StorageError> {
        if self.segment.size() + (self.waiting.len() + batch.len()) as u64 > SEGMENT_BYTES_MAX {
            // Delete horizons lengthen records a little; only segments of nearly 2 GiB come to this.
            return Err(StorageError::invalid(self.segment.path(), "cleaned, it exceeds 2 GiB"));
        }
        self.waiting.extend_from_slice(batch);
        if self.waiting.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    pub(super) fn append_aborted(&mut self, aborted: AbortedTransaction) -> Result<(), StorageError> {
        let done = self.segment.append_aborted(aborted).map(|_| ());
        self.unless_full(done)
    }

    /// Completes the segment and makes its files durable; returns its size.
    pub(super) fn finish(mut self) -> Result<u64, StorageError> {
        self.write()?;
        self.segment.seal()?;
        self.segment.sync()?;
        Ok(self.segment.size())
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let done = self.segment.append(&self.waiting, &self.config);
        self.waiting.clear();
        self.unless_full(done)
    }

    /// A disk that has no room has not failed: nothing of the log was touched.
    fn unless_full(&self, done: Result<(), StorageError>) -> Result<(), StorageError> {
        match done {
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => {
                let usable = self.disk.space(&self.dir).map_or(0, |space| space.usable_bytes);
                let (path, bytes) = (self.dir.clone(), self.segment.size());
                Err(StorageError::Full { path, bytes, usable, reserve: DISK_RESERVE_BYTES })
            }
            other => other,
        }
    }
}

/// Removes what a pass wrote beside the log.
pub(crate) fn discard(disk: &dyn Disk, dir: &Path, base_offset: Offset) -> Result<(), StorageError> {
    for suffix in SEGMENT_SUFFIXES {
        let path = file_names::with_suffix(&file_names::path(dir, base_offset, suffix), CLEANED);
        remove_if_exists(disk, &path).at("remove", &path)?;
    }
    Ok(())
}
