//! What can go wrong with a log.

use ottla_records::{CorruptBatch, InvalidBatch};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use std::io;
use std::path::{Path, PathBuf};

/// The disk failed, or what it holds is not what was written. The directory's owner takes it offline.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The device refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the device said.
        source: io::Error,
    },
    /// A file does not hold what its name promises, and it cannot be rebuilt from others.
    #[error("{} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room for it. Nothing was written, and the log goes on once there is room.
    #[error("no room for {bytes} bytes in {}, where {usable} are free and {reserve} are kept", path.display())]
    Full {
        /// The log's directory.
        path: PathBuf,
        /// What was to be written.
        bytes: u64,
        /// What the file system has left.
        usable: u64,
        /// What must be left for what a node cannot do without.
        reserve: u64,
    },
    /// An earlier operation on this log failed: what is on disk is not known.
    #[error("{} failed earlier and is closed to changes", path.display())]
    Failed {
        /// The log's directory.
        path: PathBuf,
    },
}

impl StorageError {
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> StorageError {
        StorageError::Invalid { path: path.to_owned(), reason: reason.into() }
    }

    /// The file or directory it happened to.
    pub fn path(&self) -> &Path {
        match self {
            StorageError::Io { path, .. }
            | StorageError::Invalid { path, .. }
            | StorageError::Full { path, .. }
            | StorageError::Failed { path } => path,
        }
    }
}

/// Names what was tried when a device refuses.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io { action, path: path.to_owned(), source })
    }
}

/// Why a producer's batch does not follow from what it sent before (KIP-98). Each variant has one error code
/// of Kafka's, named first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("producer {producer_id} sent sequence {got} after {last}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence number.
        got: i32,
        /// The last one appended, −1 when none.
        last: i32,
    },
    /// `INVALID_PRODUCER_EPOCH`.
    #[error("producer {producer_id} has epoch {current}; a batch came with {got}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        got: ProducerEpoch,
        /// The producer's epoch.
        current: ProducerEpoch,
    },
    /// `INVALID_TXN_STATE`: a batch outside a transaction while one is open.
    #[error("producer {producer_id} has a transaction open and sent a batch outside of it")]
    InvalidTxnState {
        /// The producer.
        producer_id: ProducerId,
    },
    /// `INVALID_TXN_STATE`: the batch would begin a transaction here that its coordinator was not asked about.
    #[error("producer {producer_id} has no transaction open here, and none was verified")]
    NotVerified {
        /// The producer.
        producer_id: ProducerId,
    },
    /// `TRANSACTION_COORDINATOR_FENCED`.
    #[error("a marker of coordinator epoch {got} came after one of {current}")]
    TransactionCoordinatorFenced {
        /// The marker's epoch.
        got: i32,
        /// The latest seen.
        current: i32,
    },
}

/// Why a batch is not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// `KAFKA_STORAGE_ERROR`, and the log directory goes offline.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The batch breaks the topic's rules.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The batch does not follow from its producer's earlier ones.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// `RECORD_LIST_TOO_LARGE`: no segment holds it.
    #[error("the batch has {size} bytes; segment.bytes is {max}")]
    LargerThanSegment {
        /// The batch's size.
        size: usize,
        /// The size of a segment.
        max: u64,
    },
    /// `CORRUPT_MESSAGE`: what a leader sent is not batches.
    #[error("what was fetched is corrupt: {0}")]
    Corrupt(#[from] CorruptBatch),
    /// A leader sent a batch that starts before the log ends (LOG-1).
    #[error("a batch at offset {base_offset} was fetched for a log that ends at {log_end}")]
    OffsetsOutOfOrder {
        /// Where the batch starts.
        base_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// A leader sent a batch of an epoch before the log's latest (EPOCH-1).
    #[error("a batch of leader epoch {epoch} was fetched for a log that has {latest}")]
    EpochWentBack {
        /// The batch's epoch.
        epoch: LeaderEpoch,
        /// The log's.
        latest: LeaderEpoch,
    },
}

/// Why nothing is read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// `KAFKA_STORAGE_ERROR`, and the log directory goes offline.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is not within {log_start} and {log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// Where the log starts.
        log_start: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
}
