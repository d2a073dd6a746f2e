//! `.index`: where in the segment's file an offset is found (`OffsetIndex`).
//!
//! An entry names the *last* offset of a batch and the byte where that batch starts. There is one for about
//! every `index.interval.bytes` of the log; from the nearest one below, the log itself is scanned.

use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::file_names;
use crate::index_file::{Entry, IndexFile};
use ottla_types::Offset;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Relative to the segment's base offset.
    pub(crate) relative_offset: u32,
    /// The byte in the segment's file.
    pub(crate) position: u32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let half = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes of eight"));
        OffsetEntry { relative_offset: half(0), position: half(4) }
    }
}

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base_offset: Offset,
    entries: IndexFile<OffsetEntry>,
}

impl OffsetIndex {
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        ending: &str,
    ) -> Result<Self, StorageError> {
        let path =
            file_names::with_suffix(&file_names::path(dir, base_offset, file_names::OFFSET_INDEX), ending);
        Ok(OffsetIndex { base_offset, entries: IndexFile::create(disk, path)? })
    }

    /// Opens the index of a segment of `size` bytes; `None` when it is missing or cannot be that segment's:
    /// Kafka leaves a tail of zeros when it is killed. What it says of `known` and later goes.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        size: u64,
        known: Option<Offset>,
    ) -> Result<Option<Self>, StorageError> {
        let path = file_names::path(dir, base_offset, file_names::OFFSET_INDEX);
        let Some(entries) = IndexFile::open(disk, path, known)? else { return Ok(None) };
        let mut index = OffsetIndex { base_offset, entries };
        if let Some(known) = known {
            index.truncate_to(known)?;
        }
        let plausible = match index.entries.last() {
            None => true,
            Some(last) if index.entries.count() == 1 => u64::from(last.position) < size,
            Some(last) => {
                let first = index.entries.get(0)?;
                u64::from(last.position) < size
                    && first.relative_offset < last.relative_offset
                    && first.position < last.position
            }
        };
        Ok(plausible.then_some(index))
    }

    /// Adds an entry for the batch that ends with `last_offset` and starts at `position`.
    pub(crate) fn append(&mut self, last_offset: Offset, position: u64) -> Result<(), StorageError> {
        let entry = OffsetEntry {
            relative_offset: u32::try_from(last_offset - self.base_offset)
                .expect("the segment was rolled before"),
            position: u32::try_from(position).expect("a segment is smaller than 4 GiB"),
        };
        if let Some(last) = self.entries.last() {
            assert!(last.relative_offset < entry.relative_offset, "LOG-1: {last:?} then {entry:?}");
        }
        self.entries.append(entry)
    }

    /// Where to start scanning for the batch that holds `offset`: never past its start.
    pub(crate) fn position_below(&self, offset: Offset) -> Result<u64, StorageError> {
        let relative = offset - self.base_offset;
        let below = self.entries.partition_point(|entry| i64::from(entry.relative_offset) <= relative)?;
        self.position_before(below)
    }

    /// The greatest start of a batch that has an entry and is not past `position`, or 0.
    pub(crate) fn floor(&self, position: u64) -> Result<u64, StorageError> {
        let below = self.entries.partition_point(|entry| u64::from(entry.position) <= position)?;
        self.position_before(below)
    }

    /// Where to start scanning for the last batch.
    pub(crate) fn last_position(&self) -> u64 {
        self.last().map_or(0, |(_, position)| position)
    }

    /// The last offset of the last batch that has an entry, and the byte where the batch starts.
    pub(crate) fn last(&self) -> Option<(Offset, u64)> {
        let last = self.entries.last()?;
        Some((self.base_offset + i64::from(last.relative_offset), u64::from(last.position)))
    }

    /// Drops the entries of batches that end at `offset` or later.
    fn truncate_to(&mut self, offset: Offset) -> Result<(), StorageError> {
        let relative = offset - self.base_offset;
        let below = self.entries.partition_point(|entry| i64::from(entry.relative_offset) < relative)?;
        self.entries.truncate(below)
    }

    /// Drops the entries of batches that start at `position` or later.
    pub(crate) fn truncate_to_position(&mut self, position: u64) -> Result<(), StorageError> {
        let below = self.entries.partition_point(|entry| u64::from(entry.position) < position)?;
        self.entries.truncate(below)
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.count()
    }

    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        self.entries.file()
    }

    fn position_before(&self, index: usize) -> Result<u64, StorageError> {
        match index.checked_sub(1) {
            None => Ok(0),
            Some(index) => Ok(u64::from(self.entries.get(index)?.position)),
        }
    }
}
