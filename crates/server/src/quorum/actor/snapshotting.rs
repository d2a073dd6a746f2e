//! When snapshots are written, which are kept, and how another node's takes the place of this one's log.

use super::{Actor, Event, QuorumFailed};
use crate::quorum::snapshot_fetch::{SnapshotFetch, SnapshotFetchError};
use crate::quorum::snapshots::{Loaded, Snapshots};
use ottla_metadata::{MetadataDelta, MetadataImage, checkpoint, snapshot};
use ottla_net::{Task, task};
use ottla_protocol::records::control::VotersRecord;
use ottla_raft::ReplicatedLog;
use ottla_raft::wire::{voters_from_record, voters_to_record};
use ottla_types::{Monotonic, NodeId, Now, Offset, OffsetAndEpoch, Timestamp};
use std::io;
use std::time::Duration;

/// When snapshots are written and how long what they replace is kept. Kafka's defaults are in the table of
/// settings.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub bytes_between: u64,
    /// `metadata.log.max.snapshot.interval.ms`; zero never asks for one.
    pub interval: Duration,
    /// `metadata.max.retention.bytes`, of the log and all snapshots; negative is no limit.
    pub retention_bytes: i64,
    /// `metadata.max.retention.ms`; negative is no limit.
    pub retention_ms: i64,
}

/// A snapshot on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::quorum) struct Kept {
    id: OffsetAndEpoch,
    bytes: u64,
    /// When the last record in it was appended.
    time: Timestamp,
}

/// What this node does about snapshots at the moment.
pub(super) struct Snapshotting {
    pub policy: SnapshotPolicy,
    /// Bytes of the log that the latest snapshot does not contain.
    pub bytes_since: u64,
    /// When the latest was written, or this node started.
    pub since: Monotonic,
    pub is_writing: bool,
    /// The snapshot that is being fetched from the leader. Dropping the task abandons it.
    pub fetching: Option<(OffsetAndEpoch, Task)>,
}

impl Snapshotting {
    pub(super) fn new(policy: SnapshotPolicy, now: Monotonic) -> Snapshotting {
        Snapshotting { policy, bytes_since: 0, since: now, is_writing: false, fetching: None }
    }
}

impl Actor {
    /// Begins to write a snapshot if one is due.
    pub(super) fn snapshot_if_due(&mut self, now: Now) {
        let state = &mut self.snapshotting;
        let is_new =
            self.quorum.log().latest_snapshot().is_none_or(|last| last.offset < self.image.end.offset);
        let interval = state.policy.interval;
        let is_late = !interval.is_zero() && now.monotonic - state.since >= interval;
        let is_due = state.bytes_since >= state.policy.bytes_between || is_late;
        // Before a level is finalized there is nothing that a snapshot could be written at.
        let has_level = self.image.features.metadata_version().is_some();
        // What may yet be taken back is not for a snapshot.
        let is_final = has_level && !self.image.is_in_transaction();
        if !is_due || !is_new || !is_final || state.is_writing {
            return;
        }
        state.is_writing = true;
        state.bytes_since = 0;
        state.since = now.monotonic;
        let (image, snapshots, events) = (self.image.clone(), self.snapshots.clone(), self.alive.clone());
        let id = image.end;
        let voters = self.quorum.voters_before(id.offset).map(voters_to_record);
        let written = self.io.run(move || write(&image, voters.as_ref(), &snapshots));
        // Not waited for: the result comes back as an event.
        task::detach("snapshot", async move {
            let result = written.await.unwrap_or_else(|_| Err(io::Error::other("writing it panicked")));
            // An error means that the quorum has stopped.
            let _ = events.send(Event::SnapshotWritten(id, result)).await;
        });
    }

