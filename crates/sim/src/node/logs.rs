//! What the replicas hold at the end, as it lies on their disks.

use super::mounts::{FIRST, Mounts, SECOND};
use anyhow::{Context as _, Result, ensure};
use ottla_client::admin::cluster::METADATA_TOPIC;
use ottla_records::batches;
use ottla_storage::{Disk, PartitionDir, partition_metadata};
use ottla_types::{Offset, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A replica's log: its batches by their base offsets, and where it begins and ends.
struct Replica {
    batches: BTreeMap<Offset, Vec<u8>>,
    /// That of the first batch; of the first segment if it is empty.
    begin: Offset,
    end: Offset,
}

/// Compares the replicas of a partition, all of which are in sync. Below the high watermark, where the shortest of them
/// ends, they must be the same, byte for byte (EPOCH-1); and that is not before `seen`, up to where somebody has read (HW-2).
/// Logs may begin anywhere up to `may_begin_at`, and are compared where all have begun. Returns how many batches were
/// compared.
///
/// # Errors
/// What differs, or cannot be read.
pub fn compare<'a>(
    disks: impl Iterator<Item = (&'a str, &'a Mounts)>,
    partition: &TopicPartition,
    may_begin_at: Offset,
    seen: Offset,
) -> Result<usize> {
    let replicas = read_all(disks, partition)?;
    for (node, replica) in &replicas {
        let Replica { begin, end, .. } = replica;
        ensure!(*end >= seen, "HW-2: {partition} on {node} ends at {end}, read to {seen}");
        ensure!(
            *begin <= may_begin_at,
            "HW-2: {partition} on {node} begins at {begin}, deleted to {may_begin_at}"
        );
    }
    let high_watermark = replicas.iter().map(|(_, replica)| replica.end).min().context("no replicas")?;
    differ(&replicas, partition, high_watermark)
}

/// Compares the nodes' metadata logs below `committed`, where all have begun: what is older is in snapshots (RAFT-COMMIT).
/// Returns how many batches were compared.
///
/// # Errors
/// What differs, or cannot be read.
pub fn compare_metadata<'a>(
    disks: impl Iterator<Item = (&'a str, &'a Mounts)>,
    committed: Offset,
) -> Result<usize> {
    let partition = TopicPartition::new(METADATA_TOPIC, 0);
    let replicas = read_all(disks, &partition)?;
    for (node, replica) in &replicas {
        let end = replica.end;
        ensure!(end >= committed, "RAFT-COMMIT: {node} ends at {end}, committed to {committed}");
    }
    differ(&replicas, &partition, committed).context("RAFT-COMMIT")
}

/// Checks that no log was set aside as one that its node was not to have, of a topic that is there, and all of whose replicas
/// have always been on all nodes: what a node holds once, it holds until the topic is deleted (ACK-1: of the replicas that keep a
/// record there is one less). Returns 0: nothing was compared.
///
/// # Errors
/// The first such log, or that the disks cannot be read.
pub fn check_strays<'a>(
    disks: impl Iterator<Item = (&'a str, &'a Mounts)>,
    topics: &BTreeSet<Uuid>,
) -> Result<usize> {
    for (node, disk) in disks {
        // Of two directories one may have what was begun anew in the other while it did not work.
        if disk.list(Path::new(SECOND))?.iter().any(|entry| PartitionDir::parse(&entry.name).is_some()) {
            continue;
        }
        for entry in disk.list(Path::new(FIRST))? {
            if PartitionDir::parse(&entry.name) != Some(PartitionDir::Stray) {
                continue;
            }
            let topic = partition_metadata::read(disk, &Path::new(FIRST).join(&entry.name))?;
            let is_there = topic.is_some_and(|topic| topics.contains(&topic));
            ensure!(!is_there, "ACK-1: {node} set {} aside, and is to have it", entry.name);
        }
    }
    Ok(0)
}

fn read_all<'a>(
    disks: impl Iterator<Item = (&'a str, &'a Mounts)>,
    partition: &TopicPartition,
) -> Result<Vec<(&'a str, Replica)>> {
    disks
        .map(|(node, disk)| {
            Ok((node, read(disk, partition).with_context(|| format!("{partition} on {node}"))?))
        })
        .collect()
}

