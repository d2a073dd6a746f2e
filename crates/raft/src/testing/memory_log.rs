//! A log in memory, with a batch format of its own.

use crate::log::{AppendFetchedError, LeaderChange, LogError, ReplicatedLog};
use crate::voters::{Endpoint, KRaftVersions, ReplicaKey, Voter, VoterSet};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, OffsetAndEpoch, Uuid};

/// Base offset, epoch, number of records, length of the payload, kind.
const HEADER_BYTES: usize = 8 + 4 + 4 + 4 + 1;
/// The kind of a batch that names no voters.
const PLAIN: u8 = 0;
/// The kind of a batch whose last record names the voters.
const VOTERS: u8 = 1;

/// A batch: its place, and its bytes as they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first offset.
    pub base: Offset,
    /// One past the last.
    pub end: Offset,
    /// The epoch it was appended in.
    pub epoch: LeaderEpoch,
    /// Header and payload.
    pub bytes: Bytes,
}

impl Batch {
    fn new(base: Offset, epoch: LeaderEpoch, count: u32, kind: u8, payload: &[u8]) -> Batch {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        bytes.put_i64(base.0);
        bytes.put_i32(epoch.0);
        bytes.put_u32(count);
        bytes.put_u32(u32::try_from(payload.len()).expect("a test's payload is small"));
        bytes.put_u8(kind);
        bytes.put_slice(payload);
        Batch { base, end: base + i64::from(count), epoch, bytes: bytes.freeze() }
    }

    /// The voters that the batch names, and the offset of the record.
    pub fn voters(&self) -> Option<(Offset, VoterSet)> {
        let kind = *self.bytes.get(HEADER_BYTES - 1)?;
        let set = (kind == VOTERS).then(|| decode_voters(&self.bytes[HEADER_BYTES..]))?;
        set.map(|set| (Offset(self.end.0 - 1), set))
    }

    /// Splits the first batch off `bytes`.
    fn split_from(bytes: &mut Bytes) -> Option<Batch> {
        let mut header = bytes.get(..HEADER_BYTES)?;
        let (base, epoch) = (Offset(header.get_i64()), LeaderEpoch(header.get_i32()));
        let (count, payload_bytes) = (header.get_u32(), header.get_u32() as usize);
        let len = HEADER_BYTES.checked_add(payload_bytes).filter(|&len| len <= bytes.len())?;
        let end = Offset(base.0.checked_add(i64::from(count))?);
        Some(Batch { base, end, epoch, bytes: bytes.split_to(len) })
    }
}

/// For each voter its id, its directory and its port; its host is named for its id.
fn encode_voters(voters: &VoterSet) -> Vec<u8> {
    let mut bytes = Vec::new();
    for voter in voters.iter() {
        bytes.put_i32(voter.key.id.0);
        bytes.put_slice(voter.key.directory_id.as_bytes());
        bytes.put_u16(voter.endpoint.port);
    }
    bytes
}

fn decode_voters(mut bytes: &[u8]) -> Option<VoterSet> {
    let mut voters = Vec::new();
    while bytes.has_remaining() {
        if bytes.remaining() < 4 + 16 + 2 {
            return None;
        }
        let id = NodeId(bytes.get_i32());
        let key = ReplicaKey::new(id, Uuid::from_u128(bytes.get_u128()));
        voters.push(voter_at(key, bytes.get_u16()));
    }
    VoterSet::new(voters).ok()
}

/// A voter of a quorum whose log names the voters.
pub fn voter_at(key: ReplicaKey, port: u16) -> Voter {
    let endpoint = Endpoint { host: format!("c{}", key.id), port };
    Voter { kraft_versions: KRaftVersions::SUPPORTED, ..Voter::configured(key, endpoint) }
}

/// A log in memory, which never fails.
///
/// A snapshot is what it contains: the batches before its end. Those before the log's start are kept here, so
/// that everything that was ever committed can be compared, and are hidden from the machine.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    /// The latest snapshot.
    snapshot: Option<OffsetAndEpoch>,
    /// Where the log begins: at zero, or at the end of a snapshot.
    start: Offset,
    batches: Vec<Batch>,
    /// The voters that the node was formatted with.
    formatted: Option<VoterSet>,
    /// The batches from this index on differ from what was last taken by [`MemoryLog::take_changes`].
    changed_from: usize,
}

