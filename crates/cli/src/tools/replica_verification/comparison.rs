//! The records of a partition's replicas, batch by batch.

use super::fetch::Answer;
use ottla_records::{BatchView, Batches, CorruptBatch, batches};
use ottla_types::{NodeId, Offset, TopicPartition};
use std::collections::BTreeMap;

/// What came of comparing a partition's replicas.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Where all of them go on.
    pub(super) next: Offset,
    /// The largest of their high watermarks.
    pub(super) high_watermark: Offset,
    /// What is not the same.
    pub(super) differences: Vec<Difference>,
    /// Whether there is more to be compared.
    pub(super) verdict: Verdict,
}

/// Whether there is a common place to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is.
    Together,
    /// The replicas have different offsets, or one cannot be read.
    Parted,
}

/// What one replica has, and another has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Batches that end at different offsets.
    Offset { first: (NodeId, Offset), other: (NodeId, Offset) },
    /// Batches that end at this offset, and have different checksums.
    Checksum { at: Offset, first: (NodeId, u32), other: (NodeId, u32) },
    /// What comes after this offset is no batch.
    Corrupt { at: Offset, node: NodeId, why: CorruptBatch },
}

impl Difference {
    pub(super) fn shown(&self, at: &TopicPartition) -> String {
        match self {
            Difference::Offset { first: (first, offset), other: (other, others) } => format!(
                "partition {at}: replica {first}'s offset {offset} doesn't match replica {other}'s offset {others}"
            ),
            Difference::Checksum { at: offset, first: (first, checksum), other: (other, others) } => format!(
                "partition {at} has unmatched checksum at offset {offset}; replica {first}'s checksum {checksum}; \
                 replica {other}'s checksum {others}"
            ),
            Difference::Corrupt { at: offset, node, why } => {
                format!("Error in processing replica {node} in partition {at} at offset {offset}: {why}")
            }
        }
    }
}

/// A replica that is read.
struct Reader<'a> {
    node: NodeId,
    batches: Batches<'a>,
    high_watermark: Offset,
}

impl<'a> Reader<'a> {
    /// The next batch, if it is known to be committed.
    fn next(&mut self) -> Result<Option<BatchView<'a>>, CorruptBatch> {
        let batch = self.batches.next().transpose()?;
        Ok(batch.filter(|batch| batch.header().last_offset() < self.high_watermark))
    }
}

impl Comparison {
    /// Compares what replicas have answered, from `place` on, until one has no more.
    pub(super) fn of(answers: &BTreeMap<NodeId, Answer>, place: Offset) -> Comparison {
        let mut readers: Vec<Reader<'_>> = answers
            .iter()
            .map(|(&node, answer)| Reader {
                node,
                batches: batches(&answer.records),
                high_watermark: answer.high_watermark,
            })
            .collect();
        let high_watermark = answers.values().map(|answer| answer.high_watermark).max().unwrap_or(Offset(-1));
        let mut comparison =
            Comparison { next: place, high_watermark, differences: Vec::new(), verdict: Verdict::Together };
        while let Some(next) = comparison.step(&mut readers) {
            comparison.next = next;
        }
        comparison
    }

