//! Transactions as a pass sees them: which batches were aborted, and of which transactions something is left
//! (`CleanedTransactionMetadata`).

use crate::transaction_index::AbortedTransaction;
use ottla_records::BatchHeader;
use ottla_types::{Offset, ProducerId};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug)]
pub(crate) struct Transactions {
    /// By producer and last offset: a producer's transactions do not overlap.
    aborted: BTreeMap<(ProducerId, Offset), AbortedTransaction>,
    /// Producers whose transaction has begun and not ended at this point of the walk.
    open: BTreeSet<ProducerId>,
}

impl Transactions {
    /// `aborted`: all that have records in what is walked, also where their markers come later.
    pub(crate) fn new(aborted: Vec<AbortedTransaction>) -> Transactions {
        let by_end = |aborted: AbortedTransaction| ((aborted.producer_id, aborted.last_offset), aborted);
        Transactions { aborted: aborted.into_iter().map(by_end).collect(), open: BTreeSet::new() }
    }

    /// Returns whether the batch's records were aborted.
    pub(crate) fn is_aborted(&self, header: &BatchHeader) -> bool {
        if !header.is_transactional() || header.is_control() {
            return false;
        }
        let from = (header.producer_id, header.base_offset);
        self.aborted.range(from..).next().is_some_and(|((producer_id, _), aborted)| {
            *producer_id == header.producer_id && aborted.first_offset <= header.base_offset
        })
    }

    /// The transaction that this batch, if it is a marker, aborted.
    pub(crate) fn aborted_by(&self, header: &BatchHeader) -> Option<AbortedTransaction> {
        let marker = header.is_control().then_some((header.producer_id, header.last_offset()))?;
        self.aborted.get(&marker).copied()
    }

    /// Notes a batch with records, or an emptied one that stays for its producer's sake.
    pub(crate) fn note_data(&mut self, header: &BatchHeader) {
        if header.is_transactional() {
            self.open.insert(header.producer_id);
        }
    }

    /// Notes a marker; returns whether any batch of its transaction was there before it.
    pub(crate) fn note_marker(&mut self, header: &BatchHeader) -> bool {
        self.open.remove(&header.producer_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::{BatchBuilder, BatchView};
    use ottla_types::{ProducerEpoch, Timestamp};

    fn header(producer: i64, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new()
            .producer(ProducerId(producer), ProducerEpoch(0), 0)
            .transactional()
            .base_offset(Offset(offset));
        builder.push(Timestamp(0), Some(b"k"), None, &[]);
        *BatchView::parse(&builder.build()).unwrap().header()
    }

    #[test]
    fn a_batch_belongs_to_its_own_producers_transaction_around_it() {
        let aborted = |producer, first, last| AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        };
        let transactions =
            Transactions::new(vec![aborted(1, 10, 20), aborted(2, 15, 25), aborted(1, 40, 50)]);
        let cases = [(1, 9, false), (1, 10, true), (1, 19, true), (1, 21, false), (1, 45, true)];
        for (producer, offset, expected) in cases {
            assert_eq!(
                transactions.is_aborted(&header(producer, offset)),
                expected,
                "{producer} at {offset}"
            );
        }
        assert!(!transactions.is_aborted(&header(2, 14)) && transactions.is_aborted(&header(2, 24)));
        assert!(!transactions.is_aborted(&header(3, 16)));
    }
}
