//! Why a replica refuses.

use ottla_storage::{AppendError as LogAppendError, ReadError, StorageError};
use ottla_types::{LeaderEpoch, Offset};
use thiserror::Error;

/// Why a batch is not appended. Nothing was written.
#[derive(Debug, Error)]
pub enum AppendError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// `acks=all` asks for more replicas than are in sync.
    #[error("{in_sync} replicas are in sync, {required} are required")]
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: usize,
        /// `min.insync.replicas`.
        required: usize,
    },
    /// An idempotent producer's batch does not follow what the log has, and the one between may be on its way.
    #[error("the batch before it may be on its way")]
    Early,
    /// The log refuses it, or the disk fails.
    #[error(transparent)]
    Log(#[from] LogAppendError),
}

/// Why a fetch, or a question about offsets, is not answered.
#[derive(Debug, Error)]
pub enum FetchError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The asker has an older epoch than this replica: it must learn of the newer leader.
    #[error("leader epoch {asked} is older than {ours}")]
    FencedLeaderEpoch {
        /// The asker's.
        asked: LeaderEpoch,
        /// This replica's.
        ours: LeaderEpoch,
    },
    /// The asker has a newer epoch than this replica, which has yet to learn of it.
    #[error("leader epoch {asked} is newer than {ours}")]
    UnknownLeaderEpoch {
        /// The asker's.
        asked: LeaderEpoch,
        /// This replica's.
        ours: LeaderEpoch,
    },
    /// The fetching broker is not a replica as far as this leader knows.
    #[error("broker is not a replica of this partition")]
    NotReplica,
    /// The offset is not in the log.
    #[error("offset {offset} is outside {start}..={end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log cannot be changed, or its aborted transactions not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why records are not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeader,
    /// The topic is compacted and nothing else: its records go by their keys.
    #[error("cleanup.policy has compact and not delete")]
    Policy,
    /// The offset is none, or beyond what is committed.
    #[error("offset {offset} is not in 0..={high_watermark}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The log cannot be changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
