//! The record batch: the same bytes on the wire, in memory and on disk.
//!
//! This crate reads, checks, edits and builds batches of magic 2 (`DefaultRecordBatch`), and keeps the lineage
//! of leader epochs by which two logs find where they diverge. It knows no file, no socket and no clock, and it
//! deliberately does not read the message formats that Kafka 4 no longer writes (magic 0 and 1).
//!
//! Every byte handed in is untrusted: what does not parse is a typed error, never a panic.
//!
//! Reading order: [`batch`] (header and view), [`record`] (what is inside), [`edit`] (what a leader changes in
//! place), [`builder`], [`retain`] (what compaction leaves), [`compression`], [`control`], [`validate`] (what a leader refuses), [`epochs`].
//!
//! ```text
//!  0           8       12      16 17    21     23        27        35        43     51    53     57    61
//!  | base      | length| leader|mg| crc |attri-| last    | base    | max     | prod.| pr. | base | rec.| records
//!  | offset    |       | epoch |  |     |butes | offset Δ| timest. | timest. | id   | ep. | seq. | cnt | …
//!  '-- not in the crc ---------'--'     '-- covered by the crc (CRC-32C) -----------------------------------
//! ```

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod edit;
pub mod epochs;
pub mod record;
pub mod retain;
pub mod validate;

mod snappy;
mod varint;

pub use batch::{
    Attributes, BatchHeader, BatchView, Batches, CorruptBatch, HEADER_BYTES, TimestampType, batches,
};
pub use builder::BatchBuilder;
pub use compression::{Codec, Compression};
pub use control::{ControlType, EndTxnMarker};
pub use edit::BatchMut;
pub use epochs::{EpochEntry, LeaderEpochs, Truncation};
pub use record::{Record, RecordHeader, Records};
pub use validate::{InvalidBatch, Origin, RecordError, Rules, ValidBatch, validate};
