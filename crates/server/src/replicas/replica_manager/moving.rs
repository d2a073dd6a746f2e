//! Replicas move between the log directories of their broker (KIP-113), one after the other.
//!
//! A copy of the log grows in the other directory under a name of its own (`-future`). Once it has everything, the
//! replica's lock is held, the copy gets the last records and the replica's name, and takes the log's place. Whatever
//! ends it before that, the log is where it was.

use super::{Replica, ReplicaManager};
use crate::io_pool::IoPool;
use crate::replicas::directories::Directory;
use ottla_storage::{
    AppendError, AtLeast, Log, LogConfig, PartitionDir, ReadError, ReadResult, Recovery, RecoveryReport,
    StorageError, partition_metadata,
};
use ottla_types::{LeaderEpoch, Offset, TopicIdPartition, TopicPartition, Uuid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How much is copied at a time.
const BYTES_MAX: usize = 1 << 20;

/// How little may be left when the replica is held up for the rest.
const BYTES_LEFT_MAX: usize = 64 << 10;

/// How long to wait for the pass of compaction that is under way.
const BACKOFF: Duration = Duration::from_millis(50);

/// A copy of a log that is not complete.
#[derive(Clone, Copy, Debug)]
pub struct Future {
    /// The directory that it is in.
    directory: Uuid,
    /// How large it is.
    pub size_bytes: u64,
    /// How far it has come.
    pub log_end_offset: Offset,
}

/// The moves that were asked for.
#[derive(Debug, Default)]
pub struct Moves {
    /// Where to.
    wanted: Mutex<BTreeMap<TopicIdPartition, Uuid>>,
    /// The copy that is under way.
    future: Mutex<Option<(TopicIdPartition, Future)>>,
    /// Where replicas are to begin that are not here yet.
    preferred: Mutex<BTreeMap<TopicPartition, Uuid>>,
    woken: Notify,
}

impl Moves {
    /// Asks for a replica to be moved. To where it is: takes back what was asked for before.
    pub fn request(&self, replica: &Replica, directory: &Directory) {
        if replica.directory().id == directory.id {
            self.wanted.lock().remove(&replica.id);
        } else {
            self.wanted.lock().insert(replica.id, directory.id);
            self.woken.notify_one();
        }
    }

    /// Lets a replica that is not here yet begin in this directory.
    pub fn prefer(&self, name: &TopicPartition, directory: Uuid) {
        self.preferred.lock().insert(name.clone(), directory);
    }

    pub(super) fn take_preferred(&self, name: &TopicPartition) -> Option<Uuid> {
        self.preferred.lock().remove(name)
    }

    /// The copy of a replica that grows in a directory, or will.
    pub fn future(&self, at: TopicIdPartition, directory: Uuid) -> Option<Future> {
        if self.wanted.lock().get(&at) != Some(&directory) {
            return None;
        }
        let begun = self.future.lock().filter(|(of, future)| *of == at && future.directory == directory);
        let waiting = Future { directory, size_bytes: 0, log_end_offset: Offset::ZERO };
        Some(begun.map_or(waiting, |(_, future)| future))
    }

    fn is_wanted(&self, at: TopicIdPartition, directory: &Directory) -> bool {
        self.wanted.lock().get(&at) == Some(&directory.id) && !directory.is_offline()
    }

    /// The next one that is not among `skipped`.
    fn next(&self, skipped: &BTreeSet<TopicIdPartition>) -> Option<(TopicIdPartition, Uuid)> {
        let wanted = self.wanted.lock();
        wanted.iter().map(|(&at, &to)| (at, to)).find(|(at, _)| !skipped.contains(at))
    }

    fn done(&self, at: TopicIdPartition, directory: Uuid) {
        self.future.lock().take();
        let mut wanted = self.wanted.lock();
        if wanted.get(&at) == Some(&directory) {
            wanted.remove(&at);
        }
    }
}

/// Why a copy does not take the log's place.
enum Ended {
    /// Nobody wants it any more, or the replica is gone.
    Unwanted,
    /// The log was cut, or lost its beginning, while it was copied.
    Overtaken,
    /// A disk failed, or is full.
    Storage(StorageError),
    /// What is in the log cannot be copied.
    Unreadable(String),
}

impl From<StorageError> for Ended {
    fn from(error: StorageError) -> Ended {
        Ended::Storage(error)
    }
}

/// Moves what is asked for, on a thread of its own.
pub async fn run(replicas: Arc<ReplicaManager>, pool: IoPool) {
    loop {
        let mut busy = BTreeSet::new();
        while let Some((at, to)) = replicas.moves.next(&busy) {
            let manager = replicas.clone();
            match pool.run(move || manager.move_replica(at, to)).await {
                Ok(true) => {}
                // It is being compacted.
                Ok(false) => {
                    busy.insert(at);
                }
                Err(_) => {
                    tracing::error!(partition = %at, "moving a replica ended in a panic");
                    replicas.moves.done(at, to);
                }
            }
        }
        if busy.is_empty() {
            replicas.moves.woken.notified().await;
        } else {
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

impl ReplicaManager {
    /// The moves between directories.
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Moves a replica. Returns `false` when it has to wait.
    fn move_replica(&self, at: TopicIdPartition, to: Uuid) -> bool {
        let (Some(replica), Some(directory)) = (self.get(at), self.directories.online_by_id(to)) else {
            self.moves.done(at, to);
            return true;
        };
        // No pass of compaction may replace segments that are being copied.
        if !self.cleaner.busy.lock().insert(replica.name.clone()) {
            return false;
        }
        let from = replica.directory();
        let path = directory.files.future_path(&replica.name, self.random.lock().uuid());
        let outcome: Result<(), Ended> = loop {
            match self.copy(&replica, directory, &path) {
                Err(Ended::Overtaken) => {
                    tracing::info!(partition = %replica.name, "its log was cut while it was copied; copied anew");
                }
                outcome => break outcome,
            }
        };
        self.cleaner.busy.lock().remove(&replica.name);
        let partition = &replica.name;
        let (from, to_path) = (from.files.path().display(), directory.files.path().display());
        let is_left = outcome.is_err();
        match outcome {
            Ok(()) => {
                tracing::info!(%partition, %from, to = %to_path, "moved to another log directory");
                // Told to the controller, as the image says otherwise.
                self.misplaced.notify_one();
            }
            Err(Ended::Unwanted | Ended::Overtaken) => {
                tracing::info!(%partition, %from, "stays where it was")
            }
            Err(Ended::Unreadable(error)) => tracing::error!(%partition, %error, "stays where it was"),
            Err(Ended::Storage(error @ StorageError::Full { .. })) => {
                tracing::warn!(%partition, %error, to = %to_path, "not moved: there is no room");
            }
            Err(Ended::Storage(error)) => {
                tracing::warn!(%partition, %error, to = %to_path, "not moved to another log directory");
                self.handle_storage_error(&error);
            }
        }
        if is_left
            && !directory.is_offline()
            && let Err(error) = directory.files.remove_if_exists(&path)
        {
            self.handle_storage_error(&error);
        }
        self.moves.done(at, to);
        true
    }

    fn copy(&self, replica: &Replica, to: &Arc<Directory>, path: &Path) -> Result<(), Ended> {
        let disk = to.files.disk();
        let config = replica.log_config();
        let (mut future, _) = self.open_future(path, config, to)?;
        let (start, truncations) = {
            let partition = replica.lock();
            let log = partition.log();
            // The first batch may begin before the log does.
            (next_region(log, log.log_start_offset())?.base_offset, log.truncations())
        };
        future.truncate_fully_and_start_at(start, self.options.clock.now())?;
        loop {
            if !self.moves.is_wanted(replica.id, to) {
                return Err(Ended::Unwanted);
            }
            let region = {
                let partition = replica.lock();
                check(replica, partition.log(), truncations)?;
                next_region(partition.log(), future.log_end_offset())?
            };
            let piece = read(region, &replica.directory())?;
            let is_near = piece.len() < BYTES_LEFT_MAX;
            self.append(&mut future, &piece)?;
            self.moves.future.lock().replace((
                replica.id,
                Future {
                    directory: to.id,
                    size_bytes: future.size_bytes(),
                    log_end_offset: future.log_end_offset(),
                },
            ));
            if is_near {
                break;
            }
        }
        // Most of it, while the replica goes on.
        future.flush()?;
        partition_metadata::write(&**disk, path, replica.id.topic_id)?;

        let mut recovery_points = to.recovery_points.lock();
        let mut first_dirty = to.first_dirty.lock();
        let mut partition = replica.lock();
        check(replica, partition.log(), truncations)?;
        while future.log_end_offset() < partition.log().log_end_offset() {
            let region = next_region(partition.log(), future.log_end_offset())?;
            let piece = read(region, &replica.directory())?;
            self.append(&mut future, &piece)?;
        }
        future.close()?;
        let moved = to.files.adopt(path, &replica.name)?;
        let (mut log, _) = self.open_future(&moved, config, to)?;
        log.succeed(partition.log())?;
        // What is written down may be about a log that was here before.
        to.lower_recovery_point(&mut recovery_points, &replica.name, log.log_end_offset())?;
        to.lower_first_dirty(&mut first_dirty, &replica.name, log.first_dirty_offset())?;
        let from = replica.directory();
        *partition.log_mut() = log;
        *replica.directory.write() = to.clone();
        drop(partition);
        drop(first_dirty);
        drop(recovery_points);
        if to.is_offline() {
            // It failed just now, and whoever took it offline may not have seen this one.
            self.take_offline(to);
        }
        if let Err(error) = self.set_aside(&from, &replica.name) {
            self.handle_storage_error(&error);
        }
        Ok(())
    }

    fn open_future(
        &self,
        path: &Path,
        config: LogConfig,
        to: &Directory,
    ) -> Result<(Log, RecoveryReport), StorageError> {
        let recovery = Recovery { clean: true, ..Recovery::UNKNOWN };
        Log::open(to.files.disk().clone(), path.to_owned(), config, recovery, self.options.clock.now())
    }

    fn append(&self, future: &mut Log, piece: &[u8]) -> Result<(), Ended> {
        match future.append_as_follower(piece, LeaderEpoch(i32::MAX), self.options.clock.now()) {
            Ok(_) => Ok(()),
            Err(AppendError::Storage(error)) => Err(Ended::Storage(error)),
            Err(error) => Err(Ended::Unreadable(error.to_string())),
        }
    }

    /// Copies that an earlier process did not complete go, and are begun anew.
    pub(super) fn resume_moves(&self, directory: &Directory) -> Result<(), StorageError> {
        for (path, dir) in directory.files.partition_dirs()? {
            let PartitionDir::Future(name) = dir else { continue };
            directory.files.remove(&path)?;
            let replica = self.all().into_iter().find(|replica| replica.name == name);
            if let Some(replica) = replica {
                self.moves.request(&replica, directory);
            }
        }
        Ok(())
    }
}

/// Fails when the log is not what is being copied any more.
fn check(replica: &Replica, log: &Log, truncations: u64) -> Result<(), Ended> {
    if replica.is_removed() {
        Err(Ended::Unwanted)
    } else if log.truncations() != truncations {
        Err(Ended::Overtaken)
    } else {
        Ok(())
    }
}

fn next_region(log: &Log, from: Offset) -> Result<ReadResult, Ended> {
    log.read(from, log.log_end_offset(), BYTES_MAX, AtLeast::OneBatch).map_err(|error| match error {
        ReadError::Storage(error) => Ended::Storage(error),
        // Retention was quicker.
        ReadError::OffsetOutOfRange { .. } => Ended::Overtaken,
    })
}

fn read(found: ReadResult, directory: &Directory) -> Result<Vec<u8>, StorageError> {
    let path = || directory.files.path().to_owned();
    let Some(region) = found.region else { return Ok(Vec::new()) };
    region.read().map_err(|source| StorageError::Io { action: "read a log in", path: path(), source })
}

#[cfg(test)]
mod tests;