    pub(super) fn handle_snapshot_written(
        &mut self,
        id: OffsetAndEpoch,
        result: io::Result<Vec<Kept>>,
        now: Now,
    ) -> Result<(), QuorumFailed> {
        self.snapshotting.is_writing = false;
        let kept = match result {
            Ok(kept) => kept,
            Err(error) => {
                // The log still has everything; the next one may succeed.
                tracing::error!(snapshot = %id, %error, "no snapshot of the metadata log was written");
                return Ok(());
            }
        };
        let voters = self.quorum.voters_before(id.offset).cloned();
        let log = self.quorum.log_mut();
        if log.latest_snapshot().is_none_or(|latest| latest.offset < id.offset) {
            log.set_latest_snapshot(id, voters);
        }
        tracing::info!(snapshot = %id, "wrote a snapshot of the metadata log");
        let log_bytes = log.storage().size_bytes();
        let surplus = surplus(&kept, log_bytes, self.snapshotting.policy, now.wall);
        let (removed, rest) = kept.split_at(surplus);
        if let (Some(oldest), false) = (rest.first(), removed.is_empty()) {
            self.forget_before(oldest.id.offset, now)?;
        }
        self.remove_snapshots(removed.iter().map(|snapshot| snapshot.id).collect());
        Ok(())
    }

    /// Removes what a snapshot contains from the log.
    fn forget_before(&mut self, offset: Offset, now: Now) -> Result<(), QuorumFailed> {
        let committed = self.image.end.offset;
        let log = self.quorum.log_mut().storage_mut();
        log.increment_log_start_offset(offset)
            .and_then(|_| log.delete_old_segments(now, committed))
            .map_err(log_failed)?;
        Ok(())
    }

    fn remove_snapshots(&self, ids: Vec<OffsetAndEpoch>) {
        if ids.is_empty() {
            return;
        }
        let snapshots = self.snapshots.clone();
        // Not waited for: what stays is removed next time.
        drop(self.io.run(move || {
            for id in ids {
                if let Err(error) = snapshots.remove(id) {
                    tracing::warn!(snapshot = %id, %error, "a snapshot cannot be removed");
                }
            }
        }));
    }

    /// Removes files of the log that nobody reads any more.
    pub(super) fn remove_deleted_files(&mut self, now: Now) -> Result<(), QuorumFailed> {
        self.quorum.log_mut().storage_mut().remove_deleted_files(now.monotonic).map_err(log_failed)
    }

    pub(super) fn fetch_snapshot(&mut self, from: NodeId, id: OffsetAndEpoch) {
        let Some(leader) = self.quorum.endpoint_of(from) else { return };
        tracing::info!(leader = from.0, snapshot = %id, "fetching a snapshot of the metadata log");
        let fetch = SnapshotFetch {
            network: self.peers.network(),
            context: self.peers.context(),
            replica: self.quorum.identity(),
            leader,
            epoch: self.quorum.epoch(),
            id,
            timeout: self.peers.timeout(),
            snapshots: self.snapshots.clone(),
            io: self.io.clone(),
        };
        let events = self.alive.clone();
        let run = async move {
            let result = fetch.run().await.map(Box::new);
            // An error means that the quorum has stopped.
            let _ = events.send(Event::SnapshotFetched(id, result)).await;
        };
        self.snapshotting.fetching = Some((id, task::spawn("snapshot fetch", run)));
    }

    /// Puts a fetched snapshot, which is on disk, in the log's place.
    pub(super) fn handle_snapshot_fetched(
        &mut self,
        id: OffsetAndEpoch,
        result: Result<Box<Loaded>, SnapshotFetchError>,
        now: Now,
    ) -> Result<(), QuorumFailed> {
        if self.snapshotting.fetching.take_if(|(fetching, _)| *fetching == id).is_none() {
            return Ok(());
        }
        let listener = self.quorum.log().listener().to_owned();
        let voters_of = |loaded: Loaded| {
            let voters = loaded.voters.map(|record| voters_from_record(record, &listener)).transpose();
            voters.map(|voters| (loaded.image, voters)).map_err(SnapshotFetchError::Nonsense)
        };
        let (image, voters) = match result.and_then(|loaded| voters_of(*loaded)) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(snapshot = %id, %error, "the snapshot was not fetched; it is asked for again");
                return Ok(self.quorum.handle_snapshot_failed(now, &mut self.effects)?);
            }
        };
        let log = self.quorum.log_mut();
        log.storage_mut().truncate_fully_and_start_at(id.offset, now).map_err(log_failed)?;
        log.set_latest_snapshot(id, voters);
        let before = std::mem::replace(&mut self.image, image);
        self.snapshotting.bytes_since = 0;
        self.snapshotting.since = now.monotonic;
        tracing::info!(snapshot = %id, "loaded the leader's snapshot of the metadata log");
        self.publish(MetadataDelta::between(&before, &self.image))?;
        Ok(self.quorum.handle_snapshot_installed(now, &mut self.effects)?)
    }
}

