//! Transactions that are about to begin in this partition, and are being asked about (KIP-890; `VerificationStateEntry`).
//!
//! A batch that would begin a transaction is appended only if the transaction's coordinator knows that the partition takes
//! part: else nobody would ever write its end, and read-committed consumers would wait for ever. The leader takes a
//! [`VerificationGuard`] first, asks, and appends with the guard. A marker that comes in between makes the guard void, so
//! that an answer about one transaction never lets in a batch of another. In memory only: who leads next asks again.

use crate::error::ProducerError;
use ottla_records::{BatchHeader, Origin};
use ottla_types::{ProducerEpoch, ProducerId, Timestamp};
use std::collections::BTreeMap;

/// The right to begin one transaction in a partition, once the coordinator has agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard {
    number: u64,
    /// Another log of the same partition, on another disk, counts from the beginning again.
    taken_at: Timestamp,
}

/// What is known of a batch besides its bytes, when it is appended as the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// By which a batch begins a transaction.
    pub guard: Option<VerificationGuard>,
    /// The transaction version of a marker. From 2 on, its epoch is greater than that of the records it ends (KIP-1228).
    pub transaction_version: i16,
}

#[derive(Clone, Debug)]
struct Entry {
    guard: VerificationGuard,
    epoch: ProducerEpoch,
    lowest_sequence: i32,
    supports_epoch_bump: bool,
}

/// The producers whose transactions are being asked about.
#[derive(Clone, Debug, Default)]
pub struct Verifications {
    entries: BTreeMap<ProducerId, Entry>,
    taken: u64,
}

impl Verifications {
    /// The guard for a producer's transaction: the one that an earlier batch has taken, if it is still good.
    ///
    /// The lowest sequence number is remembered: where its batch must be sent again, a later one must not be appended before
    /// it. `supports_epoch_bump` is whether the producer's epoch grows with each transaction (transaction version 2).
    pub fn take(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        sequence: i32,
        supports_epoch_bump: bool,
        now: Timestamp,
    ) -> VerificationGuard {
        let taken = &mut self.taken;
        let entry = self.entries.entry(producer_id).or_insert_with(|| {
            *taken += 1;
            let guard = VerificationGuard { number: *taken, taken_at: now };
            Entry { guard, epoch, lowest_sequence: sequence, supports_epoch_bump }
        });
        if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(sequence);
        } else if epoch > entry.epoch {
            entry.epoch = epoch;
            entry.lowest_sequence = sequence;
        }
        entry.supports_epoch_bump |= supports_epoch_bump;
        entry.guard
    }

    /// Judges a batch that would begin a transaction.
    ///
    /// # Errors
    /// [`ProducerError::NotVerified`] when the guard is not the one that was taken.
    pub fn check_guard(
        &self,
        producer_id: ProducerId,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ProducerError> {
        let taken = self.entries.get(&producer_id).map(|entry| entry.guard);
        if taken.is_some() && taken == guard {
            Ok(())
        } else {
            Err(ProducerError::NotVerified { producer_id })
        }
    }

    /// Judges the sequence number of a client's batch. `is_known` is whether any batch of the producer's epoch is.
    ///
    /// # Errors
    /// [`ProducerError::OutOfOrderSequence`] when an earlier batch is missing.
    pub fn check_sequence(
        &self,
        header: &BatchHeader,
        origin: Origin,
        is_known: bool,
    ) -> Result<(), ProducerError> {
        let producer_id = header.producer_id;
        let Some(entry) = self.entries.get(&producer_id).filter(|_| origin == Origin::Client) else {
            return Ok(());
        };
        let got = header.base_sequence;
        if got > entry.lowest_sequence {
            return Err(ProducerError::OutOfOrderSequence { producer_id, got, last: entry.lowest_sequence });
        }
        // Each transaction has an epoch of its own, and begins with 0 in it.
        if entry.supports_epoch_bump && got != 0 && !is_known {
            return Err(ProducerError::OutOfOrderSequence { producer_id, got, last: -1 });
        }
        Ok(())
    }

    /// Notes a batch that was appended: a transaction has begun, or ended. A guard stays good where the end is that of the
    /// transaction before the one it was taken for, whose producer has the marker's epoch already.
    pub fn update(&mut self, header: &BatchHeader) {
        if !header.is_transactional() {
            return;
        }
        let is_for_next = |entry: &Entry| {
            header.is_control() && entry.supports_epoch_bump && header.producer_epoch == entry.epoch
        };
        if self.entries.get(&header.producer_id).is_some_and(|entry| !is_for_next(entry)) {
            self.entries.remove(&header.producer_id);
        }
    }

    /// Forgets what was asked longer than `expiration_ms` ago, and never answered.
    pub fn remove_expired(&mut self, now: Timestamp, expiration_ms: i64) {
        self.entries.retain(|_, entry| now.0.saturating_sub(entry.guard.taken_at.0) < expiration_ms);
    }
}

#[cfg(test)]
mod tests;
