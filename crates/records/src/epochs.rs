//! Which leader wrote what: the lineage of a log's leader epochs, and how two logs find where they diverge
//! (KIP-101, KIP-279, KIP-595; `LeaderEpochFileCache`).
//!
//! ```text
//!  epoch   0            3        5     7
//!          |------------|--------|-----|------->
//!  offset  0            10       14    20     log end 25
//! ```

use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch};

/// The first offset that a leader of this epoch wrote, or would have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it starts.
    pub start_offset: Offset,
}

/// The lineage of one log. Epochs and start offsets both strictly increase (EPOCH-1).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

/// Where a follower cuts its log after its leader said where the two diverge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The new log end.
    pub offset: Offset,
    /// Whether the logs agree below it. If not, the follower asks again with its then latest epoch.
    pub is_final: bool,
}

impl LeaderEpochs {
    /// The answer when nothing is known: no epoch, no offset.
    pub const UNDEFINED: OffsetAndEpoch =
        OffsetAndEpoch { epoch: LeaderEpoch::NONE, offset: Offset::UNKNOWN };

    /// A log that nobody led yet.
    pub fn new() -> LeaderEpochs {
        LeaderEpochs::default()
    }

    /// The lineage with these entries; `None` when their epochs or offsets do not strictly increase.
    pub fn from_entries(entries: Vec<EpochEntry>) -> Option<LeaderEpochs> {
        let ordered =
            entries.windows(2).all(|w| w[0].epoch < w[1].epoch && w[0].start_offset < w[1].start_offset);
        let known = entries.iter().all(|entry| entry.epoch.is_some() && entry.start_offset.is_some());
        (ordered && known).then_some(LeaderEpochs { entries })
    }

    /// Notes that `epoch` starts at `start_offset`, unless it is the latest already; returns whether that is a
    /// change. Entries that contradict it (a later epoch, or one that starts no earlier) are dropped.
    ///
    /// # Panics
    /// When `epoch` or `start_offset` is none.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(epoch.is_some() && start_offset.is_some(), "an epoch {epoch} from offset {start_offset}");
        if self.latest() == epoch {
            return false;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        self.assert_ordered();
        true
    }

