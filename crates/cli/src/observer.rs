//! The cluster as its metadata log describes it: read from the controllers as an observer, once or as it grows.

use ottla_client::quorum::MetadataBytes;
use ottla_client::{ClientError, MetadataTail, Quorum};
use ottla_metadata::{MetadataDelta, MetadataImage, Unreadable, checkpoint};
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, OffsetAndEpoch};

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

    /// Waits for more, two seconds at most. Returns what it changes; nothing is a change too.
    pub(crate) async fn next(&mut self) -> Result<Option<MetadataDelta>, ClientError> {
        let mut delta = MetadataDelta::default();
        let image = &mut self.image;
        let grew =
            self.quorum.follow_metadata(&mut self.tail, |piece| apply(image, piece, &mut delta)).await?;
        Ok(grew.then_some(delta))
    }
}

/// Replays a piece of the log, what the image has already left out; returns where the image ends then.
pub(crate) fn apply(
    image: &mut MetadataImage,
    piece: MetadataBytes,
    delta: &mut MetadataDelta,
) -> Result<OffsetAndEpoch, ClientError> {
    let unreadable =
        |error: Unreadable| ClientError::refused(ErrorCode::InvalidRecord, Some(error.to_string()));
    match piece {
        MetadataBytes::Snapshot { end, batches } => {
            let contents = checkpoint::decode(&batches).map_err(unreadable)?;
            let loaded = contents.image(end).map_err(unreadable)?;
            delta.merge(MetadataDelta::between(image, &loaded));
            *image = loaded;
        }
        // What is not committed is not handed over.
        MetadataBytes::Log(batches) => {
            image.replay_batches(&batches, Offset::MAX, delta).map_err(unreadable)?;
        }
    }
    Ok(image.end)
}
