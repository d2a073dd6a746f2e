//! The metadata log as the quorum needs it, on the same storage as every other log.

use bytes::Bytes;
use ottla_protocol::encode_to_vec;
use ottla_protocol::records::control::leader_change_message::{LeaderChangeMessage, Voter};
use ottla_raft::{AppendFetchedError, LeaderChange, LogError, ReplicaKey, ReplicatedLog};
use ottla_records::{BatchBuilder, ControlType, Origin};
use ottla_storage::{AppendError, AtLeast, Log};
use ottla_types::{LeaderEpoch, Now, Offset, OffsetAndEpoch, Timestamp};

/// `__cluster_metadata-0`.
#[derive(Debug)]
pub struct QuorumLog {
    log: Log,
    snapshot: Option<OffsetAndEpoch>,
}

/// The version of `LeaderChangeMessage` of a quorum without directory ids.
const LEADER_CHANGE_VERSION: i16 = 0;

impl QuorumLog {
    /// The quorum's view of `log`, whose latest snapshot is `snapshot`.
    pub fn new(log: Log, snapshot: Option<OffsetAndEpoch>) -> QuorumLog {
        QuorumLog { log, snapshot }
    }

    /// The log underneath.
    pub fn storage(&self) -> &Log {
        &self.log
    }

    /// The log underneath, for flushing.
    pub fn storage_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// A snapshot was written that contains everything before `snapshot`.
    pub fn set_latest_snapshot(&mut self, snapshot: OffsetAndEpoch) {
        self.snapshot = Some(snapshot);
    }

    fn append(&mut self, batch: &mut [u8], epoch: LeaderEpoch, now: Now) -> Result<Offset, LogError> {
        let info =
            self.log.append_as_leader(batch, epoch, Origin::Coordinator, now).map_err(LogError::new)?;
        Ok(info.next_offset())
    }
}

impl ReplicatedLog for QuorumLog {
    fn start_offset(&self) -> Offset {
        self.log.log_start_offset()
    }

    fn end(&self) -> OffsetAndEpoch {
        let mut end = OffsetAndEpoch { epoch: self.log.latest_epoch(), offset: self.log.log_end_offset() };
        if let Some(snapshot) = self.snapshot.filter(|snapshot| snapshot.offset >= end.offset) {
            end.epoch = end.epoch.max(snapshot.epoch);
        }
        end
    }

    fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let epochs = self.log.epochs();
        let asked = epoch.min(epochs.latest());
        if !asked.is_some() {
            return OffsetAndEpoch { epoch, offset: self.log.log_start_offset() };
        }
        epochs.end_offset_for(asked, self.log.log_end_offset())
    }

    fn latest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.snapshot
    }

    fn append_records(
        &mut self,
        epoch: LeaderEpoch,
        records: &[Bytes],
        now: Now,
    ) -> Result<Offset, LogError> {
        let mut builder = BatchBuilder::new().leader_epoch(epoch);
        for value in records {
            builder.push(now.wall, None, Some(value), &[]);
        }
        self.append(&mut builder.build(), epoch, now)
    }

    fn append_leader_change(&mut self, change: &LeaderChange, now: Now) -> Result<Offset, LogError> {
        let voters = |keys: &[ReplicaKey]| {
            keys.iter()
                .map(|key| Voter { voter_id: key.id.0, voter_directory_id: key.directory_id })
                .collect()
        };
        let message = LeaderChangeMessage {
            version: LEADER_CHANGE_VERSION,
            leader_id: change.leader.0,
            voters: voters(&change.voters),
            granting_voters: voters(&change.granting_voters),
        };
        let value = encode_to_vec(&message, LEADER_CHANGE_VERSION).map_err(LogError::new)?;
        let mut batch = control_batch(ControlType::LeaderChange, &value, change.epoch, now.wall);
        self.append(&mut batch, change.epoch, now)
    }

    fn append_fetched(
        &mut self,
        batches: Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Result<Offset, AppendFetchedError> {
        let now = Now { monotonic: ottla_types::Monotonic(0), wall: Timestamp(0) };
        match self.log.append_as_follower(&batches, leader_epoch, now) {
            Ok(info) => Ok(info.next_offset()),
            Err(AppendError::Storage(error)) => Err(LogError::new(error).into()),
            Err(error) => Err(AppendFetchedError::Corrupt(error.to_string())),
        }
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Bytes, LogError> {
        let read = self
            .log
            .read(from, self.log.log_end_offset(), bytes_max, AtLeast::OneBatch)
            .map_err(LogError::new)?;
        match read.region {
            Some(region) => region.read().map(Bytes::from).map_err(LogError::new),
            None => Ok(Bytes::new()),
        }
    }

    fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError> {
        let now = Now { monotonic: ottla_types::Monotonic(0), wall: Timestamp(0) };
        self.log.truncate_to(offset, now).map(drop).map_err(LogError::new)
    }
}

/// A batch of one control record.
fn control_batch(control_type: ControlType, value: &[u8], epoch: LeaderEpoch, now: Timestamp) -> Vec<u8> {
    let mut builder = BatchBuilder::new().leader_epoch(epoch).control();
    builder.push(now, Some(&control_type.key()), Some(value), &[]);
    builder.build()
}
