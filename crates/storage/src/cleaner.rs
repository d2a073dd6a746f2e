//! Log compaction (`LogCleaner`, `Cleaner`): of the records of a key only the latest stays.
//!
//! A *pass* has two walks. The first goes over the dirty part of a log, what was appended since the last pass, and
//! notes the latest offset of each key (`offset_map`). The second goes over the log from its start, writes
//! its segments anew, several into one where they fit (`grouping`), and leaves out what a later record has made
//! void (`filter`). Each new segment is put in the place of those it was made of at once (`mod@crate::log::cleaning`),
//! and a power loss leaves either those or it (`mod@crate::log::leftovers`).
//!
//! The lock on the log is held for the beginning and for each replacement only; both walks run without it, on files
//! that are no longer appended to. Whoever reads an old segment keeps its file until done.
//!
//! What never changes: offsets, their order, leader epochs, a batch's producer and sequence numbers. The last
//! batch of each new segment stays, empty if need be: so segments go on meeting without a gap, a gap is always
//! a loss, and a reader always gets past what is gone.
//!
//! A tombstone stays for `delete.retention.ms` after the first pass that meets it, which writes the time into its batch
//! (the *delete horizon*, KIP-534); so does the marker of a transaction of which nothing else is left.

mod filter;
mod grouping;
mod offset_map;
mod transactions;
mod writer;

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, StorageError};
use crate::scan::{self, Found, ScanError};
use crate::segment::DISK_RESERVE_BYTES;
use crate::transaction_index::AbortedTransaction;
use filter::{Filter, LastOfProducer, Outcome};
use offset_map::OffsetMap;
use ottla_records::{BatchView, CorruptBatch};
use ottla_types::{Offset, ProducerId, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use transactions::Transactions;
use writer::Writer;

pub(crate) use filter::LastOfProducer as Last;
pub(crate) use writer::discard;

/// What there is to clean in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// Where the part starts that no pass has seen.
    pub first_dirty: Offset,
    /// Where it ends for now, exclusive: nothing from the active segment on, no segment with something that
    /// is not committed, none with something younger than `min.compaction.lag.ms`.
    pub end: Offset,
    /// Where the log ended then. All of that is to be durable before the pass begins.
    pub log_end: Offset,
    /// The bytes of the segments before.
    pub clean_bytes: u64,
    /// The bytes of the segments that hold it.
    pub dirty_bytes: u64,
    /// When the oldest of it was written; `None` when its records have no time, or nothing depends on it.
    pub dirty_since: Option<Timestamp>,
}

impl Cleanable {
    /// The share of the log that is dirty, 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether it is time for a pass, by `min.cleanable.dirty.ratio` and `max.compaction.lag.ms`.
    pub fn is_due(&self, config: &LogConfig, now: Timestamp) -> bool {
        self.dirty_bytes > 0
            && (self.dirty_ratio() > config.min_cleanable_dirty_ratio || self.is_overdue(config, now))
    }

    /// Whether a record has been dirty for longer than `max.compaction.lag.ms`.
    pub fn is_overdue(&self, config: &LogConfig, now: Timestamp) -> bool {
        let waited = |since: Timestamp| now.0.saturating_sub(since.0);
        self.dirty_bytes > 0
            && self.dirty_since.is_some_and(|since| waited(since) > config.max_compaction_lag_ms)
    }
}

/// What a pass may use.
#[derive(Clone, Copy, Debug)]
pub struct CleanerOptions {
    /// The most memory that the keys' offsets take, in bytes: `log.cleaner.dedupe.buffer.size`, a thread's share.
    pub map_bytes_max: usize,
    /// Keys the hash of the records' keys: who does not know it cannot make two keys collide.
    pub secret: [u8; 16],
}

/// Why a pass ends early. The log is as it was, or cleaned up to some segment.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The disk refused, has no room, or does not hold what was written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The caller wanted it to.
    #[error("the pass was stopped")]
    Stopped,
}

/// A segment that is to be written anew. It is not appended to any more.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) base_offset: Offset,
    /// Where the next segment starts.
    pub(crate) end: Offset,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) size: u64,
    /// The sizes of its indexes.
    pub(crate) offset_index_bytes: u64,
    pub(crate) time_index_bytes: u64,
}

impl Source {
    /// The headers of its batches.
    fn headers(&self) -> impl Iterator<Item = Result<Found, StorageError>> {
        scan::headers(&self.file, 0, self.size).map(|found| found.map_err(|error| self.scan_error(error)))
    }

    /// Reads a batch and checks its crc.
    fn batch<'a>(&self, found: &Found, buffer: &'a mut Vec<u8>) -> Result<BatchView<'a>, StorageError> {
        let batch = scan::batch(&self.file, found, buffer).map_err(|error| self.scan_error(error))?;
        batch.check_crc().map_err(|error| self.corrupt(found, error))?;
        Ok(batch)
    }

    fn corrupt(&self, found: &Found, error: CorruptBatch) -> StorageError {
        self.scan_error(ScanError::Corrupt(found.position, error))
    }

    fn scan_error(&self, error: ScanError) -> StorageError {
        error.at(&self.path)
    }
}

