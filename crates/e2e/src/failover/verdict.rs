//! Whether what was acknowledged is there, once, in order, and the same everywhere.

use super::history::History;
use crate::cluster::PATIENCE;
use crate::{Cluster, Node, eventually, kcat};
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
}

impl Verdict {
    /// Returns whether nothing was lost, doubled or reordered.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.reordered == 0
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

fn compare(told: &History, found: &BTreeMap<i32, Vec<(i64, i64)>>) -> Verdict {
    let mut verdict = Verdict { given_up: told.failures.len(), ..Verdict::default() };
    for (partition, acks) in &told.acks {
        let records: BTreeMap<i64, i64> = found.get(partition).into_iter().flatten().copied().collect();
        verdict.acknowledged += acks.len();
        verdict.lost += acks.iter().filter(|ack| records.get(&ack.offset) != Some(&ack.sequence)).count();
    }
    for records in found.values() {
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for (_, sequence) in records {
            *times.entry(*sequence).or_default() += 1;
        }
        verdict.doubled += times.values().filter(|&&times| times > 1).count();
        verdict.reordered += records.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
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
        assert_eq!(check(&[(0, 0), (1, 2), (2, 1)]).lost, 2);
    }

    #[test]
    fn a_record_in_another_partition_is_no_record_of_ours() {
        assert_eq!(parse("3 17 3:12"), Some((3, 17, 12)));
        assert_eq!(parse("3 17 4:12"), None);
    }
}
