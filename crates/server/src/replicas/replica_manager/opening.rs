//! Which directory a replica is in, and how its log is opened there and removed.

use super::checkpoints::is_metadata;
use super::{Replica, ReplicaManager};
use crate::bug::{Bug, is_made};
use crate::replicas::directories::Directory;
use crate::replicas::offset_checkpoints::Checkpoint;
use crate::replicas::throttles::{Throttled, ThrottledLists};
use ottla_metadata::{MetadataImage, PartitionRegistration, TopicImage};
use ottla_replication::Partition;
use ottla_storage::{Log, PartitionDir, Recovery, StorageError, partition_metadata};
use ottla_types::{TopicIdPartition, TopicPartition, Uuid};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a replica is to be opened.
struct Place {
    directory: Arc<Directory>,
    /// What was written down of the log that is there.
    checkpoint: Checkpoint,
    /// Whether it begins there: its directory does not say yet whose it is.
    is_new: bool,
}

/// How many logs are opened at a time when a broker starts. Beside a busy disk it waits for that nearly all the time: little is
/// read of each, but of a thousand.
const OPENED_AT_ONCE: usize = 4;

impl ReplicaManager {
    /// Opens, several at a time, the logs of this broker's partitions that are `held`. Those that begin come later: where each
    /// does depends on where the others are.
    pub(super) fn open_held(&self, image: &MetadataImage, held: &[TopicPartition]) {
        self.options.threads.for_each("open", OPENED_AT_ONCE, held, |name| {
            let Some((topic, registration)) = self.registered(image, name) else { return };
            let at = TopicIdPartition::new(topic.id, name.partition);
            if self.get(at).is_none() {
                self.open(image, topic, at, registration);
            }
        });
    }

