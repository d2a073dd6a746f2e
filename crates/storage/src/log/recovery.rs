//! Opening a log: after an orderly end, what the files say is taken as it is; after any other, what was not
//! durable for certain is checked batch by batch and cut at the first that does not hold (`LogLoader`).
//!
//! Unlike Kafka, which checks each segment that reaches beyond the recovery point from its first byte and syncs it, this
//! begins within the segment, at the last batch below that its offset index knows, and leaves it to the next flush to
//! make durable what it found: how long a start takes depends on what came after the recovery point, not on what is retained.

use super::{Log, leftovers};
use crate::checkpoints;
use crate::config::LogConfig;
use crate::disk::{Disk, parent, read_if_exists, remove_if_exists};
use crate::error::{IoContext, StorageError};
use crate::file_names::{self, SEGMENT_SUFFIXES};
use crate::producer_snapshot;
use crate::producer_state::ProducerStates;
use crate::segment::{Begin, Segment};
use crate::verification::Verifications;
use ottla_records::{BatchHeader, EndTxnMarker, LeaderEpochs};
use ottla_types::{LeaderEpoch, Now, Offset};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is known of a log before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the directory's marker says that its last user ended in order.
    pub clean: bool,
    /// The offset up to which everything is durable: what is below is not checked again.
    pub recovery_point: Offset,
    /// Where the log starts, as checkpointed: perhaps later than its first segment.
    pub log_start: Offset,
}

impl Recovery {
    /// Nothing is known: everything is checked.
    pub const UNKNOWN: Recovery =
        Recovery { clean: false, recovery_point: Offset::ZERO, log_start: Offset::ZERO };
}

/// What opening a log took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// How many segments were checked batch by batch, as far as they are above the recovery point.
    pub segments_recovered: usize,
    /// How many bytes of batches were checked.
    pub checked_bytes: u64,
    /// How many bytes at the end were no batches, or came after such, and are gone.
    pub truncated_bytes: u64,
    /// How many segments' indexes were made anew, because one was missing or implausible.
    pub indexes_rebuilt: usize,
    /// Whether the lineage of leader epochs was found anew in the log.
    pub epochs_rebuilt: bool,
}

