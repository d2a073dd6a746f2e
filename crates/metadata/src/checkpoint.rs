//! The file form of a snapshot: a header, the records that make the image again, a footer (KIP-630).
//!
//! `bootstrap.checkpoint`, which `format` writes, has it too. Offsets in the file only count its records.

use crate::replay::{Unreadable, records_of};
use crate::{MetadataDelta, MetadataImage, MetadataVersion, frames};
use bytes::Bytes;
use ottla_protocol::records::control::{
    KRaftVersionRecord, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use ottla_protocol::records::metadata::MetadataRecord;
use ottla_protocol::{EncodeError, decode_all, encode_to_vec};
use ottla_records::{BatchBuilder, BatchView, ControlType, batches};
use ottla_types::{LeaderEpoch, Offset, OffsetAndEpoch, Timestamp};

/// A batch of the file is closed when its values have come to this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// What a header or footer takes at most, in bytes. A header names the voters.
const CONTROL_BYTES_MAX: usize = 1 << 16;
/// The kraft.version of a quorum whose log names the voters.
const KRAFT_VERSION: i16 = 1;

/// Encodes `records` as a file. `epoch` is that of the last record contained, `time` when it was appended, `voters`
/// those that the log names (KIP-853), if it does.
///
/// # Errors
/// When a field is too long for the wire.
pub fn encode(
    records: &[MetadataRecord],
    level: MetadataVersion,
    epoch: LeaderEpoch,
    time: Timestamp,
    voters: Option<&VotersRecord>,
) -> Result<Vec<u8>, EncodeError> {
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: time.0 };
    let mut head = vec![(ControlType::SnapshotHeader, encode_to_vec(&header, 0)?)];
    if let Some(voters) = voters {
        let version = KRaftVersionRecord { version: 0, kraft_version: KRAFT_VERSION };
        head.push((ControlType::KRaftVersion, encode_to_vec(&version, 0)?));
        head.push((ControlType::KRaftVoters, encode_to_vec(voters, 0)?));
    }
    let footer = encode_to_vec(&SnapshotFooterRecord { version: 0 }, 0)?;
    let mut file = File { bytes: Vec::new(), next: Offset::ZERO, epoch, time };
    file.push_control(&head);
    let values = frames::encode(records, level)?;
    let mut batch = Vec::new();
    let mut size = 0;
    for value in values {
        size += value.len();
        batch.push(value);
        if size >= BATCH_BYTES {
            file.push_records(&batch);
            batch.clear();
            size = 0;
        }
    }
    if !batch.is_empty() {
        file.push_records(&batch);
    }
    file.push_control(&[(ControlType::SnapshotFooter, footer)]);
    Ok(file.bytes)
}

struct File {
    bytes: Vec<u8>,
    next: Offset,
    epoch: LeaderEpoch,
    time: Timestamp,
}

impl File {
    fn builder(&self) -> BatchBuilder {
        BatchBuilder::new().base_offset(self.next).leader_epoch(self.epoch)
    }

    fn push_control(&mut self, records: &[(ControlType, Vec<u8>)]) {
        let mut builder = self.builder().control();
        for (control_type, value) in records {
            builder.push(self.time, Some(&control_type.key()), Some(value), &[]);
        }
        self.bytes.extend(builder.build());
        self.next += records.len() as i64;
    }

    fn push_records(&mut self, values: &[Bytes]) {
        let mut builder = self.builder();
        for value in values {
            builder.push(self.time, None, Some(value), &[]);
        }
        self.bytes.extend(builder.build());
        self.next += values.len() as i64;
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The records, in order.
    pub records: Vec<MetadataRecord>,
    /// When the last record contained was appended to the log.
    pub time: Timestamp,
    /// The voters, where the log names them.
    pub voters: Option<VotersRecord>,
}

impl Contents {
    /// The image that the records make, which ends where the snapshot does.
    ///
    /// # Errors
    /// [`Unreadable`] when a record cannot follow what came before it.
    pub fn image(&self, end: OffsetAndEpoch) -> Result<MetadataImage, Unreadable> {
        let mut image = MetadataImage::default();
        for record in &self.records {
            image
                .replay(record, &mut MetadataDelta::default())
                .map_err(|error| Unreadable::new(end.offset, error))?;
        }
        (image.end, image.end_time) = (end, self.time);
        Ok(image)
    }
}

/// Reads a file.
///
/// # Errors
/// [`Unreadable`] when the file does not begin with a header or end with a footer, or is corrupt in between.
pub fn decode(bytes: &[u8]) -> Result<Contents, Unreadable> {
    let mut contents = Contents { records: Vec::new(), time: Timestamp::NONE, voters: None };
    let mut next = Offset::ZERO;
    let mut last = None;
    let mut length = 0;
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| Unreadable::new(next, error))?;
        if last == Some(ControlType::SnapshotFooter) {
            return Err(Unreadable::new(next, "there is something after the footer"));
        }
        let control = control_type(&batch)?;
        if (next == Offset::ZERO) != (control == Some(ControlType::SnapshotHeader)) {
            return Err(Unreadable::new(next, "a snapshot begins with a header, and has no other"));
        }
        if next == Offset::ZERO {
            batch.check_crc().map_err(|error| Unreadable::new(next, error))?;
            contents.time = header_time(&batch)?;
        }
        if control.is_some() {
            contents.voters = voters_of(&batch)?.or(contents.voters);
        }
        contents.records.extend(records_of(&batch)?.into_iter().map(|(_, record)| record));
        last = control;
        length += batch.bytes().len();
        next = batch.header().next_offset();
    }
    if last != Some(ControlType::SnapshotFooter) || length != bytes.len() {
        return Err(Unreadable::new(next, "the snapshot does not end with a footer"));
    }
    Ok(contents)
}

