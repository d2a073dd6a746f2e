//! Whether what is there at the end may be so, after what was sent, acknowledged and read.

use crate::history::{Guarantee, History, Outcome};
use crate::stamp::{Spoilt, Stamp};
use ottla_types::Offset;
use std::collections::BTreeMap;
use std::fmt;

/// Something that may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and not there (ACK-1).
    Lost {
        /// The record.
        stamp: Stamp,
        /// Where it was said to be.
        offset: Offset,
    },
    /// Read by a consumer, and not there, or something else there, afterwards (HW-2).
    Vanished {
        /// The record that was read.
        stamp: Stamp,
        /// Where it was read.
        offset: Offset,
    },
    /// Two consumers have read different records at the same offset (EPOCH-1).
    Contradiction {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: Offset,
        /// What was read there.
        stamps: [Stamp; 2],
    },
    /// There twice, though its producer is idempotent (IDEM-1).
    Doubled {
        /// The record.
        stamp: Stamp,
        /// Where it is.
        offsets: [Offset; 2],
    },
    /// Behind a record that its idempotent producer sent later (IDEM-1).
    Reordered {
        /// Sent later, and there first.
        first: Stamp,
        /// Sent earlier.
        second: Stamp,
    },
    /// Acknowledged at one offset, there at another.
    Moved {
        /// The record.
        stamp: Stamp,
        /// Where it was said to be, and where it is.
        offsets: [Offset; 2],
    },
    /// Of this run, and not as it was written.
    Changed {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: Offset,
    },
    /// Of this run, and never sent, or sent elsewhere.
    Invented {
        /// What it says it is.
        stamp: Stamp,
        /// The partition that it is in.
        partition: i32,
        /// The offset.
        offset: Offset,
    },
    /// There, though its producer was told that it is not.
    NotRefused {
        /// The record.
        stamp: Stamp,
        /// The offset.
        offset: Offset,
    },
    /// Not behind the record before it (LOG-1).
    Disordered {
        /// The partition.
        partition: i32,
        /// The offset of the record before, and its own.
        offsets: [Offset; 2],
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { stamp, offset } => write!(f, "lost: {stamp}, acknowledged at {offset}"),
            Violation::Vanished { stamp, offset } => write!(f, "vanished: {stamp}, read at {offset}"),
            Violation::Contradiction { partition, offset, stamps: [one, other] } => {
                write!(f, "contradiction: partition {partition} offset {offset} was {one}, then {other}")
            }
            Violation::Doubled { stamp, offsets: [one, other] } => {
                write!(f, "doubled: {stamp} is at {one} and at {other}")
            }
            Violation::Reordered { first, second } => write!(f, "reordered: {second} is behind {first}"),
            Violation::Moved { stamp, offsets: [told, found] } => {
                write!(f, "moved: {stamp}, acknowledged at {told}, is at {found}")
            }
            Violation::Changed { partition, offset } => {
                write!(f, "changed: partition {partition} offset {offset}")
            }
            Violation::Invented { stamp, partition, offset } => {
                write!(f, "invented: {stamp} in partition {partition} at {offset}")
            }
            Violation::NotRefused { stamp, offset } => {
                write!(f, "there though refused: {stamp} at {offset}")
            }
            Violation::Disordered { partition, offsets: [before, after] } => {
                write!(f, "offsets go back: partition {partition}, {after} behind {before}")
            }
        }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were acknowledged under a promise to keep them, and are there.
    pub kept: usize,
    /// Records that nobody acknowledged, and that are there all the same: allowed.
    pub unacknowledged: usize,
    /// Records that were acknowledged under that promise and are gone, because all machines lost power afterwards.
    pub excused: usize,
    /// Records that were acknowledged under that promise and are gone, because an administrator has deleted them.
    pub deleted: usize,
    /// Records that are there more than once, of producers to whom that may happen.
    pub repeated: usize,
    /// What may not be, at most [`VIOLATIONS_MAX`] of it.
    pub violations: Vec<Violation>,
}