/// Looks whether replicas differ where all have begun, below an offset. Returns how many batches of one were compared.
fn differ(replicas: &[(&str, Replica)], partition: &TopicPartition, below: Offset) -> Result<usize> {
    let begin = replicas.iter().map(|(_, replica)| replica.begin).max().context("no replicas")?;
    let part = |replica: &Replica| -> Vec<(Offset, Vec<u8>)> {
        let batches = replica.batches.range(begin.min(below)..below);
        batches.map(|(offset, bytes)| (*offset, bytes.clone())).collect()
    };
    let (one, first) = replicas.first().context("no replicas")?;
    let ours = part(first);
    for (other, second) in &replicas[1..] {
        let theirs = part(second);
        if let Some(at) = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at)) {
            let offset = [&ours, &theirs].into_iter().filter_map(|log| Some(log.get(at)?.0)).min();
            anyhow::bail!("EPOCH-1: {partition} differs at {offset:?} on {one} and {other}");
        }
    }
    Ok(ours.len())
}

fn read(disk: &Mounts, partition: &TopicPartition) -> Result<Replica> {
    let dirs = [FIRST, SECOND].map(|dir| Path::new(dir).join(partition.to_string()));
    let mut there = dirs.iter().filter(|dir| disk.list(dir).is_ok());
    let dir = there.next().context("there is no log")?;
    ensure!(there.next().is_none(), "there is a log in each directory");
    let mut names: Vec<String> = disk.list(dir)?.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    let base = names.first().and_then(|name| name.trim_end_matches(".log").parse().ok());
    let begin = Offset(base.context("a segment is named by its first offset")?);
    let mut replica = Replica { batches: BTreeMap::new(), begin, end: begin };
    for name in names {
        let bytes = disk.read(&dir.join(&name))?;
        for batch in batches(&bytes) {
            let batch = batch.with_context(|| name.clone())?;
            replica.end = batch.header().next_offset();
            replica.batches.insert(batch.header().base_offset, batch.bytes().to_vec());
        }
    }
    if let Some((first, _)) = replica.batches.first_key_value() {
        replica.begin = *first;
    }
    Ok(replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::BatchBuilder;
    use ottla_types::{LeaderEpoch, Timestamp};

    /// A disk with a log of one-record batches of these epochs; without those of epoch 0 at its beginning.
    fn disk(epochs: &[i32]) -> Mounts {
        let disk = Mounts::default();
        let dir = Path::new("/data/t-0");
        let begin = epochs.iter().take_while(|&&epoch| epoch == 0).count();
        disk.create_dir_all(dir).unwrap();
        let mut bytes = Vec::new();
        for (offset, &epoch) in epochs.iter().enumerate().skip(begin) {
            let builder = BatchBuilder::new().base_offset(Offset(offset as i64));
            let mut builder = builder.leader_epoch(LeaderEpoch(epoch));
            builder.push(Timestamp(0), None, Some(b"v"), &[]);
            bytes.extend(builder.build());
        }
        let file = disk.create(&dir.join(format!("{begin:020}.log"))).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        disk
    }

    fn verdict(one: &[i32], other: &[i32], seen: i64) -> Result<usize, String> {
        let disks = [("one", disk(one)), ("other", disk(other))];
        let disks = disks.iter().map(|(name, disk)| (*name, disk));
        let compared = compare(disks, &TopicPartition::new("t", 0), Offset(1), Offset(seen));
        compared.map_err(|error| error.to_string())
    }

    #[test]
    fn logs_are_equal_below_the_high_watermark_or_it_is_noticed() {
        assert_eq!(verdict(&[1, 1, 2], &[1, 1, 2], 3), Ok(3));
        assert_eq!(verdict(&[1, 1, 2], &[1, 1], 2), Ok(2), "above it they need not be");
        assert_eq!(verdict(&[1, 1, 2], &[0, 1, 2], 3), Ok(2), "what was deleted may be gone");
        assert!(verdict(&[1, 1, 2], &[0, 0, 2], 3).unwrap_err().starts_with("HW-2"), "nothing else");
        assert!(verdict(&[1, 1, 2], &[1, 2, 2], 3).unwrap_err().starts_with("EPOCH-1"));
        assert!(verdict(&[1, 1, 2], &[1, 1], 3).unwrap_err().starts_with("HW-2"));
    }

    #[test]
    fn a_log_that_was_set_aside_and_should_not_have_been_is_noticed() {
        let (there, deleted) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let disk = disk(&[1]);
        let set_aside = |topic: Uuid, unique: &str| {
            let dir = Path::new(FIRST).join(format!("scratch-0.{unique}-stray"));
            disk.create_dir_all(&dir).unwrap();
            partition_metadata::write(&disk, &dir, topic).unwrap();
        };
        let check = || check_strays([("one", &disk)].into_iter(), &BTreeSet::from([there]));

        set_aside(deleted, "0123456789abcdef0123456789abcdef");
        assert_eq!(check().unwrap(), 0);
        set_aside(there, "1123456789abcdef0123456789abcdef");
        assert!(check().unwrap_err().to_string().starts_with("ACK-1"));
    }
}
