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
use ottla_types::{LeaderEpoch, Monotonic, Offset, TopicIdPartition, TopicPartition, Uuid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::oneshot::error::RecvError;

/// How much is copied at a time.
const BYTES_MAX: usize = 1 << 20;

/// How long to wait for the pass of compaction that is under way.
const BACKOFF: Duration = Duration::from_millis(50);

/// How long to wait for the throttle at most before looking whether the move is still wanted.
const PAUSE_MAX: Duration = Duration::from_secs(1);

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

/// A copy that is under way.
struct Copying {
    replica: Arc<Replica>,
    from: Arc<Directory>,
    to: Arc<Directory>,
    path: PathBuf,
    /// `None` until its log is made.
    begun: Option<Begun>,
}

struct Begun {
    future: Log,
    /// Those of the log that is copied: another one, and the copy is of something that is not there any more.
    truncations: u64,
}

/// Moves what is asked for, on a thread of its own.
pub async fn run(replicas: Arc<ReplicaManager>, pool: IoPool) {
    loop {
        let mut busy = BTreeSet::new();
        while let Some((at, to)) = replicas.moves.next(&busy) {
            match replicas.begin_move(at, to) {
                Begin::Copy(copying) => {
                    let name = copying.replica.name.clone();
                    if move_replica(&replicas, &pool, copying).await.is_err() {
                        tracing::error!(partition = %name, "moving a replica ended in a panic");
                        replicas.cleaner.busy.lock().remove(&name);
                    }
                    replicas.moves.done(at, to);
                }
                Begin::Nothing => replicas.moves.done(at, to),
                Begin::Busy => {
                    busy.insert(at);
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

/// Copies, and waits where the throttle says so, until the copy has taken the log's place or nothing comes of it.
async fn move_replica(
    replicas: &Arc<ReplicaManager>,
    pool: &IoPool,
    mut copying: Box<Copying>,
) -> Result<(), RecvError> {
    loop {
        let manager = replicas.clone();
        let (back, step) = pool
            .run(move || {
                let step = manager.copy_on(&mut copying);
                (copying, step)
            })
            .await?;
        copying = back;
        let ended = match step {
            Ok(Some(open_at)) => {
                let wait = open_at - replicas.options.clock.monotonic();
                tokio::time::sleep(wait.min(PAUSE_MAX)).await;
                continue;
            }
            Err(Ended::Overtaken) => {
                let partition = &copying.replica.name;
                tracing::info!(%partition, "its log was cut while it was copied; copied anew");
                copying.begun = None;
                continue;
            }
            Ok(None) => Ok(()),
            Err(ended) => Err(ended),
        };
        let manager = replicas.clone();
        return pool.run(move || manager.end_move(copying, ended)).await;
    }
}

/// Whether a move begins.
enum Begin {
    Copy(Box<Copying>),
    /// The replica or the directory is gone.
    Nothing,
    /// It is being compacted.
    Busy,
}

impl ReplicaManager {
    /// The moves between directories.
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    fn begin_move(&self, at: TopicIdPartition, to: Uuid) -> Begin {
        let (Some(replica), Some(to)) = (self.get(at), self.directories.online_by_id(to)) else {
            return Begin::Nothing;
        };
        // No pass of compaction may replace segments that are being copied.
        if !self.cleaner.busy.lock().insert(replica.name.clone()) {
            return Begin::Busy;
        }
        let path = to.files.future_path(&replica.name, self.random.lock().uuid());
        let (from, to) = (replica.directory(), to.clone());
        Begin::Copy(Box::new(Copying { from, to, replica, path, begun: None }))
    }

    fn end_move(&self, copying: Box<Copying>, outcome: Result<(), Ended>) {
        let Copying { replica, from, to, path, begun } = *copying;
        drop(begun);
        self.cleaner.busy.lock().remove(&replica.name);
        let partition = &replica.name;
        let (from, to_path) = (from.files.path().display(), to.files.path().display());
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
            && !to.is_offline()
            && let Err(error) = to.files.remove_if_exists(&path)
        {
            self.handle_storage_error(&error);
        }
    }

    /// Copies until the copy has taken the log's place, or the throttle closes: then it tells when that opens.
    fn copy_on(&self, copying: &mut Copying) -> Result<Option<Monotonic>, Ended> {
        let Copying { replica, to, path, begun, .. } = copying;
        let begun = match begun {
            Some(begun) => begun,
            None => begun.insert(self.begin_copy(replica, to, path)?),
        };
        loop {
            if !self.moves.is_wanted(replica.id, to) {
                return Err(Ended::Unwanted);
            }
            let now = self.options.clock.monotonic();
            let throttle = *self.throttles.directories.lock();
            if let Some(open_at) = throttle.opens_at(now) {
                return Ok(Some(open_at));
            }
            let bytes_max = usize::try_from(throttle.admits(now)).unwrap_or(usize::MAX).min(BYTES_MAX);
            let Begun { future, truncations } = begun;
            let (region, end) = {
                let partition = replica.lock();
                let log = partition.log();
                check(replica, log, *truncations)?;
                (next_region(log, future.log_end_offset(), bytes_max)?, log.log_end_offset())
            };
            let piece = read(region, &replica.directory())?;
            self.append(future, &piece)?;
            self.throttles.directories.lock().record(piece.len() as u64, now);
            self.moves.future.lock().replace((
                replica.id,
                Future {
                    directory: to.id,
                    size_bytes: future.size_bytes(),
                    log_end_offset: future.log_end_offset(),
                },
            ));
            if future.log_end_offset() >= end {
                break;
            }
        }
        self.take_over(copying)?;
        Ok(None)
    }

    fn begin_copy(&self, replica: &Replica, to: &Directory, path: &Path) -> Result<Begun, Ended> {
        let (mut future, _) = self.open_future(path, replica.log_config(), to)?;
        let (start, truncations) = {
            let partition = replica.lock();
            let log = partition.log();
            // The first batch may begin before the log does.
            (next_region(log, log.log_start_offset(), BYTES_MAX)?.base_offset, log.truncations())
        };
        future.truncate_fully_and_start_at(start, self.options.clock.now())?;
        Ok(Begun { future, truncations })
    }

    /// The copy gets what is missing, and takes the log's place.
    fn take_over(&self, copying: &mut Copying) -> Result<(), Ended> {
        let Copying { replica, to, path, begun, .. } = copying;
        let Some(Begun { mut future, truncations }) = begun.take() else { return Ok(()) };
        // Most of it, while the replica goes on.
        future.flush()?;
        partition_metadata::write(&**to.files.disk(), path, replica.id.topic_id)?;

        let mut recovery_points = to.recovery_points.lock();
        let mut first_dirty = to.first_dirty.lock();
        let mut partition = replica.lock();
        check(replica, partition.log(), truncations)?;
        while future.log_end_offset() < partition.log().log_end_offset() {
            let region = next_region(partition.log(), future.log_end_offset(), BYTES_MAX)?;
            let piece = read(region, &replica.directory())?;
            self.append(&mut future, &piece)?;
        }
        future.close()?;
        let moved = to.files.adopt(path, &replica.name)?;
        let (mut log, _) = self.open_future(&moved, replica.log_config(), to)?;
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

fn next_region(log: &Log, from: Offset, bytes_max: usize) -> Result<ReadResult, Ended> {
    log.read(from, log.log_end_offset(), bytes_max, AtLeast::OneBatch).map_err(|error| match error {
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
