//! Waiters' numbers, as the partitions know them, and who is behind them.

use crate::fetching::ready::{Ready, Slot};
use ottla_replication::{Outcome, WaiterId};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::oneshot;

/// Names a fetch, or a session, for as long as it may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchNumber(u32);

impl FetchNumber {
    /// The number by which a partition knows one slot of this fetch.
    pub fn waiter(self, slot: Slot) -> WaiterId {
        WaiterId(u64::from(self.0) << 32 | u64::from(slot))
    }

    fn of(waiter: WaiterId) -> (FetchNumber, Slot) {
        // The halves that were put together above.
        (FetchNumber((waiter.0 >> 32) as u32), waiter.0 as u32)
    }
}

/// All who wait for any of this broker's partitions. Producers and fetches are numbered apart.
#[derive(Debug, Default)]
pub struct Waiting {
    next_producer: AtomicU64,
    next_fetch: AtomicU32,
    producers: Mutex<HashMap<WaiterId, oneshot::Sender<Outcome>>>,
    fetches: RwLock<HashMap<FetchNumber, Arc<Ready>>>,
}

impl Waiting {
    /// A number for a batch that waits to be committed, and where its fate is heard.
    pub fn producer(&self) -> (WaiterId, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let id = WaiterId(self.next_producer.fetch_add(1, Ordering::Relaxed));
        self.producers.lock().insert(id, sender);
        (id, receiver)
    }

    /// A number for a fetch, and what its partitions mark.
    pub fn fetch(&self) -> (FetchNumber, Arc<Ready>) {
        let ready = Arc::new(Ready::default());
        let mut fetches = self.fetches.write();
        // A session may live for longer than the numbers take to come round.
        let number = loop {
            let number = FetchNumber(self.next_fetch.fetch_add(1, Ordering::Relaxed));
            if !fetches.contains_key(&number) {
                break number;
            }
        };
        fetches.insert(number, ready.clone());
        (number, ready)
    }

    /// Tells a producer.
    pub fn produced(&self, id: WaiterId, outcome: Outcome) {
        let sender = self.producers.lock().remove(&id);
        if let Some(sender) = sender {
            // The producer may have given up.
            let _ = sender.send(outcome);
        }
    }

    /// Wakes a fetch for one of its partitions.
    pub fn wake(&self, id: WaiterId) {
        let (number, slot) = FetchNumber::of(id);
        let ready = self.fetches.read().get(&number).cloned();
        if let Some(ready) = ready {
            ready.wake(slot);
        }
    }

    /// Forgets a batch whose producer waits no longer.
    pub fn forget_producer(&self, id: WaiterId) {
        self.producers.lock().remove(&id);
    }

    /// Forgets a fetch.
    pub fn forget_fetch(&self, number: FetchNumber) {
        self.fetches.write().remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_is_one_slot_of_one_fetch() {
        let waiting = Waiting::default();
        let (first, first_ready) = waiting.fetch();
        let (second, second_ready) = waiting.fetch();

        waiting.wake(first.waiter(7));
        waiting.wake(second.waiter(9));
        waiting.forget_fetch(second);
        waiting.wake(second.waiter(3));

        assert_eq!((first_ready.take(), second_ready.take()), (vec![7], vec![9]));
        assert_eq!(FetchNumber::of(second.waiter(u32::MAX)), (second, u32::MAX));
    }
}
