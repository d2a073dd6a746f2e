//! A coordinator is built from its partition's log.

use crate::replicas::Replica;
use bytes::Bytes;
use ottla_coordinator::GroupCoordinator;
use ottla_protocol::records::group::GroupRecord;
use ottla_records::batches;
use thiserror::Error;

/// How much of the log is read at a time.
const READ_BYTES: usize = 1 << 20;

/// The most that a batch may be when decompressed.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// The log holds what cannot be read.
#[derive(Debug, Error)]
#[error("{partition} at offset {offset}: {reason}")]
pub struct LoadError {
    partition: String,
    offset: i64,
    reason: String,
}

/// Replays the whole log of a partition into `coordinator`.
///
/// # Errors
/// When the log cannot be read. Records of kinds that are not known here are skipped, with a warning: they
/// belong to groups of other types.
pub fn load(replica: &Replica, coordinator: &mut GroupCoordinator) -> Result<(), LoadError> {
    let (mut offset, end) = {
        let partition = replica.lock();
        (partition.log().log_start_offset(), partition.log().log_end_offset())
    };
    let failed = |offset: ottla_types::Offset, reason: String| LoadError {
        partition: replica.name.to_string(),
        offset: offset.0,
        reason,
    };
    while offset < end {
        let read = replica.lock().log().read_bytes(offset, end, READ_BYTES);
        let bytes = read.map_err(|error| failed(offset, error.to_string()))?;
        let from = offset;
        for batch in batches(&bytes) {
            let batch = batch.map_err(|error| failed(offset, error.to_string()))?;
            let header = *batch.header();
            if header.next_offset() <= offset {
                continue;
            }
            if !header.is_control() {
                let records =
                    batch.records(BATCH_BYTES_MAX).map_err(|error| failed(offset, error.to_string()))?;
                for record in records.iter() {
                    let record = record.map_err(|error| failed(offset, error.to_string()))?;
                    let Some(key) = record.key else { continue };
                    let value = record.value.map(Bytes::copy_from_slice);
                    match GroupRecord::decode(Bytes::copy_from_slice(key), value) {
                        Ok(decoded) => coordinator.replay(&decoded),
                        Err(error) => {
                            tracing::warn!(partition = %replica.name, offset = record.offset.0, %error, "skipped");
                        }
                    }
                }
            }
            offset = header.next_offset();
        }
        if offset == from {
            return Err(failed(offset, "no batch".to_owned()));
        }
    }
    Ok(())
}