fn log_failed(error: ottla_storage::StorageError) -> QuorumFailed {
    ottla_raft::QuorumError::Log(ottla_raft::LogError::new(error)).into()
}

/// Writes the image, and tells which snapshots there are then, the oldest first.
fn write(
    image: &MetadataImage,
    voters: Option<&VotersRecord>,
    snapshots: &Snapshots,
) -> io::Result<Vec<Kept>> {
    let records = snapshot::records(image);
    let level = image.metadata_version();
    let bytes = checkpoint::encode(&records, level, image.end.epoch, image.end_time, voters)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    snapshots.write(image.end, &bytes)?;
    let kept =
        |id| Kept { id, bytes: snapshots.size(id), time: snapshots.time(id).unwrap_or(Timestamp::NONE) };
    Ok(snapshots.list()?.into_iter().map(kept).collect())
}

/// How many of the oldest snapshots are not kept (`KafkaRaftLog.cleanSnapshots`): those that are too old, or
/// too much together with the log. The latest always is.
fn surplus(kept: &[Kept], log_bytes: u64, policy: SnapshotPolicy, now: Timestamp) -> usize {
    let mut total = log_bytes + kept.iter().map(|snapshot| snapshot.bytes).sum::<u64>();
    let mut count = 0;
    for snapshot in &kept[..kept.len().saturating_sub(1)] {
        let is_old = policy.retention_ms >= 0 && now.0 - snapshot.time.0 > policy.retention_ms;
        let is_much = u64::try_from(policy.retention_bytes).is_ok_and(|limit| total > limit);
        if !is_old && !is_much {
            break;
        }
        total -= snapshot.bytes;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::LeaderEpoch;

    #[test]
    fn old_and_surplus_snapshots_go_but_never_the_latest() {
        let policy = SnapshotPolicy {
            bytes_between: 1,
            interval: Duration::ZERO,
            retention_bytes: 1000,
            retention_ms: 500,
        };
        // The log's size, the snapshots' sizes and times, how many go at time 1000.
        let cases = [
            (0, vec![], 0),
            (5000, vec![(100, 0)], 0),
            (100, vec![(100, 900), (100, 950)], 0),
            (100, vec![(100, 499), (100, 950)], 1),
            (100, vec![(100, 0), (100, 1), (100, 2)], 2),
            (700, vec![(100, 900), (100, 910), (250, 920)], 2),
            (700, vec![(100, 900), (100, 910), (200, 920)], 1),
        ];
        for (log_bytes, snapshots, expected) in cases {
            let kept: Vec<Kept> = (1..)
                .zip(&snapshots)
                .map(|(offset, &(bytes, time))| Kept {
                    id: OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(1) },
                    bytes,
                    time: Timestamp(time),
                })
                .collect();

            let count = surplus(&kept, log_bytes, policy, Timestamp(1000));

            assert_eq!(count, expected, "log of {log_bytes}, {snapshots:?}");
        }
        let unlimited = SnapshotPolicy { retention_bytes: -1, retention_ms: -1, ..policy };
        let id = OffsetAndEpoch { offset: Offset(1), epoch: LeaderEpoch(1) };
        let kept = [Kept { id, bytes: 9000, time: Timestamp(0) }; 2];
        assert_eq!(surplus(&kept, 0, unlimited, Timestamp(1000)), 0);
    }
}
