//! What each idempotent producer did last in this partition (KIP-98; `ProducerStateManager`): refuses what is
//! out of order, recognises what is sent again, and knows which transactions are open.

use crate::error::ProducerError;
use crate::transaction_index::AbortedTransaction;
use ottla_records::batch::{NO_SEQUENCE, add_sequence};
use ottla_records::{BatchHeader, EndTxnMarker, Origin};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// How many batches of a producer are remembered: a client has no more in flight.
pub const BATCHES_MAX: usize = 5;

/// A batch that a producer appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The sequence number of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The distance from its first record's offset, and sequence number, to its last's.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl ProducerBatch {
    /// The sequence number of its first record.
    pub fn first_sequence(&self) -> i32 {
        add_sequence(self.last_sequence, -self.offset_delta)
    }

    /// The offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// Its last batches in this epoch, oldest first, at most [`BATCHES_MAX`].
    pub batches: VecDeque<ProducerBatch>,
    /// When it last appended, or its coordinator did.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that wrote its last marker; −1 if none did.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts.
    pub txn_first_offset: Option<Offset>,
}

impl ProducerState {
    fn new(epoch: ProducerEpoch) -> ProducerState {
        ProducerState {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: Timestamp::NONE,
            coordinator_epoch: -1,
            txn_first_offset: None,
        }
    }

    /// The sequence number of its last record in this epoch, or [`NO_SEQUENCE`].
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// A transaction that has ended, but whose marker may not be on all replicas yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EndedTransaction {
    first_offset: Offset,
    marker_offset: Offset,
}

/// All producers of one partition, as of [`ProducerStates::end_offset`].
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerState>,
    /// First offsets of open transactions.
    open: BTreeMap<Offset, ProducerId>,
    ended: VecDeque<EndedTransaction>,
    end_offset: Offset,
}

impl ProducerStates {
    /// Nobody, as of `end_offset`.
    pub fn new(end_offset: Offset) -> ProducerStates {
        ProducerStates { end_offset, ..ProducerStates::default() }
    }

    /// These producers, as of `end_offset`.
    pub fn from_snapshot(
        producers: BTreeMap<ProducerId, ProducerState>,
        end_offset: Offset,
    ) -> ProducerStates {
        let open = producers.iter().filter_map(|(id, state)| Some((state.txn_first_offset?, *id))).collect();
        ProducerStates { producers, open, ended: VecDeque::new(), end_offset }
    }

    /// Judges a batch before it is appended, as the leader: `Ok(Some)` is the earlier batch that it repeats.
    ///
    /// A marker of transaction version 2 has a greater epoch than what it ends: one that comes late must not end the next
    /// transaction, which has the marker's epoch (KIP-1228). Where none is open it is one that is sent again, and ends
    /// nothing. A marker of a producer that is not known has nothing to follow, but its epochs are none if they are negative.
    ///
    /// # Errors
    /// [`ProducerError`].
    pub fn check(
        &self,
        header: &BatchHeader,
        marker: Option<&EndTxnMarker>,
        origin: Origin,
        transaction_version: i16,
    ) -> Result<Option<ProducerBatch>, ProducerError> {
        let producer_id = header.producer_id;
        let unknown = ProducerState::new(ProducerEpoch::NONE);
        let state = match self.producers.get(&producer_id) {
            Some(state) => state,
            None if marker.is_some() => &unknown,
            None => return Ok(None),
        };
        let is_late = marker.is_some()
            && transaction_version >= 2
            && header.producer_epoch == state.epoch
            && (state.txn_first_offset.is_some() || state.epoch == ProducerEpoch::NONE);
        if header.producer_epoch < state.epoch || is_late {
            let (got, current) = (header.producer_epoch, state.epoch);
            return Err(ProducerError::InvalidProducerEpoch { producer_id, got, current });
        }
        if let Some(marker) = marker {
            if marker.coordinator_epoch < state.coordinator_epoch {
                let (got, current) = (marker.coordinator_epoch, state.coordinator_epoch);
                return Err(ProducerError::TransactionCoordinatorFenced { got, current });
            }
            return Ok(None);
        }
        if origin == Origin::Client {
            if let Some(batch) = duplicate(state, header) {
                return Ok(Some(batch));
            }
            check_sequence(state, header)?;
        }
        if state.txn_first_offset.is_some() && !header.is_transactional() && !header.is_control() {
            return Err(ProducerError::InvalidTxnState { producer_id });
        }
        Ok(None)
    }

