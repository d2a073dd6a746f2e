//! How long partitions that this broker comes to lead had no leader that spoke.

use ottla_metadata::MetadataImage;
use ottla_types::{Monotonic, NodeId, TopicIdPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// Partitions that nobody leads, and since when their last leader has said nothing.
#[derive(Debug, Default)]
pub struct Takeovers {
    silent_since: BTreeMap<TopicIdPartition, Monotonic>,
}

impl Takeovers {
    /// The image has become another one, in these partitions. Returns the silence of each that `this` broker leads from
    /// `now` on and another one led before: since that was last heard, as `heard_at` says. Of whom nothing was ever heard,
    /// nothing can be said.
    pub fn take(
        &mut self,
        this: NodeId,
        before: &MetadataImage,
        after: &MetadataImage,
        partitions: impl IntoIterator<Item = TopicIdPartition>,
        heard_at: impl Fn(NodeId) -> Option<Monotonic>,
        now: Monotonic,
    ) -> Vec<Duration> {
        let mut silences = Vec::new();
        for at in partitions {
            let leader = |image: &MetadataImage| image.topics.partition(at).and_then(|known| known.leader);
            let (former, leader) = (leader(before), leader(after));
            let waiting = self.silent_since.remove(&at);
            let since = match former {
                Some(former) if former == this => Some(now),
                Some(former) => heard_at(former),
                None => waiting,
            };
            let Some(since) = since else { continue };
            match leader {
                Some(leader) if leader == this && former != Some(this) => silences.push(now - since),
                None if after.topics.partition(at).is_some() => {
                    self.silent_since.insert(at, since);
                }
                _ => {}
            }
        }
        silences
    }

    /// Forgets partitions that are no more.
    pub fn retain(&mut self, image: &MetadataImage) {
        self.silent_since.retain(|&at, _| image.topics.partition(at).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::MetadataDelta;
    use ottla_protocol::records::metadata::{MetadataRecord, PartitionRecord, TopicRecord};
    use ottla_types::Uuid;

    const TOPIC: Uuid = Uuid::from_u128(7);
    const THIS: NodeId = NodeId(1);

    fn led_by(leader: i32) -> MetadataImage {
        let mut image = MetadataImage::default();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: TOPIC };
        let partition = PartitionRecord {
            topic_id: TOPIC,
            partition_id: 0,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2, 3],
            leader,
            ..Default::default()
        };
        let mut delta = MetadataDelta::default();
        image.replay(&MetadataRecord::Topic(topic), &mut delta).unwrap();
        image.replay(&MetadataRecord::Partition(partition), &mut delta).unwrap();
        image
    }

    /// Leaders one after the other, a second apart; broker 2 was last heard at 500 ms, broker 3 never.
    fn silences(leaders: &[i32]) -> Vec<u64> {
        let mut takeovers = Takeovers::default();
        let at = TopicIdPartition::new(TOPIC, 0);
        let heard_at = |broker: NodeId| (broker == NodeId(2)).then_some(Monotonic(500_000));
        let mut found = Vec::new();
        for (second, pair) in (1..).zip(leaders.windows(2)) {
            let (before, after) = (led_by(pair[0]), led_by(pair[1]));
            let now = Monotonic(second * 1_000_000);
            found.extend(takeovers.take(THIS, &before, &after, [at], heard_at, now));
        }
        found.iter().map(|silence| u64::try_from(silence.as_millis()).unwrap()).collect()
    }

    #[test]
    fn a_takeover_is_silent_since_the_former_leader_was_heard() {
        let cases: [(&str, &[i32], &[u64]); 9] = [
            ("from another", &[2, 1], &[500]),
            ("from one never heard", &[3, 1], &[]),
            ("to another", &[2, 3], &[]),
            ("from this one", &[1, 2], &[]),
            ("it stays", &[1, 1], &[]),
            ("nobody between", &[2, -1, 1], &[1500]),
            ("nobody for long", &[2, -1, -1, -1, 1], &[3500]),
            ("nobody between, and this one before", &[1, -1, 1], &[1000]),
            ("nobody between, then another", &[2, -1, 3, 1], &[]),
        ];
        for (name, leaders, expected) in cases {
            assert_eq!(silences(leaders), expected, "{name}");
        }
    }
}