impl MemoryLog {
    /// The same log with these batches, all of them on disk. One that would end before the snapshot, or holds something else
    /// than it, ends with it, and begins there: so a node starts that lost what its snapshot still has.
    pub fn with(&self, batches: Vec<Batch>) -> MemoryLog {
        let contained = self.snapshot_count();
        let mut log = MemoryLog { batches, ..self.clone() };
        if log.batches.get(..contained) != Some(&self.batches[..contained]) {
            log.batches = self.batches[..contained].to_vec();
            log.start = self.snapshot.map_or(self.start, |snapshot| snapshot.offset);
        }
        log.changed_from = log.batches.len();
        log
    }

    /// A log that begins where a snapshot ends, and has nothing after it.
    pub fn after_snapshot(snapshot: OffsetAndEpoch) -> MemoryLog {
        MemoryLog { snapshot: Some(snapshot), start: snapshot.offset, ..MemoryLog::default() }
    }

    /// An empty log of a node that was formatted with these voters.
    pub fn formatted(voters: VoterSet) -> MemoryLog {
        MemoryLog { formatted: Some(voters), ..MemoryLog::default() }
    }

    /// The last voters that the log names, or the node was formatted with.
    pub fn latest_voters(&self) -> Option<VoterSet> {
        let named = self.batches.iter().rev().find_map(Batch::voters).map(|(_, set)| set);
        named.or_else(|| self.formatted.clone())
    }

    /// Writes a snapshot of everything before the first batch that reaches beyond `committed`, and forgets what
    /// is before `start`, an earlier snapshot's end or this one's.
    pub fn take_snapshot(&mut self, committed: Offset, keeps_log: bool) {
        let count = self.batches.partition_point(|batch| batch.end <= committed);
        let Some(last) = count.checked_sub(1).and_then(|index| self.batches.get(index)) else { return };
        let end = OffsetAndEpoch { epoch: last.epoch, offset: last.end };
        if !keeps_log {
            self.start = end.offset;
        } else if let Some(earlier) = self.snapshot {
            self.start = self.start.max(earlier.offset);
        }
        self.snapshot = Some(end);
    }

    /// What the latest snapshot contains.
    pub fn snapshot_batches(&self) -> &[Batch] {
        &self.batches[..self.snapshot_count()]
    }

    /// Installs another node's snapshot: the log is what it contains, and begins anew where it ends.
    pub fn install(&mut self, id: OffsetAndEpoch, contained: Vec<Batch>) {
        *self = MemoryLog {
            snapshot: Some(id),
            start: id.offset,
            changed_from: contained.len(),
            batches: contained,
            formatted: self.formatted.take(),
        };
    }

    fn snapshot_count(&self) -> usize {
        let end = self.snapshot.map_or(Offset::ZERO, |snapshot| snapshot.offset);
        self.batches.partition_point(|batch| batch.end <= end)
    }

    /// The batches that are still in the log.
    fn visible(&self) -> &[Batch] {
        &self.batches[self.batches.partition_point(|batch| batch.base < self.start)..]
    }

    /// The batches, the first first.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// From which index on the batches changed since the last call, and how they are.
    pub fn take_changes(&mut self) -> (usize, Vec<Batch>) {
        let from = std::mem::replace(&mut self.changed_from, self.batches.len());
        (from, self.batches[from..].to_vec())
    }

    /// From which index on the batches changed since the last [`MemoryLog::take_changes`].
    pub fn changed_from(&self) -> usize {
        self.changed_from
    }

    /// Makes the next [`MemoryLog::take_changes`] reach back to this index.
    pub fn mark_changed(&mut self, from: usize) {
        self.changed_from = self.changed_from.min(from);
    }