    /// Compares the next batch of each, and tells where they go on; `None` when they do not.
    fn step(&mut self, readers: &mut [Reader<'_>]) -> Option<Offset> {
        let mut first: Option<(NodeId, BatchView<'_>)> = None;
        let mut have_all = true;
        for reader in readers {
            let node = reader.node;
            match (&first, reader.next()) {
                (_, Err(why)) => return self.part(Difference::Corrupt { at: self.next, node, why }),
                (_, Ok(None)) => have_all = false,
                (None, Ok(Some(batch))) => first = Some((node, batch)),
                (Some((first, theirs)), Ok(Some(batch))) => {
                    let (first, theirs, ours) = (*first, theirs.header(), batch.header());
                    if theirs.last_offset() != ours.last_offset() {
                        return self.part(Difference::Offset {
                            first: (first, theirs.last_offset()),
                            other: (node, ours.last_offset()),
                        });
                    }
                    if theirs.crc != ours.crc {
                        self.differences.push(Difference::Checksum {
                            at: ours.last_offset(),
                            first: (first, theirs.crc),
                            other: (node, ours.crc),
                        });
                    }
                }
            }
        }
        first.filter(|_| have_all).map(|(_, batch)| batch.header().next_offset())
    }

    /// There is no place to go on from.
    fn part(&mut self, difference: Difference) -> Option<Offset> {
        self.differences.push(difference);
        self.verdict = Verdict::Parted;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::BatchBuilder;
    use ottla_types::Timestamp;

    /// A batch with so many records, all of this value.
    fn batch(base_offset: i64, count: usize, value: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base_offset));
        for _ in 0..count {
            builder.push(Timestamp(0), None, Some(value.as_bytes()), &[]);
        }
        builder.build()
    }

    fn compare<const N: usize>(answers: [(Vec<Vec<u8>>, i64); N]) -> Comparison {
        let answers = (1..).zip(answers).map(|(node, (batches, high_watermark))| {
            let answer = Answer { records: batches.concat().into(), high_watermark: Offset(high_watermark) };
            (NodeId(node), answer)
        });
        Comparison::of(&answers.collect(), Offset(0))
    }

    #[test]
    fn the_same_batches_are_compared_as_far_as_all_have_them() {
        let (one, two) = (batch(0, 2, "a"), batch(2, 1, "b"));
        let both = vec![one.clone(), two.clone()];

        let comparison = compare([(both.clone(), 3), (both.clone(), 3)]);
        assert_eq!((comparison.next, comparison.high_watermark), (Offset(3), Offset(3)));
        assert!(comparison.differences.is_empty() && comparison.verdict == Verdict::Together);

        // One knows less of what is committed; one has less; one has nothing to say; one batch is cut off.
        assert_eq!(compare([(both.clone(), 3), (both.clone(), 2)]).next, Offset(2));
        assert_eq!(compare([(both.clone(), 3), (vec![one.clone()], 3)]).next, Offset(2));
        assert_eq!(compare([(both.clone(), 3), (vec![], -1)]).next, Offset(0));
        assert_eq!(compare([(both.clone(), 3), (vec![one, two[..20].to_vec()], 3)]).next, Offset(2));
    }

    #[test]
    fn other_checksums_are_told_and_what_follows_is_compared() {
        let at = TopicPartition::new("t", 0);
        let [one, other] = [[batch(0, 2, "a"), batch(2, 1, "b")], [batch(0, 2, "x"), batch(2, 1, "b")]];
        let crcs = [&one, &other].map(|batches| batches_crc(&batches[0]));

        let comparison = compare([(one.to_vec(), 3), (other.to_vec(), 3), (one.to_vec(), 3)]);

        let told: Vec<String> = comparison.differences.iter().map(|found| found.shown(&at)).collect();
        assert_eq!(
            told,
            [format!(
                "partition t-0 has unmatched checksum at offset 1; replica 1's checksum {}; replica 2's checksum {}",
                crcs[0], crcs[1]
            )]
        );
        assert_eq!((comparison.next, comparison.verdict), (Offset(3), Verdict::Together));
    }

    fn batches_crc(bytes: &[u8]) -> u32 {
        batches(bytes).next().expect("a batch").expect("a whole one").header().crc
    }

    #[test]
    fn other_offsets_are_the_end() {
        let at = TopicPartition::new("t", 0);

        let comparison = compare([(vec![batch(0, 2, "a")], 3), (vec![batch(0, 3, "a")], 3)]);

        assert_eq!((comparison.next, comparison.verdict), (Offset(0), Verdict::Parted));
        assert_eq!(
            comparison.differences[0].shown(&at),
            "partition t-0: replica 1's offset 1 doesn't match replica 2's offset 2"
        );
    }

    #[test]
    fn what_is_no_batch_is_the_end() {
        let mut corrupt = batch(2, 1, "b");
        corrupt[16] = 1;

        let comparison = compare([(vec![batch(0, 2, "a"), corrupt], 3), (vec![batch(0, 2, "a")], 3)]);

        assert_eq!((comparison.next, comparison.verdict), (Offset(2), Verdict::Parted));
        let told = comparison.differences[0].shown(&TopicPartition::new("t", 0));
        assert!(told.starts_with("Error in processing replica 1 in partition t-0 at offset 2: "), "{told}");
    }
}