    /// Drops the epochs that start at `end_offset` or later: the log now ends there. Returns whether that is a
    /// change.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// Drops the epochs that end at `start_offset` or earlier: the log now starts there. The epoch that holds
    /// `start_offset` starts there from now on. Returns whether that is a change.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let below = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(holds) = below.checked_sub(1) else { return false };
        if holds == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..holds);
        self.entries[0].start_offset = start_offset;
        self.assert_ordered();
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The latest epoch, or [`LeaderEpoch::NONE`].
    pub fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
    }

    /// The epoch of the record at `offset`, if the lineage reaches that far back.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let below = self.entries.partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries[below.checked_sub(1)?].epoch)
    }

    /// The largest known epoch not above `epoch`, and the offset where it ends: the start of the next one, or
    /// the log end.
    ///
    /// When all known epochs are above, `epoch` itself and the start of the first. When `epoch` is above all
    /// known ones, or none, [`LeaderEpochs::UNDEFINED`] (KIP-279).
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> OffsetAndEpoch {
        if !epoch.is_some() || epoch > self.latest() {
            return Self::UNDEFINED;
        }
        if epoch == self.latest() {
            return OffsetAndEpoch { epoch, offset: log_end };
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let offset = self.entries[above].start_offset;
        let floor = above.checked_sub(1).map_or(epoch, |below| self.entries[below].epoch);
        OffsetAndEpoch { epoch: floor, offset }
    }

    /// A leader's rule (KIP-595): where the log of a follower that fetches from `fetch_offset`, and whose last
    /// record is of `last_fetched_epoch`, diverges from this one; `None` when it does not.
    ///
    /// [`LeaderEpochs::UNDEFINED`] when the follower's epoch is later than any here: Kafka's leader answers
    /// `OFFSET_OUT_OF_RANGE` then, as it does when `fetch_offset` is below the log start.
    pub fn divergence(
        &self,
        fetch_offset: Offset,
        last_fetched_epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<OffsetAndEpoch> {
        if !last_fetched_epoch.is_some() {
            return None;
        }
        let end = self.end_offset_for(last_fetched_epoch, log_end);
        (end.epoch < last_fetched_epoch || end.offset < fetch_offset).then_some(end)
    }

    /// A follower's rule: where to cut after the leader answered `leader`. Never above `log_end`.
    ///
    /// When the leader knows nothing (undefined), the logs share nothing that can be named: the cut is at 0,
    /// which callers bound from below by what they know to be committed.
    pub fn truncation(&self, leader: OffsetAndEpoch, log_end: Offset) -> Truncation {
        if !leader.offset.is_some() {
            return Truncation { offset: Offset::ZERO, is_final: true };
        }
        let own = self.end_offset_for(leader.epoch, log_end);
        if own == Self::UNDEFINED {
            return Truncation { offset: leader.offset.min(log_end), is_final: true };
        }
        if own.epoch == leader.epoch {
            return Truncation { offset: leader.offset.min(own.offset).min(log_end), is_final: true };
        }
        Truncation { offset: own.offset.min(log_end), is_final: false }
    }

    fn assert_ordered(&self) {
        if let [.., before, last] = self.entries.as_slice() {
            assert!(before.epoch < last.epoch, "EPOCH-1: {before:?} {last:?}");
            assert!(before.start_offset < last.start_offset, "EPOCH-1: {before:?} {last:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::Random;

    fn lineage(entries: &[(i32, i64)]) -> LeaderEpochs {
        let entry = |&(epoch, start)| EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start) };
        LeaderEpochs::from_entries(entries.iter().map(entry).collect()).unwrap()
    }

    fn at(epoch: i32, offset: i64) -> OffsetAndEpoch {
        OffsetAndEpoch { epoch: LeaderEpoch(epoch), offset: Offset(offset) }
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = lineage(&[(2, 5), (3, 10), (5, 14), (7, 20)]);
        let cases = [
            (0, at(0, 5)),
            (2, at(2, 10)),
            (3, at(3, 14)),
            (4, at(3, 14)),
            (6, at(5, 20)),
            (7, at(7, 25)),
            (8, LeaderEpochs::UNDEFINED),
            (-1, LeaderEpochs::UNDEFINED),
        ];
        for (epoch, expected) in cases {
            assert_eq!(epochs.end_offset_for(LeaderEpoch(epoch), Offset(25)), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn assigning_drops_what_contradicts() {
        let mut epochs = lineage(&[(0, 0), (3, 10), (5, 14)]);

        assert!(!epochs.assign(LeaderEpoch(5), Offset(99)));
        assert!(epochs.assign(LeaderEpoch(6), Offset(14)));
        assert_eq!(epochs, lineage(&[(0, 0), (3, 10), (6, 14)]));
        assert!(epochs.assign(LeaderEpoch(2), Offset(30)));
        assert_eq!(epochs, lineage(&[(0, 0), (2, 30)]));
    }

    #[test]
    fn truncation_keeps_the_epochs_of_what_remains() {
        let epochs = lineage(&[(0, 0), (3, 10), (5, 14)]);
        let from_end = [(15, &[(0, 0), (3, 10), (5, 14)][..]), (14, &[(0, 0), (3, 10)]), (0, &[])];
        for (end, expected) in from_end {
            let mut epochs = epochs.clone();
            epochs.truncate_from_end(Offset(end));
            assert_eq!(epochs, lineage(expected), "end {end}");
        }
        let from_start = [
            (0, &[(0, 0), (3, 10), (5, 14)][..]),
            (10, &[(3, 10), (5, 14)]),
            (12, &[(3, 12), (5, 14)]),
            (20, &[(5, 20)]),
        ];
        for (start, expected) in from_start {
            let mut epochs = epochs.clone();
            epochs.truncate_from_start(Offset(start));
            assert_eq!(epochs, lineage(expected), "start {start}");
        }
    }

    #[test]
    fn entries_out_of_order_are_no_lineage() {
        for entries in [[(1, 0), (1, 5)], [(1, 5), (2, 5)], [(2, 0), (1, 5)], [(-1, 0), (1, 5)]] {
            let entry =
                |(epoch, start)| EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start) };
            assert_eq!(LeaderEpochs::from_entries(entries.map(entry).to_vec()), None);
        }
    }

    /// A log is a list of epochs, one for each record. Random leaders overwrite one another's tails; then one
    /// log follows the other by the two rules alone and must end as its copy.
    #[test]
    fn a_follower_that_truncates_by_the_rules_agrees_with_its_leader() {
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let mut logs: [Vec<i32>; 3] = Default::default();
            for epoch in 0..8 {
                // A leader of this epoch writes; some replicas copy a part of what they do not have.
                let leader = random.index(3);
                let written = random.index(4);
                logs[leader].extend(vec![epoch; written]);
                let follower = random.index(3);
                if follower != leader {
                    let source = logs[leader].clone();
                    follow(&mut logs[follower], &source, &mut random, seed);
                }
            }
        }
    }

    fn lineage_of(log: &[i32]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for (offset, &epoch) in log.iter().enumerate() {
            epochs.assign(LeaderEpoch(epoch), Offset(offset as i64));
        }
        epochs
    }

    fn follow(follower: &mut Vec<i32>, leader: &[i32], random: &mut Random, seed: u64) {
        for _ in 0..20 {
            let own = lineage_of(follower);
            let end = Offset(follower.len() as i64);
            match lineage_of(leader).divergence(end, own.latest(), Offset(leader.len() as i64)) {
                Some(diverging) => follower.truncate(own.truncation(diverging, end).offset.0 as usize),
                None => {
                    let copied = follower.len() + random.index(leader.len() - follower.len() + 1);
                    follower.extend_from_slice(&leader[follower.len()..copied]);
                    assert_eq!(follower[..], leader[..copied], "seed {seed}");
                    return;
                }
            }
        }
        panic!("seed {seed}: {follower:?} does not converge to {leader:?}");
    }
}