    /// The partition of this name, if this broker is to have it.
    fn registered<'a>(
        &self,
        image: &'a MetadataImage,
        name: &TopicPartition,
    ) -> Option<(&'a TopicImage, &'a PartitionRegistration)> {
        let topic = image.topics.by_name(&name.topic)?;
        let registration = topic.partitions.get(&name.partition)?;
        registration.has_replica(self.options.node_id).then_some((topic, registration))
    }

    /// Opens a replica's log; `None` when it is in a directory that does not work, or fails now.
    pub(super) fn open(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        at: TopicIdPartition,
        registration: &PartitionRegistration,
    ) -> Option<Arc<Replica>> {
        match self.try_open(image, topic, at, registration) {
            Ok(replica) => replica,
            Err(error) => {
                self.handle_storage_error(&error);
                // It may have held records: it must not begin anew in another directory.
                let failed = self.directories.holding(error.path());
                if let Some(directory) = failed.filter(|directory| directory.is_offline()) {
                    self.offline.lock().insert(at, directory.id);
                    self.has_misplaced.store(true, Ordering::Release);
                }
                None
            }
        }
    }

    fn try_open(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        at: TopicIdPartition,
        registration: &PartitionRegistration,
    ) -> Result<Option<Arc<Replica>>, StorageError> {
        if self.is_offline(at) {
            return Ok(None);
        }
        let name = TopicPartition::new(&topic.name, at.partition);
        let registered = registration.directory(self.options.node_id);
        let Some(Place { directory, checkpoint, is_new }) = self.place(&name, topic.id, registered)? else {
            tracing::warn!(partition = %name, "in a log directory that does not work");
            self.offline.lock().insert(at, registered);
            return Ok(None);
        };
        let dir = directory.files.partition_path(&name);
        let disk = directory.files.disk();
        let topic_config = self.topic_config(image, &topic.name);
        let (config, settings) = self.topic_settings(&topic_config);
        let recovery = Recovery {
            clean: directory.clean || is_made(Bug::EveryEndTakenForOrderly),
            recovery_point: checkpoint.recovery_point,
            log_start: checkpoint.log_start,
        };
        let now = self.options.clock.now();
        let (mut log, report) = Log::open(disk.clone(), dir.clone(), config, recovery, now)?;
        log.restore_first_dirty_offset(checkpoint.first_dirty);
        if is_new {
            partition_metadata::write(&**disk, &dir, topic.id)?;
        }
        // What is written down may be about a log of the same name that was deleted.
        let mut written = directory.recovery_points.lock();
        directory.lower_recovery_point(&mut written, &name, log.log_end_offset())?;
        drop(written);
        let mut written = directory.first_dirty.lock();
        directory.lower_first_dirty(&mut written, &name, log.first_dirty_offset())?;
        drop(written);
        if report.truncated_bytes > 0 {
            tracing::warn!(partition = %name, bytes = report.truncated_bytes, "cut off a torn end");
        }
        let high_watermark = checkpoint.high_watermark;
        let partition = Partition::new(at, name.clone(), self.options.node_id, settings, log, high_watermark);
        let replica = Arc::new(Replica {
            id: at,
            name,
            partition: Mutex::new(partition),
            log_config: RwLock::new(config),
            flushed_at: Mutex::new(now.monotonic),
            directory: RwLock::new(directory.clone()),
            removed: AtomicBool::new(false),
            ceded_at: Mutex::default(),
            throttled: Throttled::new(
                &ThrottledLists::new(&topic_config),
                at.partition,
                self.options.node_id,
                registration.isr.contains(&self.options.node_id),
            ),
        });
        self.replicas.write().insert(at, replica.clone());
        if directory.is_offline() {
            // It failed just now, and whoever took it offline may not have seen this one.
            self.take_offline(&directory);
            return Ok(None);
        }
        Ok(Some(replica))
    }

    /// Looks for a replica's log, and else for a place where it can begin. `None`: it is where nobody can look.
    fn place(
        &self,
        name: &TopicPartition,
        topic_id: Uuid,
        registered: Uuid,
    ) -> Result<Option<Place>, StorageError> {
        let mut bare = Vec::new();
        let place = self.find_place(name, topic_id, registered, &mut bare)?;
        let id = place.as_ref().map(|place| place.directory.id);
        for directory in bare.iter().filter(|directory| Some(directory.id) != id) {
            self.set_aside(directory, name)?;
        }
        Ok(place)
    }

    /// `bare` gets the directories where a log was begun and came to nothing.
    fn find_place(
        &self,
        name: &TopicPartition,
        topic_id: Uuid,
        registered: Uuid,
        bare: &mut Vec<Arc<Directory>>,
    ) -> Result<Option<Place>, StorageError> {
        let mut holding = Vec::new();
        for directory in self.directories.online() {
            let path = directory.files.partition_path(name);
            // Once only: what was written down is of the log that was there at the start, and of no later one.
            let checkpoint = directory.found.lock().take(name);
            match partition_metadata::read(&**directory.files.disk(), &path)? {
                Some(found) if found == topic_id => {
                    holding.push(Place { directory: directory.clone(), checkpoint, is_new: false });
                }
                // Left by a topic of the same name that was deleted while this broker was away.
                Some(_) => self.set_aside(directory, name)?,
                None if directory.files.disk().list(&path).is_ok() => bare.push(directory.clone()),
                None => {}
            }
        }
        if !holding.is_empty() {
            let known = holding.iter().position(|place| place.directory.id == registered);
            let place = holding.swap_remove(known.unwrap_or(0));
            for Place { directory, .. } in holding {
                let path = directory.files.path().display();
                tracing::warn!(partition = %name, directory = %path, "there is another log of it: set aside");
                directory.files.mark_stray(name, self.random.lock().uuid())?;
            }
            return Ok(Some(place));
        }
        if !registered.is_reserved() && self.directories.may_be_offline(registered) {
            return Ok(None);
        }
        let preferred = self.moves.take_preferred(name).and_then(|id| self.directories.online_by_id(id));
        let directory = match preferred.or_else(|| self.directories.online_by_id(registered)) {
            Some(directory) => Some(directory.clone()),
            None => self.emptiest(),
        };
        Ok(directory.map(|directory| Place { directory, checkpoint: Checkpoint::default(), is_new: true }))
    }

    /// The directory with the fewest replicas, of equal ones the first; `None` when none works.
    fn emptiest(&self) -> Option<Arc<Directory>> {
        let mut counts: BTreeMap<Uuid, usize> = BTreeMap::new();
        for replica in self.all() {
            *counts.entry(replica.directory().id).or_default() += 1;
        }
        let count = |directory: &&Arc<Directory>| counts.get(&directory.id).copied().unwrap_or(0);
        self.directories.online().min_by_key(count).cloned()
    }

    pub(super) fn remove_topic(&self, topic_id: Uuid) {
        let gone: Vec<TopicIdPartition> =
            self.all().iter().map(|replica| replica.id).filter(|at| at.topic_id == topic_id).collect();
        for at in gone {
            self.remove_replica(at);
        }
        self.offline.lock().retain(|at, _| at.topic_id != topic_id);
    }

    pub(super) fn remove_replica(&self, at: TopicIdPartition) {
        // What a directory holds that does not work is set aside when it does again.
        self.offline.lock().remove(&at);
        let Some(replica) = self.replicas.write().remove(&at) else { return };
        self.retire(&replica);
        if let Err(error) = self.set_aside(&replica.directory(), &replica.name) {
            self.handle_storage_error(&error);
        }
    }

    /// Renames a partition's directory and removes it.
    pub(super) fn set_aside(&self, directory: &Directory, name: &TopicPartition) -> Result<(), StorageError> {
        let unique = self.random.lock().uuid();
        let path = directory.files.mark_deleted(name, unique)?;
        directory.files.remove(&path)
    }

    /// Directories of partitions that this broker is no longer to have are kept aside under another name;
    /// those already marked as deleted go. Returns the others, each once.
    pub(super) fn remove_strays(&self, image: &MetadataImage) -> Vec<TopicPartition> {
        let mut held = BTreeSet::new();
        for directory in self.directories.online() {
            if let Err(error) = self.remove_strays_of(directory, image, &mut held) {
                self.handle_storage_error(&error);
            }
        }
        held.into_iter().collect()
    }

    fn remove_strays_of(
        &self,
        directory: &Directory,
        image: &MetadataImage,
        held: &mut BTreeSet<TopicPartition>,
    ) -> Result<(), StorageError> {
        for (path, dir) in directory.files.partition_dirs()? {
            match dir {
                PartitionDir::Deleted => directory.files.remove(&path)?,
                PartitionDir::Stray | PartitionDir::Future(_) => {}
                PartitionDir::Partition(name) if is_metadata(&name) => {}
                PartitionDir::Partition(name) => {
                    if self.registered(image, &name).is_some() {
                        held.insert(name);
                    } else {
                        tracing::warn!(partition = %name, "not assigned to this broker: set aside");
                        directory.files.mark_stray(&name, self.random.lock().uuid())?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
