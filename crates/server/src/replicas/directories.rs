//! The log directories of this broker (KIP-112, KIP-858): what each holds, what was written down in it, and which have
//! failed. The failure of one costs its replicas, and no others.

use super::offset_checkpoints::OffsetCheckpoints;
use ottla_storage::{LogDirectory, StorageError};
use ottla_types::{Offset, TopicPartition, Uuid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, watch};

/// A directory as it was found at the start.
#[derive(Clone, Debug)]
pub struct FoundDirectory {
    /// The directory, locked.
    pub directory: Arc<LogDirectory>,
    /// Its id, from `meta.properties`.
    pub id: Uuid,
    /// Whether its last user ended in order.
    pub clean: bool,
}

/// One log directory in use.
#[derive(Debug)]
pub struct Directory {
    /// Its id.
    pub id: Uuid,
    /// Its files.
    pub files: Arc<LogDirectory>,
    /// Whether its last user ended in order.
    pub clean: bool,
    /// What was written down before this start, of logs that were not opened yet.
    pub(super) found: Mutex<OffsetCheckpoints>,
    /// The recovery points as they are on disk. Locked before any replica.
    pub(super) recovery_points: Mutex<BTreeMap<TopicPartition, Offset>>,
    /// `cleaner-offset-checkpoint` as it is on disk. Locked after the recovery points and before any replica.
    pub(super) first_dirty: Mutex<BTreeMap<TopicPartition, Offset>>,
    offline: AtomicBool,
}

impl Directory {
    fn open(found: FoundDirectory) -> Result<Directory, StorageError> {
        let FoundDirectory { directory, id, clean } = found;
        let checkpoints = OffsetCheckpoints::read(&directory)?;
        Ok(Directory {
            id,
            files: directory,
            clean,
            recovery_points: Mutex::new(checkpoints.recovery_points.clone()),
            first_dirty: Mutex::new(checkpoints.first_dirty.clone()),
            found: Mutex::new(checkpoints),
            offline: AtomicBool::new(false),
        })
    }

    /// Returns whether it has failed.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Writes down that a log is on disk up to `end` at most, unless nothing more was written.
    pub(super) fn lower_recovery_point(
        &self,
        written: &mut BTreeMap<TopicPartition, Offset>,
        name: &TopicPartition,
        end: Offset,
    ) -> Result<(), StorageError> {
        if !lower(written, name, end) {
            return Ok(());
        }
        let checkpoints = OffsetCheckpoints { recovery_points: written.clone(), ..Default::default() };
        checkpoints.write_recovery_points(&self.files)
    }

    /// Writes down that a log is compacted up to `end` at most, unless nothing more was written.
    pub(super) fn lower_first_dirty(
        &self,
        written: &mut BTreeMap<TopicPartition, Offset>,
        name: &TopicPartition,
        end: Offset,
    ) -> Result<(), StorageError> {
        if !lower(written, name, end) {
            return Ok(());
        }
        let checkpoints = OffsetCheckpoints { first_dirty: written.clone(), ..Default::default() };
        checkpoints.write_first_dirty(&self.files)
    }
}

/// Lowers what is written of a log to `end`. Returns whether it was more.
fn lower(written: &mut BTreeMap<TopicPartition, Offset>, name: &TopicPartition, end: Offset) -> bool {
    let Some(offset) = written.get_mut(name).filter(|offset| **offset > end) else { return false };
    *offset = end;
    true
}

/// All log directories of this broker.
#[derive(Debug)]
pub struct Directories {
    all: Vec<Arc<Directory>>,
    /// Those that could not be used at the start.
    unusable: Vec<PathBuf>,
    /// The metadata log's: without it there is no node.
    metadata: PathBuf,
    failed: watch::Sender<BTreeSet<Uuid>>,
    given_up: AtomicBool,
    giving_up: Notify,
}

impl Directories {
    /// Reads what was written down in each.
    ///
    /// # Errors
    /// When a checkpoint is there and makes no sense; when the metadata log's directory cannot be read.
    pub fn open(
        found: Vec<FoundDirectory>,
        unusable: Vec<PathBuf>,
        metadata: PathBuf,
    ) -> Result<Directories, StorageError> {
        let (mut all, mut unusable) = (Vec::new(), unusable);
        for found in found {
            let path = found.directory.path().to_owned();
            match Directory::open(found) {
                Ok(directory) => all.push(Arc::new(directory)),
                Err(error @ StorageError::Io { .. }) if path != metadata => {
                    tracing::error!(%error, "log directory cannot be used; the broker goes on without it");
                    unusable.push(path);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Directories {
            all,
            unusable,
            metadata,
            failed: watch::Sender::new(BTreeSet::new()),
            given_up: AtomicBool::new(false),
            giving_up: Notify::new(),
        })
    }

    /// As if these could not have been used at the start.
    #[cfg(test)]
    pub(super) fn set_unusable(&mut self, unusable: Vec<PathBuf>) {
        self.unusable = unusable;
    }

    /// Those that were usable at the start, as the configuration lists them.
    pub fn all(&self) -> &[Arc<Directory>] {
        &self.all
    }

    /// Those that work.
    pub fn online(&self) -> impl Iterator<Item = &Arc<Directory>> {
        self.all.iter().filter(|directory| !directory.is_offline())
    }

    /// The one that works and has this id.
    pub fn online_by_id(&self, id: Uuid) -> Option<&Arc<Directory>> {
        self.online().find(|directory| directory.id == id)
    }

    /// The paths of those that do not work.
    pub fn offline(&self) -> impl Iterator<Item = &Path> {
        let failed = self.all.iter().filter(|directory| directory.is_offline());
        self.unusable.iter().map(PathBuf::as_path).chain(failed.map(|directory| directory.files.path()))
    }

    /// Returns whether a replica that is said to be in the directory `id` may be in one that does not work.
    pub fn may_be_offline(&self, id: Uuid) -> bool {
        self.failed.borrow().contains(&id) || (!self.unusable.is_empty() && self.online_by_id(id).is_none())
    }

    /// The ids of those that failed since the start, as they grow.
    pub fn failed(&self) -> watch::Receiver<BTreeSet<Uuid>> {
        self.failed.subscribe()
    }

    /// The directory that a file is in; the innermost, where one lies within another.
    pub fn holding(&self, path: &Path) -> Option<&Arc<Directory>> {
        let holding = self.all.iter().filter(|directory| path.starts_with(directory.files.path()));
        holding.max_by_key(|directory| directory.files.path().as_os_str().len())
    }

    /// Takes a directory offline. False when it was already.
    pub(super) fn fail(&self, directory: &Directory) -> bool {
        if directory.offline.swap(true, Ordering::AcqRel) {
            return false;
        }
        if let Err(error) = directory.files.remove_incarnation() {
            tracing::debug!(%error, "nor can that be noted");
        }
        self.failed.send_modify(|failed| {
            failed.insert(directory.id);
        });
        if directory.files.path() == self.metadata || self.online().next().is_none() {
            self.give_up();
        }
        true
    }

    /// The node cannot go on.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.giving_up.notify_waiters();
        self.giving_up.notify_one();
    }

    /// Returns whether the node cannot go on: all have failed, or the metadata log's has.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Waits until it cannot.
    pub async fn given_up(&self) {
        if !self.is_given_up() {
            self.giving_up.notified().await;
        }
    }
}
