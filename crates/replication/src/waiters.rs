//! Who waits for a partition to move.

use ottla_types::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// A waiter, as its driver numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// What became of a produced batch, or of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every member of the in-sync set has it.
    Committed,
    /// This replica has it on its disk.
    Written,
    /// No live replica has the records that were to be deleted.
    Deleted,
    /// This replica does not lead any more: nobody knows here whether the batch survives.
    NotLeader,
    /// Every member has it, but they are fewer than `min.insync.replicas` now.
    NotEnoughReplicas,
}

/// Producers that wait for offsets or for the disk, deletions, and fetches that wait for any movement.
#[derive(Debug, Default)]
pub struct Waiters {
    /// By the high watermark that releases them.
    producers: BTreeMap<Offset, Vec<WaiterId>>,
    /// By the durable end that releases them.
    writers: BTreeMap<Offset, Vec<WaiterId>>,
    /// Deletions, by the low watermark that releases them.
    deleters: BTreeMap<Offset, Vec<WaiterId>>,
    /// Fetches by consumers: released when the high watermark moves.
    consumers: BTreeSet<WaiterId>,
    /// Fetches by followers: released when records are appended.
    followers: BTreeSet<WaiterId>,
}

impl Waiters {
    /// Waits until the high watermark reaches `required`.
    pub(crate) fn produced(&mut self, required: Offset, waiter: WaiterId) {
        self.producers.entry(required).or_default().push(waiter);
    }

    /// Waits until this replica's disk has everything before `required`.
    pub(crate) fn written(&mut self, required: Offset, waiter: WaiterId) {
        self.writers.entry(required).or_default().push(waiter);
    }

    /// Waits until the low watermark reaches `required`.
    pub(crate) fn deleted(&mut self, required: Offset, waiter: WaiterId) {
        self.deleters.entry(required).or_default().push(waiter);
    }

    /// Returns whether a deletion waits.
    pub(crate) fn has_deleters(&self) -> bool {
        !self.deleters.is_empty()
    }

    pub(crate) fn consumer(&mut self, waiter: WaiterId) {
        self.consumers.insert(waiter);
    }

    pub(crate) fn follower(&mut self, waiter: WaiterId) {
        self.followers.insert(waiter);
    }

    /// Takes the producers that a high watermark releases.
    pub(crate) fn reached(&mut self, high_watermark: Offset) -> Vec<WaiterId> {
        take_until(&mut self.producers, high_watermark)
    }

    /// Takes the producers that a durable end releases.
    pub(crate) fn reached_on_disk(&mut self, durable_end: Offset) -> Vec<WaiterId> {
        take_until(&mut self.writers, durable_end)
    }

    /// Takes the deletions that a low watermark releases.
    pub(crate) fn reached_by_all(&mut self, low_watermark: Offset) -> Vec<WaiterId> {
        take_until(&mut self.deleters, low_watermark)
    }

    /// Takes all producers and deletions, whatever they wait for.
    pub(crate) fn all_producers(&mut self) -> Vec<WaiterId> {
        [&mut self.producers, &mut self.writers, &mut self.deleters]
            .into_iter()
            .flat_map(|waiting| std::mem::take(waiting).into_values().flatten())
            .collect()
    }

    pub(crate) fn take_consumers(&mut self) -> BTreeSet<WaiterId> {
        std::mem::take(&mut self.consumers)
    }

    pub(crate) fn take_followers(&mut self) -> BTreeSet<WaiterId> {
        std::mem::take(&mut self.followers)
    }

    /// Forgets a fetch that waits no longer.
    pub(crate) fn forget_fetch(&mut self, waiter: WaiterId) {
        self.consumers.remove(&waiter);
        self.followers.remove(&waiter);
    }
}

fn take_until(waiting: &mut BTreeMap<Offset, Vec<WaiterId>>, reached: Offset) -> Vec<WaiterId> {
    let later = waiting.split_off(&(reached + 1));
    std::mem::replace(waiting, later).into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_waits_again_after_each_look_is_woken_once() {
        let mut waiters = Waiters::default();
        for _ in 0..3 {
            waiters.consumer(WaiterId(1));
        }

        assert_eq!(waiters.take_consumers().len(), 1);
    }

    #[test]
    fn a_high_watermark_releases_those_it_has_reached_and_no_others() {
        let mut waiters = Waiters::default();
        for (required, id) in [(5, 1), (7, 2), (5, 3), (9, 4)] {
            waiters.produced(Offset(required), WaiterId(id));
        }

        assert_eq!(waiters.reached(Offset(4)), []);
        assert_eq!(waiters.reached(Offset(7)), [WaiterId(1), WaiterId(3), WaiterId(2)]);
        assert_eq!(waiters.reached(Offset(7)), []);
        assert_eq!(waiters.all_producers(), [WaiterId(4)]);
    }
}
