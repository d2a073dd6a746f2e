//! Metadata records as the values of log records: which version is written at which metadata.version.

use crate::MetadataVersion;
use bytes::Bytes;
use ottla_protocol::EncodeError;
use ottla_protocol::records::metadata::MetadataRecord;

/// The version in which `record` is written at `level`: what every node of that level can read.
pub fn record_version(record: &MetadataRecord, level: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => level.register_broker_record(),
        MetadataRecord::BrokerRegistrationChange(_) => level.broker_registration_change_record(),
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => level.partition_record(),
        _ => 0,
    }
}

/// Encodes records as the values of one atomic batch.
///
/// # Errors
/// When a field is too long for the wire.
pub fn encode(records: &[MetadataRecord], level: MetadataVersion) -> Result<Vec<Bytes>, EncodeError> {
    let encode =
        |record: &MetadataRecord| record.encode_frame(record_version(record, level)).map(Bytes::from);
    records.iter().map(encode).collect()
}
