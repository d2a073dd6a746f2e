//! The offsets of transactions that have not ended: nobody is told of them yet.

use crate::offsets::{CommittedOffset, Offsets};
use ottla_types::ProducerId;
use std::collections::{BTreeMap, BTreeSet};

/// What producers have committed in their open transactions, and which of them have something of a group's.
///
/// No producer and no group in it is without an offset.
#[derive(Debug, Default)]
pub(crate) struct PendingOffsets {
    producers: BTreeMap<ProducerId, Offsets>,
    groups: BTreeMap<String, BTreeSet<ProducerId>>,
}

impl PendingOffsets {
    pub(crate) fn put(
        &mut self,
        producer_id: ProducerId,
        group_id: &str,
        topic: &str,
        partition: i32,
        offset: CommittedOffset,
    ) {
        self.producers.entry(producer_id).or_default().put(group_id, topic, partition, offset);
        self.groups.entry(group_id.to_owned()).or_default().insert(producer_id);
    }

    /// Takes out what a producer has committed: its transaction has ended.
    pub(crate) fn end(&mut self, producer_id: ProducerId) -> Option<Offsets> {
        let ended = self.producers.remove(&producer_id)?;
        self.groups.retain(|_, producers| {
            producers.remove(&producer_id);
            !producers.is_empty()
        });
        Some(ended)
    }

    /// Forgets what is pending of a partition, whoever sent it.
    pub(crate) fn remove(&mut self, group_id: &str, topic: &str, partition: i32) {
        let Some(group) = self.groups.get_mut(group_id) else { return };
        let producers = &mut self.producers;
        group.retain(|producer_id| {
            let offsets = producers.get_mut(producer_id).expect("the group knows who has something of it");
            offsets.remove(group_id, topic, partition);
            let is_left = offsets.of_group(group_id).is_some();
            if offsets.is_empty() {
                producers.remove(producer_id);
            }
            is_left
        });
        if group.is_empty() {
            self.groups.remove(group_id);
        }
    }

    /// Returns whether an open transaction has an offset of a partition.
    pub(crate) fn contains(&self, group_id: &str, topic: &str, partition: i32) -> bool {
        self.of_group(group_id).any(|offsets| offsets.get(group_id, topic, partition).is_some())
    }

    /// Returns whether an open transaction has any offset of a group.
    pub(crate) fn has_group(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// What is pending of a group: topic and partition, each once.
    pub(crate) fn iter_group(&self, group_id: &str) -> BTreeSet<(&str, i32)> {
        let each = self.of_group(group_id).flat_map(|offsets| offsets.iter_group(group_id));
        each.map(|(topic, partition, _)| (topic, partition)).collect()
    }

    /// What is pending of a topic: group and partition, each once.
    pub(crate) fn iter_topic<'a>(&'a self, topic: &'a str) -> BTreeSet<(&'a str, i32)> {
        self.producers.values().flat_map(|offsets| offsets.iter_topic(topic)).collect()
    }

    fn of_group(&self, group_id: &str) -> impl Iterator<Item = &Offsets> {
        let producers = self.groups.get(group_id).into_iter().flatten();
        producers.filter_map(|producer_id| self.producers.get(producer_id))
    }
}
