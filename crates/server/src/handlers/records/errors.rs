//! Replicas' and logs' refusals as error codes.

use ottla_protocol::ErrorCode;
use ottla_records::batch::HEADER_BYTES;
use ottla_records::{CorruptBatch, InvalidBatch};
use ottla_replication::{AppendError, DeleteError, FetchError, Outcome};
use ottla_storage::{AppendError as LogAppendError, ProducerError, ReadError};
use tokio::sync::oneshot::error::RecvError;
use tokio::time::error::Elapsed;

/// The code of a batch that breaks a rule.
pub fn invalid_batch(error: &InvalidBatch) -> ErrorCode {
    match error {
        InvalidBatch::Corrupt(error) => corrupt_batch(error),
        InvalidBatch::TooLarge { .. } => ErrorCode::MessageTooLarge,
        InvalidBatch::InvalidTimestamps(_) => ErrorCode::InvalidTimestamp,
        InvalidBatch::InvalidRecord(_) | InvalidBatch::InvalidRecords(_) => ErrorCode::InvalidRecord,
    }
}

/// The code of a batch that is not one. CORRUPT_MESSAGE says that the bytes changed on their way, and clients send them
/// again; INVALID_RECORD that they were never right, and clients give up. Kafka's broker draws the same line, but for
/// what does not decompress, where it says UNKNOWN_SERVER_ERROR: clients give up too, and do not learn why. By default
/// Kafka has no bound for what records grow to; MESSAGE_TOO_LARGE makes Java's producers split the batch.
fn corrupt_batch(error: &CorruptBatch) -> ErrorCode {
    match error {
        CorruptBatch::Magic(0 | 1)
        | CorruptBatch::Incomplete { .. }
        | CorruptBatch::Offsets { .. }
        | CorruptBatch::RecordsCount(_)
        | CorruptBatch::Compression(_)
        | CorruptBatch::Compressed(_)
        | CorruptBatch::Record { .. }
        | CorruptBatch::TrailingRecordBytes(_) => ErrorCode::InvalidRecord,
        // A second batch, as far as one can tell.
        CorruptBatch::TrailingBytes(bytes) if *bytes >= HEADER_BYTES => ErrorCode::InvalidRecord,
        CorruptBatch::Magic(_)
        | CorruptBatch::TrailingBytes(_)
        | CorruptBatch::Length(_)
        | CorruptBatch::Crc { .. } => ErrorCode::CorruptMessage,
        CorruptBatch::TooLargeDecompressed(_) => ErrorCode::MessageTooLarge,
    }
}

/// The code of a batch that is not appended.
pub fn append(error: &AppendError) -> ErrorCode {
    match error {
        // A producer sends both again, after a moment; OUT_OF_ORDER_SEQUENCE_NUMBER may cost it its epoch.
        AppendError::NotLeader | AppendError::Early => ErrorCode::NotLeaderOrFollower,
        AppendError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        AppendError::Log(error) => match error {
            LogAppendError::Storage(_) => ErrorCode::KafkaStorageError,
            LogAppendError::Invalid(error) => invalid_batch(error),
            LogAppendError::Producer(error) => match error {
                ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerError::InvalidTxnState { .. } | ProducerError::NotVerified { .. } => {
                    ErrorCode::InvalidTxnState
                }
                ProducerError::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            },
            LogAppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            LogAppendError::Corrupt(_) => ErrorCode::CorruptMessage,
            LogAppendError::OffsetsOutOfOrder { .. } | LogAppendError::EpochWentBack { .. } => {
                ErrorCode::UnknownServerError
            }
        },
    }
}

/// What is said when an append was waited for: `heard` is what became of it, unless it took too long. `None` when it has what was
/// asked for.
pub fn awaited(heard: Result<Result<Outcome, RecvError>, Elapsed>) -> Option<ErrorCode> {
    match heard {
        Ok(Ok(Outcome::Committed | Outcome::Written)) => None,
        Ok(Ok(Outcome::NotEnoughReplicas)) => Some(ErrorCode::NotEnoughReplicasAfterAppend),
        // Only deletions hear of deletions.
        Ok(Ok(Outcome::NotLeader | Outcome::Deleted) | Err(_)) => Some(ErrorCode::NotLeaderOrFollower),
        Err(_) => Some(ErrorCode::RequestTimedOut),
    }
}

/// The code of a fetch that is not answered.
pub fn fetch(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::NotLeader => ErrorCode::NotLeaderOrFollower,
        FetchError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        FetchError::UnknownLeaderEpoch { .. } | FetchError::NotReplica => ErrorCode::UnknownLeaderEpoch,
        FetchError::OffsetOutOfRange { .. } | FetchError::Read(ReadError::OffsetOutOfRange { .. }) => {
            ErrorCode::OffsetOutOfRange
        }
        FetchError::Read(ReadError::Storage(_)) | FetchError::Storage(_) => ErrorCode::KafkaStorageError,
    }
}

/// The code of records that are not deleted.
pub fn delete(error: &DeleteError) -> ErrorCode {
    match error {
        DeleteError::NotLeader => ErrorCode::NotLeaderOrFollower,
        DeleteError::Policy => ErrorCode::PolicyViolation,
        DeleteError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        DeleteError::Storage(_) => ErrorCode::KafkaStorageError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::Compression;

    #[test]
    fn clients_send_again_only_what_may_have_changed_on_its_way() {
        let cases = [
            (CorruptBatch::Crc { base_offset: 0, stored: 1, computed: 2 }, ErrorCode::CorruptMessage),
            (CorruptBatch::Length(-1), ErrorCode::CorruptMessage),
            (CorruptBatch::Compression(5), ErrorCode::InvalidRecord),
            (CorruptBatch::Compressed(Compression::Zstd), ErrorCode::InvalidRecord),
            (CorruptBatch::Record { index: 0 }, ErrorCode::InvalidRecord),
            (CorruptBatch::TooLargeDecompressed(1 << 20), ErrorCode::MessageTooLarge),
        ];
        for (corrupt, expected) in cases {
            let code = invalid_batch(&InvalidBatch::Corrupt(corrupt));

            assert_eq!(code, expected, "{corrupt}");
            assert_eq!(code.is_retriable(), expected == ErrorCode::CorruptMessage, "{corrupt}");
        }
    }
}
