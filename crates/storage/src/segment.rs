//! One segment: a run of batches in a file, with its indexes (`LogSegment`).

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, remove_if_exists};
use crate::error::{IoContext, StorageError};
use crate::file_names::{self, SEGMENT_SUFFIXES, TEMPORARY};
use crate::offset_index::OffsetIndex;
use crate::scan::{self, Found, ScanError};
use crate::time_index::{TimeIndex, TimestampOffset};
use crate::transaction_index::TransactionIndex;
use ottla_records::{BatchHeader, BatchView, batches};
use ottla_types::{FileRegion, LeaderEpoch, Offset, ReadAt, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room on a disk that records may not take: for the metadata log, indexes, checkpoints and new segments.
pub const DISK_RESERVE_BYTES: u64 = 1 << 20;

/// Disk space is set aside in steps as large as the segment is already, within these bounds: a quiet
/// partition reserves nothing, a busy one stays contiguous.
const PREALLOCATE_BYTES_MIN: u64 = 1 << 20;
const PREALLOCATE_BYTES_MAX: u64 = 64 << 20;

/// A file of batches and what finds things in it. Its offsets are `base_offset..` the next one's (LOG-2).
#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pub(crate) base_offset: Offset,
    file: Arc<dyn DiskFile>,
    size: u64,
    preallocated: u64,
    /// Whether more than that may be set aside: by whoever had the log before, and was killed.
    may_have_more: bool,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    pub(crate) transaction_index: TransactionIndex,
    bytes_since_index_entry: u64,
    latest: Option<TimestampOffset>,
    /// The largest timestamp of the first batch: what `segment.ms` is measured from.
    first_timestamp: Option<Timestamp>,
    created: Timestamp,
}

/// Where recovery begins in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// After the last batch that the offset index knows: what the indexes say is believed.
    After(Found),
    /// At the first batch, for the index is empty, and rightly so: the other indexes are believed.
    AtStart,
    /// At the first batch, to make all indexes anew. Until [`Segment::finish_recovery`] the offset index has another
    /// name: a start that finds none believes the others neither.
    Anew,
}

/// What recovery found in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    /// The first offset that was looked at.
    pub(crate) from: Offset,
    /// How many bytes were.
    pub(crate) checked_bytes: u64,
    /// The offset after the last batch; the base offset when there is none.
    pub(crate) next_offset: Offset,
    /// How many bytes at the end were no batches, and are cut.
    pub(crate) truncated_bytes: u64,
}

/// Indexes that are to be made anew; see [`Begin::Anew`].
fn empty_indexes(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    base_offset: Offset,
) -> Result<(OffsetIndex, TimeIndex, TransactionIndex), StorageError> {
    let path = file_names::path(dir, base_offset, file_names::OFFSET_INDEX);
    remove_if_exists(&**disk, &path).at("remove", &path)?;
    disk.sync_dir(dir).at("sync", dir)?;
    Ok((
        OffsetIndex::create(&**disk, dir, base_offset, TEMPORARY)?,
        TimeIndex::create(&**disk, dir, base_offset, "")?,
        TransactionIndex::create(&**disk, dir, base_offset, "")?,
    ))
}

