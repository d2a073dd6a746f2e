//! The cluster as its metadata log describes it: read from the controllers as an observer, once or as it grows.

use ottla_client::quorum::MetadataBytes;
use ottla_client::{ClientError, MetadataTail, Quorum};
use ottla_metadata::{MetadataDelta, MetadataImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_records::batches;
use ottla_types::{OffsetAndEpoch, TopicPartition};

/// A batch of metadata that is larger when decompressed is not read.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// What the metadata log says, as far as it is committed.
pub(crate) async fn read_image(quorum: &mut Quorum) -> Result<MetadataImage, ClientError> {
    let mut image = MetadataImage::default();
    quorum.read_metadata(|piece| apply(&mut image, piece, &mut MetadataDelta::default())).await?;
    Ok(image)
}

/// An image that follows the log.
pub(crate) struct Observer {
    quorum: Quorum,
    tail: MetadataTail,
    /// The cluster as it is known.
    pub(crate) image: MetadataImage,
}

impl Observer {
    /// Reads the log up to its end.
    pub(crate) async fn start(mut quorum: Quorum) -> Result<Observer, ClientError> {
        let image = read_image(&mut quorum).await?;
        Ok(Observer { quorum, tail: MetadataTail::after(image.end), image })
    }

    /// Waits for more, half a second at most. Returns what it changes; nothing is a change too.
    pub(crate) async fn next(&mut self) -> Result<Option<MetadataDelta>, ClientError> {
        let mut delta = MetadataDelta::default();
        let image = &mut self.image;
        let grew =
            self.quorum.follow_metadata(&mut self.tail, |piece| apply(image, piece, &mut delta)).await?;
        Ok(grew.then_some(delta))
    }
}

/// Replays a piece of the log; returns where the image ends then.
fn apply(
    image: &mut MetadataImage,
    piece: MetadataBytes,
    delta: &mut MetadataDelta,
) -> Result<OffsetAndEpoch, ClientError> {
    match piece {
        MetadataBytes::Snapshot { end, batches } => {
            *image = MetadataImage::default();
            replay(image, &batches, delta)?;
            image.end = end;
        }
        MetadataBytes::Log(batches) => replay(image, &batches, delta)?,
    }
    Ok(image.end)
}

/// Replays batches into the image; those that it has already are passed over.
fn replay(image: &mut MetadataImage, bytes: &[u8], delta: &mut MetadataDelta) -> Result<(), ClientError> {
    let partition = || TopicPartition::new("__cluster_metadata", 0);
    let corrupt = |source| ClientError::Corrupt { partition: partition(), source };
    for batch in batches(bytes) {
        let batch = batch.map_err(corrupt)?;
        batch.check_crc().map_err(corrupt)?;
        let header = *batch.header();
        if header.next_offset() <= image.end.offset {
            continue;
        }
        if !header.is_control() {
            for record in batch.records(BATCH_BYTES_MAX).map_err(corrupt)?.iter() {
                let value = record.map_err(corrupt)?.value.unwrap_or_default();
                let refused = |error: &dyn std::fmt::Display| {
                    ClientError::refused(ErrorCode::InvalidRecord, Some(format!("metadata: {error}")))
                };
                let value = bytes::Bytes::copy_from_slice(value);
                let record = MetadataRecord::decode_frame(value).map_err(|error| refused(&error))?;
                image.replay(&record, delta).map_err(|error| refused(&error))?;
            }
        }
        image.end = OffsetAndEpoch { offset: header.next_offset(), epoch: header.leader_epoch };
    }
    Ok(())
}