impl Log {
    /// Opens the log in `dir`, creating it if there is none.
    ///
    /// # Errors
    /// [`StorageError`]: what the device says, or [`StorageError::Invalid`] where what was durable is not what was written.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        config: LogConfig,
        recovery: Recovery,
        now: Now,
    ) -> Result<(Log, RecoveryReport), StorageError> {
        disk.create_dir_all(&dir).at("create", &dir)?;
        if recovery.recovery_point == Offset::ZERO {
            // Nothing in it was durable so far: its own name may not be either.
            disk.sync_dir(parent(&dir)).at("sync", parent(&dir))?;
        }
        leftovers::put_right(&*disk, &dir)?;
        let mut report = RecoveryReport::default();
        let (segments, mut found) = open_segments(&disk, &dir, &config, recovery, now, &mut report)?;
        let (recovered, is_cut) = (std::mem::take(&mut found.segments), found.is_cut);
        let mut log = Log {
            log_start: recovery.log_start,
            log_end: Offset::ZERO,
            durable_end: Offset::ZERO,
            flushed_end: Offset::ZERO,
            appended_bytes: report.checked_bytes,
            flushed_bytes: 0,
            bytes_since_snapshot: 0,
            epochs: LeaderEpochs::new(),
            epochs_unsynced: None,
            snapshots_unsynced: Vec::new(),
            // The next flush syncs the names of the files that are made below.
            names_changed: 1,
            names_synced: 0,
            truncations: 0,
            first_dirty: recovery.log_start,
            producers: ProducerStates::new(Offset::ZERO),
            verifications: Verifications::default(),
            deleted: Vec::new(),
            failed: false,
            #[cfg(test)]
            bug: None,
            disk,
            dir,
            config,
            segments,
        };
        log.find_bounds(now)?;
        let known = if recovery.clean { log.log_end } else { recovery.recovery_point };
        let first = *log.segments.first_key_value().expect("a log has a segment").0;
        // The log may start within a segment that was never synced, and after others: a cut in these would take it all.
        log.flushed_end = known.clamp(first, log.log_end);
        log.durable_end = log.flushed_end;
        log.load_epochs(&mut found, &mut report)?;
        log.load_producers(&recovered)?;
        if is_cut || report.indexes_rebuilt > 0 {
            log.sync_recovered(&recovered)?;
        }
        log.assert_ordered();
        if config.counts_on_disk() && log.durable_end < log.log_end {
            // What counted before counts again.
            log.flush()?;
        }
        Ok((log, report))
    }

    /// Finds where the log starts and ends; creates its first segment if there is none.
    fn find_bounds(&mut self, now: Now) -> Result<(), StorageError> {
        if let Some(active) = self.segments.values().next_back() {
            self.log_end = active.next_offset()?;
        }
        if self.segments.is_empty() || self.log_end < self.log_start {
            // Nothing is left that may be read.
            while let Some((_, segment)) = self.segments.pop_last() {
                self.delete_files(segment, now)?;
            }
            self.remove_snapshots(|_| true)?;
            // What is gone must not come back beside what is written from here on.
            self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
            let start = self.log_start;
            self.segments.insert(start, Segment::create(&self.disk, &self.dir, start, now.wall)?);
            self.log_end = start;
        }
        let first = *self.segments.first_key_value().expect("created above").0;
        self.log_start = self.log_start.max(first);
        // A snapshot from before the log starts, or from beyond its end, is another history's.
        let end = self.log_end;
        self.remove_snapshots(|snapshot| snapshot < first || snapshot > end)
    }

    /// Reads the lineage, and puts right what may not have been durable with what recovery saw in the log.
    fn load_epochs(
        &mut self,
        found: &mut Recovered,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        let path = self.dir.join(checkpoints::LEADER_EPOCH);
        let on_disk = read_if_exists(&*self.disk, &path).at("read", &path)?;
        let parsed = on_disk.as_deref().and_then(|bytes| checkpoints::parse_epochs(bytes).ok());
        let is_empty = self.log_end == self.log_start;
        match parsed {
            Some(epochs) => self.epochs = epochs,
            None if is_empty => {}
            None => {
                report.epochs_rebuilt = true;
                *found = self.scan_epochs(Offset::MAX)?;
            }
        }
        if let Some(from) = found.from {
            self.epochs.truncate_from_end(from);
        }
        for (epoch, start_offset) in &found.starts {
            if epoch.is_some() {
                self.epochs.assign(*epoch, *start_offset);
            }
        }
        self.epochs.truncate_from_end(self.log_end);
        self.complete_epochs(is_empty)?;
        self.epochs.truncate_from_start(self.log_start);
        if Some(checkpoints::format_epochs(&self.epochs)) != on_disk && (on_disk.is_some() || !is_empty) {
            self.write_epochs_durably()?;
        }
        Ok(())
    }

    /// Makes durable what recovery cut or made anew: of the former nothing may come back beside what is appended from here on,
    /// and the latter may be below the recovery point, where no flush begins.
    fn sync_recovered(&mut self, recovered: &BTreeMap<Offset, Walked>) -> Result<(), StorageError> {
        for (base_offset, walked) in recovered {
            // One that ends before the log starts is gone again.
            let Some(segment) = self.segments.get_mut(base_offset) else { continue };
            if walked.is_anew { segment.finish_recovery()? } else { segment.sync()? }
        }
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        self.names_synced = self.names_changed;
        Ok(())
    }

    /// Finds the epochs of the first records, if the lineage starts later: the log start had moved forward, and a
    /// crash took back what the checkpoint did not say yet.
    fn complete_epochs(&mut self, is_empty: bool) -> Result<(), StorageError> {
        let known = self.epochs.entries().to_vec();
        let upper = known.first().map_or(self.log_end, |first| first.start_offset);
        if is_empty || upper <= self.log_start {
            return Ok(());
        }
        let before = self.scan_epochs(upper)?;
        self.epochs.clear();
        for (epoch, start_offset) in before.starts {
            if epoch.is_some() && known.first().is_none_or(|first| epoch <= first.epoch) {
                self.epochs.assign(epoch, start_offset);
            }
        }
        for entry in &known {
            // The first may have started earlier than the log did when this was written.
            self.epochs.assign(entry.epoch, entry.start_offset);
        }
        Ok(())
    }

    /// The epochs of the batches before `upper`.
    fn scan_epochs(&self, upper: Offset) -> Result<Recovered, StorageError> {
        let mut epochs = Recovered { from: Some(Offset::ZERO), ..Recovered::default() };
        for (_, segment) in self.segments.range(..upper) {
            for found in segment.headers(0) {
                let header = segment.found(found)?.header;
                if header.base_offset >= upper {
                    break;
                }
                epochs.note(&header);
            }
        }
        Ok(epochs)
    }

    /// Loads the newest producer snapshot that holds, and replays the log from there. The transaction indexes of the `recovered`
    /// segments lack what ended at an offset, which is given, or later: the snapshot is none after the first of these, and
    /// the indexes are completed.
    pub(super) fn load_producers(
        &mut self,
        recovered: &BTreeMap<Offset, Walked>,
    ) -> Result<(), StorageError> {
        let first = *self.segments.first_key_value().expect("a log has a segment").0;
        self.producers = ProducerStates::new(first);
        if !self.config.producer_state {
            return Ok(());
        }
        let newest = recovered.values().next().map_or(self.log_end, |first| self.log_end.min(first.known));
        for offset in self.snapshot_offsets()?.into_iter().rev() {
            if offset > newest {
                if !recovered.is_empty() {
                    // It may be of another history, which a loss of power took.
                    self.remove_snapshot(offset)?;
                }
                continue;
            }
            let path = file_names::path(&self.dir, offset, file_names::SNAPSHOT);
            let bytes = self.disk.read(&path).at("read", &path)?;
            if let Some(producers) = producer_snapshot::decode_map(&bytes) {
                self.producers = ProducerStates::from_snapshot(producers, offset);
                break;
            }
            self.remove_snapshot(offset)?;
        }
        self.replay_producers(recovered)
    }

    fn replay_producers(&mut self, recovered: &BTreeMap<Offset, Walked>) -> Result<(), StorageError> {
        let from = self.producers.end_offset();
        let floor = self.segment_floor(from).map_or(from, |segment| segment.base_offset);
        self.bytes_since_snapshot = 0;
        let mut buffer = Vec::new();
        let mut files_made = 0;
        for (base_offset, segment) in self.segments.range_mut(floor..) {
            let Some(first) = segment.find(from.max(*base_offset))? else { continue };
            self.bytes_since_snapshot += segment.size() - first.position;
            for found in segment.headers(first.position) {
                let found = segment.found(found)?;
                let marker = match found.header.is_control() {
                    true => EndTxnMarker::of(&segment.batch(&found, &mut buffer)?),
                    false => None,
                };
                let aborted = self.producers.update(&found.header, marker.as_ref());
                let is_missing =
                    recovered.get(base_offset).is_some_and(|walked| found.header.base_offset >= walked.known);
                if let Some(aborted) = aborted.filter(|_| is_missing) {
                    files_made += u64::from(segment.append_aborted(aborted)?);
                }
            }
        }
        // The lineage may have been written before, and the directory synced with it.
        self.names_changed += files_made;
        self.producers.advance(self.log_end);
        Ok(())
    }
}