/// More violations are not kept: one is enough to fail.
pub const VIOLATIONS_MAX: usize = 100;

impl Verdict {
    /// Returns whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    fn violated(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }
}

/// A partition as it was read from its start to its end: offsets and values.
pub type Partition = Vec<(Offset, Result<Stamp, Spoilt>)>;

/// Compares a history with what is there afterwards, by partition. Records of other runs are passed over.
pub fn judge(history: &History, found: &BTreeMap<i32, Partition>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut places: BTreeMap<Stamp, Vec<Offset>> = BTreeMap::new();
    let mut at: BTreeMap<(i32, Offset), Stamp> = BTreeMap::new();
    for (&partition, records) in found {
        let mut latest: BTreeMap<u32, Stamp> = BTreeMap::new();
        let mut before: Option<Offset> = None;
        for &(offset, value) in records {
            if let Some(before) = before.filter(|&before| before >= offset) {
                verdict.violated(Violation::Disordered { partition, offsets: [before, offset] });
            }
            before = Some(offset);
            let stamp = match value {
                Ok(stamp) if stamp.run == history.run() => stamp,
                Ok(_) | Err(Spoilt::Foreign) => continue,
                Err(Spoilt::Checksum) => {
                    verdict.violated(Violation::Changed { partition, offset });
                    continue;
                }
            };
            let (Some(outcome), true) = (history.outcome(&stamp), stamp.partition == partition) else {
                verdict.violated(Violation::Invented { stamp, partition, offset });
                continue;
            };
            let seen = places.entry(stamp).or_default();
            seen.push(offset);
            at.insert((partition, offset), stamp);
            match outcome {
                Outcome::Refused => verdict.violated(Violation::NotRefused { stamp, offset }),
                Outcome::Unknown if seen.len() == 1 => verdict.unacknowledged += 1,
                Outcome::Unknown | Outcome::Acknowledged(_) => {}
            }
            let guarantee = history.guarantee(stamp.producer).unwrap_or(Guarantee::NONE);
            if let [.., one, other] = seen[..] {
                if guarantee.idempotent {
                    verdict.violated(Violation::Doubled { stamp, offsets: [one, other] });
                } else {
                    verdict.repeated += 1;
                }
            } else if guarantee.idempotent {
                let latest = latest.entry(stamp.producer).or_insert(stamp);
                if latest.number > stamp.number {
                    verdict.violated(Violation::Reordered { first: *latest, second: stamp });
                } else {
                    *latest = stamp;
                }
            }
        }
    }
    judge_acknowledged(history, &places, &mut verdict);
    for (partition, offset, &stamp) in history.read() {
        // What an administrator deletes is gone, and nothing else comes to stand in its place.
        let there = at.get(&(partition, offset));
        let is_deleted = there.is_none() && offset < history.may_begin_at(partition);
        if found.contains_key(&partition) && there != Some(&stamp) && !is_deleted {
            verdict.violated(Violation::Vanished { stamp, offset });
        }
    }
    for &(partition, offset, stamps) in history.contradictions() {
        verdict.violated(Violation::Contradiction { partition, offset, stamps });
    }
    verdict
}

