//! Control records: markers that end a transaction, and the quorum's own.
//!
//! The key says which; the values of the quorum's (leader change, snapshots, voters) belong to the crate that
//! speaks the quorum's protocol and are bytes here.

use crate::batch::{BatchView, NO_SEQUENCE};
use crate::builder::BatchBuilder;
use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId, Timestamp};

/// What a control record is (`ControlRecordType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction is aborted.
    Abort,
    /// The transaction is committed.
    Commit,
    /// The quorum has a new leader (KIP-595).
    LeaderChange,
    /// The first record of a metadata snapshot (KIP-630).
    SnapshotHeader,
    /// The last record of a metadata snapshot.
    SnapshotFooter,
    /// The quorum's finalized version (KIP-853).
    KRaftVersion,
    /// The quorum's voters (KIP-853).
    KRaftVoters,
    /// One that this version does not know, to be ignored.
    Unknown(i16),
}

impl ControlType {
    /// The number in the key.
    pub fn id(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::LeaderChange => 2,
            ControlType::SnapshotHeader => 3,
            ControlType::SnapshotFooter => 4,
            ControlType::KRaftVersion => 5,
            ControlType::KRaftVoters => 6,
            ControlType::Unknown(id) => id,
        }
    }

    /// The type with this number.
    pub fn from_id(id: i16) -> ControlType {
        match id {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KRaftVersion,
            6 => ControlType::KRaftVoters,
            id => ControlType::Unknown(id),
        }
    }

    /// The key of a control record: version 0, then the type.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.id().to_be_bytes();
        [0, 0, high, low]
    }

    /// The type in a control record's key, of any version; `None` when the key is too short.
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        let (_version, rest) = key.split_first_chunk::<2>()?;
        Some(ControlType::from_id(i16::from_be_bytes(*rest.first_chunk()?)))
    }
}

/// The marker that ends a producer's transaction in one partition (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether the transaction is committed; otherwise it is aborted.
    pub committed: bool,
    /// The epoch of the transaction coordinator: a later one fences an earlier one.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in a control batch; `None` when the batch is no control batch or holds something else.
    ///
    /// The version of the value is not looked at: later ones only add to it.
    pub fn of(batch: &BatchView<'_>) -> Option<EndTxnMarker> {
        const MARKER_BYTES_MAX: usize = 1024;
        if !batch.header().is_control() {
            return None;
        }
        let records = batch.records(MARKER_BYTES_MAX).ok()?;
        let record = records.iter().next()?.ok()?;
        let committed = match ControlType::from_key(record.key?)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            _ => return None,
        };
        let (_version, rest) = record.value?.split_first_chunk::<2>()?;
        Some(EndTxnMarker { committed, coordinator_epoch: i32::from_be_bytes(*rest.first_chunk()?) })
    }

    /// The batch that carries the marker, to be appended by the partition's leader.
    pub fn batch(self, id: ProducerId, epoch: ProducerEpoch, now: Timestamp, leader: LeaderEpoch) -> Vec<u8> {
        let key = if self.committed { ControlType::Commit } else { ControlType::Abort }.key();
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        let mut builder = BatchBuilder::new()
            .leader_epoch(leader)
            .producer(id, epoch, NO_SEQUENCE)
            .transactional()
            .control();
        builder.push(now, Some(&key), Some(&[0, 0, a, b, c, d]), &[]);
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back() {
        for committed in [false, true] {
            let marker = EndTxnMarker { committed, coordinator_epoch: 7 };
            let bytes = marker.batch(ProducerId(1), ProducerEpoch(2), Timestamp(3), LeaderEpoch(4));

            assert_eq!(bytes.len(), 78, "the size of Kafka's");
            assert_eq!(EndTxnMarker::of(&BatchView::parse_exactly(&bytes).unwrap()), Some(marker));
        }
    }

    #[test]
    fn another_batch_is_no_marker() {
        let cases: [(&[u8], &[u8]); 4] = [
            (&[0, 0, 0, 1], &[0, 0, 0]),
            (&[0, 0, 0, 2], &[0; 6]),
            (&[0], &[0; 6]),
            (&[0, 0, 0, 9], &[0; 6]),
        ];
        for (key, value) in cases {
            let mut builder = BatchBuilder::new().control();
            builder.push(Timestamp(3), Some(key), Some(value), &[]);
            assert_eq!(EndTxnMarker::of(&BatchView::parse(&builder.build()).unwrap()), None);
        }
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(3), Some(&ControlType::Commit.key()), Some(&[0; 6]), &[]);
        assert_eq!(EndTxnMarker::of(&BatchView::parse(&builder.build()).unwrap()), None);
    }

    #[test]
    fn types_have_their_numbers() {
        for id in -1..9 {
            assert_eq!(ControlType::from_id(id).id(), id);
            assert_eq!(
                ControlType::from_key(&ControlType::from_id(id).key()),
                Some(ControlType::from_id(id))
            );
        }
    }
}