/// A segment that was walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    /// Up to where its transaction index is complete.
    known: Offset,
    /// Whether its indexes are made anew.
    is_anew: bool,
}

/// What recovery saw, from an offset on.
#[derive(Debug, Default)]
struct Recovered {
    /// The segments that were walked.
    segments: BTreeMap<Offset, Walked>,
    /// Whether something was cut off, or a segment removed.
    is_cut: bool,
    /// Where recovery began; nothing the lineage's file says of what is later counts.
    from: Option<Offset>,
    /// The leader epochs of the batches, where they change.
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl Recovered {
    fn note(&mut self, header: &BatchHeader) {
        if self.starts.last().is_none_or(|(epoch, _)| *epoch != header.leader_epoch) {
            self.starts.push((header.leader_epoch, header.base_offset));
        }
    }
}

/// Opens all segments; checks those that reach beyond the recovery point.
fn open_segments(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    config: &LogConfig,
    recovery: Recovery,
    now: Now,
    report: &mut RecoveryReport,
) -> Result<(BTreeMap<Offset, Segment>, Recovered), StorageError> {
    let base_offsets = base_offsets(disk, dir)?;
    let mut segments = BTreeMap::new();
    let mut seen = Recovered::default();
    let mut is_cut = false;
    for (index, &base_offset) in base_offsets.iter().enumerate() {
        if is_cut {
            report.truncated_bytes += remove_segment(disk, dir, base_offset)?;
            continue;
        }
        let next_base_offset = base_offsets.get(index + 1).copied();
        // One that ends at the recovery point too: it may have been the last when all was durable, and what was written when
        // it ended, the latest time in its index, was not.
        let is_checked =
            !recovery.clean && next_base_offset.is_none_or(|next| next >= recovery.recovery_point);
        let known = is_checked.then(|| recovery.recovery_point.max(base_offset));
        let (mut segment, intact) = Segment::open(disk, dir, base_offset, known, now.wall)?;
        if is_checked || !intact {
            let begin = segment.begin_recovery(intact)?;
            let is_anew = matches!(begin, Begin::Anew);
            let known = known.filter(|_| !is_anew).unwrap_or(base_offset);
            // Within the segment that the recovery point is in, cutting is preferred: the leader has what goes.
            let ends_above = is_checked && next_base_offset.is_none_or(|next| next > recovery.recovery_point);
            let durable = if ends_above { base_offset } else { next_base_offset.unwrap_or(Offset::MAX) };
            let recovered = segment.recover(config, begin, known, durable, |header| {
                if is_checked {
                    seen.note(header);
                }
            })?;
            if is_checked {
                seen.from.get_or_insert(recovered.from);
                report.segments_recovered += 1;
                report.checked_bytes += recovered.checked_bytes;
            }
            report.indexes_rebuilt += usize::from(is_anew);
            report.truncated_bytes += recovered.truncated_bytes;
            // Segments follow one another without a gap, those of our compaction too: where not all was durable, a gap is a loss.
            let has_gap = next_base_offset.is_some_and(|next| next != recovered.next_offset);
            is_cut = ends_above && (recovered.truncated_bytes > 0 || has_gap);
            seen.is_cut |= is_cut || recovered.truncated_bytes > 0;
            seen.segments.insert(base_offset, Walked { known, is_anew });
        }
        segments.insert(base_offset, segment);
    }
    Ok((segments, seen))
}

fn base_offsets(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<Offset>, StorageError> {
    let entries = disk.list(dir).at("list", dir)?;
    Ok(entries.iter().filter_map(|entry| file_names::offset(&entry.name, file_names::LOG)).collect())
}

/// Removes a segment's files; returns the size of its log.
fn remove_segment(disk: &Arc<dyn Disk>, dir: &Path, base_offset: Offset) -> Result<u64, StorageError> {
    let path = file_names::path(dir, base_offset, file_names::LOG);
    let size = disk.open(&path).and_then(|file| file.size()).at("open", &path)?;
    for suffix in SEGMENT_SUFFIXES {
        let path = file_names::path(dir, base_offset, suffix);
        remove_if_exists(&**disk, &path).at("remove", &path)?;
    }
    Ok(size)
}