fn judge_acknowledged(history: &History, places: &BTreeMap<Stamp, Vec<Offset>>, verdict: &mut Verdict) {
    for (&stamp, outcome) in history.sent() {
        let Outcome::Acknowledged(offset) = outcome else { continue };
        let is_durable = history.guarantee(stamp.producer).is_some_and(|guarantee| guarantee.durable);
        if !is_durable {
            continue;
        }
        if history.is_excused(&stamp) {
            verdict.excused += usize::from(!places.contains_key(&stamp));
            continue;
        }
        let begin = history.may_begin_at(stamp.partition);
        // Of a record whose offset was not told nobody knows on which side of the begin it was.
        let may_be_deleted = begin > Offset::ZERO && offset < begin;
        match places.get(&stamp).map(Vec::as_slice) {
            None | Some([]) if may_be_deleted => verdict.deleted += 1,
            None | Some([]) => verdict.violated(Violation::Lost { stamp, offset }),
            Some(places) if offset == Offset::UNKNOWN || places.contains(&offset) => verdict.kept += 1,
            Some([found, ..]) => verdict.violated(Violation::Moved { stamp, offsets: [offset, *found] }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A producer with this guarantee sends three records to partition 0, acknowledged at 0, 1 and 2.
    fn three(guarantee: Guarantee) -> (History, [Stamp; 3]) {
        let mut history = History::new(9);
        let producer = history.add_producer(guarantee);
        let stamps = [0, 1, 2].map(|offset| {
            let stamp = history.send(producer, 0);
            history.told(stamp, Outcome::Acknowledged(Offset(offset)));
            stamp
        });
        (history, stamps)
    }

    fn at_the_end(history: &History, records: &[(i64, Stamp)]) -> Verdict {
        let records = records.iter().map(|&(offset, stamp)| (Offset(offset), Ok(stamp))).collect();
        judge(history, &BTreeMap::from([(0, records)]))
    }

    #[test]
    fn what_was_acknowledged_and_is_there_is_kept() {
        let (history, [a, b, c]) = three(Guarantee::FULL);
        let verdict = at_the_end(&history, &[(0, a), (1, b), (2, c)]);
        assert_eq!(verdict, Verdict { kept: 3, ..Verdict::default() });
    }

    #[test]
    fn what_is_lost_doubled_reordered_or_moved_is_noticed() {
        let (history, [a, b, c]) = three(Guarantee::FULL);
        let violations = |records: &[(i64, Stamp)]| at_the_end(&history, records).violations;
        let offset = Offset(1);

        assert_eq!(violations(&[(0, a), (2, c)]), [Violation::Lost { stamp: b, offset }]);
        assert_eq!(
            violations(&[(0, a), (1, b), (2, c), (3, b)]),
            [Violation::Doubled { stamp: b, offsets: [Offset(1), Offset(3)] }]
        );
        assert_eq!(
            violations(&[(0, a), (1, c), (2, b)]),
            [
                Violation::Reordered { first: c, second: b },
                Violation::Moved { stamp: b, offsets: [Offset(1), Offset(2)] },
                Violation::Moved { stamp: c, offsets: [Offset(2), Offset(1)] },
            ]
        );
        assert_eq!(
            violations(&[(0, a), (1, b), (1, c), (2, c)])[0],
            Violation::Disordered { partition: 0, offsets: [Offset(1), Offset(1)] }
        );
    }

    #[test]
    fn who_was_not_promised_more_may_lose_repeat_and_reorder() {
        let (history, [a, b, c]) = three(Guarantee::NONE);
        let verdict = at_the_end(&history, &[(0, c), (1, a), (2, a)]);
        assert_eq!((verdict.violations.as_slice(), verdict.repeated), (&[][..], 1));

        let (history, [_, _, _]) = three(Guarantee::AT_LEAST_ONCE);
        let verdict = at_the_end(&history, &[(0, a), (1, b), (2, c), (3, b)]);
        assert_eq!((verdict.violations.as_slice(), verdict.repeated, verdict.kept), (&[][..], 1, 3));
    }

    #[test]
    fn what_nobody_sent_or_what_was_refused_may_not_be_there() {
        let mut history = History::new(9);
        let producer = history.add_producer(Guarantee::FULL);
        let (refused, open) = (history.send(producer, 0), history.send(producer, 0));
        history.told(refused, Outcome::Refused);
        let never = Stamp { number: 7, ..open };
        let elsewhere = Stamp { run: 8, ..open };

        let verdict = at_the_end(&history, &[(0, refused), (1, open), (2, never), (3, elsewhere)]);

        assert_eq!(verdict.unacknowledged, 1);
        assert_eq!(
            verdict.violations,
            [
                Violation::NotRefused { stamp: refused, offset: Offset(0) },
                Violation::Invented { stamp: never, partition: 0, offset: Offset(2) },
            ]
        );
    }

    #[test]
    fn what_was_read_stays_what_it_was() {
        let (mut history, [a, b, c]) = three(Guarantee::NONE);
        history.saw(0, Offset(0), a);
        history.saw(0, Offset(1), b);
        history.saw(0, Offset(1), c);

        let verdict = at_the_end(&history, &[(0, a)]);

        assert_eq!(
            verdict.violations,
            [
                Violation::Vanished { stamp: b, offset: Offset(1) },
                Violation::Contradiction { partition: 0, offset: Offset(1), stamps: [b, c] },
            ]
        );
    }

    #[test]
    fn when_all_have_lost_power_only_what_came_before_may_be_lost() {
        let (mut history, [a, b, c]) = three(Guarantee::FULL);
        history.saw(0, Offset(2), c);
        history.lost_power_everywhere();
        let later = history.send(0, 0);
        history.told(later, Outcome::Acknowledged(Offset(1)));
        history.saw(0, Offset(2), later);
        let violations = |records: &[(i64, Stamp)]| at_the_end(&history, records).violations;

        assert_eq!(violations(&[(0, a), (1, later), (2, later)]).len(), 1, "doubled");
        assert_eq!(
            violations(&[(0, b), (1, a), (2, later)])[0],
            Violation::Reordered { first: b, second: a }
        );
        let lost = Violation::Lost { stamp: later, offset: Offset(1) };
        assert!(violations(&[(0, a), (1, b), (2, c)]).contains(&lost));
        history = three(Guarantee::FULL).0;
        history.lost_power_everywhere();
        let verdict = at_the_end(&history, &[(0, a)]);
        assert_eq!((verdict.violations.as_slice(), verdict.excused), (&[][..], 2));
    }

    #[test]
    fn what_an_administrator_deleted_may_be_gone_and_nothing_else() {
        let (mut history, [a, b, c]) = three(Guarantee::FULL);
        for (offset, stamp) in [(0, a), (1, b), (2, c)] {
            history.saw(0, Offset(offset), stamp);
        }
        history.deletes(0, Offset(2));
        history.deletes(0, Offset(1));
        assert_eq!(history.may_begin_at(0), Offset(2), "what was deleted before does not come back");

        let verdict = at_the_end(&history, &[(2, c)]);
        assert_eq!((verdict.violations.as_slice(), verdict.deleted, verdict.kept), (&[][..], 2, 1));
        let verdict = at_the_end(&history, &[(0, a), (1, b), (2, c)]);
        assert_eq!((verdict.violations.as_slice(), verdict.kept), (&[][..], 3), "a kill brings them back");
        let offset = Offset(2);
        assert_eq!(
            at_the_end(&history, &[(1, b)]).violations,
            [Violation::Lost { stamp: c, offset }, Violation::Vanished { stamp: c, offset }]
        );
        let unordered = history.add_producer(Guarantee::NONE);
        let (other, offset) = (history.send(unordered, 0), Offset(1));
        assert_eq!(
            at_the_end(&history, &[(1, other), (2, c)]).violations,
            [Violation::Vanished { stamp: b, offset }],
            "another record does not come to stand there"
        );
    }

    #[test]
    fn a_changed_value_is_noticed_and_a_foreign_one_is_not_ours() {
        let history = History::new(9);
        let records = vec![(Offset(0), Err(Spoilt::Foreign)), (Offset(1), Err(Spoilt::Checksum))];
        let verdict = judge(&history, &BTreeMap::from([(0, records)]));
        assert_eq!(verdict.violations, [Violation::Changed { partition: 0, offset: Offset(1) }]);
    }
}
