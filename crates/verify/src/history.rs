//! What a workload sent, what it was told, and what was read meanwhile.

use crate::stamp::Stamp;
use ottla_types::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// What a producer was promised, by the way in which it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// What is acknowledged stays (`acks=all`).
    pub durable: bool,
    /// A record is written once, and in order, however often it is sent (`enable.idempotence`).
    pub idempotent: bool,
}

impl Guarantee {
    /// `acks=all`, idempotent.
    pub const FULL: Guarantee = Guarantee { durable: true, idempotent: true };
    /// `acks=all`, sent again as often as need be.
    pub const AT_LEAST_ONCE: Guarantee = Guarantee { durable: true, idempotent: false };
    /// `acks=0` or `acks=1`.
    pub const NONE: Guarantee = Guarantee { durable: false, idempotent: false };
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody has said yet, or nobody knows: it may be written or not, now or later.
    Unknown,
    /// It was acknowledged, at this offset; [`Offset::UNKNOWN`] when that was not said.
    Acknowledged(Offset),
    /// It was refused: it is not written.
    Refused,
}

/// What a run did. The order of calls is the order of events.
#[derive(Debug)]
pub struct History {
    run: u64,
    producers: Vec<Guarantee>,
    sent: BTreeMap<Stamp, Outcome>,
    read: BTreeMap<(i32, Offset), Stamp>,
    contradictions: Vec<(i32, Offset, [Stamp; 2])>,
    /// Sent before all machines lost power: may be there or not, whatever was said.
    excused: BTreeSet<Stamp>,
    /// Where each partition may begin: before it an administrator has deleted records.
    deleted: BTreeMap<i32, Offset>,
}

impl History {
    /// An empty one. `run` tells its records from those of others.
    pub fn new(run: u64) -> History {
        History {
            run,
            producers: Vec::new(),
            sent: BTreeMap::new(),
            read: BTreeMap::new(),
            contradictions: Vec::new(),
            excused: BTreeSet::new(),
            deleted: BTreeMap::new(),
        }
    }

    /// The run's number.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// One more producer; returns its number.
    pub fn add_producer(&mut self, guarantee: Guarantee) -> u32 {
        self.producers.push(guarantee);
        self.producers.len() as u32 - 1
    }

    /// What a producer was promised; `None` when there is no such producer.
    pub fn guarantee(&self, producer: u32) -> Option<Guarantee> {
        self.producers.get(producer as usize).copied()
    }

    /// The next record of a producer to a partition, about to be sent.
    pub fn send(&mut self, producer: u32, partition: i32) -> Stamp {
        let first = Stamp { run: self.run, producer, partition, number: 0 };
        let last = self.sent.range(first..=Stamp { number: u64::MAX, ..first }).next_back();
        let number = last.map_or(0, |(stamp, _)| stamp.number + 1);
        let stamp = Stamp { number, ..first };
        self.sent.insert(stamp, Outcome::Unknown);
        stamp
    }

    /// A producer was told what became of a record that it sent.
    ///
    /// # Panics
    /// When it was never sent: then the workload is wrong.
    pub fn told(&mut self, stamp: Stamp, outcome: Outcome) {
        *self.sent.get_mut(&stamp).expect("what is answered was sent") = outcome;
    }

    /// A consumer has read a record at an offset of a partition.
    pub fn saw(&mut self, partition: i32, offset: Offset, stamp: Stamp) {
        if self.is_excused(&stamp) {
            // Read before all lost power, perhaps, and handed over only now.
            return;
        }
        let first = *self.read.entry((partition, offset)).or_insert(stamp);
        if first != stamp {
            self.contradictions.push((partition, offset, [first, stamp]));
        }
    }

    /// All machines have lost power at once: what was acknowledged and read so far may be gone, and others may come to
    /// stand in its place. Nothing may be doubled, reordered, changed or invented all the same.
    pub fn lost_power_everywhere(&mut self) {
        self.excused = self.sent.keys().copied().collect();
        self.read.clear();
    }

    /// An administrator is about to delete the records of a partition before an offset (DeleteRecords): from now on they may
    /// be gone, and may be there.
    pub fn deletes(&mut self, partition: i32, before: Offset) {
        let deleted = self.deleted.entry(partition).or_insert(before);
        *deleted = before.max(*deleted);
    }

    /// Where a partition may begin; at its first record if nobody has deleted any.
    pub fn may_begin_at(&self, partition: i32) -> Offset {
        self.deleted.get(&partition).copied().unwrap_or(Offset::ZERO)
    }

    /// Whether a record may be gone though it was acknowledged.
    pub fn is_excused(&self, stamp: &Stamp) -> bool {
        self.excused.contains(stamp)
    }

    /// Everything that was sent, by producer, partition and number.
    pub fn sent(&self) -> impl Iterator<Item = (&Stamp, Outcome)> {
        self.sent.iter().map(|(stamp, outcome)| (stamp, *outcome))
    }

    /// What became of a record; `None` when it was never sent.
    pub fn outcome(&self, stamp: &Stamp) -> Option<Outcome> {
        self.sent.get(stamp).copied()
    }

    /// What consumers have read, by partition and offset.
    pub fn read(&self) -> impl Iterator<Item = (i32, Offset, &Stamp)> {
        self.read.iter().map(|(&(partition, offset), stamp)| (partition, offset, stamp))
    }

    /// Offsets at which different records were read at different times.
    pub fn contradictions(&self) -> &[(i32, Offset, [Stamp; 2])] {
        &self.contradictions
    }

    /// How many records were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.sent.values().filter(|outcome| matches!(outcome, Outcome::Acknowledged(_))).count()
    }
}
