//! Which partition a record goes to (`BuiltInPartitioner`).

use crate::metadata::Topic;
use std::collections::BTreeMap;

/// Topics whose current partition is remembered, at most; then all are forgotten, which costs nothing but
/// fuller batches.
const TOPICS_MAX: usize = 10_000;

/// Chooses partitions: by the key, or for records without one the same for a whole batch (KIP-794).
#[derive(Debug)]
pub struct Partitioner {
    stay_bytes: usize,
    current: BTreeMap<String, (i32, usize)>,
}

impl Partitioner {
    /// Moves on to another partition after `stay_bytes` of records without a key.
    pub fn new(stay_bytes: usize) -> Partitioner {
        Partitioner { stay_bytes: stay_bytes.max(1), current: BTreeMap::new() }
    }

    /// The partition of a record of `bytes`. `chance` is any number.
    ///
    /// # Panics
    /// When the topic has no partitions.
    pub fn partition(&mut self, topic: &Topic, key: Option<&[u8]>, bytes: usize, chance: u64) -> i32 {
        assert!(!topic.partitions.is_empty(), "a topic has a partition");
        if let Some(key) = key {
            return partition_of_key(key, topic.partitions.len());
        }
        if let Some((partition, so_far)) = self.current.get_mut(&topic.name)
            && *so_far < self.stay_bytes
            && topic.partitions.contains_key(partition)
        {
            *so_far += bytes;
            return *partition;
        }
        // One that has a leader, if there is any: others would only wait.
        let led: Vec<i32> =
            topic.partitions.iter().filter(|(_, p)| p.leader.is_some()).map(|(&index, _)| index).collect();
        let all: Vec<i32> = topic.partitions.keys().copied().collect();
        let choice = if led.is_empty() { all } else { led };
        let partition = choice[(chance % choice.len() as u64) as usize];
        if self.current.len() >= TOPICS_MAX {
            self.current.clear();
        }
        self.current.insert(topic.name.clone(), (partition, bytes));
        partition
    }
}

/// The partition that every Kafka client chooses for this key.
pub fn partition_of_key(key: &[u8], partitions: usize) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) as usize % partitions) as i32
}

/// Murmur 2 with 32 bits, as Kafka seeds it (`Utils.murmur2`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes(chunk.try_into().expect("chunks have four bytes")).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Partition;
    use ottla_types::{LeaderEpoch, NodeId, Uuid};

    #[test]
    fn the_hash_is_kafkas() {
        // From Kafka's own test of Utils.murmur2.
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (text, expected) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    fn topic(leaders: &[Option<i32>]) -> Topic {
        let partition = |leader: &Option<i32>| Partition {
            leader: leader.map(NodeId),
            leader_epoch: LeaderEpoch(0),
            replicas: Vec::new(),
            isr: Vec::new(),
        };
        Topic {
            name: "t".into(),
            id: Uuid::ZERO,
            is_internal: false,
            partitions: (0..).zip(leaders.iter().map(partition)).collect(),
        }
    }

    #[test]
    fn records_without_a_key_stay_together_until_a_batch_is_full() {
        let (mut partitioner, topic) = (Partitioner::new(100), topic(&[Some(1), Some(1), Some(1)]));

        let first = partitioner.partition(&topic, None, 60, 1);
        assert_eq!(partitioner.partition(&topic, None, 60, 2), first);
        assert_eq!(partitioner.partition(&topic, None, 60, 2), 2);
    }

    #[test]
    fn a_partition_without_leader_is_not_chosen() {
        let (mut partitioner, topic) = (Partitioner::new(1), topic(&[None, Some(1), None]));

        for chance in 0..10 {
            assert_eq!(partitioner.partition(&topic, None, 1, chance), 1);
        }
    }
}