/// A segment that was written and synced beside the log, to be put in by [`crate::Log::replace_segments`].
#[derive(Debug)]
pub struct CleanedSegment {
    pub(crate) sources: Vec<Source>,
    /// How often the log had been cut when the pass began.
    pub(crate) truncations: u64,
    pub(crate) size: u64,
}

impl CleanedSegment {
    pub(crate) fn base_offset(&self) -> Offset {
        self.sources[0].base_offset
    }

    pub(crate) fn end(&self) -> Offset {
        self.sources.last().expect("it was made of some").end
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CleaningReport {
    /// The bytes of the segments that were walked in the second walk.
    pub read_bytes: u64,
    /// What is left of them.
    pub kept_bytes: u64,
    /// How many keys the dirty part had.
    pub keys: usize,
    /// How many segments were made.
    pub segments: usize,
}

/// A pass over one log; begun by [`crate::Log::begin_cleaning`].
///
/// 1. [`Cleaning::read_keys`],
/// 2. [`Cleaning::clean_next`] until there is nothing more, each time [`crate::Log::replace_segments`],
/// 3. [`Cleaning::sync`], [`crate::Log::finish_cleaning`].
#[derive(Debug)]
pub struct Cleaning {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) truncations: u64,
    first_dirty: Offset,
    end: Offset,
    now: Timestamp,
    sources: VecDeque<Source>,
    transactions: Transactions,
    last_of_producers: BTreeMap<ProducerId, LastOfProducer>,
    map: Option<OffsetMap>,
    report: CleaningReport,
}

/// What [`crate::Log::begin_cleaning`] takes down under the lock.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) truncations: u64,
    pub(crate) sources: VecDeque<Source>,
    pub(crate) aborted: Vec<AbortedTransaction>,
    pub(crate) last_of_producers: BTreeMap<ProducerId, LastOfProducer>,
}

impl Cleaning {
    pub(crate) fn new(snapshot: Snapshot, cleanable: &Cleanable, now: Timestamp) -> Cleaning {
        Cleaning {
            disk: snapshot.disk,
            dir: snapshot.dir,
            config: snapshot.config,
            truncations: snapshot.truncations,
            first_dirty: cleanable.first_dirty,
            end: cleanable.end,
            now,
            sources: snapshot.sources,
            transactions: Transactions::new(snapshot.aborted),
            last_of_producers: snapshot.last_of_producers,
            map: None,
            report: CleaningReport::default(),
        }
    }

    /// Where the log will be clean up to, exclusive.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// What was done so far.
    pub fn report(&self) -> CleaningReport {
        self.report
    }

