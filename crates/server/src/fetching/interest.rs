//! What a fetch asks about, and what it was last told.

use super::ready::{Ready, Slot};
use crate::replicas::waiting::{FetchNumber, Waiting};
use crate::replicas::{Replica, ReplicaManager};
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::fetch_request::FetchPartition;
use ottla_replication::WaiterId;
use ottla_types::{TopicIdPartition, TopicPartition};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// A partition as the fetcher names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// From version 13 on.
    Id(TopicIdPartition),
    /// Before.
    Name(TopicPartition),
}

/// What a fetcher knows of a partition beside its records, and is told when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log's start.
    pub log_start_offset: i64,
}

impl Told {
    /// Nothing, so that the next answer tells.
    pub const NOTHING: Told = Told { high_watermark: -1, log_start_offset: -1 };
}

/// One partition of a fetch.
#[derive(Debug)]
pub struct Asked {
    /// As the fetcher names it.
    pub key: Key,
    /// What it asks.
    pub partition: FetchPartition,
    /// What it was last told.
    pub told: Told,
    replica: Weak<Replica>,
}

impl Asked {
    /// The partition by its topic's id; `None` when the image does not know the topic.
    pub fn at(&self, image: &MetadataImage) -> Option<TopicIdPartition> {
        match &self.key {
            Key::Id(at) => image.topics.by_id(at.topic_id).map(|_| *at),
            Key::Name(name) => {
                let topic = image.topics.by_name(&name.topic)?;
                Some(TopicIdPartition::new(topic.id, name.partition))
            }
        }
    }

    /// The replica, remembered until it is removed; `None` when this broker has none.
    pub fn replica(&mut self, image: &MetadataImage, replicas: &ReplicaManager) -> Option<Arc<Replica>> {
        if let Some(known) = self.replica.upgrade().filter(|replica| !replica.is_removed()) {
            return Some(known);
        }
        let found = replicas.get(self.at(image)?)?;
        self.replica = Arc::downgrade(&found);
        Some(found)
    }
}

/// The partitions of one fetch or session. Dropping it takes it out of the partitions' lists of waiters.
#[derive(Debug)]
pub struct Interest {
    number: FetchNumber,
    ready: Arc<Ready>,
    waiting: Arc<Waiting>,
    slots: Vec<Option<Asked>>,
    by_key: BTreeMap<Key, Slot>,
    free: Vec<Slot>,
    /// Whether any partition may know of this interest.
    waits: bool,
}

impl Interest {
    /// An interest in nothing yet.
    pub fn new(waiting: &Arc<Waiting>) -> Interest {
        let (number, ready) = waiting.fetch();
        Interest {
            number,
            ready,
            waiting: waiting.clone(),
            slots: Vec::new(),
            by_key: BTreeMap::new(),
            free: Vec::new(),
            waits: false,
        }
    }

    /// What is marked.
    pub fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Asks about a partition, or asks something else of it, and marks it.
    pub fn ask(&mut self, key: Key, partition: FetchPartition) {
        let slot = match self.by_key.get(&key) {
            Some(&slot) => {
                if let Some(asked) = &mut self.slots[slot as usize] {
                    asked.partition = partition;
                }
                slot
            }
            None => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    Slot::try_from(self.slots.len() - 1).expect("a request has fewer than 2^31 partitions")
                });
                let asked = Asked { key: key.clone(), partition, told: Told::NOTHING, replica: Weak::new() };
                self.slots[slot as usize] = Some(asked);
                self.by_key.insert(key, slot);
                slot
            }
        };
        self.ready.mark(slot);
    }

    /// Asks about a partition no longer.
    pub fn forget(&mut self, key: &Key) {
        let Some(slot) = self.by_key.remove(key) else { return };
        self.stop_waiting(slot);
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    /// Marks everything.
    pub fn mark_all(&self) {
        for (slot, _) in (0..).zip(&self.slots).filter(|(_, asked)| asked.is_some()) {
            self.ready.mark(slot);
        }
    }

    /// What is asked at a slot; `None` when it was forgotten.
    pub fn slot(&mut self, slot: Slot) -> Option<&mut Asked> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The number by which a partition wakes this slot.
    pub fn waiter(&mut self, slot: Slot) -> WaiterId {
        self.waits = true;
        self.number.waiter(slot)
    }

    fn stop_waiting(&self, slot: Slot) {
        let asked = self.slots.get(slot as usize).and_then(Option::as_ref).filter(|_| self.waits);
        if let Some(replica) = asked.and_then(|asked| asked.replica.upgrade()) {
            replica.lock().forget_fetch(self.number.waiter(slot));
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.waiting.forget_fetch(self.number);
        for &slot in self.by_key.values() {
            self.stop_waiting(slot);
        }
    }
}
