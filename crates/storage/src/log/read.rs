//! Reading: by offset, by time, by transaction.

use super::Log;
use crate::error::{IoContext, ReadError, StorageError};
use crate::segment::Segment;
use crate::time_index::TimestampOffset;
use crate::transaction_index::AbortedTransaction;
use ottla_records::CorruptBatch;
use ottla_types::{FileRegion, LeaderEpoch, Offset, Timestamp};

/// What to do when the first batch alone is larger than what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLeast {
    /// Return it all the same: the reader would never get past it otherwise (KIP-74).
    OneBatch,
    /// Return nothing: another partition's records fill the response.
    Nothing,
}

/// Whole batches, one after the other, in one file.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Where the batches are; `None` when there are none below the bound.
    pub region: Option<FileRegion>,
    /// The offset of the first batch, at or before the one asked for; that one itself when there is none.
    pub base_offset: Offset,
    /// Where the offsets of the batches end (exclusive); the one asked for, when there are none.
    pub end_offset: Offset,
    /// Where the segment starts that holds them.
    pub segment_base_offset: Offset,
    /// How far into the segment, in bytes, they start.
    pub position: u64,
    /// Whether there is more below the bound: these end where no more were asked for, or where their segment does.
    pub is_cut: bool,
}

impl ReadResult {
    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.region.as_ref().map_or(0, |region| region.len)
    }
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundByTime {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// Finds the batches from the one that holds `from` on, below `upper` (exclusive: high watermark, last stable offset or
    /// log end), at most `max_bytes` of them and within one segment. The first may start before `from`; its reader drops what
    /// it did not ask for.
    ///
    /// Nothing is read: the region is sent, or read, without the log's lock.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] when `from` is before the log start or past the log end.
    pub fn read(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: usize,
        at_least: AtLeast,
    ) -> Result<ReadResult, ReadError> {
        if from < self.log_start || from > self.log_end {
            return Err(ReadError::OffsetOutOfRange {
                offset: from,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        let upper = upper.min(self.log_end);
        let floor = self.segment_floor(from).map_or(self.log_start, |segment| segment.base_offset);
        // Compaction leaves gaps: the next record may be in a later segment.
        for (_, segment) in self.segments.range(floor..) {
            if from >= upper || segment.base_offset >= upper {
                break;
            }
            if let Some(first) = segment.find(from)? {
                if first.header.last_offset() >= upper {
                    break;
                }
                // All of the segment may be below the bound; if not, find where the bound is.
                let end_of_segment = self.end_of(segment);
                let beyond = if upper < end_of_segment { segment.find(upper)? } else { None };
                let bound = beyond.map_or(segment.size(), |beyond| beyond.position);
                let limit = first.position.saturating_add(max_bytes as u64).min(bound);
                let (mut end, mut end_offset) = match segment.find_beyond(&first, limit)? {
                    Some(beyond) => (beyond.position, beyond.header.base_offset),
                    None => (segment.size(), end_of_segment),
                };
                if end == first.position {
                    (end, end_offset) = match at_least {
                        AtLeast::OneBatch => (first.end(), first.header.next_offset()),
                        AtLeast::Nothing => (end, from),
                    };
                }
                return Ok(ReadResult {
                    region: (end > first.position).then(|| segment.region(first.position, end)),
                    base_offset: first.header.base_offset,
                    end_offset,
                    segment_base_offset: segment.base_offset,
                    position: first.position,
                    is_cut: end < bound || upper > end_of_segment,
                });
            }
        }
        Ok(self.nothing(from))
    }

    fn nothing(&self, from: Offset) -> ReadResult {
        let segment = self.segment_floor(from).unwrap_or_else(|| self.active());
        let position = segment.size();
        let segment_base_offset = segment.base_offset;
        ReadResult {
            region: None,
            base_offset: from,
            end_offset: from,
            segment_base_offset,
            position,
            is_cut: false,
        }
    }

    /// The offset where the segment's offsets end (LOG-2).
    pub(super) fn end_of(&self, segment: &Segment) -> Offset {
        match self.segments.range(segment.base_offset + 1..).next() {
            Some((next_base_offset, _)) => *next_base_offset,
            None => self.log_end,
        }
    }

    /// The first record whose timestamp is `timestamp` or later (`ListOffsets`); `None` when all are earlier.
    ///
    /// Reads and decompresses at most one batch beyond those that the index cannot tell apart.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<FoundByTime>, StorageError> {
        for segment in self.segments.values() {
            if segment.latest().is_none_or(|latest| latest.timestamp < timestamp) {
                continue;
            }
            let start = segment.offset_below(timestamp)?.max(self.log_start);
            if let Some(found) = self.first_record(segment, start, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all (KIP-734); `None` when no record has one.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn max_timestamp_offset(&self) -> Result<Option<FoundByTime>, StorageError> {
        let mut max: Option<(&Segment, TimestampOffset)> = None;
        for segment in self.segments.values() {
            if let Some(latest) = segment.latest()
                && max.is_none_or(|(_, max)| latest.timestamp > max.timestamp)
            {
                max = Some((segment, latest));
            }
        }
        match max {
            Some((segment, latest)) => {
                self.first_record(segment, self.log_start.max(segment.base_offset), latest.timestamp)
            }
            None => Ok(None),
        }
    }

    /// The first record of the segment at or after `start` with `timestamp` or a later one.
    fn first_record(
        &self,
        segment: &Segment,
        start: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<FoundByTime>, StorageError> {
        let Some(first) = segment.find(start.max(segment.base_offset))? else { return Ok(None) };
        let mut buffer = Vec::new();
        for found in segment.headers(first.position) {
            let found = segment.found(found)?;
            if found.header.max_timestamp < timestamp {
                continue;
            }
            let batch = segment.batch(&found, &mut buffer)?;
            let invalid = |error: CorruptBatch| StorageError::invalid(segment.path(), error.to_string());
            let records = batch.records(self.config.decompressed_bytes_max).map_err(invalid)?;
            for record in records.iter() {
                let record = record.map_err(invalid)?;
                if record.timestamp >= timestamp && record.offset >= start {
                    return Ok(Some(FoundByTime {
                        timestamp: record.timestamp,
                        offset: record.offset,
                        leader_epoch: found.header.leader_epoch,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The aborted transactions that have records in `from..upper`: what a consumer of committed records
    /// skips.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upper: Offset,
    ) -> Result<Vec<AbortedTransaction>, StorageError> {
        let mut found = Vec::new();
        let floor = self.segment_floor(from).map_or(from, |segment| segment.base_offset);
        for (_, segment) in self.segments.range(floor..) {
            if !segment.transaction_index.collect(from, upper, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// Reads the batches of `from..upper` into memory, as [`Log::read`] finds them: for coordinators and tests
    /// that take a log in whole.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_bytes(&self, from: Offset, upper: Offset, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
        match self.read(from, upper, max_bytes, AtLeast::OneBatch)?.region {
            Some(region) => Ok(region.read().at("read", &self.dir)?),
            None => Ok(Vec::new()),
        }
    }
}
