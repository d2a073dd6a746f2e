//! Whether what was acknowledged is there, once, in order, and the same everywhere: what clients said, put before
//! `ottla-verify`.

use super::history::{GENERATION, GROUP, History};
use super::topology;
use crate::cluster::PATIENCE;
use crate::{Cluster, Node, eventually, kcat};
use ottla_types::Offset;
use ottla_verify::judge::Partition;
use ottla_verify::{CommitViolation, Guarantee, Outcome, Stamp, Violation};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The run that drivers put into their stamps.
const RUN: u64 = 1;

/// What became of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many clients were told are kept.
    pub acknowledged: usize,
    /// How many clients gave up; they may be there or not.
    pub given_up: usize,
    /// Acknowledged, and there.
    pub kept: usize,
    /// What may not be.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Returns whether nothing was lost, doubled, reordered, changed or invented.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.kept == self.acknowledged
    }

    /// Acknowledged, and not found where the client was told.
    pub fn lost(&self) -> usize {
        self.acknowledged - self.kept
    }
}

/// Reads the whole topic, by a client that is not ours, and compares it with what `producers` were told, each with the
/// number that is its place in the list, and with what `consumers` were given.
pub fn judge(cluster: &Cluster, topic: &str, producers: &[&History], consumers: &[&History]) -> Verdict {
    compare(producers, consumers, &read_topic(cluster, topic))
}

/// Reads a whole topic by a client that is not ours.
pub fn read_topic(cluster: &Cluster, topic: &str) -> BTreeMap<i32, Partition> {
    let format = ["-e", "-q", "-o", "beginning", "-f", "%p %o %s\\n"];
    found(&kcat::run(cluster, &[&["-C", "-t", topic], &format[..]].concat(), ""))
}

/// What is in each partition, in the order of the log.
fn found(text: &str) -> BTreeMap<i32, Partition> {
    let mut found: BTreeMap<i32, Partition> = BTreeMap::new();
    for line in text.lines() {
        let (partition, offset, value) =
            parse(line).unwrap_or_else(|| panic!("not as kcat was told to print it: {line}"));
        found.entry(partition).or_default().push((Offset(offset), Stamp::read(value.as_bytes())));
    }
    found
}

