//! The records that Kafka's nodes write for themselves, one family per internal topic.
//!
//! Each family has an enum of its records: [`metadata::MetadataRecord`] and
//! [`remote_log::RemoteLogRecord`] in KRaft's frame, [`group::GroupRecord`],
//! [`transaction::TransactionRecord`] and [`share::ShareRecord`] as keys and values. [`control`] holds the
//! values of control records.

pub use crate::generated::records::{control, group, metadata, remote_log, share, transaction};
pub use control_record::ControlRecord;

pub mod control_record;
pub mod frame;
