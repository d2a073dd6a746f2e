//! What of a batch stays (`Cleaner.cleanInto`).

use super::offset_map::OffsetMap;
use super::transactions::Transactions;
use ottla_records::{BatchHeader, BatchView, CorruptBatch, EndTxnMarker, Record, retain};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeMap;

/// What a producer that is still remembered did last here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastOfProducer {
    /// The batch that ends with this offset: its sequence is what the next batch must follow.
    Data(Offset),
    /// A marker of this epoch; of its records nothing is known.
    Marker(ProducerEpoch),
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stays, byte for byte.
    Kept,
    /// It stays with fewer records, or with a delete horizon.
    Rewritten(Vec<u8>),
    /// It goes.
    Gone,
}

/// Judges the batches of a log one after the other, from its start.
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    /// Where the pass ends: what is there or later stays as it is.
    pub(super) end: Offset,
    pub(super) now: Timestamp,
    pub(super) delete_retention_ms: i64,
    pub(super) decompressed_bytes_max: usize,
    pub(super) transactions: &'a mut Transactions,
    pub(super) last_of_producers: &'a BTreeMap<ProducerId, LastOfProducer>,
}

impl Filter<'_> {
    /// `ends_segment`: the batch is the last of the new segment, and tells where that ends.
    pub(super) fn judge(
        &mut self,
        batch: &BatchView<'_>,
        ends_segment: bool,
    ) -> Result<Outcome, CorruptBatch> {
        let header = batch.header();
        if header.next_offset() > self.end {
            return Ok(Outcome::Kept);
        }
        if header.is_control() {
            return Ok(self.judge_control(batch, ends_segment));
        }
        let is_aborted = self.transactions.is_aborted(header);
        let outcome = if header.records_count == 0 {
            self.without_records(header, ends_segment)
        } else {
            self.judge_data(batch, is_aborted, ends_segment)?
        };
        // What this pass has seen counts, not what it leaves: a marker outlives its transaction's last record by
        // one pass at least, so that there is a time when only it is there.
        self.transactions.note_data(header);
        Ok(outcome)
    }

    fn judge_data(
        &self,
        batch: &BatchView<'_>,
        is_aborted: bool,
        ends_segment: bool,
    ) -> Result<Outcome, CorruptBatch> {
        let header = batch.header();
        let keeps_tombstones = header.delete_horizon().is_none_or(|horizon| self.now < horizon);
        let records = batch.records(self.decompressed_bytes_max)?;
        let mut kept = Vec::new();
        for record in records.iter() {
            let record = record?;
            if !is_aborted && (record.value.is_some() || keeps_tombstones) && self.is_latest(&record) {
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return Ok(self.without_records(header, ends_segment));
        }
        let has_new_tombstone =
            header.delete_horizon().is_none() && kept.iter().any(|record| record.value.is_none());
        if kept.len() == header.records_count as usize && !has_new_tombstone {
            return Ok(Outcome::Kept);
        }
        let horizon = if has_new_tombstone { Some(self.new_horizon()) } else { header.delete_horizon() };
        Ok(Outcome::Rewritten(retain::retain(header, &kept, horizon)))
    }

    /// Whether no later record of the key is known. What has no key has no place in a compacted log: it is from
    /// before the topic was.
    fn is_latest(&self, record: &Record<'_>) -> bool {
        record.key.is_some_and(|key| self.map.latest(key).is_none_or(|latest| record.offset >= latest))
    }

    fn judge_control(&mut self, batch: &BatchView<'_>, ends_segment: bool) -> Outcome {
        let header = batch.header();
        if header.records_count == 0 {
            return self.without_records(header, ends_segment);
        }
        if EndTxnMarker::of(batch).is_none() || self.transactions.note_marker(header) {
            return Outcome::Kept;
        }
        match header.delete_horizon() {
            Some(horizon) if horizon <= self.now => self.without_records(header, ends_segment),
            Some(_) => Outcome::Kept,
            None => {
                // A marker's batch was read by now, and is far below any bound.
                let Ok(records) = batch.records(self.decompressed_bytes_max) else { return Outcome::Kept };
                let kept: Vec<_> = records.iter().map_while(Result::ok).collect();
                Outcome::Rewritten(retain::retain(header, &kept, Some(self.new_horizon())))
            }
        }
    }

    fn new_horizon(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add(self.delete_retention_ms))
    }

    /// What becomes of a batch that has no record, or none left.
    fn without_records(&self, header: &BatchHeader, ends_segment: bool) -> Outcome {
        let is_needed = self.is_last_of_producer(header);
        match header.records_count {
            0 if is_needed => Outcome::Kept,
            0 if ends_segment && !header.producer_id.is_some() => Outcome::Kept,
            _ if is_needed => Outcome::Rewritten(retain::emptied(header)),
            _ if ends_segment => Outcome::Rewritten(retain::placeholder(header)),
            _ => Outcome::Gone,
        }
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        match self.last_of_producers.get(&header.producer_id) {
            Some(LastOfProducer::Data(last_offset)) => {
                !header.is_control() && header.last_offset() == *last_offset
            }
            Some(LastOfProducer::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }
}
