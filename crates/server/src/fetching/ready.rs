//! The partitions of a fetch that have something to say.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A place in an interest; see [`super::interest::Interest`].
pub type Slot = u32;

/// Slots to look at, each at most once, in the order in which they are to be looked at.
#[derive(Debug, Default)]
pub struct Ready {
    marked: Mutex<Marked>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Marked {
    queue: Vec<Slot>,
    /// By slot.
    is_queued: Vec<bool>,
}

impl Marked {
    fn push(&mut self, slot: Slot) {
        let index = slot as usize;
        if self.is_queued.len() <= index {
            self.is_queued.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.is_queued[index], true) {
            self.queue.push(slot);
        }
    }
}

impl Ready {
    /// Marks a slot for the next look.
    pub fn mark(&self, slot: Slot) {
        self.marked.lock().push(slot);
    }

    /// Marks a slot, and wakes the fetch that waits.
    pub fn wake(&self, slot: Slot) {
        self.mark(slot);
        self.woken.notify_one();
    }

    /// Takes all marked slots; none is marked then.
    pub fn take(&self) -> Vec<Slot> {
        let mut marked = self.marked.lock();
        let queue = std::mem::take(&mut marked.queue);
        for &slot in &queue {
            marked.is_queued[slot as usize] = false;
        }
        queue
    }

    /// Marks slots before and behind those that were marked meanwhile.
    pub fn put_back(&self, first: Vec<Slot>, last: Vec<Slot>) {
        if first.is_empty() && last.is_empty() {
            return;
        }
        let mut marked = self.marked.lock();
        let meanwhile = std::mem::take(&mut marked.queue);
        for &slot in &meanwhile {
            marked.is_queued[slot as usize] = false;
        }
        first.into_iter().chain(meanwhile).chain(last).for_each(|slot| marked.push(slot));
    }

    /// Waits until a slot is marked by [`Ready::wake`]. May return once without cause.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_looked_at_once_and_in_turn() {
        let ready = Ready::default();
        for slot in [3, 1, 3, 2, 1] {
            ready.mark(slot);
        }

        assert_eq!(ready.take(), [3, 1, 2]);
        assert!(ready.take().is_empty());

        ready.mark(1);
        ready.mark(5);
        ready.put_back(vec![2], vec![3, 5]);
        assert_eq!(ready.take(), [2, 1, 5, 3]);
    }
}