fn parse(line: &str) -> Option<(i32, i64, &str)> {
    let mut words = line.splitn(3, ' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?))
}

fn compare(producers: &[&History], consumers: &[&History], found: &BTreeMap<i32, Partition>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut history = ottla_verify::History::new(RUN);
    for told in producers {
        let producer = history.add_producer(Guarantee::FULL);
        verdict.given_up += told.failures.len();
        for (&partition, &count) in &sent(told) {
            (0..count).for_each(|_| {
                history.send(producer, partition);
            });
        }
        for (&partition, acks) in &told.acks {
            verdict.acknowledged += acks.len();
            for ack in acks {
                let number = u64::try_from(ack.sequence).expect("drivers count from 0");
                let stamp = Stamp { run: RUN, producer, partition, number };
                history.told(stamp, Outcome::Acknowledged(Offset(ack.offset)));
            }
        }
    }
    for (&partition, reads) in consumers.iter().flat_map(|told| &told.reads) {
        for read in reads {
            match read.stamp {
                Ok(stamp) => history.saw(partition, read.offset, stamp),
                Err(_) => verdict.violations.push(Violation::Changed { partition, offset: read.offset }),
            }
        }
    }
    let judged = ottla_verify::judge(&history, found);
    verdict.kept = judged.kept;
    verdict.violations.extend(judged.violations);
    verdict
}

/// How many records a producer has sent to each partition: of all that it sent it has said in the end what became.
fn sent(told: &History) -> BTreeMap<i32, i64> {
    let acked =
        told.acks.iter().flat_map(|(&partition, acks)| acks.iter().map(move |ack| (partition, ack.sequence)));
    let failed = told.failures.iter().map(|&(partition, sequence, _)| (partition, sequence));
    let mut sent = BTreeMap::new();
    for (partition, sequence) in acked.chain(failed) {
        let count = sent.entry(partition).or_insert(0);
        *count = (sequence + 1).max(*count);
    }
    sent
}

/// Compares what is committed in the cluster with what the members of a group were told, and tried since.
///
/// # Panics
/// When they were told nothing: that would prove nothing.
pub fn judge_commits(
    cluster: &Cluster,
    group: &str,
    told: &mut History,
    partitions: i32,
) -> Vec<CommitViolation> {
    assert!(
        (0..partitions).any(|partition| told.committed(partition).is_some()),
        "the group has committed nothing"
    );
    let committed = topology::committed(cluster, group);
    for partition in 0..partitions {
        let offset = committed.get(&partition).map(|&offset| Offset(offset));
        told.offsets.told(GROUP, partition, GENERATION, offset);
    }
    told.offsets.violations().to_vec()
}

/// Waits until the logs of a topic are the same, byte for byte, on every node.
///
/// # Panics
/// When they do not become so.
pub fn wait_for_equal_logs(cluster: &Cluster, topic: &str, partitions: usize) {
    for partition in 0..partitions {
        let name = format!("{topic}-{partition}");
        eventually(&format!("the logs of {name} are equal"), PATIENCE, || {
            let mut logs = cluster.nodes().iter().map(|node| log_bytes(node, &name));
            let first = logs.next().expect("a cluster has nodes");
            logs.all(|log| log == first).then_some(())
        });
    }
}

/// All segments, one after the other: they may be cut differently.
fn log_bytes(node: &Node, name: &str) -> Vec<u8> {
    let mut segments: Vec<PathBuf> = fs::read_dir(node.data().join(name))
        .expect("every node has every partition")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments.iter().flat_map(|path: &PathBuf| read(path)).collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of partition 0: offset, sequence.
    fn check(records: &[(i64, u64)]) -> Verdict {
        let mut told = History::default();
        for line in ["ack 0 0 1 2 0", "ack 0 1 3 4 1", "ack 0 2 5 6 2", "fail 0 3 7 8 timeout"] {
            told.record(line);
        }
        let lines = records.iter().map(|&(offset, number)| {
            let stamp = Stamp { run: RUN, producer: 0, partition: 0, number };
            format!("0 {offset} {}\n", String::from_utf8(stamp.value(0)).unwrap())
        });
        compare(&[&told], &[], &found(&lines.collect::<String>()))
    }

    #[test]
    fn notices_what_is_lost_doubled_or_reordered() {
        let clean = Verdict { acknowledged: 3, given_up: 1, kept: 3, violations: Vec::new() };
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2)]), clean);
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2), (3, 3)]), clean, "what was given up may be there");
        assert!(clean.is_clean());

        assert_eq!(check(&[(0, 0), (1, 1)]).lost(), 1);
        assert!(!check(&[(0, 0), (1, 1)]).is_clean());
        assert!(matches!(
            check(&[(0, 0), (1, 1), (2, 2), (3, 1)]).violations[..],
            [Violation::Doubled { .. }]
        ));
        assert!(matches!(check(&[(0, 0), (1, 2), (2, 1)]).violations[0], Violation::Reordered { .. }));
        assert_eq!(check(&[(0, 0), (1, 2), (2, 1)]).lost(), 2);
    }

    #[test]
    fn a_record_that_was_never_sent_is_noticed() {
        assert!(matches!(
            check(&[(0, 0), (1, 1), (2, 2), (3, 4)]).violations[..],
            [Violation::Invented { .. }]
        ));
    }

    #[test]
    fn what_a_consumer_was_given_must_stay() {
        let mut told = History::default();
        told.record("ack 0 0 1 2 0");
        let stamp = Stamp { run: RUN, producer: 0, partition: 0, number: 0 };
        let value = String::from_utf8(stamp.value(0)).unwrap();
        let mut reader = History::default();
        reader.record(&format!("read 0 1 5 {value}"));

        let verdict = compare(&[&told], &[&reader], &found(&format!("0 0 {value}\n")));

        assert!(matches!(verdict.violations[..], [Violation::Vanished { .. }]), "{verdict:?}");
    }
}
