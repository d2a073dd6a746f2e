//! `.timeindex`: from which offset on a timestamp may be found (`TimeIndex`).
//!
//! An entry says: up to this offset, no record is later than this timestamp. Timestamps strictly increase.

use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::file_names;
use crate::index_file::{Entry, IndexFile};
use ottla_types::{Offset, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// The largest timestamp so far, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The timestamp.
    pub timestamp: Timestamp,
    /// The offset.
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeEntry {
    timestamp: i64,
    relative_offset: u32,
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        TimeEntry {
            timestamp: i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes of twelve")),
            relative_offset: u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes of twelve")),
        }
    }
}

#[derive(Debug)]
pub(crate) struct TimeIndex {
    base_offset: Offset,
    entries: IndexFile<TimeEntry>,
}

impl TimeIndex {
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        ending: &str,
    ) -> Result<Self, StorageError> {
        let path =
            file_names::with_suffix(&file_names::path(dir, base_offset, file_names::TIME_INDEX), ending);
        Ok(TimeIndex { base_offset, entries: IndexFile::create(disk, path)? })
    }

    /// `None` when it is missing or cannot be this segment's. What it says of `known` and later goes.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        known: Option<Offset>,
    ) -> Result<Option<Self>, StorageError> {
        let path = file_names::path(dir, base_offset, file_names::TIME_INDEX);
        let Some(entries) = IndexFile::open(disk, path, known)? else { return Ok(None) };
        let mut index = TimeIndex { base_offset, entries };
        if let Some(known) = known {
            // One by one: where power was lost there may be anything after what is known, a smaller offset too.
            let mut last = None;
            let count = index.entries.count_while(|entry| {
                let is_later = last
                    .is_none_or(|(time, offset)| time < entry.timestamp && offset < entry.relative_offset);
                last = Some((entry.timestamp, entry.relative_offset));
                is_later && i64::from(entry.relative_offset) < known - base_offset
            })?;
            index.entries.truncate(count)?;
        }
        let plausible = match index.entries.last() {
            None => true,
            Some(last) => last.timestamp >= index.entries.get(0)?.timestamp && last.timestamp > 0,
        };
        Ok(plausible.then_some(index))
    }

    /// Adds an entry unless the last one says as much.
    pub(crate) fn maybe_append(&mut self, latest: TimestampOffset) -> Result<(), StorageError> {
        if self.last().map_or(Timestamp::NONE, |last| last.timestamp) >= latest.timestamp {
            return Ok(());
        }
        self.entries.append(TimeEntry {
            timestamp: latest.timestamp.0,
            relative_offset: u32::try_from(latest.offset - self.base_offset)
                .expect("the segment was rolled before"),
        })
    }

    pub(crate) fn last(&self) -> Option<TimestampOffset> {
        self.entries.last().map(|entry| self.absolute(entry))
    }

    /// The offset from which on a record of `timestamp` or later may be found.
    pub(crate) fn offset_below(&self, timestamp: Timestamp) -> Result<Offset, StorageError> {
        let below = self.entries.partition_point(|entry| entry.timestamp < timestamp.0)?;
        match below.checked_sub(1) {
            None => Ok(self.base_offset),
            Some(index) => Ok(self.absolute(self.entries.get(index)?).offset),
        }
    }

    /// Drops the entries of `offset` and later.
    pub(crate) fn truncate_to(&mut self, offset: Offset) -> Result<(), StorageError> {
        let relative = offset - self.base_offset;
        let below = self.entries.partition_point(|entry| i64::from(entry.relative_offset) < relative)?;
        self.entries.truncate(below)
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.count()
    }

    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        self.entries.file()
    }

    fn absolute(&self, entry: TimeEntry) -> TimestampOffset {
        TimestampOffset {
            timestamp: Timestamp(entry.timestamp),
            offset: self.base_offset + i64::from(entry.relative_offset),
        }
    }
}
