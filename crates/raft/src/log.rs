//! The metadata log, as the quorum needs it.

use crate::voters::{ReplicaKey, VoterSet};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, OffsetAndEpoch};
use std::fmt;

/// One node's copy of the metadata log.
///
/// Appending writes; it does not make durable: the machine asks for that with
/// [`Effect::Flush`](crate::Effect::Flush) and counts on nothing that was not confirmed. Every error is
/// fatal for the node: a log that failed to write once is not trusted again.
pub trait ReplicatedLog {
    /// The first offset that is still in the log; what is before it is in a snapshot.
    fn start_offset(&self) -> Offset;

    /// The end of the log, with the epoch of its last record: the latest snapshot's when the log has no
    /// record after it, [`LeaderEpoch::NONE`] when there is neither.
    fn end(&self) -> OffsetAndEpoch;

    /// Returns where `epoch` ends in this log: the largest epoch not later than `epoch` and the offset one
    /// past its last record. Where every record is of a later epoch: `epoch` itself, and the log's start.
    fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch;

    /// The latest snapshot, by the end of what it contains.
    fn latest_snapshot(&self) -> Option<OffsetAndEpoch>;

    /// Appends `records`, encoded, as one atomic batch of `epoch`, and returns the new end. (Leader.)
    ///
    /// # Errors
    /// When the device fails.
    fn append_records(&mut self, epoch: LeaderEpoch, records: &[Bytes], now: Now)
    -> Result<Offset, LogError>;

    /// Appends the control record that opens an epoch, a batch of its own or with the first voters, and returns
    /// the new end. (Leader.)
    ///
    /// # Errors
    /// When the device fails.
    fn append_leader_change(&mut self, change: &LeaderChange, now: Now) -> Result<Offset, LogError>;

    /// Appends the control record that names the voters from now on, a batch of its own, and returns the new end.
    /// (Leader.)
    ///
    /// # Errors
    /// When the device fails.
    fn append_voters(&mut self, epoch: LeaderEpoch, voters: &VoterSet, now: Now) -> Result<Offset, LogError>;

    /// Appends the control records of kraft.version 1 and of its first voters, a batch of their own, and returns the
    /// new end: the second names the voters. (Leader.)
    ///
    /// # Errors
    /// When the device fails.
    fn append_upgrade(&mut self, epoch: LeaderEpoch, voters: &VoterSet, now: Now)
    -> Result<Offset, LogError>;

    /// The voters that the latest snapshot names; without a snapshot, those that this node was formatted with.
    fn snapshot_voters(&self) -> Option<VoterSet>;

    /// Returns the voter sets that are in these encoded batches, each with the offset of its record, and the
    /// offset after the last batch. What does not look like a batch ends the search: it is not appended.
    ///
    /// # Errors
    /// When one cannot be read, or the batches ask for a kraft.version that is not known here; said in words.
    fn voter_sets_in(&self, batches: &Bytes) -> Result<(Vec<(Offset, VoterSet)>, Offset), String>;

    /// Appends batches as the leader of `leader_epoch` sent them, and returns the new end. (Follower.)
    ///
    /// They are a peer's bytes, and must be checked: whole batches with sound checksums whose offsets
    /// continue the log's and whose epochs do not decrease. A batch of an epoch later than `leader_epoch`,
    /// and what follows it, is left out (KAFKA-18723: the leader's file may have been rewritten since it
    /// answered).
    ///
    /// # Errors
    /// When the bytes are not such batches; those before the first bad one may have been appended. When
    /// the device fails.
    fn append_fetched(
        &mut self,
        batches: Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Result<Offset, AppendFetchedError>;

    /// Reads whole batches from the one that contains `from` on: at least one if there is one, no more
    /// than `bytes_max` in all otherwise.
    ///
    /// # Errors
    /// When the device fails.
    fn read(&self, from: Offset, bytes_max: usize) -> Result<Bytes, LogError>;

    /// Removes every batch that reaches beyond `offset`.
    ///
    /// # Errors
    /// When the device fails.
    fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError>;
}

/// The content of the record that opens a leader's epoch (Kafka's `LeaderChangeMessage`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    /// The epoch that begins.
    pub epoch: LeaderEpoch,
    /// Its leader.
    pub leader: NodeId,
    /// All voters.
    pub voters: Vec<ReplicaKey>,
    /// Those who voted for the leader, itself included.
    pub granting_voters: Vec<ReplicaKey>,
    /// The voters that nodes were formatted with, while no record in the log names any: the records of
    /// kraft.version 1 and of the set are appended in the same batch, at the second and third offset.
    pub first_voters: Option<VoterSet>,
}

/// The log's device failed. What happened is for people to read; to the machine every failure is the same.
#[derive(Debug)]
pub struct LogError(Box<dyn std::error::Error + Send + Sync>);

impl LogError {
    /// Wraps the device's error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
        LogError(error.into())
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Why fetched batches were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendFetchedError {
    /// The leader's bytes are not a continuation of this log. Not fatal: they are fetched again.
    #[error("corrupt batches from the leader: {0}")]
    Corrupt(String),
    /// The device failed.
    #[error("the metadata log")]
    Log(#[from] LogError),
}
