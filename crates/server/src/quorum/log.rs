//! The metadata log as the quorum needs it, on the same storage as every other log.

use bytes::Bytes;
use ottla_protocol::records::control::leader_change_message::{LeaderChangeMessage, Voter};
use ottla_protocol::records::control::{KRaftVersionRecord, VotersRecord};
use ottla_protocol::{decode_all, encode_to_vec};
use ottla_raft::wire::{voters_from_record, voters_to_record};
use ottla_raft::{AppendFetchedError, LeaderChange, LogError, ReplicaKey, ReplicatedLog, VoterSet};
use ottla_records::{BatchBuilder, BatchView, ControlType, Origin, batches};
use ottla_storage::{AppendError, AtLeast, Log};
use ottla_types::{LeaderEpoch, Now, Offset, OffsetAndEpoch, Timestamp};

/// `__cluster_metadata-0`.
#[derive(Debug)]
pub struct QuorumLog {
    log: Log,
    snapshot: Option<OffsetAndEpoch>,
    /// The voters that it names, or without one those that this node was formatted with.
    snapshot_voters: Option<VoterSet>,
    /// The listener that the quorum uses.
    listener: String,
}

/// The most that a control batch may be when decompressed, in bytes.
const CONTROL_BYTES_MAX: usize = 1 << 20;

impl QuorumLog {
    /// The quorum's view of `log`, whose latest snapshot is `snapshot` and names these voters; without a snapshot
    /// they are those that the node was formatted with. `listener` is the one that the quorum uses.
    pub fn new(
        log: Log,
        snapshot: Option<OffsetAndEpoch>,
        snapshot_voters: Option<VoterSet>,
        listener: String,
    ) -> QuorumLog {
        QuorumLog { log, snapshot, snapshot_voters, listener }
    }

    /// The listener that the quorum uses.
    pub fn listener(&self) -> &str {
        &self.listener
    }

    /// The log underneath.
    pub fn storage(&self) -> &Log {
        &self.log
    }

