//! Whether transactions are whole: everywhere or nowhere, as their producers were told, and with the offsets that they commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How a transaction ended, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told that it is committed.
    Committed,
    /// It was told that it is aborted, or never asked for it to be committed.
    Aborted,
    /// It asked for it to be committed, and did not hear what came of that.
    Unknown,
}

#[derive(Debug)]
struct Made {
    producer: u32,
    partitions: BTreeSet<i32>,
    ended: Ended,
}

/// What producers did by transactions.
///
/// Each writes its transactions one after the other: one record, the transaction's number, to each of some partitions, and the
/// number after it as the offset of a group of its own.
#[derive(Debug, Default)]
pub struct Transactions {
    made: Vec<Made>,
    /// Whether nothing is judged: what was committed may be gone.
    is_over: bool,
}

/// What transactions may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionViolation {
    /// It is in some of its partitions.
    Torn {
        /// Which.
        number: u64,
        /// Where it is.
        found: BTreeSet<i32>,
        /// Where it should be, if anywhere.
        written: BTreeSet<i32>,
    },
    /// It is there, or not, against what its producer was told.
    Denied {
        /// Which.
        number: u64,
        /// What it was told.
        told: Ended,
    },
    /// It is there twice, or after a later one of the same producer.
    OutOfOrder {
        /// Which.
        number: u64,
        /// Where.
        partition: i32,
    },
    /// A group's offset is not that of the producer's last transaction.
    Offset {
        /// The producer.
        producer: u32,
        /// What is committed.
        found: Option<u64>,
        /// The number of the last transaction that is there.
        last: Option<u64>,
    },
    /// A record that nobody wrote.
    Invented {
        /// Its number.
        number: u64,
    },
}

impl fmt::Display for TransactionViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactionViolation::Torn { number, found, written } => {
                write!(f, "TXN-2: transaction {number} is in {found:?} of {written:?}")
            }
            TransactionViolation::Denied { number, told } => {
                let what = if *told == Ended::Aborted { "is there" } else { "is not there" };
                write!(f, "TXN-2: transaction {number} {what}, and was told to be {told:?}")
            }
            TransactionViolation::OutOfOrder { number, partition } => {
                write!(f, "IDEM-1: transaction {number} is twice, or late, in partition {partition}")
            }
            TransactionViolation::Offset { producer, found, last } => {
                let after = "is there: the offset is committed with it";
                write!(f, "TXN-4: producer {producer}'s offset is {found:?}, and {last:?} {after}")
            }
            TransactionViolation::Invented { number } => {
                write!(f, "ACK-1: transaction {number} was never made")
            }
        }
    }
}

impl Transactions {
    /// A producer begins a transaction that writes to these partitions. Returns its number.
    pub fn begin(&mut self, producer: u32, partitions: BTreeSet<i32>) -> u64 {
        self.made.push(Made { producer, partitions, ended: Ended::Aborted });
        self.made.len() as u64 - 1
    }

    /// Its producer asks for a transaction to be committed: from now on that may be.
    pub fn commits(&mut self, number: u64) {
        self.end(number, Ended::Unknown);
    }

    /// Its producer was told that it is committed.
    pub fn committed(&mut self, number: u64) {
        self.end(number, Ended::Committed);
    }

    fn end(&mut self, number: u64, ended: Ended) {
        if let Some(made) = usize::try_from(number).ok().and_then(|at| self.made.get_mut(at)) {
            made.ended = ended;
        }
    }

    /// All that keep them have lost power, and what was not synced: nothing is judged.
    pub fn lost_power_everywhere(&mut self) {
        self.is_over = true;
    }

    /// How many were committed, as their producers were told: a run without any proves nothing.
    pub fn committed_count(&self) -> usize {
        self.made.iter().filter(|made| made.ended == Ended::Committed).count()
    }

