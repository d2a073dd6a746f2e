//! Where each log starts, up to where it is on disk and compacted, and its high watermark: written down now and then, so
//! that a start knows.

use ottla_storage::checkpoints::{self, FIRST_DIRTY, HIGH_WATERMARK, LOG_START, RECOVERY_POINT};
use ottla_storage::{LogDirectory, StorageError};
use ottla_types::{Offset, TopicPartition};
use std::collections::BTreeMap;

/// The checkpoints of a log directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetCheckpoints {
    /// What followers had when it was written.
    pub high_watermarks: BTreeMap<TopicPartition, Offset>,
    /// What was on disk.
    pub recovery_points: BTreeMap<TopicPartition, Offset>,
    /// Where the logs began.
    pub log_starts: BTreeMap<TopicPartition, Offset>,
    /// Up to where they were compacted.
    pub first_dirty: BTreeMap<TopicPartition, Offset>,
}

/// What the checkpoints say of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// What followers had.
    pub high_watermark: Offset,
    /// What was on disk.
    pub recovery_point: Offset,
    /// Where the log began.
    pub log_start: Offset,
    /// Up to where it was compacted.
    pub first_dirty: Offset,
}

impl OffsetCheckpoints {
    /// Takes out what is said of one log: 0 where nothing is.
    pub fn take(&mut self, name: &TopicPartition) -> Checkpoint {
        let take =
            |offsets: &mut BTreeMap<TopicPartition, Offset>| offsets.remove(name).unwrap_or(Offset::ZERO);
        Checkpoint {
            high_watermark: take(&mut self.high_watermarks),
            recovery_point: take(&mut self.recovery_points),
            log_start: take(&mut self.log_starts),
            first_dirty: take(&mut self.first_dirty),
        }
    }

    /// Reads all of them; what is not there is empty.
    ///
    /// # Errors
    /// When a file is there and makes no sense, or the disk refuses.
    pub fn read(directory: &LogDirectory) -> Result<OffsetCheckpoints, StorageError> {
        let read = |name: &str| checkpoints::read_offsets(&**directory.disk(), &directory.path().join(name));
        Ok(OffsetCheckpoints {
            high_watermarks: read(HIGH_WATERMARK)?,
            recovery_points: read(RECOVERY_POINT)?,
            log_starts: read(LOG_START)?,
            first_dirty: read(FIRST_DIRTY)?,
        })
    }

    /// Writes the high watermarks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_high_watermarks(&self, directory: &LogDirectory) -> Result<(), StorageError> {
        write(directory, HIGH_WATERMARK, &self.high_watermarks)
    }

    /// Writes the recovery points.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_recovery_points(&self, directory: &LogDirectory) -> Result<(), StorageError> {
        write(directory, RECOVERY_POINT, &self.recovery_points)
    }

    /// Writes where the logs begin.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_log_starts(&self, directory: &LogDirectory) -> Result<(), StorageError> {
        write(directory, LOG_START, &self.log_starts)
    }

    /// Writes up to where the logs are compacted.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_first_dirty(&self, directory: &LogDirectory) -> Result<(), StorageError> {
        write(directory, FIRST_DIRTY, &self.first_dirty)
    }
}

fn write(
    directory: &LogDirectory,
    name: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), StorageError> {
    checkpoints::write_offsets(&**directory.disk(), &directory.path().join(name), offsets)
}
