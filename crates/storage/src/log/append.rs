//! Appending, as the leader and as a follower.

use super::Log;
use crate::error::{AppendError, IoContext, ProducerError, StorageError};
use crate::producer_state::ProducerBatch;
use crate::segment::DISK_RESERVE_BYTES;
use crate::verification::Terms;
use ottla_records::{BatchHeader, BatchView, EndTxnMarker, Origin, ValidBatch, batches, validate};
use ottla_types::{LeaderEpoch, Now, Offset, Timestamp};

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// The offset of the first record; the log end when nothing was appended.
    pub base_offset: Offset,
    /// The offset of the last record; one before `base_offset` when nothing was appended.
    pub last_offset: Offset,
    /// The leader's time, when the topic's timestamps are the leader's.
    pub log_append_time: Option<Timestamp>,
    /// Where the log starts.
    pub log_start_offset: Offset,
    /// Whether the batch had been appended before; the offsets are those it got then (IDEM-1).
    pub duplicate: bool,
    /// Whether a new segment was started: the one before it is due for a flush.
    pub rolled: bool,
    /// How many bytes were appended.
    pub bytes: usize,
}

impl AppendInfo {
    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset + 1
    }
}

impl Log {
    /// Validates and appends the one batch that `batch` is, at the log end. Its offset, epoch and timestamps are set in place.
    ///
    /// A caller that can validates first, before it locks the log, and calls [`Log::append_valid`].
    ///
    /// # Errors
    /// [`AppendError`]. Only a [`StorageError`] leaves the log closed to changes.
    ///
    /// # Panics
    /// When the log has a later epoch (EPOCH-1).
    pub fn append_as_leader(
        &mut self,
        batch: &mut [u8],
        leader_epoch: LeaderEpoch,
        origin: Origin,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        let valid = validate(batch, &self.config.rules(origin, now.wall))?;
        self.append_valid(valid, leader_epoch, now)
    }

    /// As [`Log::append_on`], of a batch of which nothing else is known.
    ///
    /// # Errors
    /// As [`Log::append_as_leader`].
    ///
    /// # Panics
    /// As [`Log::append_as_leader`].
    pub fn append_valid(
        &mut self,
        batch: ValidBatch<'_>,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        self.append_on(batch, leader_epoch, now, &Terms::default())
    }

    /// Appends a batch that was validated by [`crate::LogConfig::rules`], at the log end.
    ///
    /// # Errors
    /// As [`Log::append_as_leader`].
    ///
    /// # Panics
    /// As [`Log::append_as_leader`].
    pub fn append_on(
        &mut self,
        mut batch: ValidBatch<'_>,
        leader_epoch: LeaderEpoch,
        now: Now,
        terms: &Terms,
    ) -> Result<AppendInfo, AppendError> {
        let latest = self.epochs.latest();
        assert!(leader_epoch >= latest, "EPOCH-1: appending in epoch {leader_epoch} after {latest}");
        let size = batch.bytes().len();
        if size as u64 > self.config.segment_bytes {
            return Err(AppendError::LargerThanSegment { size, max: self.config.segment_bytes });
        }
        if self.config.producer_state {
            let marker = EndTxnMarker::of(&batch.view());
            let repeats = self.check_producer(batch.header(), marker.as_ref(), batch.origin(), terms)?;
            if let Some(earlier) = repeats {
                return Ok(AppendInfo {
                    base_offset: earlier.first_offset(),
                    last_offset: earlier.last_offset,
                    log_append_time: batch.log_append_time().map(|_| earlier.timestamp),
                    log_start_offset: self.log_start,
                    duplicate: true,
                    rolled: false,
                    bytes: 0,
                });
            }
        }
        let log_append_time = batch.log_append_time();
        let base_offset = self.log_end;
        let bytes = batch.assign(base_offset, leader_epoch);
        self.check_room(size as u64)?;
        let rolled = self.guarded(|log| log.append_run(bytes, now))?;
        Ok(AppendInfo { log_append_time, ..self.appended(base_offset, rolled, size) })
    }