    fn append(&mut self, epoch: LeaderEpoch, count: u32, kind: u8, payload: &[u8]) -> Offset {
        let batch = Batch::new(self.end().offset, epoch, count, kind, payload);
        self.batches.push(batch);
        self.end().offset
    }
}

impl ReplicatedLog for MemoryLog {
    fn start_offset(&self) -> Offset {
        self.start
    }

    fn end(&self) -> OffsetAndEpoch {
        let empty = OffsetAndEpoch { epoch: LeaderEpoch::NONE, offset: Offset::ZERO };
        self.batches.last().map_or(self.snapshot.unwrap_or(empty), |last| OffsetAndEpoch {
            epoch: last.epoch,
            offset: last.end,
        })
    }

    fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let visible = self.visible();
        let count = visible.partition_point(|batch| batch.epoch <= epoch);
        match count.checked_sub(1).map(|last| &visible[last]) {
            Some(last) => OffsetAndEpoch { epoch: last.epoch, offset: last.end },
            None => OffsetAndEpoch { epoch, offset: self.start },
        }
    }

    fn latest_snapshot(&self) -> Option<OffsetAndEpoch> {
        self.snapshot
    }

    fn append_records(&mut self, epoch: LeaderEpoch, records: &[Bytes], _: Now) -> Result<Offset, LogError> {
        let count = u32::try_from(records.len()).expect("a test's batch is small");
        Ok(self.append(epoch, count, PLAIN, &records.concat()))
    }

    fn append_leader_change(&mut self, change: &LeaderChange, _: Now) -> Result<Offset, LogError> {
        Ok(match &change.first_voters {
            Some(voters) => self.append(change.epoch, 3, VOTERS, &encode_voters(voters)),
            None => self.append(change.epoch, 1, PLAIN, &change.leader.0.to_be_bytes()),
        })
    }

    fn append_voters(&mut self, epoch: LeaderEpoch, voters: &VoterSet, _: Now) -> Result<Offset, LogError> {
        Ok(self.append(epoch, 1, VOTERS, &encode_voters(voters)))
    }

    fn append_upgrade(&mut self, epoch: LeaderEpoch, voters: &VoterSet, _: Now) -> Result<Offset, LogError> {
        Ok(self.append(epoch, 2, VOTERS, &encode_voters(voters)))
    }

    fn snapshot_voters(&self) -> Option<VoterSet> {
        let named = self.snapshot_batches().iter().rev().find_map(Batch::voters).map(|(_, set)| set);
        named.or_else(|| self.formatted.clone())
    }

    fn voter_sets_in(&self, batches: &Bytes) -> Result<(Vec<(Offset, VoterSet)>, Offset), String> {
        let (mut bytes, mut sets, mut next) = (batches.clone(), Vec::new(), Offset::ZERO);
        while let Some(batch) = Batch::split_from(&mut bytes) {
            sets.extend(batch.voters());
            next = batch.end;
        }
        Ok((sets, next))
    }

    fn append_fetched(
        &mut self,
        mut batches: Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Result<Offset, AppendFetchedError> {
        while !batches.is_empty() {
            let end = self.end();
            let batch = Batch::split_from(&mut batches)
                .filter(|batch| batch.base == end.offset && batch.epoch >= end.epoch)
                .ok_or_else(|| AppendFetchedError::Corrupt(format!("after {end}")))?;
            if batch.epoch > leader_epoch {
                break;
            }
            self.batches.push(batch);
        }
        Ok(self.end().offset)
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Bytes, LogError> {
        let visible = self.visible();
        let first = visible.partition_point(|batch| batch.end <= from);
        let mut bytes = BytesMut::new();
        for batch in &visible[first..] {
            if !bytes.is_empty() && bytes.len() + batch.bytes.len() > bytes_max {
                break;
            }
            bytes.put_slice(&batch.bytes);
        }
        Ok(bytes.freeze())
    }

    fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError> {
        assert!(offset >= self.start, "what is before the start is committed");
        let kept = self.batches.partition_point(|batch| batch.end <= offset);
        self.batches.truncate(kept);
        self.changed_from = self.changed_from.min(kept);
        Ok(())
    }
}
