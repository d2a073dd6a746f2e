//! Control records: what a partition's log says about itself between the data.

use super::control::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use crate::codec::{DecodeError, DecodeErrorKind, Decoder, EncodeError};
use crate::message::{Message, encode_prefixed, encode_to_vec};
use bytes::Bytes;

/// A record of a control batch (`org.apache.kafka.common.record.ControlRecordType`).
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// The end of an aborted transaction. Type 0.
    Abort(EndTxnMarker),
    /// The end of a committed transaction. Type 1.
    Commit(EndTxnMarker),
    /// The start of a leader's epoch in the metadata log. Type 2.
    LeaderChange(LeaderChangeMessage),
    /// The start of a snapshot. Type 3.
    SnapshotHeader(SnapshotHeaderRecord),
    /// The end of a snapshot. Type 4.
    SnapshotFooter(SnapshotFooterRecord),
    /// The level of `kraft.version`. Type 5.
    KRaftVersion(KRaftVersionRecord),
    /// The voters of the metadata quorum (KIP-853). Type 6.
    KRaftVoters(VotersRecord),
}

/// The version of the key. A key of a later version begins in the same way.
const KEY_VERSION: i16 = 0;

impl ControlRecord {
    /// The type's number.
    pub fn id(&self) -> i16 {
        match self {
            ControlRecord::Abort(_) => 0,
            ControlRecord::Commit(_) => 1,
            ControlRecord::LeaderChange(_) => 2,
            ControlRecord::SnapshotHeader(_) => 3,
            ControlRecord::SnapshotFooter(_) => 4,
            ControlRecord::KRaftVersion(_) => 5,
            ControlRecord::KRaftVoters(_) => 6,
        }
    }

    /// Reads a control record. `None` for a type that this crate does not know: Kafka skips those.
    ///
    /// # Errors
    /// When the key or the value is wrong.
    pub fn decode(
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Option<ControlRecord>, DecodeError> {
        let mut key = Decoder::new(key);
        key.i16()?;
        let id = key.i16()?;
        let value = value.into();
        Ok(Some(match id {
            0 => ControlRecord::Abort(decode_value(value)?),
            1 => ControlRecord::Commit(decode_value(value)?),
            2 => ControlRecord::LeaderChange(decode_value(value)?),
            3 => ControlRecord::SnapshotHeader(decode_value(value)?),
            4 => ControlRecord::SnapshotFooter(decode_value(value)?),
            5 => ControlRecord::KRaftVersion(decode_value(value)?),
            6 => ControlRecord::KRaftVoters(decode_value(value)?),
            _ => return Ok(None),
        }))
    }

    /// Writes the key.
    pub fn encode_key(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (KEY_VERSION.to_be_bytes(), self.id().to_be_bytes());
        [a, b, c, d]
    }

    /// Writes the value. Those of the quorum have their version as a field, which decides.
    ///
    /// # Errors
    /// When there is no such version, or a value does not fit it.
    pub fn encode_value(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => encode_prefixed(marker, 0),
            ControlRecord::LeaderChange(record) => encode_to_vec(record, record.version),
            ControlRecord::SnapshotHeader(record) => encode_to_vec(record, record.version),
            ControlRecord::SnapshotFooter(record) => encode_to_vec(record, record.version),
            ControlRecord::KRaftVersion(record) => encode_to_vec(record, record.version),
            ControlRecord::KRaftVoters(record) => encode_to_vec(record, record.version),
        }
    }
}

/// A value whose version comes first: before the struct, or as its first field.
trait Versioned: Message {
    /// Whether the version is the struct's first field.
    const VERSION_IS_FIELD: bool = true;
}

impl Versioned for EndTxnMarker {
    const VERSION_IS_FIELD: bool = false;
}
impl Versioned for LeaderChangeMessage {}
impl Versioned for SnapshotHeaderRecord {}
impl Versioned for SnapshotFooterRecord {}
impl Versioned for KRaftVersionRecord {}
impl Versioned for VotersRecord {}

/// Reads a value. One of a later version than we know is read as the latest that we know, as Kafka does:
/// later versions only add at the end.
fn decode_value<M: Versioned>(value: Bytes) -> Result<M, DecodeError> {
    let mut input = Decoder::new(value);
    let start = input.clone();
    let version = input.i16()?;
    if version < 0 {
        return Err(start.error(DecodeErrorKind::UnsupportedVersion { name: M::NAME, version }));
    }
    if M::VERSION_IS_FIELD {
        input = start;
    }
    let message = M::decode(&mut input, version.min(*M::VERSIONS.end()))?;
    if M::VERSIONS.contains(&version) {
        input.finish()?;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::super::control::leader_change_message::Voter;
    use super::*;

    fn check(record: ControlRecord, key: &[u8], value: &[u8]) {
        assert_eq!(record.encode_key(), key);
        assert_eq!(record.encode_value().unwrap(), value, "{record:?}");
        assert_eq!(ControlRecord::decode(key.to_vec(), value.to_vec()), Ok(Some(record)));
    }

    #[test]
    fn keys_and_values_are_kafkas() {
        let marker = EndTxnMarker { coordinator_epoch: 7 };
        check(ControlRecord::Abort(marker.clone()), b"\0\0\0\0", b"\0\0\0\0\0\x07");
        check(ControlRecord::Commit(marker), b"\0\0\0\x01", b"\0\0\0\0\0\x07");
        let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: 1 };
        check(ControlRecord::SnapshotHeader(header), b"\0\0\0\x03", b"\0\0\0\0\0\0\0\0\0\x01\0");
        let version = KRaftVersionRecord { version: 0, kraft_version: 1 };
        check(ControlRecord::KRaftVersion(version), b"\0\0\0\x05", b"\0\0\0\x01\0");
        let change = LeaderChangeMessage {
            version: 0,
            leader_id: 2,
            voters: vec![Voter { voter_id: 2, ..Voter::default() }],
            granting_voters: Vec::new(),
        };
        check(ControlRecord::LeaderChange(change), b"\0\0\0\x02", b"\0\0\0\0\0\x02\x02\0\0\0\x02\0\x01\0");
    }

    #[test]
    fn a_type_of_the_future_is_nothing() {
        assert_eq!(ControlRecord::decode(b"\0\0\0\x63".to_vec(), Vec::new()), Ok(None));
    }

    #[test]
    fn a_marker_of_a_later_version_still_says_which_coordinator() {
        let marker = ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 7 });

        let later = b"\0\x01\0\0\0\x07more".to_vec();

        assert_eq!(ControlRecord::decode(b"\0\0\0\x01".to_vec(), later), Ok(Some(marker)));
    }
}