    /// The first walk: notes the latest offset of each key. When the memory is full the pass ends where it
    /// came to: the next one goes on from there.
    ///
    /// # Errors
    /// [`CleanError`]; [`StorageError::Invalid`] when a batch is corrupt, or alone has more keys than fit.
    pub fn read_keys(
        &mut self,
        options: &CleanerOptions,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), CleanError> {
        let mut map = OffsetMap::new(options.secret, self.count_dirty_records()?, options.map_bytes_max);
        let mut buffer = Vec::new();
        'walk: for source in self.sources.iter().filter(|source| source.end > self.first_dirty) {
            for found in source.headers() {
                let found = found?;
                let header = &found.header;
                if header.next_offset() > self.end {
                    self.end = self.end.min(header.base_offset);
                    break 'walk;
                }
                if header.last_offset() < self.first_dirty
                    || header.records_count == 0
                    || header.is_control()
                    || self.transactions.is_aborted(header)
                {
                    continue;
                }
                if is_stopped() {
                    return Err(CleanError::Stopped);
                }
                if !map.has_room_for(header.records_count) {
                    if map.is_empty() {
                        return Err(too_small(source, &found).into());
                    }
                    self.end = header.base_offset;
                    break 'walk;
                }
                let batch = source.batch(&found, &mut buffer)?;
                let records = batch.records(self.config.decompressed_bytes_max);
                let records = records.map_err(|error| source.corrupt(&found, error))?;
                for record in records.iter() {
                    let record = record.map_err(|error| source.corrupt(&found, error))?;
                    if let Some(key) = record.key {
                        map.put(key, record.offset);
                    }
                }
            }
        }
        self.report.keys = map.len();
        self.map = Some(map);
        let end = self.end;
        self.sources.retain(|source| source.base_offset < end);
        self.find_last_batches()
    }

    /// Finds each remembered producer's last batch below the end of the pass. A later one may yet be lost with what is not
    /// durable, or be cut; then this one says again what the producer did last.
    fn find_last_batches(&mut self) -> Result<(), CleanError> {
        let mut last = BTreeMap::new();
        for source in &self.sources {
            for found in source.headers() {
                let header = found?.header;
                let is_data = header.producer_id.is_some() && !header.is_control();
                if is_data && header.next_offset() <= self.end {
                    last.insert(header.producer_id, LastOfProducer::Data(header.last_offset()));
                }
            }
        }
        for (producer_id, remembered) in &mut self.last_of_producers {
            if let (LastOfProducer::Data(_), Some(found)) = (*remembered, last.get(producer_id)) {
                *remembered = *found;
            }
        }
        Ok(())
    }

    fn count_dirty_records(&self) -> Result<u64, StorageError> {
        let mut count = 0;
        for source in self.sources.iter().filter(|source| source.end > self.first_dirty) {
            for found in source.headers() {
                let header = found?.header;
                if header.last_offset() >= self.first_dirty {
                    count += u64::from(header.records_count.unsigned_abs());
                }
            }
        }
        Ok(count)
    }

    /// The second walk, as far as one new segment: writes and syncs it beside the log. `None`: the walk is
    /// over. Segments of which everything stays are passed over.
    ///
    /// # Errors
    /// [`CleanError`]; nothing of the unfinished segment is left then.
    ///
    /// # Panics
    /// When [`Cleaning::read_keys`] was not called.
    pub fn clean_next(
        &mut self,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<CleanedSegment>, CleanError> {
        while let Some(sources) = grouping::next_group(&mut self.sources, &self.config) {
            let base_offset = sources[0].base_offset;
            let written = self.clean_group(&sources, is_stopped);
            match written {
                Ok(Some(size)) => {
                    self.report.segments += 1;
                    return Ok(Some(CleanedSegment { sources, truncations: self.truncations, size }));
                }
                Ok(None) => writer::discard(&*self.disk, &self.dir, base_offset)?,
                Err(error) => {
                    // What matters is what went wrong first; leftovers go at the next start at the latest.
                    let _ = writer::discard(&*self.disk, &self.dir, base_offset);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Writes one segment of several; returns its size, or `None` when it would be what is there already.
    fn clean_group(
        &mut self,
        sources: &[Source],
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<u64>, CleanError> {
        self.check_room(sources)?;
        let mut writer = Writer::create(&self.disk, &self.dir, sources[0].base_offset, self.config)?;
        let mut filter = Filter {
            map: self.map.as_ref().expect("the keys were read"),
            end: self.end,
            now: self.now,
            delete_retention_ms: self.config.delete_retention_ms,
            decompressed_bytes_max: self.config.decompressed_bytes_max,
            transactions: &mut self.transactions,
            last_of_producers: &self.last_of_producers,
        };
        let mut is_changed = sources.len() > 1;
        let mut buffer = Vec::new();
        let last_source = sources.len() - 1;
        for (index, source) in sources.iter().enumerate() {
            for found in source.headers() {
                if is_stopped() {
                    return Err(CleanError::Stopped);
                }
                let found = found?;
                let batch = source.batch(&found, &mut buffer)?;
                let ends_segment = index == last_source && found.end() == source.size;
                let outcome =
                    filter.judge(&batch, ends_segment).map_err(|error| source.corrupt(&found, error))?;
                match &outcome {
                    Outcome::Kept => writer.append(batch.bytes())?,
                    Outcome::Rewritten(bytes) => writer.append(bytes)?,
                    Outcome::Gone => {}
                }
                is_changed |= outcome != Outcome::Kept;
                if let Some(aborted) = filter.transactions.aborted_by(batch.header())
                    && outcome != Outcome::Gone
                {
                    writer.append_aborted(aborted)?;
                }
            }
        }
        let size = writer.finish()?;
        self.report.read_bytes += sources.iter().map(|source| source.size).sum::<u64>();
        self.report.kept_bytes += size;
        Ok(is_changed.then_some(size))
    }

    /// Refuses to write what may take the room that the node itself needs.
    fn check_room(&self, sources: &[Source]) -> Result<(), StorageError> {
        let bytes = sources.iter().map(|source| source.size).sum::<u64>();
        let usable = self.disk.space(&self.dir).at("measure", &self.dir)?.usable_bytes;
        if usable < bytes.saturating_add(DISK_RESERVE_BYTES) {
            let path = self.dir.clone();
            return Err(StorageError::Full { path, bytes, usable, reserve: DISK_RESERVE_BYTES });
        }
        Ok(())
    }

    /// Makes the replacements durable, blocking; needs no lock on the log.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn sync(&self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)
    }
}

fn too_small(source: &Source, found: &Found) -> StorageError {
    let (position, count) = (found.position, found.header.records_count);
    StorageError::invalid(
        &source.path,
        format!("at byte {position}: a batch of {count} records; enlarge log.cleaner.dedupe.buffer.size"),
    )
}
