//! Follows the metadata log as it grows, as an observer of the quorum.

use crate::error::ClientError;
use crate::quorum::{MetadataBytes, Quorum, committed_part, records};
use bytes::{Bytes, BytesMut};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_records::batches;
use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch};

/// How far somebody has followed the metadata log.
#[derive(Clone, Debug)]
pub struct MetadataTail {
    /// The end of what was handed over.
    position: OffsetAndEpoch,
    /// What was fetched after it and is not committed yet. Asked for again it would come at once, again and again.
    waiting: Bytes,
    /// The end of that.
    fetched: OffsetAndEpoch,
    committed: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl MetadataTail {
    /// Who has read everything before `end` goes on there.
    pub fn after(end: OffsetAndEpoch) -> MetadataTail {
        MetadataTail {
            position: end,
            waiting: Bytes::new(),
            fetched: end,
            committed: end.offset,
            leader_epoch: None,
        }
    }

    /// What was fetched and not handed over may never be committed: another leader decides.
    fn forget_waiting(&mut self) {
        self.waiting = Bytes::new();
        self.fetched = self.position;
    }

    /// Adds what was fetched, and takes out what of all that is committed.
    ///
    /// # Errors
    /// When nothing is, and what was fetched has no batch that can be read: asked for again it would come at once,
    /// again and again.
    fn take_committed(&mut self, fetched: &Bytes) -> Result<Bytes, ClientError> {
        let before = self.fetched.offset;
        if !fetched.is_empty() {
            let mut all = BytesMut::from(self.waiting.as_ref());
            all.extend_from_slice(fetched);
            self.waiting = all.freeze();
        }
        // An answer may end within a batch, which is fetched again.
        let mut whole = 0;
        for batch in batches(&self.waiting).map_while(Result::ok) {
            let header = batch.header();
            whole += batch.bytes().len();
            self.fetched = OffsetAndEpoch { offset: header.next_offset(), epoch: header.leader_epoch };
        }
        self.waiting.truncate(whole);
        let committed = committed_part(self.waiting.clone(), self.committed);
        self.waiting = self.waiting.split_off(committed.len());
        if committed.is_empty() && !fetched.is_empty() && self.fetched.offset <= before {
            return Err(ClientError::Incomplete("Fetch"));
        }
        Ok(committed)
    }
}

/// Returns whether the leader's log parts from what was fetched.
fn diverges(partition: &PartitionData) -> bool {
    partition.diverging_epoch.end_offset >= 0
}

impl Quorum {
    /// Waits for more of the log, two seconds at most, and hands over what is committed of it. `each` tells the end
    /// of what it has replayed. Returns whether there was anything.
    ///
    /// # Errors
    /// As [`Quorum::ask`]; when what was fetched cannot be read; and what `each` says. Whoever goes on all the same
    /// had better wait a moment.
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
        let partition = self.fetch(tail.fetched, leader_epoch, Some(tail.committed)).await?;
        let Some(partition) = partition.filter(|partition| !diverges(partition)) else {
            // There was an election.
            tail.leader_epoch = None;
            tail.forget_waiting();
            return Ok(false);
        };
        tail.committed = tail.committed.max(Offset(partition.high_watermark));
        let before = tail.position.offset;
        if partition.snapshot_id.end_offset >= 0 {
            tail.position = each(self.piece(partition, leader_epoch, tail.committed).await?)?;
            tail.forget_waiting();
        } else {
            let committed = tail.take_committed(&records(partition)?)?;
            if !committed.is_empty() {
                // What was not replayed is fetched again.
                tail.position = each(MetadataBytes::Log(committed)).inspect_err(|_| tail.forget_waiting())?;
            }
        }
        Ok(tail.position.offset > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::BatchBuilder;
    use ottla_types::Timestamp;

    fn batch(base: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(3));
        builder.push(Timestamp(0), None, Some(b"a"), &[]);
        builder.build()
    }

    #[test]
    fn what_is_not_committed_is_kept_and_not_fetched_again() {
        let start = OffsetAndEpoch { offset: Offset(5), epoch: LeaderEpoch(2) };
        let end = |offset| OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(3) };
        let mut tail = MetadataTail::after(start);

        let torn = [batch(5), batch(6), batch(7)[..20].to_vec()].concat();
        assert!(tail.take_committed(&torn.into()).unwrap().is_empty());
        assert_eq!(tail.fetched, end(7));

        tail.committed = Offset(6);
        assert_eq!(tail.take_committed(&Bytes::new()).unwrap(), batch(5));
        assert_eq!(tail.fetched, end(7));

        tail.committed = Offset(8);
        assert_eq!(tail.take_committed(&batch(7).into()).unwrap(), [batch(6), batch(7)].concat());
        assert!(tail.waiting.is_empty());
    }

    /// Else it would be fetched again without a pause.
    #[test]
    fn what_cannot_be_read_is_an_error() {
        let start = OffsetAndEpoch { offset: Offset(5), epoch: LeaderEpoch(2) };
        let mut unknown = batch(6);
        unknown[16] = 3;
        for unreadable in [unknown, batch(6)[..20].to_vec()] {
            let mut tail = MetadataTail::after(start);
            tail.take_committed(&batch(5).into()).unwrap();

            tail.committed = Offset(6);
            assert_eq!(
                tail.take_committed(&unreadable.clone().into()).unwrap(),
                batch(5),
                "what is before is told"
            );
            assert!(tail.take_committed(&unreadable.into()).is_err());
            assert!(tail.take_committed(&Bytes::new()).unwrap().is_empty(), "nothing new is no error");
        }
    }

    #[test]
    fn after_an_election_it_goes_on_from_what_was_committed() {
        let start = OffsetAndEpoch { offset: Offset(5), epoch: LeaderEpoch(2) };
        let mut tail = MetadataTail::after(start);
        tail.take_committed(&batch(5).into()).unwrap();

        tail.forget_waiting();

        assert_eq!((tail.fetched, tail.waiting.len()), (start, 0));
    }
}
