//! Kafka's text checkpoints: a version, a count, then one entry a line (`CheckpointFile`).
//!
//! Offsets per partition of a log directory (`recovery-point-offset-checkpoint`,
//! `replication-offset-checkpoint`, `log-start-offset-checkpoint`, `cleaner-offset-checkpoint`) and, in each log's own directory, the
//! lineage of leader epochs (`leader-epoch-checkpoint`).

use crate::disk::{Disk, read_if_exists};
use crate::error::{IoContext, StorageError};
use ottla_records::{EpochEntry, LeaderEpochs};
use ottla_types::{LeaderEpoch, Offset, TopicPartition};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

/// Up to where each log was synced.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// The high watermark of each replica.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// Where each log starts.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// Up to where each log was compacted.
pub const FIRST_DIRTY: &str = "cleaner-offset-checkpoint";
/// The lineage of one log's leader epochs.
pub const LEADER_EPOCH: &str = "leader-epoch-checkpoint";

const VERSION: &str = "0";

/// Reads one of a directory's checkpoints; empty when it does not exist.
///
/// # Errors
/// What the device says, or that the file is malformed: then it cannot be told which partitions it lacks.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, StorageError> {
    let Some(bytes) = read_if_exists(disk, path).at("read", path)? else { return Ok(BTreeMap::new()) };
    parse(&bytes, offset_entry)
        .map(|entries| entries.into_iter().collect())
        .map_err(|reason| StorageError::invalid(path, reason))
}

/// Replaces one of a directory's checkpoints, durably.
///
/// # Errors
/// What the device says.
pub fn write_offsets(
    disk: &dyn Disk,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), StorageError> {
    let lines = offsets.iter().map(|(at, offset)| format!("{} {} {offset}", at.topic, at.partition));
    disk.write_atomically(path, &format(lines)).at("write", path)
}

/// The text of a lineage.
pub(crate) fn format_epochs(epochs: &LeaderEpochs) -> Vec<u8> {
    format(epochs.entries().iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset)))
}

/// The lineage in a text; `Err` says what is wrong with it.
pub(crate) fn parse_epochs(bytes: &[u8]) -> Result<LeaderEpochs, String> {
    let entries = parse(bytes, |line| {
        let (epoch, start_offset) = line.split_once(' ')?;
        Some(EpochEntry {
            epoch: LeaderEpoch(epoch.parse().ok()?),
            start_offset: Offset(start_offset.parse().ok()?),
        })
    })?;
    LeaderEpochs::from_entries(entries).ok_or_else(|| "the epochs do not increase".to_owned())
}

fn offset_entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split(' ');
    let topic = words.next().filter(|topic| !topic.is_empty())?;
    let (partition, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then(|| (TopicPartition::new(topic, partition), Offset(offset)))
}

fn format(lines: impl Iterator<Item = impl Display>) -> Vec<u8> {
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text.into_bytes()
}

fn parse<T>(bytes: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    // Kafka makes the file when it starts, and writes into it when there is something to write.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    // A file torn within its last number would pass for another one.
    if !text.ends_with('\n') {
        return Err("its last line has no end".to_owned());
    }
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Err(format!("its version is not {VERSION}"));
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("it has no count")?;
    let entries: Vec<T> = lines
        .map(|line| entry(line).ok_or_else(|| format!("`{line}` is not an entry")))
        .collect::<Result<_, _>>()?;
    if entries.len() != count {
        return Err(format!("it has {} entries and claims {count}", entries.len()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;

    #[test]
    fn offsets_are_read_back() {
        let disk = SimDisk::new();
        let path = Path::new("checkpoint");
        assert_eq!(read_offsets(&disk, path).unwrap(), BTreeMap::new());

        let offsets = BTreeMap::from([
            (TopicPartition::new("b", 10), Offset(7)),
            (TopicPartition::new("a", 0), Offset(1 << 40)),
        ]);
        write_offsets(&disk, path, &offsets).unwrap();

        assert_eq!(read_offsets(&disk, path).unwrap(), offsets);
        assert_eq!(disk.read(path).unwrap(), b"0\n2\na 0 1099511627776\nb 10 7\n");
    }

    #[test]
    fn kafkas_lineage_is_read_and_written_back() {
        let kafka = include_bytes!("../tests/golden/topic1-0/leader-epoch-checkpoint");

        let epochs = parse_epochs(kafka).unwrap();

        assert_eq!(epochs.latest(), LeaderEpoch(5));
        assert_eq!(format_epochs(&epochs), kafka);
    }

    #[test]
    fn a_file_that_kafka_has_only_made_holds_nothing() {
        let disk = SimDisk::new();
        let path = Path::new("checkpoint");
        disk.write_atomically(path, b"").unwrap();

        assert_eq!(read_offsets(&disk, path).unwrap(), BTreeMap::new());
        assert_eq!(parse_epochs(b"").unwrap(), LeaderEpochs::default());
    }

    #[test]
    fn a_malformed_checkpoint_is_refused() {
        for text in [
            "1\n0\n",
            "0\n",
            "0\nx\n",
            "0\n2\na 0 1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 1 2\n",
            "0\n1\n\n",
            "0\n1\na 0 1",
        ] {
            assert!(parse(text.as_bytes(), offset_entry).is_err(), "{text:?}");
        }
        assert!(parse_epochs(b"0\n2\n1 5\n1 6\n").is_err());
        assert!(parse_epochs(&[0xff]).is_err());
    }
}