/// When the last record was appended that a snapshot contains, from the first [`HEADER_BYTES_MAX`] bytes of its
/// file; `None` when they are not a snapshot's.
pub fn time_of(bytes: &[u8]) -> Option<Timestamp> {
    header_time(&batches(bytes).next()?.ok()?).ok()
}

/// The most that the first batch of a file takes, in bytes.
pub const HEADER_BYTES_MAX: usize = 1 << 16;

/// The voters that a control batch names.
fn voters_of(batch: &BatchView<'_>) -> Result<Option<VotersRecord>, Unreadable> {
    let base = batch.header().base_offset;
    let records = batch.records(CONTROL_BYTES_MAX).map_err(|error| Unreadable::new(base, error))?;
    let mut voters = None;
    for record in records.iter() {
        let record = record.map_err(|error| Unreadable::new(base, error))?;
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        match record.key.and_then(ControlType::from_key) {
            Some(ControlType::KRaftVoters) => {
                voters = Some(decode_all(value, 0).map_err(|error| Unreadable::new(base, error))?);
            }
            Some(ControlType::KRaftVersion) => {
                let version: KRaftVersionRecord =
                    decode_all(value, 0).map_err(|error| Unreadable::new(base, error))?;
                if !(0..=KRAFT_VERSION).contains(&version.kraft_version) {
                    let reason = format!("kraft.version {} is not supported", version.kraft_version);
                    return Err(Unreadable::new(base, reason));
                }
            }
            _ => {}
        }
    }
    Ok(voters)
}

fn header_time(batch: &BatchView<'_>) -> Result<Timestamp, Unreadable> {
    let bad = || Unreadable::new(batch.header().base_offset, "a snapshot begins with a header");
    let records = batch.records(CONTROL_BYTES_MAX).map_err(|_| bad())?;
    let record = records.iter().next().and_then(Result::ok).ok_or_else(bad)?;
    if record.key.and_then(ControlType::from_key) != Some(ControlType::SnapshotHeader) {
        return Err(bad());
    }
    let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
    let header: SnapshotHeaderRecord = decode_all(value, 0).map_err(|_| bad())?;
    Ok(Timestamp(header.last_contained_log_timestamp))
}

fn control_type(batch: &BatchView<'_>) -> Result<Option<ControlType>, Unreadable> {
    let header = batch.header();
    if !header.is_control() {
        return Ok(None);
    }
    let bad = || Unreadable::new(header.base_offset, "a control record without a type");
    let records = batch.records(CONTROL_BYTES_MAX).map_err(|_| bad())?;
    let record = records.iter().next().and_then(Result::ok).ok_or_else(bad)?;
    record.key.and_then(ControlType::from_key).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::TopicRecord;
    use ottla_types::Uuid;

    fn topics(count: u128) -> Vec<MetadataRecord> {
        let topic = |id: u128| TopicRecord { name: format!("topic-{id}"), topic_id: Uuid::from_u128(id) };
        (1..=count).map(|id| MetadataRecord::Topic(topic(id))).collect()
    }

    fn encoded(records: &[MetadataRecord]) -> Vec<u8> {
        encode(records, MetadataVersion::LATEST, LeaderEpoch(4), Timestamp(99), None).unwrap()
    }

    #[test]
    fn voters_are_in_the_header() {
        use ottla_protocol::records::control::voters_record::{Endpoint, Voter};
        let endpoint = Endpoint { name: "CONTROLLER".into(), host: "c1".into(), port: 9093 };
        let voter = |voter_id| Voter {
            voter_id,
            voter_directory_id: Uuid::from_u128(100),
            endpoints: vec![endpoint.clone()],
            ..Voter::default()
        };
        let voters = VotersRecord { version: 0, voters: (1..=100).map(voter).collect() };
        let records = topics(3);
        let level = MetadataVersion::LATEST;

        let bytes = encode(&records, level, LeaderEpoch(4), Timestamp(99), Some(&voters)).unwrap();

        let contents = Contents { records, time: Timestamp(99), voters: Some(voters) };
        assert_eq!(decode(&bytes).unwrap(), contents);
        assert_eq!(time_of(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]), Some(Timestamp(99)));
        assert_eq!(batches(&bytes).count(), 3, "header, records, footer");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for count in [0, 1, 50_000] {
            let records = topics(count);
            let bytes = encoded(&records);

            assert_eq!(decode(&bytes).unwrap(), Contents { records, time: Timestamp(99), voters: None });
            assert_eq!(time_of(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]), Some(Timestamp(99)));

            let counted: i64 =
                batches(&bytes).map(|batch| i64::from(batch.unwrap().header().records_count)).sum();
            assert_eq!(counted, count as i64 + 2, "header and footer");
        }
        assert!(batches(&encoded(&topics(50_000))).count() > 3, "large snapshots have several batches");
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let bytes = encoded(&topics(3));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
        assert!(decode(&[bytes.as_slice(), b"x"].concat()).is_err());
        assert!(decode(&[bytes.clone(), bytes.clone()].concat()).is_err());
    }

    #[test]
    fn a_file_with_a_flipped_bit_is_refused() {
        let bytes = encoded(&topics(1));
        let header = batches(&bytes).next().unwrap().unwrap().bytes().len();
        for at in header + 21..bytes.len() - 90 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(decode(&flipped).is_err(), "byte {at}");
        }
    }
}
