//! Batches of the metadata log, replayed into the image.

use crate::{MetadataDelta, MetadataImage};
use bytes::Bytes;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_records::{BatchView, batches};
use ottla_types::{Offset, OffsetAndEpoch};
use thiserror::Error;

/// The most that one batch of metadata may be when decompressed, in bytes.
pub(crate) const BATCH_BYTES_MAX: usize = 64 << 20;

/// The metadata log, or a snapshot of it, holds what cannot be read or cannot follow what came before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("metadata at offset {offset}: {reason}")]
pub struct Unreadable {
    /// The offset of the record, or the batch, in question.
    pub offset: Offset,
    /// What is wrong with it.
    pub reason: String,
}

impl Unreadable {
    pub(crate) fn new(offset: Offset, reason: impl ToString) -> Unreadable {
        Unreadable { offset, reason: reason.to_string() }
    }
}

impl MetadataImage {
    /// Replays whole batches, those that the image has already left out, up to the first that is not wholly
    /// before `until`; moves [`MetadataImage::end`] and notes in `delta` what was touched. What follows the
    /// last whole batch is ignored.
    ///
    /// # Errors
    /// [`Unreadable`] when a batch is corrupt, or a record cannot be decoded or cannot follow what came before.
    /// The image is then somewhere within the batch, and of no further use.
    pub fn replay_batches(
        &mut self,
        bytes: &[u8],
        until: Offset,
        delta: &mut MetadataDelta,
    ) -> Result<(), Unreadable> {
        for batch in batches(bytes) {
            let batch = batch.map_err(|error| Unreadable::new(self.end.offset, error))?;
            let header = *batch.header();
            if header.next_offset() <= self.end.offset {
                continue;
            }
            if header.next_offset() > until {
                break;
            }
            for (offset, record) in records_of(&batch)? {
                self.replay(&record, delta).map_err(|error| Unreadable::new(offset, error))?;
            }
            self.end = OffsetAndEpoch { epoch: header.leader_epoch, offset: header.next_offset() };
            self.end_time = header.max_timestamp;
        }
        Ok(())
    }
}

/// The metadata records of a batch with their offsets; none of a control batch.
///
/// # Errors
/// [`Unreadable`] when the batch is corrupt, or a record cannot be decoded.
pub fn records_of(batch: &BatchView<'_>) -> Result<Vec<(Offset, MetadataRecord)>, Unreadable> {
    let base = batch.header().base_offset;
    batch.check_crc().map_err(|error| Unreadable::new(base, error))?;
    if batch.header().is_control() {
        return Ok(Vec::new());
    }
    let records = batch.records(BATCH_BYTES_MAX).map_err(|error| Unreadable::new(base, error))?;
    let mut decoded = Vec::new();
    for record in records.iter() {
        let record = record.map_err(|error| Unreadable::new(base, error))?;
        let frame = Bytes::copy_from_slice(record.value.unwrap_or_default());
        let value =
            MetadataRecord::decode_frame(frame).map_err(|error| Unreadable::new(record.offset, error))?;
        decoded.push((record.offset, value));
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MetadataVersion, frames};
    use ottla_protocol::records::metadata::{ProducerIdsRecord, RemoveTopicRecord};
    use ottla_records::BatchBuilder;
    use ottla_types::{LeaderEpoch, Timestamp, Uuid};

    fn producer_ids(next: i64) -> MetadataRecord {
        MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 1,
            next_producer_id: next,
        })
    }

    fn batch(base: i64, records: &[MetadataRecord]) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(3));
        for value in frames::encode(records, MetadataVersion::LATEST).unwrap() {
            builder.push(Timestamp(1), None, Some(&value), &[]);
        }
        builder.build()
    }

    #[test]
    fn what_is_known_is_passed_over_and_what_is_not_committed_is_left() {
        let bytes = [
            batch(0, &[producer_ids(10)]),
            batch(1, &[producer_ids(20), producer_ids(30)]),
            batch(3, &[producer_ids(40)]),
        ]
        .concat();
        let mut image = MetadataImage::default();
        let mut delta = MetadataDelta::default();

        image.replay_batches(&bytes, Offset(2), &mut delta).unwrap();
        assert_eq!((image.end.offset, image.next_producer_id), (Offset(1), 10), "half a batch is none");

        image.replay_batches(&bytes, Offset(3), &mut delta).unwrap();
        assert_eq!((image.end.offset, image.next_producer_id), (Offset(3), 30));
        assert_eq!(image.end.epoch, LeaderEpoch(3));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_offset() {
        let removal = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid::from_u128(9) });
        let mut corrupt = batch(5, &[producer_ids(10)]);
        *corrupt.last_mut().unwrap() ^= 1;
        let cases = [(batch(5, &[producer_ids(10), removal]), 6, "RemoveTopicRecord"), (corrupt, 5, "crc")];
        for (bytes, offset, reason) in cases {
            let mut image = MetadataImage::default();

            let error = image.replay_batches(&bytes, Offset::MAX, &mut MetadataDelta::default()).unwrap_err();

            assert_eq!(error.offset, Offset(offset), "{error}");
            assert!(error.reason.to_lowercase().contains(&reason.to_lowercase()), "{error}");
        }
    }
}