impl Segment {
    /// A new, empty segment.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        now: Timestamp,
    ) -> Result<Segment, StorageError> {
        Segment::create_named(disk, dir, base_offset, "", now)
    }

    /// A new, empty segment whose files' names end so.
    pub(crate) fn create_named(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        ending: &str,
        now: Timestamp,
    ) -> Result<Segment, StorageError> {
        let path = file_names::with_suffix(&file_names::path(dir, base_offset, file_names::LOG), ending);
        Ok(Segment {
            file: disk.create(&path).at("create", &path)?,
            offset_index: OffsetIndex::create(&**disk, dir, base_offset, ending)?,
            time_index: TimeIndex::create(&**disk, dir, base_offset, ending)?,
            transaction_index: TransactionIndex::create(&**disk, dir, base_offset, ending)?,
            disk: Arc::clone(disk),
            path,
            base_offset,
            size: 0,
            preallocated: 0,
            may_have_more: false,
            bytes_since_index_entry: 0,
            latest: None,
            first_timestamp: None,
            created: now,
        })
    }

    /// Opens a segment whose file is there. `false`: an index is missing or implausible, and all are empty instead; the
    /// segment must be recovered before it is used. It must be too when only what is below `known` is durable for certain: what the
    /// indexes say of later offsets goes here.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        known: Option<Offset>,
        now: Timestamp,
    ) -> Result<(Segment, bool), StorageError> {
        let path = file_names::path(dir, base_offset, file_names::LOG);
        let file = disk.open(&path).at("open", &path)?;
        let size = file.size().at("stat", &path)?;
        let found = (
            OffsetIndex::open(&**disk, dir, base_offset, size, known)?,
            TimeIndex::open(&**disk, dir, base_offset, known)?,
            TransactionIndex::open(&**disk, dir, base_offset, known)?,
        );
        let (indexes, intact) = match found {
            (Some(offsets), Some(times), Some(transactions)) => ((offsets, times, transactions), true),
            _ => (empty_indexes(disk, dir, base_offset)?, false),
        };
        let (offset_index, time_index, transaction_index) = indexes;
        let mut segment = Segment {
            offset_index,
            time_index,
            transaction_index,
            disk: Arc::clone(disk),
            path,
            base_offset,
            file,
            size,
            preallocated: size,
            may_have_more: false,
            bytes_since_index_entry: 0,
            latest: None,
            first_timestamp: None,
            created: now,
        };
        segment.latest = segment.time_index.last();
        Ok((segment, intact))
    }

    /// Says where recovery begins in a segment that was just opened, `intact` or not (its indexes are empty then), and empties
    /// the indexes if they are not to be believed.
    pub(crate) fn begin_recovery(&mut self, intact: bool) -> Result<Begin, StorageError> {
        if !intact {
            return Ok(Begin::Anew);
        }
        let Some((last_offset, position)) = self.offset_index.last() else { return Ok(Begin::AtStart) };
        let found = self.headers(position).next().map(|found| {
            let found = found?;
            self.checked(&found, &mut Vec::new()).map(|_| found)
        });
        match found {
            // The first batch has no entry: what says so are zeros that a loss of power left.
            Some(Ok(found)) if position > 0 && found.header.last_offset() == last_offset => {
                return Ok(Begin::After(found));
            }
            Some(Err(error @ ScanError::Io(_))) => return Err(self.scan_error(error)),
            _ => {}
        }
        let dir = crate::disk::parent(&self.path).to_owned();
        (self.offset_index, self.time_index, self.transaction_index) =
            empty_indexes(&self.disk, &dir, self.base_offset)?;
        Ok(Begin::Anew)
    }

    /// Makes durable what was made anew, and gives the offset index its name: from now on a start believes all three.
    /// The name itself is durable when the directory is synced.
    pub(crate) fn finish_recovery(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        let path =
            file_names::path(crate::disk::parent(&self.path), self.base_offset, file_names::OFFSET_INDEX);
        self.disk.rename(&file_names::with_suffix(&path, TEMPORARY), &path).at("rename", &path)
    }

    /// Walks the segment, checks every batch and completes the indexes of offsets and times. Of batches that end before `known`
    /// no entries are made: there a start relies on what is in the indexes, and it must not be without a sync. `each` sees the
    /// headers of the batches that are walked and stay, in order. Only who knows the producers can complete the
    /// transaction index.
    ///
    /// Bytes that are no batch are cut, and all that follow; below `durable` they are an error, for the disk is at fault there,
    /// and cutting would hide it.
    pub(crate) fn recover(
        &mut self,
        config: &LogConfig,
        begin: Begin,
        known: Offset,
        durable: Offset,
        mut each: impl FnMut(&BatchHeader),
    ) -> Result<Recovered, StorageError> {
        let last_indexed = if let Begin::After(found) = begin { Some(found) } else { None };
        let begin = last_indexed.map_or(0, |found| found.end());
        let from = last_indexed.map_or(self.base_offset, |found| found.header.next_offset());
        // An entry of a later batch than the offset index's last was written when its writer ended.
        self.time_index.truncate_to(from)?;
        self.latest = self.time_index.last();
        self.first_timestamp = None;
        self.bytes_since_index_entry = last_indexed.map_or(0, |found| found.header.size_in_bytes as u64);
        let file_size = self.size;
        let mut next_offset = from;
        let mut latest_epoch = last_indexed.map_or(LeaderEpoch::NONE, |found| found.header.leader_epoch);
        let mut buffer = Vec::new();
        self.size = begin;
        for found in scan::headers(&Arc::clone(&self.file), begin, file_size) {
            let batch = found.and_then(|found| self.checked(&found, &mut buffer));
            let header = match batch {
                Ok(batch) => *batch.header(),
                // What was not durable goes.
                Err(ScanError::Corrupt(..)) if next_offset >= durable => break,
                Err(error) => return Err(self.scan_error(error)),
            };
            // Offset and epoch are not under the crc.
            if header.base_offset < next_offset
                || header.leader_epoch < latest_epoch
                || header.last_offset() - self.base_offset > i64::from(i32::MAX)
            {
                if next_offset < durable {
                    let text = format!("at byte {}: its offset or its leader epoch goes back", self.size);
                    return Err(StorageError::invalid(&self.path, text));
                }
                break;
            }
            latest_epoch = header.leader_epoch;
            each(&header);
            self.note(&header, header.last_offset() >= known, config)?;
            next_offset = header.next_offset();
        }
        if let Some(latest) = self.latest {
            self.time_index.maybe_append(latest)?;
        }
        let truncated_bytes = file_size - self.size;
        if truncated_bytes > 0 {
            self.file.truncate(self.size).at("truncate", &self.path)?;
        }
        self.preallocated = self.size;
        // What is set aside beyond stays until the segment is sealed: freeing it takes, on file systems that discard, a turn
        // at the device, and a start has a thousand segments.
        self.may_have_more = truncated_bytes == 0;
        Ok(Recovered { from, checked_bytes: self.size - begin, next_offset, truncated_bytes })
    }

    /// Returns whether a run with these properties belongs into a new segment.
    pub(crate) fn is_full_for(
        &mut self,
        bytes: usize,
        header: &BatchHeader,
        config: &LogConfig,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        if header.last_offset() - self.base_offset > i64::from(i32::MAX) {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let index_bytes = config.segment_index_bytes;
        Ok(self.size + bytes as u64 > config.segment_bytes
            || self.offset_index.count() as u64 >= index_bytes / 8
            || self.time_index.count() as u64 >= index_bytes / 12
            || self.age_ms(header.max_timestamp, now)? > config.segment_ms - config.segment_jitter_ms)
    }

    /// How long the segment has been open: by its records' clock if they have one, else by ours.
    fn age_ms(&mut self, batch: Timestamp, now: Timestamp) -> Result<i64, StorageError> {
        if self.first_timestamp.is_none()
            && let Some(first) = self.headers(0).next()
        {
            self.first_timestamp = Some(self.found(first)?.header.max_timestamp);
        }
        Ok(match self.first_timestamp {
            Some(first) if first.0 >= 0 && batch.0 >= 0 => batch.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(self.created.0),
        })
    }

    /// Appends whole batches, whose offsets are assigned.
    pub(crate) fn append(&mut self, bytes: &[u8], config: &LogConfig) -> Result<(), StorageError> {
        self.preallocate(bytes.len() as u64)?;
        self.file.write_all_at(bytes, self.size).at("write", &self.path)?;
        for batch in batches(bytes) {
            let header = *batch.expect("whole batches were handed in").header();
            assert!(
                header.base_offset >= self.base_offset,
                "LOG-2: {} in {}",
                header.base_offset,
                self.base_offset
            );
            self.note(&header, true, config)?;
        }
        Ok(())
    }

    /// Notes the batch at the end of what is noted so far, and moves the end past it.
    fn note(
        &mut self,
        header: &BatchHeader,
        is_indexed: bool,
        config: &LogConfig,
    ) -> Result<(), StorageError> {
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.latest.map_or(Timestamp::NONE, |latest| latest.timestamp) < header.max_timestamp {
            self.latest =
                Some(TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() });
        }
        if is_indexed && self.bytes_since_index_entry > config.index_interval_bytes {
            self.offset_index.append(header.last_offset(), self.size)?;
            if let Some(latest) = self.latest {
                self.time_index.maybe_append(latest)?;
            }
            self.bytes_since_index_entry = 0;
        }
        self.size += header.size_in_bytes as u64;
        self.bytes_since_index_entry += header.size_in_bytes as u64;
        Ok(())
    }

    /// Returns whether so many bytes were taken on the disk beforehand.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.size >= PREALLOCATE_BYTES_MIN && self.size + bytes <= self.preallocated
    }

    fn preallocate(&mut self, bytes: u64) -> Result<(), StorageError> {
        let needed = self.size + bytes;
        if self.size < PREALLOCATE_BYTES_MIN || needed <= self.preallocated {
            return Ok(());
        }
        let step = self.size.clamp(PREALLOCATE_BYTES_MIN, PREALLOCATE_BYTES_MAX).max(bytes);
        // No room for the step does not mean no room for the batch.
        let dir = crate::disk::parent(&self.path);
        let usable = self.disk.space(dir).map_or(0, |space| space.usable_bytes);
        if usable > step + DISK_RESERVE_BYTES && self.file.preallocate(self.size, step).is_ok() {
            self.preallocated = self.size + step;
        } else {
            self.preallocated = needed;
        }
        Ok(())
    }

    /// Ends the segment's growth: notes the latest timestamp and gives back what was preallocated.
    pub(crate) fn seal(&mut self) -> Result<(), StorageError> {
        if let Some(latest) = self.latest {
            self.time_index.maybe_append(latest)?;
        }
        if self.preallocated > self.size || self.may_have_more {
            self.file.truncate(self.size).at("truncate", &self.path)?;
            self.preallocated = self.size;
            self.may_have_more = false;
        }
        Ok(())
    }

    /// Cuts the segment before the batch that holds `offset` or is the first after it; returns the offset where
    /// the segment ends then, at most `offset`.
    pub(crate) fn truncate_to(&mut self, offset: Offset) -> Result<Offset, StorageError> {
        let Some(found) = self.find(offset)? else { return Ok(offset) };
        let end = found.header.base_offset.min(offset);
        self.offset_index.truncate_to_position(found.position)?;
        self.time_index.truncate_to(end)?;
        self.transaction_index.truncate_to(end)?;
        self.file.truncate(found.position).at("truncate", &self.path)?;
        self.size = found.position;
        self.preallocated = found.position;
        self.may_have_more = false;
        self.bytes_since_index_entry = 0;
        // What the index does not know of the largest timestamp, the batches since its last entry do.
        self.latest = self.time_index.last();
        if self.size == 0 {
            self.first_timestamp = None;
        }
        for found in self.headers(self.offset_index.last_position()) {
            let header = self.found(found)?.header;
            if self.latest.map_or(Timestamp::NONE, |latest| latest.timestamp) < header.max_timestamp {
                self.latest =
                    Some(TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() });
            }
        }
        self.sync()?;
        // Within a gap that compaction left, the log ends where its last batch does: a start finds no other end.
        self.next_offset()
    }

    /// The first batch whose last offset is `offset` or later.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<Found>, StorageError> {
        for found in self.headers(self.offset_index.position_below(offset)?) {
            let found = self.found(found)?;
            if found.header.last_offset() >= offset {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first batch at or after `first` that does not end by the byte `limit`; `None` when all do.
    pub(crate) fn find_beyond(&self, first: &Found, limit: u64) -> Result<Option<Found>, StorageError> {
        if limit >= self.size {
            return Ok(None);
        }
        for found in self.headers(self.offset_index.floor(limit)?.max(first.position)) {
            let found = self.found(found)?;
            if found.end() > limit {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The offset after the last batch, found by walking from the last index entry.
    pub(crate) fn next_offset(&self) -> Result<Offset, StorageError> {
        let mut next_offset = self.base_offset;
        for found in self.headers(self.offset_index.last_position()) {
            next_offset = self.found(found)?.header.next_offset();
        }
        Ok(next_offset)
    }

    /// The headers from byte `position` on.
    pub(crate) fn headers(&self, position: u64) -> scan::Headers {
        scan::headers(&self.file, position, self.size)
    }

    /// Unwraps what [`Segment::headers`] yields: here, corruption is the disk's doing.
    pub(crate) fn found(&self, found: Result<Found, ScanError>) -> Result<Found, StorageError> {
        found.map_err(|error| self.scan_error(error))
    }

    /// Reads a batch and checks its crc.
    pub(crate) fn batch<'a>(
        &self,
        found: &Found,
        buffer: &'a mut Vec<u8>,
    ) -> Result<BatchView<'a>, StorageError> {
        self.checked(found, buffer).map_err(|error| self.scan_error(error))
    }

    fn checked<'a>(&self, found: &Found, buffer: &'a mut Vec<u8>) -> Result<BatchView<'a>, ScanError> {
        let batch = scan::batch(&self.file, found, buffer)?;
        batch.check_crc().map_err(|error| ScanError::Corrupt(found.position, error))?;
        Ok(batch)
    }

    fn scan_error(&self, error: ScanError) -> StorageError {
        error.at(&self.path)
    }

    /// The bytes `start..end` of the segment's file.
    pub(crate) fn region(&self, start: u64, end: u64) -> FileRegion {
        let file: Arc<dyn ReadAt> = Arc::clone(&self.file) as Arc<dyn ReadAt>;
        let len = usize::try_from(end - start).expect("a segment fits the address space");
        FileRegion { file, position: start, len }
    }

    /// The largest timestamp and the last offset of the batch that has it; `None` when no record has one.
    pub(crate) fn latest(&self) -> Option<TimestampOffset> {
        self.latest
    }

    /// The offset from which on a record of `timestamp` or later may be found.
    pub(crate) fn offset_below(&self, timestamp: Timestamp) -> Result<Offset, StorageError> {
        self.time_index.offset_below(timestamp)
    }

    /// The size of the log file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The size of the offset index.
    pub(crate) fn offset_index_bytes(&self) -> u64 {
        self.offset_index.count() as u64 * 8
    }

    /// The size of the time index.
    pub(crate) fn time_index_bytes(&self) -> u64 {
        self.time_index.count() as u64 * 12
    }

    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The files to sync, the log first.
    pub(crate) fn files(&self) -> Vec<Arc<dyn DiskFile>> {
        let mut files = vec![
            Arc::clone(&self.file),
            Arc::clone(self.offset_index.file()),
            Arc::clone(self.time_index.file()),
        ];
        files.extend(self.transaction_index.file().cloned());
        files
    }

    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        for file in self.files() {
            file.sync().at("sync", &self.path)?;
        }
        Ok(())
    }

    /// Notes an aborted transaction whose marker is in this segment; returns whether there is a new file.
    pub(crate) fn append_aborted(
        &mut self,
        aborted: crate::transaction_index::AbortedTransaction,
    ) -> Result<bool, StorageError> {
        let disk = Arc::clone(&self.disk);
        self.transaction_index.append(&*disk, aborted)
    }

    /// Takes the segment's files out of the log by renaming them; returns their new names.
    pub(crate) fn mark_deleted(self) -> Result<Vec<PathBuf>, StorageError> {
        let dir = crate::disk::parent(&self.path);
        let mut renamed = Vec::new();
        for suffix in SEGMENT_SUFFIXES {
            let from = file_names::path(dir, self.base_offset, suffix);
            let to = file_names::with_suffix(&from, file_names::DELETED);
            match self.disk.rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => {
                    outcome.at("rename", &from)?;
                    renamed.push(to);
                }
            }
        }
        Ok(renamed)
    }
}