    /// Notes a batch that was appended. Returns the transaction that it aborted, if it did.
    pub fn update(
        &mut self,
        header: &BatchHeader,
        marker: Option<&EndTxnMarker>,
    ) -> Option<AbortedTransaction> {
        self.end_offset = header.next_offset();
        if !header.producer_id.is_some() {
            return None;
        }
        let state = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| ProducerState::new(header.producer_epoch));
        state.enter_epoch(header.producer_epoch);
        state.last_timestamp = header.max_timestamp;
        if let Some(marker) = marker {
            state.coordinator_epoch = marker.coordinator_epoch;
            let first_offset = state.txn_first_offset.take()?;
            return self.end_transaction(header, first_offset, marker.committed);
        }
        if header.is_control() {
            return None;
        }
        // A batch that was let in though it does not follow came when the earlier ones were forgotten: they must
        // not make a later one look repeated.
        let last = state.last_sequence();
        if last != NO_SEQUENCE && header.base_sequence != add_sequence(last, 1) {
            state.batches.clear();
        }
        if state.batches.len() == BATCHES_MAX {
            state.batches.pop_front();
        }
        state.batches.push_back(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.is_transactional() && state.txn_first_offset.is_none() {
            state.txn_first_offset = Some(header.base_offset);
            self.open.insert(header.base_offset, header.producer_id);
        }
        None
    }

    fn end_transaction(
        &mut self,
        marker: &BatchHeader,
        first_offset: Offset,
        committed: bool,
    ) -> Option<AbortedTransaction> {
        self.open.remove(&first_offset);
        let last_offset = marker.last_offset();
        self.ended.push_back(EndedTransaction { first_offset, marker_offset: last_offset });
        let last_stable_offset = self.open.keys().next().copied().unwrap_or(last_offset + 1);
        (!committed).then_some(AbortedTransaction {
            producer_id: marker.producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        })
    }

    /// Forgets ended transactions whose markers are below `high_watermark`: they hold back nobody any more.
    pub fn advance_high_watermark(&mut self, high_watermark: Offset) {
        self.ended.retain(|ended| ended.marker_offset >= high_watermark);
    }

    /// The first offset that a consumer of committed records may not see yet: that of the earliest transaction
    /// which is open, or whose marker is not below the high watermark yet.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.keys().next().copied();
        let ended = self.ended.iter().map(|ended| ended.first_offset).min();
        open.into_iter().chain(ended).min()
    }

    /// Notes that the log reaches up to `end_offset` though no producer's batch is there.
    pub fn advance(&mut self, end_offset: Offset) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// Forgets producers that were silent for longer than `expiration_ms` and have no transaction open.
    pub fn remove_expired(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, state| {
            state.txn_first_offset.is_some() || now.0.saturating_sub(state.last_timestamp.0) < expiration_ms
        });
    }

    /// The offset up to which the log is reflected here, exclusive.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Returns whether a producer has a transaction open in this epoch.
    pub fn has_open_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        let open = self.producers.get(&producer_id).filter(|state| state.txn_first_offset.is_some());
        open.is_some_and(|state| state.epoch == epoch)
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerState> {
        self.producers.get(&producer_id)
    }

    /// All producers, by id: `DescribeProducers` (KIP-664).
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.producers.iter().map(|(id, state)| (*id, state))
    }
}

fn duplicate(state: &ProducerState, header: &BatchHeader) -> Option<ProducerBatch> {
    if header.producer_epoch != state.epoch {
        return None;
    }
    let repeats = |batch: &&ProducerBatch| {
        batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
    };
    state.batches.iter().find(repeats).copied()
}

fn check_sequence(state: &ProducerState, header: &BatchHeader) -> Result<(), ProducerError> {
    let (got, last) = (header.base_sequence, state.last_sequence());
    let expected =
        if header.producer_epoch == state.epoch && last != NO_SEQUENCE { add_sequence(last, 1) } else { 0 };
    // Where only a marker is known of this epoch, the first batch starts the sequence.
    if got == expected {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence { producer_id: header.producer_id, got, last })
}

#[cfg(test)]
mod tests;
