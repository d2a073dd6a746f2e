//! Replicas' and logs' refusals as error codes.

use ottla_protocol::ErrorCode;
use ottla_records::InvalidBatch;
use ottla_replication::{AppendError, FetchError};
use ottla_storage::{AppendError as LogAppendError, ProducerError, ReadError};

/// The code of a batch that breaks a rule.
pub fn invalid_batch(error: &InvalidBatch) -> ErrorCode {
    match error {
        InvalidBatch::Corrupt(_) => ErrorCode::CorruptMessage,
        InvalidBatch::TooLarge { .. } => ErrorCode::MessageTooLarge,
        InvalidBatch::InvalidTimestamps(_) => ErrorCode::InvalidTimestamp,
        InvalidBatch::InvalidRecord(_) | InvalidBatch::InvalidRecords(_) => ErrorCode::InvalidRecord,
    }
}

/// The code of a batch that is not appended.
pub fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::NotLeader => ErrorCode::NotLeaderOrFollower,
        AppendError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        AppendError::Log(error) => match error {
            LogAppendError::Storage(_) => ErrorCode::KafkaStorageError,
            LogAppendError::Invalid(error) => invalid_batch(error),
            LogAppendError::Producer(error) => match error {
                ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
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
