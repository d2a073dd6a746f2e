//! One partition's log on disk, in Kafka's bytes: its tools read what is written here, and the other way round.
//!
//! Synchronous, behind the [`Disk`] trait: the real one, or one in memory that can lose power
//! ([`sim_disk::SimDisk`]). This crate deliberately knows no replica and no high watermark of its own;
//! the owner of a [`Log`] holds the lock around it, tells it the time, and syncs where blocking
//! hurts nobody.
//!
//! Reading order: [`disk`], [`config`], [`mod@log`] with its parts, `segment`, the indexes, [`producer_state`],
//! [`cleaner`], [`checkpoints`], [`log_directory`].
//!
//! ```text
//!  topic-0/
//!    00000000000000000000.log         batches, one after the other
//!    00000000000000000000.index       offset → byte, one entry about every 4 kB
//!    00000000000000000000.timeindex   largest timestamp so far → offset
//!    00000000000000000000.txnindex    aborted transactions; only if there are any
//!    00000000000000000123.log …       the next segment: the active one
//!    00000000000000000123.snapshot    producers as of offset 123
//!    leader-epoch-checkpoint          which epoch starts where
//!    partition.metadata               the topic's id
//! ```

pub mod checkpoints;
pub mod cleaner;
pub mod config;
pub mod disk;
pub mod error;
pub mod log;
pub mod log_directory;
pub mod meta_properties;
pub mod partition_metadata;
pub mod producer_snapshot;
pub mod producer_state;
pub mod sim_disk;
pub mod verification;

mod bug;
mod file_names;
mod index_file;
mod offset_index;
mod scan;
mod segment;
mod time_index;
mod transaction_index;

pub use cleaner::{CleanError, Cleanable, CleanedSegment, CleanerOptions, Cleaning, CleaningReport};
pub use config::{CleanupPolicy, LogConfig};
pub use disk::{DirLock, Disk, DiskFile, DiskSpace, RealDisk};
pub use error::{AppendError, ProducerError, ReadError, StorageError};
pub use log::Log;
pub use log::append::AppendInfo;
pub use log::flush::FlushTarget;
pub use log::read::{AtLeast, FoundByTime, ReadResult};
pub use log::recovery::{Recovery, RecoveryReport};
pub use log_directory::{Incarnation, LogDirectory, PartitionDir};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use producer_state::{ProducerBatch, ProducerState};
pub use segment::DISK_RESERVE_BYTES;
pub use sim_disk::SimDisk;
pub use time_index::TimestampOffset;
pub use transaction_index::AbortedTransaction;
pub use verification::{Terms, VerificationGuard};