    /// Appends what was fetched from the leader: whole batches, whose offsets and epochs the leader assigned. A batch cut
    /// short at the end is left out; it will be fetched again.
    ///
    /// Batches newer than `fetched_epoch`, the leader epoch that this replica asked in, are left out too
    /// (KAFKA-18723): while the response was under way the leader may have lost its office, truncated and
    /// written anew what the response points to.
    ///
    /// The first batch of an empty log may begin before the log does: records are deleted up to any offset, and the leader sends
    /// the whole batch that holds it.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is appended then. Only a [`StorageError`] leaves the log closed to changes.
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        fetched_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        let accepted = self.check_fetched(bytes, fetched_epoch)?;
        let Some(first) = batches(accepted).next().transpose()? else {
            return Ok(self.appended(self.log_end, false, 0));
        };
        self.check_room(accepted.len() as u64)?;
        let (begin, start) = (first.header().base_offset, self.log_start);
        if begin < start {
            // A kill before the batch is there leaves an empty log that begins too early, which the leader sends on.
            self.truncate_fully_and_start_at(begin, now)?;
            let rolled = self.guarded(|log| log.append_run(accepted, now))?;
            self.increment_log_start_offset(start)?;
            return Ok(self.appended(begin, rolled, accepted.len()));
        }
        let rolled = self.guarded(|log| log.append_run(accepted, now))?;
        Ok(self.appended(first.header().base_offset, rolled, accepted.len()))
    }

    fn appended(&self, base_offset: Offset, rolled: bool, bytes: usize) -> AppendInfo {
        AppendInfo {
            base_offset,
            last_offset: self.log_end - 1,
            log_append_time: None,
            log_start_offset: self.log_start,
            duplicate: false,
            rolled,
            bytes,
        }
    }

    /// Refuses records that would take what the node itself needs: a write that fails half-way leaves a log of which
    /// nobody knows what it holds. The metadata log, which keeps no producers, may use the reserve.
    fn check_room(&self, bytes: u64) -> Result<(), StorageError> {
        if !self.config.producer_state || self.active().has_room(bytes) {
            return Ok(());
        }
        let usable = self.disk.space(&self.dir).at("measure", &self.dir)?.usable_bytes;
        if usable < bytes.saturating_add(DISK_RESERVE_BYTES) {
            let path = self.dir.clone();
            return Err(StorageError::Full { path, bytes, usable, reserve: DISK_RESERVE_BYTES });
        }
        Ok(())
    }

    /// The part of `bytes` that a follower accepts, every batch of it checked.
    fn check_fetched<'a>(
        &self,
        bytes: &'a [u8],
        fetched_epoch: LeaderEpoch,
    ) -> Result<&'a [u8], AppendError> {
        let mut log_end = self.log_end;
        let mut latest = self.epochs.latest();
        let mut accepted = 0;
        for batch in batches(bytes) {
            let batch = batch?;
            batch.check_crc()?;
            let BatchHeader { base_offset, leader_epoch: epoch, .. } = *batch.header();
            if epoch > fetched_epoch {
                break;
            }
            let is_cut_by_start =
                accepted == 0 && log_end == self.log_start && batch.header().next_offset() > log_end;
            if base_offset < log_end && !is_cut_by_start {
                return Err(AppendError::OffsetsOutOfOrder { base_offset, log_end });
            }
            if epoch < latest {
                return Err(AppendError::EpochWentBack { epoch, latest });
            }
            log_end = batch.header().next_offset();
            latest = epoch;
            accepted += batch.bytes().len();
        }
        Ok(&bytes[..accepted])
    }

    /// Appends whole batches whose offsets are assigned; returns whether a segment was rolled. Batches that go to the same
    /// segment are written at once.
    fn append_run(&mut self, bytes: &[u8], now: Now) -> Result<bool, StorageError> {
        let mut rolled = false;
        let mut start = 0;
        let mut end = 0;
        let mut notes = Vec::new();
        for batch in batches(bytes) {
            let batch = batch.expect("the batches were checked");
            let header = *batch.header();
            let pending = end - start + header.size_in_bytes;
            let config = self.config;
            let is_full = self.active_mut().is_full_for(pending, &header, &config, now.wall)?;
            // An empty segment takes any first batch; a run that waits makes it no longer empty.
            if is_full || (end > start && self.active().size() + pending as u64 > config.segment_bytes) {
                self.write_run(&bytes[start..end], &mut notes)?;
                start = end;
                self.roll_before(&header, now)?;
                rolled = true;
            }
            notes.push(Note::of(&batch));
            end += header.size_in_bytes;
        }
        self.write_run(&bytes[start..end], &mut notes)?;
        Ok(rolled)
    }

    /// Starts a segment where the log ends, so that a gap between two segments is always a loss; only past a gap that no
    /// segment spans, where the batch starts.
    fn roll_before(&mut self, header: &BatchHeader, now: Now) -> Result<(), StorageError> {
        let spans = header.last_offset() - self.log_end <= i64::from(i32::MAX);
        self.roll_at(if spans { self.log_end } else { header.base_offset }, now)
    }

    fn write_run(&mut self, bytes: &[u8], notes: &mut Vec<Note>) -> Result<(), StorageError> {
        if bytes.is_empty() {
            return Ok(());
        }
        // The lineage first: of an epoch whose start is on disk before its first record, too much may be
        // known, never too little.
        for Note { header, .. } in notes.iter() {
            self.assign_epoch_at(header.leader_epoch, header.base_offset)?;
        }
        let config = self.config;
        self.active_mut().append(bytes, &config)?;
        self.appended_bytes += bytes.len() as u64;
        self.bytes_since_snapshot += bytes.len() as u64;
        for note in notes.drain(..) {
            assert!(
                note.header.base_offset >= self.log_end,
                "LOG-1: {} after {}",
                note.header.base_offset,
                self.log_end
            );
            self.log_end = note.header.next_offset();
            self.note_producer(&note)?;
        }
        Ok(())
    }

    /// Judges a batch by what its producer did before: `Ok(Some)` is the earlier batch that it repeats.
    fn check_producer(
        &self,
        header: &BatchHeader,
        marker: Option<&EndTxnMarker>,
        origin: Origin,
        terms: &Terms,
    ) -> Result<Option<ProducerBatch>, ProducerError> {
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let follows = self.producers.check(header, marker, origin, terms.transaction_version);
        if let Ok(Some(earlier)) = follows {
            return Ok(Some(earlier));
        }
        let begins = header.is_transactional()
            && !header.is_control()
            && !self.producers.has_open_transaction(producer_id, epoch);
        if begins && self.config.transaction_verification {
            self.verifications.check_guard(producer_id, terms.guard)?;
        }
        follows?;
        let is_known = self.producers.get(producer_id).is_some_and(|state| !state.batches.is_empty());
        self.verifications.check_sequence(header, origin, is_known)?;
        Ok(None)
    }

    fn note_producer(&mut self, note: &Note) -> Result<(), StorageError> {
        self.verifications.update(&note.header);
        if self.config.producer_state
            && let Some(aborted) = self.producers.update(&note.header, note.marker.as_ref())
        {
            let is_new = self.active_mut().append_aborted(aborted)?;
            self.names_changed += u64::from(is_new);
        }
        Ok(())
    }
}

/// What is kept of a batch that was written.
#[derive(Debug)]
struct Note {
    header: BatchHeader,
    marker: Option<EndTxnMarker>,
}

impl Note {
    fn of(batch: &BatchView<'_>) -> Note {
        Note { header: *batch.header(), marker: EndTxnMarker::of(batch) }
    }
}
