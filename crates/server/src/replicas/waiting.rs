//! Waiters' numbers, as the partitions know them, and the channels behind them.

use ottla_replication::{Outcome, WaiterId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, oneshot};

/// All who wait for any of this broker's partitions.
#[derive(Debug, Default)]
pub struct Waiting {
    next: AtomicU64,
    producers: Mutex<HashMap<WaiterId, oneshot::Sender<Outcome>>>,
    fetches: Mutex<HashMap<WaiterId, Arc<Notify>>>,
}

impl Waiting {
    /// A number for a batch that waits to be committed, and where its fate is heard.
    pub fn producer(&self) -> (WaiterId, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_id();
        self.producers.lock().insert(id, sender);
        (id, receiver)
    }

    /// A number for a fetch that waits, and what wakes it.
    pub fn fetch(&self) -> (WaiterId, Arc<Notify>) {
        let notify = Arc::new(Notify::new());
        let id = self.next_id();
        self.fetches.lock().insert(id, notify.clone());
        (id, notify)
    }

    /// Tells a producer.
    pub fn produced(&self, id: WaiterId, outcome: Outcome) {
        if let Some(sender) = self.producers.lock().remove(&id) {
            // The producer may have given up.
            let _ = sender.send(outcome);
        }
    }

    /// Wakes a fetch.
    pub fn wake(&self, id: WaiterId) {
        if let Some(notify) = self.fetches.lock().get(&id) {
            notify.notify_one();
        }
    }

    /// Forgets a batch whose producer waits no longer.
    pub fn forget_producer(&self, id: WaiterId) {
        self.producers.lock().remove(&id);
    }

    /// Forgets a fetch.
    pub fn forget_fetch(&self, id: WaiterId) {
        self.fetches.lock().remove(&id);
    }

    fn next_id(&self) -> WaiterId {
        WaiterId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