    /// Judges what consumers of committed records find in each partition, in order, and the offsets of the producers' groups.
    pub fn judge(
        &self,
        found: &BTreeMap<i32, Vec<u64>>,
        offsets: &BTreeMap<u32, Option<u64>>,
    ) -> Vec<TransactionViolation> {
        if self.is_over {
            return Vec::new();
        }
        let mut violations = Vec::new();
        let mut places: BTreeMap<u64, BTreeSet<i32>> = BTreeMap::new();
        let mut lasts: BTreeMap<u32, u64> = BTreeMap::new();
        for (&partition, numbers) in found {
            let mut latest: BTreeMap<u32, u64> = BTreeMap::new();
            for &number in numbers {
                let Some(made) = usize::try_from(number).ok().and_then(|at| self.made.get(at)) else {
                    violations.push(TransactionViolation::Invented { number });
                    continue;
                };
                if latest.insert(made.producer, number).is_some_and(|before| before >= number) {
                    violations.push(TransactionViolation::OutOfOrder { number, partition });
                }
                places.entry(number).or_default().insert(partition);
                let last = lasts.entry(made.producer).or_insert(number);
                *last = number.max(*last);
            }
        }
        for (number, made) in (0_u64..).zip(&self.made) {
            let is_there = places.get(&number);
            if let Some(found) = is_there
                && *found != made.partitions
            {
                let (found, written) = (found.clone(), made.partitions.clone());
                violations.push(TransactionViolation::Torn { number, found, written });
            }
            let is_right = match made.ended {
                Ended::Committed => is_there.is_some(),
                Ended::Aborted => is_there.is_none(),
                Ended::Unknown => true,
            };
            if !is_right {
                violations.push(TransactionViolation::Denied { number, told: made.ended });
            }
        }
        for (&producer, &found) in offsets {
            let last = lasts.get(&producer).copied();
            if found != last.map(|number| number + 1) {
                violations.push(TransactionViolation::Offset { producer, found, last });
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        found: &[(i32, &[u64])],
        offset: Option<u64>,
        end: impl FnOnce(&mut Transactions),
    ) -> Vec<String> {
        let mut transactions = Transactions::default();
        for _ in 0..3 {
            transactions.begin(7, [0, 1].into());
        }
        end(&mut transactions);
        let found = found.iter().map(|&(at, numbers)| (at, numbers.to_vec())).collect();
        transactions
            .judge(&found, &[(7, offset)].into())
            .iter()
            .map(ToString::to_string)
            .map(|text| text.split(':').next().unwrap_or_default().to_owned())
            .collect()
    }

    fn end(transactions: &mut Transactions) {
        transactions.committed(0);
        transactions.commits(2);
    }

    #[test]
    fn what_is_whole_and_as_it_was_told_is_right() {
        assert!(judged(&[(0, &[0]), (1, &[0])], Some(1), end).is_empty());
        // Nobody knows of the last one.
        assert!(judged(&[(0, &[0, 2]), (1, &[0, 2])], Some(3), end).is_empty());
    }

    #[test]
    fn what_is_not_is_noticed() {
        assert_eq!(judged(&[(0, &[0]), (1, &[])], Some(1), end), ["TXN-2"], "torn");
        assert_eq!(judged(&[(0, &[]), (1, &[])], None, end), ["TXN-2"], "lost");
        assert_eq!(judged(&[(0, &[0, 1]), (1, &[0, 1])], Some(2), end), ["TXN-2"], "aborted, and there");
        assert_eq!(judged(&[(0, &[0, 0]), (1, &[0])], Some(1), end), ["IDEM-1"], "doubled");
        assert_eq!(judged(&[(0, &[2, 0]), (1, &[0, 2])], Some(3), end), ["IDEM-1"], "late");
        assert_eq!(judged(&[(0, &[0, 2]), (1, &[0, 2])], Some(1), end), ["TXN-4"], "the offset is not there");
        assert_eq!(judged(&[(0, &[0]), (1, &[0])], Some(3), end), ["TXN-4"], "the offset alone is there");
        assert_eq!(judged(&[(0, &[0, 9]), (1, &[0])], Some(1), end), ["ACK-1"], "invented");
    }

    #[test]
    fn after_a_loss_of_all_power_nothing_is_said() {
        let judged = judged(&[(0, &[]), (1, &[])], None, |transactions| {
            end(transactions);
            transactions.lost_power_everywhere();
        });
        assert!(judged.is_empty());
    }
}
