//! The file, replayed: a segment of the metadata log, or a snapshot of it (`SnapshotFileReader`).

use crate::tools::Failure;
use crate::tools::dump_log::batches::Batches;
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_storage::{DirLock, Disk, RealDisk};
use ottla_types::Offset;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

/// What a log directory is locked by, by Kafka's nodes and ours.
const LOCK: &str = ".lock";

/// What snapshots end with.
const SNAPSHOT: &str = "checkpoint";

/// The image that the file's records make.
///
/// Like Kafka's tool this takes what the file says as it is: control records are passed over, so that the image ends with the last
/// record of metadata, and a transaction that does not end in the file is left out. Unlike it, this stops at what cannot be read.
pub(super) fn image(file: &str) -> Result<MetadataImage, Failure> {
    let refused = |reason: &dyn Display| Failure::Refused(format!("{file}: {reason}"));
    let path = Path::new(file).canonicalize().map_err(|error| refused(&error))?;
    // Only while the file is read: a node that is started meanwhile finds the directory taken.
    let _held = hold(&path)?;
    let mut batches = Batches::open(file, 0, u64::MAX).map_err(|error| refused(&error))?;
    let mut image = MetadataImage::default();
    let mut begin = None;
    while let Some((position, batch)) = batches.next().map_err(|error| refused(&error))? {
        let at = |error: &dyn Display| refused(&format_args!("the batch at {position}: {error}"));
        let batch = batch.map_err(|error| at(&error))?;
        let begin = *begin.get_or_insert(batch.header().base_offset);
        if batch.header().is_control() {
            continue;
        }
        let replayed = image.replay_batches(batch.bytes(), Offset::MAX, &mut MetadataDelta::default());
        replayed.map_err(|error| match begin {
            Offset::ZERO => at(&error),
            begin => at(&format_args!(
                "{error}; what was before offset {begin}, where the log begins, is in a snapshot"
            )),
        })?;
    }
    if image.end.offset == Offset::ZERO {
        return Err(refused(&"there are no metadata records in it"));
    }
    Ok(image.outside_transaction().clone())
}

/// Keeps nodes from using the log directory that a log lies in, if it is one.
///
/// What the log of a running node ends with may not be committed, and may be taken back: Kafka's tool refuses it, too. A snapshot is
/// committed and does not change, so ours is content with the file.
fn hold(file: &Path) -> Result<Option<Box<dyn DirLock>>, Failure> {
    let Some(directory) = file.parent().and_then(Path::parent) else { return Ok(None) };
    let lock = directory.join(LOCK);
    if file.extension().is_some_and(|extension| extension == SNAPSHOT) || !lock.exists() {
        return Ok(None);
    }
    match RealDisk.lock(&lock) {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Failure::Refused(format!(
            "Unable to lock {}. Please ensure that no broker or controller process is using this directory before \
             proceeding, or read a snapshot or a copy of the log.",
            directory.display()
        ))),
        Err(error) => Err(Failure::Refused(format!("{}: {error}", lock.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::{MetadataVersion, frames};
    use ottla_protocol::records::metadata::{
        BeginTransactionRecord, MetadataRecord, ProducerIdsRecord, RemoveTopicRecord,
    };
    use ottla_records::{BatchBuilder, ControlType};
    use ottla_types::{LeaderEpoch, Timestamp, Uuid};
    use std::fs;

    fn producer_ids(next_producer_id: i64) -> MetadataRecord {
        MetadataRecord::ProducerIds(ProducerIdsRecord { next_producer_id, ..Default::default() })
    }

    fn batch(base: i64, records: &[MetadataRecord]) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(3));
        for value in frames::encode(records, MetadataVersion::LATEST).unwrap() {
            builder.push(Timestamp(1000 + base), None, Some(&value), &[]);
        }
        builder.build()
    }

    fn control(base: i64) -> Vec<u8> {
        let mut builder =
            BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(4)).control();
        builder.push(Timestamp(5000), Some(&ControlType::LeaderChange.key()), Some(&[]), &[]);
        builder.build()
    }

    fn loaded(bytes: &[u8]) -> Result<MetadataImage, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("00000000000000000000.log");
        fs::write(&file, bytes).unwrap();
        image(file.to_str().unwrap()).map_err(message)
    }

    fn message(failure: Failure) -> String {
        let Failure::Refused(message) = failure else { panic!("{failure:?}") };
        message
    }

    #[test]
    fn the_image_ends_with_the_last_record_of_metadata() {
        let whole = [control(0), batch(1, &[producer_ids(10), producer_ids(20)]), control(3)].concat();
        let half = batch(4, &[producer_ids(30)]);

        let image = loaded(&[&whole[..], &half[..half.len() / 2]].concat()).unwrap();

        assert_eq!((image.end.offset, image.end.epoch), (Offset(3), LeaderEpoch(3)));
        assert_eq!((image.end_time, image.next_producer_id), (Timestamp(1001), 20));
    }

    #[test]
    fn what_a_transaction_says_that_has_not_ended_is_left_out() {
        let begin = MetadataRecord::BeginTransaction(BeginTransactionRecord::default());

        let image = loaded(&[batch(0, &[producer_ids(10)]), batch(1, &[begin, producer_ids(20)])].concat());

        let image = image.unwrap();
        assert_eq!((image.end.offset, image.next_producer_id), (Offset(1), 10));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let removal = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid::from_u128(9) });
        let mut corrupt = batch(0, &[producer_ids(10)]);
        *corrupt.last_mut().unwrap() ^= 1;
        let cases = [
            (Vec::new(), "there are no metadata records in it"),
            (control(0), "there are no metadata records in it"),
            (batch(0, std::slice::from_ref(&removal)), "metadata at offset 0: RemoveTopicRecord names topic"),
            (
                batch(7, &[removal]),
                "does not exist; what was before offset 7, where the log begins, is in a snapshot",
            ),
            (corrupt, "the batch at 0: metadata at offset 0"),
        ];
        for (bytes, expected) in cases {
            let error = loaded(&bytes).unwrap_err();
            assert!(error.contains(expected) && error.contains("00000000000000000000.log: "), "{error}");
        }
        assert!(message(image("/no/such/file").unwrap_err()).starts_with("/no/such/file: No such file"));
    }

    #[test]
    fn the_log_of_a_running_node_is_refused_and_its_lock_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("__cluster_metadata-0");
        fs::create_dir(&log).unwrap();
        let file = log.join("00000000000000000000.log");
        fs::write(&file, batch(0, &[producer_ids(10)])).unwrap();
        let file = file.to_str().unwrap();
        let lock = directory.path().join(LOCK);

        image(file).unwrap();
        assert!(!lock.exists(), "where there is no lock none is made");
        let held = RealDisk.lock(&lock).unwrap();
        assert!(message(image(file).unwrap_err()).starts_with("Unable to lock "));
        let snapshot = file.replace(".log", "-0000000001.checkpoint");
        fs::copy(file, &snapshot).unwrap();
        image(&snapshot).unwrap();
        drop(held);
        image(file).unwrap();
        RealDisk.lock(&lock).unwrap();
    }
}
