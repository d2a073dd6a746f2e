//! The offsets that groups have committed.

use ottla_protocol::records::group::{LegacyOffsetCommitValue, OffsetCommitValue};
use ottla_types::{LeaderEpoch, Offset, Timestamp, Uuid};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a group has read a partition, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next record to read. Nobody checks it against the partition's log.
    pub(crate) offset: Offset,
    /// The epoch of the last record read, if the client told.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Whatever the client wants to remember with it.
    pub(crate) metadata: String,
    pub(crate) committed_at: Timestamp,
    /// An expiry of its own, of clients that asked for one.
    pub(crate) expires_at: Option<Timestamp>,
    /// The topic's id, where it was known.
    pub(crate) topic_id: Uuid,
    /// How many offsets were replayed before it: of two, the greater one stands later in the log.
    pub(crate) place: u64,
}

impl CommittedOffset {
    /// Returns whether it has outlived its own expiry, or the `retention` that began at `since`.
    pub(crate) fn is_expired(&self, since: Timestamp, retention: Duration, now: Timestamp) -> bool {
        match self.expires_at {
            Some(expiry) => now >= expiry,
            None => {
                let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
                now.0.saturating_sub(since.0) >= retention_ms
            }
        }
    }
}

impl From<&OffsetCommitValue> for CommittedOffset {
    fn from(value: &OffsetCommitValue) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: value.metadata.clone(),
            committed_at: Timestamp(value.commit_timestamp),
            expires_at: Some(Timestamp(value.expire_timestamp)).filter(|at| at.0 >= 0),
            topic_id: value.topic_id,
            place: 0,
        }
    }
}

impl From<&LegacyOffsetCommitValue> for CommittedOffset {
    fn from(value: &LegacyOffsetCommitValue) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: value.metadata.clone(),
            committed_at: Timestamp(value.commit_timestamp),
            expires_at: None,
            topic_id: Uuid::ZERO,
            place: 0,
        }
    }
}

/// The offsets of one group: by topic, then by partition.
pub(crate) type GroupOffsets = BTreeMap<String, BTreeMap<i32, CommittedOffset>>;

/// All offsets, by group. No group or topic in it is without.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<String, GroupOffsets>,
}

impl Offsets {
    pub(crate) fn put(&mut self, group_id: &str, topic: &str, partition: i32, offset: CommittedOffset) {
        let topics = self.groups.entry(group_id.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().insert(partition, offset);
    }

    pub(crate) fn remove(&mut self, group_id: &str, topic: &str, partition: i32) {
        let Some(topics) = self.groups.get_mut(group_id) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group_id);
        }
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn get(&self, group_id: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group_id)?.get(topic)?.get(&partition)
    }

    /// All of a group's.
    pub(crate) fn of_group(&self, group_id: &str) -> Option<&GroupOffsets> {
        self.groups.get(group_id)
    }

    /// All of a group's, one by one.
    pub(crate) fn iter_group(
        &self,
        group_id: &str,
    ) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> + use<'_> {
        let topics = self.groups.get(group_id).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic.as_str(), *partition, offset))
        })
    }

    /// All there are: group, topic, partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, &CommittedOffset)> {
        self.groups.iter().flat_map(|(group_id, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                let known =
                    move |(&partition, offset)| (group_id.as_str(), topic.as_str(), partition, offset);
                partitions.iter().map(known)
            })
        })
    }

    /// All of a topic's: group and partition.
    pub(crate) fn iter_topic<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a str, i32)> + 'a {
        self.groups.iter().flat_map(move |(group_id, topics)| {
            let partitions = topics.get(topic).into_iter().flat_map(BTreeMap::keys);
            partitions.map(move |partition| (group_id.as_str(), *partition))
        })
    }
}
