//! Whether what was acknowledged is there, once, in order, and the same everywhere.

use super::history::History;
use crate::cluster::PATIENCE;
use crate::{Cluster, Node, eventually, kcat};
use ottla_types::Offset;
use ottla_verify::{Guarantee, Outcome, Stamp, Violation};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What became of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many the client was told are kept.
    pub acknowledged: usize,
    /// How many the client gave up; they may be there or not.
    pub given_up: usize,
    /// Acknowledged, and not found where the client was told.
    pub lost: usize,
    /// Found more than once.
    pub doubled: usize,
    /// Found after one that was sent later.
    pub reordered: usize,
    /// Never sent, or at offsets that go back.
    pub otherwise_wrong: usize,
}

impl Verdict {
    /// Returns whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        let Verdict { acknowledged: _, given_up: _, lost, doubled, reordered, otherwise_wrong } = self;
        lost + doubled + reordered + otherwise_wrong == 0
    }
}

/// Reads the whole topic, by a client that is not ours, and compares it with what was acknowledged.
pub fn judge(cluster: &Cluster, topic: &str, told: &History) -> Verdict {
    let format = ["-e", "-q", "-o", "beginning", "-f", "%p %o %s\\n"];
    let text = kcat::run(cluster, &[&["-C", "-t", topic], &format[..]].concat(), "");
    compare(told, &found(&text))
}

/// Offsets and sequences by partition, in the order of the log.
fn found(text: &str) -> BTreeMap<i32, Vec<(i64, i64)>> {
    let mut found: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for line in text.lines() {
        let (partition, offset, sequence) =
            parse(line).unwrap_or_else(|| panic!("not a record of ours: {line}"));
        found.entry(partition).or_default().push((offset, sequence));
    }
    found
}

/// A record's partition, offset and sequence; `None` when its value does not name its own partition.
fn parse(line: &str) -> Option<(i32, i64, i64)> {
    let mut words = line.split(' ');
    let partition: i32 = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    let (named, sequence) = words.next()?.split_once(':')?;
    (named.parse() == Ok(partition)).then_some((partition, offset, sequence.parse().ok()?))
}

/// What `ottla-verify` makes of it. A record is named by its partition and its sequence in it.
fn compare(told: &History, found: &BTreeMap<i32, Vec<(i64, i64)>>) -> Verdict {
    let mut history = ottla_verify::History::new(0);
    let producer = history.add_producer(Guarantee::FULL);
    let number = |sequence: i64| u64::try_from(sequence).expect("sequences count from 0");
    let stamp = |partition, sequence| Stamp { run: 0, producer, partition, number: number(sequence) };
    let acks = told.acks.iter().flat_map(|(&partition, acks)| acks.iter().map(move |ack| (partition, ack)));
    let given_up = told.failures.iter().map(|&(partition, sequence, _)| (partition, sequence));
    let named = acks.clone().map(|(partition, ack)| (partition, ack.sequence)).chain(given_up);
    let mut sent: BTreeMap<i32, i64> = BTreeMap::new();
    for (partition, sequence) in named {
        let last = sent.entry(partition).or_insert(sequence);
        *last = (*last).max(sequence);
    }
    for (partition, last) in sent {
        while history.send(producer, partition).number < number(last) {}
    }
    for (partition, ack) in acks {
        history.told(stamp(partition, ack.sequence), Outcome::Acknowledged(Offset(ack.offset)));
    }
    let read = |(&partition, records): (&i32, &Vec<(i64, i64)>)| {
        let records =
            records.iter().map(|&(offset, sequence)| (Offset(offset), Ok(stamp(partition, sequence))));
        (partition, records.collect())
    };
    let judged = ottla_verify::judge(&history, &found.iter().map(read).collect());
    let mut verdict =
        Verdict { acknowledged: history.acknowledged(), given_up: told.failures.len(), ..Verdict::default() };
    for violation in &judged.violations {
        let count = match violation {
            Violation::Lost { .. } | Violation::Moved { .. } => &mut verdict.lost,
            Violation::Doubled { .. } => &mut verdict.doubled,
            Violation::Reordered { .. } => &mut verdict.reordered,
            _ => &mut verdict.otherwise_wrong,
        };
        *count += 1;
    }
    verdict
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

    fn check(records: &[(i64, i64)]) -> Verdict {
        let mut told = History::default();
        for line in ["ack 0 0 1 2 0", "ack 0 1 3 4 1", "ack 0 2 5 6 2", "fail 0 3 7 8 timeout"] {
            told.record(line);
        }
        compare(&told, &BTreeMap::from([(0, records.to_vec())]))
    }

    #[test]
    fn notices_what_is_lost_doubled_or_reordered() {
        let clean = Verdict { acknowledged: 3, given_up: 1, ..Verdict::default() };
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2)]), clean);
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2), (3, 3)]), clean, "what was given up may be there");

        assert_eq!(check(&[(0, 0), (1, 1)]).lost, 1);
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2), (3, 1)]).doubled, 1);
        assert_eq!(check(&[(0, 0), (1, 2), (2, 1)]).reordered, 1);
        assert_eq!(check(&[(0, 0), (1, 2), (2, 1)]).lost, 2, "neither is where the client was told");
        assert_eq!(check(&[(0, 0), (1, 1), (2, 2), (3, 4)]).otherwise_wrong, 1, "nobody sent it");
    }

    #[test]
    fn a_record_in_another_partition_is_no_record_of_ours() {
        assert_eq!(parse("3 17 3:12"), Some((3, 17, 12)));
        assert_eq!(parse("3 17 4:12"), None);
    }
}
