//! Follows the metadata log as it grows, as an observer of the quorum.

use crate::error::ClientError;
use crate::quorum::{MetadataBytes, Quorum};
use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch};

/// How far somebody has followed the metadata log.
#[derive(Clone, Copy, Debug)]
pub struct MetadataTail {
    position: OffsetAndEpoch,
    committed: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl MetadataTail {
    /// Who has read everything before `end` goes on there.
    pub fn after(end: OffsetAndEpoch) -> MetadataTail {
        MetadataTail { position: end, committed: end.offset, leader_epoch: None }
    }
}

impl Quorum {
    /// Waits for more of the log, half a second at most, and hands over what is committed of it. `each` tells the end
    /// of what it has replayed. Returns whether there was anything.
    ///
    /// # Errors
    /// As [`Quorum::ask`].
    pub async fn follow_metadata(
        &mut self,
        tail: &mut MetadataTail,
        each: impl FnOnce(MetadataBytes) -> Result<OffsetAndEpoch, ClientError>,
    ) -> Result<bool, ClientError> {
        let leader_epoch = match tail.leader_epoch {
            Some(epoch) => epoch,
            None => LeaderEpoch(self.describe().await?.partition.leader_epoch),
        };
        tail.leader_epoch = Some(leader_epoch);
        let Some(partition) = self.fetch(tail.position, leader_epoch, Some(tail.committed)).await? else {
            // There was an election.
            tail.leader_epoch = None;
            return Ok(false);
        };
        tail.committed = tail.committed.max(Offset(partition.high_watermark));
        let piece = self.piece(partition, leader_epoch, tail.committed).await?;
        if matches!(&piece, MetadataBytes::Log(batches) if batches.is_empty()) {
            return Ok(false);
        }
        let before = tail.position.offset;
        tail.position = each(piece)?;
        Ok(tail.position.offset > before)
    }
}
