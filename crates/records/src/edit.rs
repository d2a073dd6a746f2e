//! What a leader changes in a batch that is not its own, in place: nothing is copied.

use crate::batch::{
    ATTRIBUTES, BASE_OFFSET, BatchHeader, BatchView, CRC, CRC_COVERS_FROM, CorruptBatch, LEADER_EPOCH,
    MAX_TIMESTAMP, TimestampType, crc32c,
};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

/// Exactly one batch, writable.
///
/// The offset and the leader epoch are outside the crc, so that the leader may set them for twelve bytes'
/// price; the crc is summed again only when something under it changed.
#[derive(Debug)]
pub struct BatchMut<'a> {
    header: BatchHeader,
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// The batch that `bytes` is. Its crc is not checked.
    ///
    /// # Errors
    /// As [`BatchView::parse_exactly`].
    pub fn parse_exactly(bytes: &'a mut [u8]) -> Result<BatchMut<'a>, CorruptBatch> {
        let header = *BatchView::parse_exactly(bytes)?.header();
        Ok(BatchMut { header, bytes })
    }

    /// The header as it is now.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it is now.
    pub fn view(&self) -> BatchView<'_> {
        BatchView::parse_exactly(self.bytes).expect("edits leave a well-formed batch")
    }

    /// Moves the batch to `base_offset`.
    pub fn set_base_offset(&mut self, base_offset: Offset) {
        self.header.base_offset = base_offset;
        self.bytes[BASE_OFFSET].copy_from_slice(&base_offset.0.to_be_bytes());
    }

    /// Stamps the batch with the epoch of the leader that appends it.
    pub fn set_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.header.leader_epoch = epoch;
        self.bytes[LEADER_EPOCH].copy_from_slice(&epoch.0.to_be_bytes());
    }

    /// Sets whose clock counts, and the largest timestamp. Sums the crc again if that is a change.
    pub fn set_timestamps(&mut self, timestamp_type: TimestampType, max_timestamp: Timestamp) {
        if self.header.timestamp_type() == timestamp_type && self.header.max_timestamp == max_timestamp {
            return;
        }
        self.header.attributes = self.header.attributes.with_timestamp_type(timestamp_type);
        self.header.max_timestamp = max_timestamp;
        self.bytes[ATTRIBUTES].copy_from_slice(&self.header.attributes.0.to_be_bytes());
        self.bytes[MAX_TIMESTAMP].copy_from_slice(&max_timestamp.0.to_be_bytes());
        self.header.crc = crc32c(&self.bytes[CRC_COVERS_FROM..]);
        self.bytes[CRC].copy_from_slice(&self.header.crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchBuilder;

    #[test]
    fn what_is_set_is_read_back_and_the_crc_holds() {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(5), None, Some(b"value"), &[]);
        let mut bytes = builder.build();
        let crc = BatchView::parse(&bytes).unwrap().header().crc;

        let mut batch = BatchMut::parse_exactly(&mut bytes).unwrap();
        batch.set_base_offset(Offset(77));
        batch.set_leader_epoch(LeaderEpoch(3));
        batch.set_timestamps(TimestampType::Create, Timestamp(5));
        assert_eq!(batch.header().crc, crc);

        batch.set_timestamps(TimestampType::LogAppend, Timestamp(9));
        let expected = *batch.header();
        let view = BatchView::parse_exactly(&bytes).unwrap();
        view.check_crc().unwrap();
        assert_eq!(*view.header(), expected);
        assert_ne!(expected.crc, crc);
        let record = view.records(100).unwrap().iter().next().unwrap().unwrap().timestamp;
        assert_eq!((view.header().base_offset, record), (Offset(77), Timestamp(9)));
    }
}