    /// The log underneath, for flushing.
    pub fn storage_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// A snapshot was written that contains everything before `snapshot`, and names these voters.
    pub fn set_latest_snapshot(&mut self, snapshot: OffsetAndEpoch, voters: Option<VoterSet>) {
        self.snapshot = Some(snapshot);
        self.snapshot_voters = voters;
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
            let voter = |key: &ReplicaKey| Voter { voter_id: key.id.0, ..Voter::default() };
            keys.iter().map(voter).collect()
        };
        // Whatever the kraft.version: Kafka reads no other (`ControlRecordUtils.LEADER_CHANGE_CURRENT_VERSION`), and its nodes
        // end where there is one with directories.
        const VERSION: i16 = 0;
        let message = LeaderChangeMessage {
            version: VERSION,
            leader_id: change.leader.0,
            voters: voters(&change.voters),
            granting_voters: voters(&change.granting_voters),
        };
        let value = encode_to_vec(&message, VERSION).map_err(LogError::new)?;
        let mut records = vec![(ControlType::LeaderChange, value)];
        if let Some(voters) = &change.first_voters {
            records.extend(upgrade_records(voters)?);
        }
        let mut batch = control_batch(&records, change.epoch, now.wall);
        self.append(&mut batch, change.epoch, now)
    }

    fn append_voters(&mut self, epoch: LeaderEpoch, voters: &VoterSet, now: Now) -> Result<Offset, LogError> {
        let mut batch = control_batch(&[voters_record(voters)?], epoch, now.wall);
        self.append(&mut batch, epoch, now)
    }

    fn append_upgrade(
        &mut self,
        epoch: LeaderEpoch,
        voters: &VoterSet,
        now: Now,
    ) -> Result<Offset, LogError> {
        let mut batch = control_batch(&upgrade_records(voters)?, epoch, now.wall);
        self.append(&mut batch, epoch, now)
    }

    fn snapshot_voters(&self) -> Option<VoterSet> {
        self.snapshot_voters.clone()
    }

    fn voter_sets_in(&self, bytes: &Bytes) -> Result<(Vec<(Offset, VoterSet)>, Offset), String> {
        let (mut sets, mut next) = (Vec::new(), Offset::ZERO);
        for batch in batches(bytes).map_while(Result::ok) {
            next = batch.header().next_offset();
            if batch.header().is_control() {
                sets.extend(voters_of(&batch, &self.listener)?);
            }
        }
        Ok((sets, next))
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

/// That the log names the voters, and the first set, as control records.
fn upgrade_records(voters: &VoterSet) -> Result<[(ControlType, Vec<u8>); 2], LogError> {
    let version = KRaftVersionRecord { version: 0, kraft_version: 1 };
    let version = encode_to_vec(&version, 0).map_err(LogError::new)?;
    Ok([(ControlType::KRaftVersion, version), voters_record(voters)?])
}

/// The set as a control record.
fn voters_record(voters: &VoterSet) -> Result<(ControlType, Vec<u8>), LogError> {
    let value = encode_to_vec(&voters_to_record(voters), 0).map_err(LogError::new)?;
    Ok((ControlType::KRaftVoters, value))
}

/// A batch of control records.
fn control_batch(records: &[(ControlType, Vec<u8>)], epoch: LeaderEpoch, now: Timestamp) -> Vec<u8> {
    let mut builder = BatchBuilder::new().leader_epoch(epoch).control();
    for (control_type, value) in records {
        builder.push(now, Some(&control_type.key()), Some(value), &[]);
    }
    builder.build()
}

/// The voter sets in a control batch, with the offsets of their records.
fn voters_of(batch: &BatchView<'_>, listener: &str) -> Result<Vec<(Offset, VoterSet)>, String> {
    batch.check_crc().map_err(|error| error.to_string())?;
    let records = batch.records(CONTROL_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut sets = Vec::new();
    for record in records.iter() {
        let record = record.map_err(|error| error.to_string())?;
        let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
        match record.key.and_then(ControlType::from_key) {
            Some(ControlType::KRaftVoters) => {
                let voters: VotersRecord = decode_all(value, 0).map_err(|error| error.to_string())?;
                sets.push((record.offset, voters_from_record(voters, listener)?));
            }
            Some(ControlType::KRaftVersion) => {
                let version: KRaftVersionRecord = decode_all(value, 0).map_err(|error| error.to_string())?;
                if !(0..=1).contains(&version.kraft_version) {
                    return Err(format!("kraft.version {} is not supported", version.kraft_version));
                }
            }
            _ => {}
        }
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_raft::{Endpoint, KRaftVersions, Listener, Voter};
    use ottla_storage::{LogConfig, Recovery, SimDisk};
    use ottla_types::{Monotonic, NodeId, Uuid};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn voters(ids: &[i32]) -> VoterSet {
        let voter = |&id: &i32| {
            let endpoint = Endpoint { host: format!("c{id}"), port: 9093 };
            let listeners = vec![Listener { name: "CONTROLLER".to_owned(), endpoint: endpoint.clone() }];
            let key = ReplicaKey::new(NodeId(id), Uuid::from_u128(1000));
            Voter { key, endpoint, listeners, kraft_versions: KRaftVersions::SUPPORTED }
        };
        VoterSet::new(ids.iter().map(voter)).unwrap()
    }

    #[test]
    fn voter_sets_are_found_again_at_the_offsets_of_their_records() {
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(5) };
        let (log, _) = Log::open(
            Arc::new(SimDisk::new()),
            PathBuf::from("log"),
            LogConfig::metadata(),
            Recovery::UNKNOWN,
            now,
        )
        .unwrap();
        let mut log = QuorumLog::new(log, None, None, "CONTROLLER".to_owned());
        let change = LeaderChange {
            epoch: LeaderEpoch(1),
            leader: NodeId(1),
            voters: vec![ReplicaKey::new(NodeId(1), Uuid::from_u128(100))],
            granting_voters: Vec::new(),
            first_voters: Some(voters(&[1])),
        };

        log.append_leader_change(&change, now).unwrap();
        log.append_records(LeaderEpoch(1), &[Bytes::from_static(b"x")], now).unwrap();
        let end = log.append_voters(LeaderEpoch(1), &voters(&[1, 2]), now).unwrap();

        let bytes = log.read(Offset(0), 1 << 20).unwrap();
        let expected = vec![(Offset(2), voters(&[1])), (Offset(4), voters(&[1, 2]))];
        assert_eq!(log.voter_sets_in(&bytes), Ok((expected, end)));
        assert_eq!(end, Offset(5));
        let first = batches(&bytes).next().unwrap().unwrap().records(CONTROL_BYTES_MAX).unwrap();
        let value = Bytes::copy_from_slice(first.iter().next().unwrap().unwrap().value.unwrap());
        let opened: LeaderChangeMessage = decode_all(value, 0).expect("Kafka reads no later version");
        let told: Vec<_> =
            opened.voters.iter().map(|voter| (voter.voter_id, voter.voter_directory_id)).collect();
        assert_eq!(told, [(1, Uuid::ZERO)]);
        let half = bytes.slice(..bytes.len() - 1);
        assert_eq!(log.voter_sets_in(&half).unwrap().1, Offset(4), "half a batch is none");
    }
}
