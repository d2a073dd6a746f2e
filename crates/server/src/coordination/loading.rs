//! A coordinator is built from its partition's log, a piece at a time.

use super::machine::Machine;
use crate::replicas::Replica;
use bytes::Bytes;
use ottla_records::{BatchView, EndTxnMarker, batches};
use ottla_types::{LeaderEpoch, Offset};
use thiserror::Error;

/// How much of the log is read at a time.
const READ_BYTES: usize = 1 << 20;

/// The most that a batch may be when decompressed.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// The log holds what cannot be read.
#[derive(Debug, Error)]
#[error("{partition} at offset {offset}: {reason}")]
pub struct LoadError {
    partition: String,
    offset: i64,
    reason: String,
}

/// A coordinator that has replayed its log up to some offset.
pub struct Loading<M: Machine> {
    machine: M,
    settings: M::Settings,
    seed: u64,
    /// Where it goes on.
    next: Offset,
    /// The epoch of the last record that it has replayed.
    epoch: LeaderEpoch,
}

impl<M: Machine> Loading<M> {
    /// One that has replayed nothing. `seed` as for [`Machine::new`].
    pub fn new(settings: M::Settings, seed: u64) -> Loading<M> {
        let machine = M::new(&settings, seed);
        Loading { machine, settings, seed, next: Offset::ZERO, epoch: LeaderEpoch::NONE }
    }

    /// The coordinator, as far as it came.
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// Replays the next piece of a log whose end for this purpose is `end`. Returns whether all of it is replayed. Begins
    /// anew when the log has another history than the one that was replayed (EPOCH-1).
    ///
    /// # Errors
    /// When the log cannot be read. Records of kinds that are not known here are skipped, with a warning: they
    /// belong to groups of other types.
    pub fn advance(&mut self, replica: &Replica, end: Offset) -> Result<bool, LoadError> {
        let failed = |offset: Offset, reason: String| LoadError {
            partition: replica.name.to_string(),
            offset: offset.0,
            reason,
        };
        let bytes = {
            let partition = replica.lock();
            let log = partition.log();
            let start = log.log_start_offset();
            let replayed = log.epochs().epoch_of(Offset(self.next.0 - 1));
            let is_continued = self.next <= log.log_end_offset() && replayed == Some(self.epoch);
            if self.next > Offset::ZERO && !is_continued {
                *self = Loading::new(self.settings.clone(), self.seed);
            }
            self.next = self.next.max(start);
            if self.next >= end {
                return Ok(true);
            }
            let read = log.read_bytes(self.next, end, READ_BYTES);
            read.map_err(|error| failed(self.next, error.to_string()))?
        };
        let from = self.next;
        for batch in batches(&bytes) {
            let batch = batch.map_err(|error| failed(self.next, error.to_string()))?;
            let header = *batch.header();
            if header.next_offset() <= self.next {
                continue;
            }
            if let Some(marker) = EndTxnMarker::of(&batch) {
                self.machine.replay_marker(header.producer_id, marker.committed);
            } else if !header.is_control() {
                self.replay(replica, &batch).map_err(|reason| failed(self.next, reason))?;
            }
            self.next = header.next_offset();
            self.epoch = header.leader_epoch;
        }
        if self.next == from {
            return Err(failed(from, "no batch".to_owned()));
        }
        Ok(self.next >= end)
    }

    fn replay(&mut self, replica: &Replica, batch: &BatchView<'_>) -> Result<(), String> {
        let transaction = batch.header().is_transactional().then_some(batch.header().producer_id);
        let records = batch.records(BATCH_BYTES_MAX).map_err(|error| error.to_string())?;
        for record in records.iter() {
            let record = record.map_err(|error| error.to_string())?;
            let Some(key) = record.key else { continue };
            let value = record.value.map(Bytes::copy_from_slice);
            if let Err(reason) = self.machine.replay_bytes(Bytes::copy_from_slice(key), value, transaction) {
                tracing::warn!(partition = %replica.name, offset = record.offset.0, reason, "skipped");
            }
        }
        Ok(())
    }
}
