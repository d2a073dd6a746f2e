//! A log directory: who may use it, whether its last user ended in order, and which logs it holds.

use crate::disk::{DirLock, Disk, parent, read_if_exists};
use crate::error::{IoContext, StorageError};
use ottla_types::{BrokerEpoch, TopicPartition, Uuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Ours alone; to Kafka a file that it does not know.
const INCARNATION: &str = ".ottla_incarnation";
const DELETE_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
const FUTURE_SUFFIX: &str = "-future";
/// The longest name of a file or directory.
const NAME_BYTES_MAX: usize = 255;

/// A log directory, held exclusively.
#[derive(Debug)]
pub struct LogDirectory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    _lock: Box<dyn DirLock>,
}

/// What a directory tells of the broker that used it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The last epoch that it knew, of which everything is here; [`BrokerEpoch::NONE`] if it knew none.
    pub epoch: BrokerEpoch,
    /// The id by which it was registering when it ended. Whether that is registered, and as which epoch, it never learned.
    pub registering: Option<Uuid>,
}

/// A directory within a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionDir {
    /// A partition's log.
    Partition(TopicPartition),
    /// A log that is to be removed.
    Deleted,
    /// A log that this broker was not to have; kept aside.
    Stray,
    /// A partition's log that is being copied here from another directory. The topic's name is cut where the file
    /// system could not take it whole.
    Future(TopicPartition),
}

impl PartitionDir {
    /// What a directory of this name holds; `None` when it is not one of ours.
    pub fn parse(name: &str) -> Option<PartitionDir> {
        let marked = |suffix: &str| {
            let (partition, unique) = name.strip_suffix(suffix)?.rsplit_once('.')?;
            let is_unique = unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_unique && !partition.is_empty()).then_some(partition)
        };
        if marked(DELETE_SUFFIX).is_some() {
            return Some(PartitionDir::Deleted);
        }
        if marked(STRAY_SUFFIX).is_some() {
            return Some(PartitionDir::Stray);
        }
        if let Some(partition) = marked(FUTURE_SUFFIX) {
            return parse_partition(partition).map(PartitionDir::Future);
        }
        parse_partition(name).map(PartitionDir::Partition)
    }
}

fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !is_number {
        return None;
    }
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

impl LogDirectory {
    /// Takes the directory, creating it if need be.
    ///
    /// # Errors
    /// [`StorageError::Io`] of kind `WouldBlock` when another process has it.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<LogDirectory, StorageError> {
        disk.create_dir_all(&path).at("create", &path)?;
        disk.sync_dir(parent(&path)).at("sync", parent(&path))?;
        let lock_path = path.join(LOCK);
        let lock = disk.lock(&lock_path).at("lock", &lock_path)?;
        Ok(LogDirectory { disk, path, _lock: lock })
    }

    /// The broker epoch of the last user if it ended in order, else `None`. [`BrokerEpoch::NONE`]: it did, and did
    /// not say which it was.
    ///
    /// # Errors
    /// What the device says.
    pub fn clean_shutdown(&self) -> Result<Option<BrokerEpoch>, StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let Some(bytes) = read_if_exists(&*self.disk, &path).at("read", &path)? else { return Ok(None) };
        let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        let epoch = json.and_then(|json| json.get("brokerEpoch")?.as_i64());
        Ok(Some(epoch.map_or(BrokerEpoch::NONE, BrokerEpoch)))
    }

    /// Takes the marker away, durably: from here on only recovery tells what the logs hold. Must precede the
    /// first append.
    ///
    /// # Errors
    /// What the device says.
    pub fn remove_clean_shutdown(&self) -> Result<(), StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        crate::disk::remove_if_exists(&*self.disk, &path).at("remove", &path)?;
        self.disk.sync_dir(&self.path).at("sync", &self.path)
    }

    /// Leaves the marker: all logs were closed in order.
    ///
    /// # Errors
    /// What the device says.
    pub fn write_clean_shutdown(&self, epoch: BrokerEpoch) -> Result<(), StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let json = format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
        self.disk.write_atomically(&path, json.as_bytes()).at("write", &path)
    }

    /// Notes which incarnation of a broker uses the directory, and in which run of the machine; durable on return.
    ///
    /// # Errors
    /// What the device says.
    pub fn write_incarnation(&self, incarnation: Incarnation) -> Result<(), StorageError> {
        let Some(boot_id) = self.disk.boot_id(&self.path) else { return Ok(()) };
        let path = self.path.join(INCARNATION);
        let mut json =
            serde_json::json!({ "version": 0, "brokerEpoch": incarnation.epoch.0, "bootId": boot_id });
        if let Some(id) = incarnation.registering {
            json["registering"] = id.to_string().into();
        }
        self.disk.write_atomically(&path, json.to_string().as_bytes()).at("write", &path)
    }

    /// The last incarnation that used the directory, if since then neither the machine was started nor the file system
    /// mounted: whatever ended it, the directory holds all that it wrote.
    ///
    /// # Errors
    /// What the device says.
    pub fn incarnation_of_this_boot(&self) -> Result<Option<Incarnation>, StorageError> {
        let path = self.path.join(INCARNATION);
        let Some(bytes) = read_if_exists(&*self.disk, &path).at("read", &path)? else { return Ok(None) };
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let is_of_this_boot =
            json["bootId"].as_str().is_some_and(|id| self.disk.boot_id(&self.path).as_deref() == Some(id));
        let epoch = json["brokerEpoch"].as_i64().filter(|_| is_of_this_boot).map(BrokerEpoch);
        let registering = json["registering"].as_str().and_then(|id| id.parse().ok());
        Ok(epoch.map(|epoch| Incarnation { epoch, registering }))
    }

    /// Forgets the incarnation: the device has failed, and what was written may not be there.
    ///
    /// # Errors
    /// What the device says.
    pub fn remove_incarnation(&self) -> Result<(), StorageError> {
        let path = self.path.join(INCARNATION);
        crate::disk::remove_if_exists(&*self.disk, &path).at("remove", &path)
    }

    /// The directories of logs, by name. Others are not listed.
    ///
    /// # Errors
    /// What the device says.
    pub fn partition_dirs(&self) -> Result<Vec<(PathBuf, PartitionDir)>, StorageError> {
        let entries = self.disk.list(&self.path).at("list", &self.path)?;
        let dirs = entries.into_iter().filter(|entry| entry.is_dir);
        Ok(dirs
            .filter_map(|entry| Some((self.path.join(&entry.name), PartitionDir::parse(&entry.name)?)))
            .collect())
    }

    /// Where a partition's log is, or would be.
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Sets a partition's log aside to be removed, durably: the partition may be created again at once. Returns
    /// where it is now. `unique` tells it from others of the name.
    ///
    /// # Errors
    /// What the device says.
    pub fn mark_deleted(&self, partition: &TopicPartition, unique: Uuid) -> Result<PathBuf, StorageError> {
        self.set_aside(partition, unique, DELETE_SUFFIX)
    }

    /// Sets aside a partition's log that this broker is not to have.
    ///
    /// # Errors
    /// What the device says.
    pub fn mark_stray(&self, partition: &TopicPartition, unique: Uuid) -> Result<PathBuf, StorageError> {
        self.set_aside(partition, unique, STRAY_SUFFIX)
    }

    /// Where a partition's log is copied to before it is complete. `unique` tells it from others of the name.
    pub fn future_path(&self, partition: &TopicPartition, unique: Uuid) -> PathBuf {
        self.marked_path(partition, unique, FUTURE_SUFFIX)
    }

    /// Makes a complete copy the partition's log, durably. Returns where it is now.
    ///
    /// # Errors
    /// What the device says.
    pub fn adopt(&self, future: &Path, partition: &TopicPartition) -> Result<PathBuf, StorageError> {
        let to = self.partition_path(partition);
        self.disk.rename(future, &to).at("rename", future)?;
        self.disk.sync_dir(&self.path).at("sync", &self.path)?;
        Ok(to)
    }

    /// Removes a log that was set aside, or copied in part.
    ///
    /// # Errors
    /// What the device says.
    pub fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.disk.remove_dir_all(path).at("remove", path)
    }

    /// Removes a log that was copied in part, if it is there.
    ///
    /// # Errors
    /// What the device says.
    pub fn remove_if_exists(&self, path: &Path) -> Result<(), StorageError> {
        match self.disk.remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.at("remove", path),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    fn set_aside(
        &self,
        partition: &TopicPartition,
        unique: Uuid,
        suffix: &str,
    ) -> Result<PathBuf, StorageError> {
        let from = self.partition_path(partition);
        let to = self.marked_path(partition, unique, suffix);
        self.disk.rename(&from, &to).at("rename", &from)?;
        self.disk.sync_dir(&self.path).at("sync", &self.path)?;
        Ok(to)
    }

    fn marked_path(&self, partition: &TopicPartition, unique: Uuid, suffix: &str) -> PathBuf {
        let hex: String = unique.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let tail = format!("-{}.{hex}{suffix}", partition.partition);
        // Topic names are ASCII: any cut is between characters.
        let topic_bytes_max = NAME_BYTES_MAX - tail.len();
        let topic = &partition.topic[..partition.topic.len().min(topic_bytes_max)];
        self.path.join(format!("{topic}{tail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;

    fn directory(disk: &SimDisk) -> LogDirectory {
        LogDirectory::open(Arc::new(disk.clone()), PathBuf::from("logs")).unwrap()
    }

    #[test]
    fn names_tell_what_a_directory_holds() {
        let unique = "0123456789abcdef0123456789abcdef";
        let partition =
            |topic: &str, partition| Some(PartitionDir::Partition(TopicPartition::new(topic, partition)));
        let cases = [
            ("a-0".to_owned(), partition("a", 0)),
            ("a-b-12".to_owned(), partition("a-b", 12)),
            ("__cluster_metadata-0".to_owned(), partition("__cluster_metadata", 0)),
            (format!("a-0.{unique}-delete"), Some(PartitionDir::Deleted)),
            (format!("a-0.{unique}-stray"), Some(PartitionDir::Stray)),
            (format!("a-b-3.{unique}-future"), Some(PartitionDir::Future(TopicPartition::new("a-b", 3)))),
            ("remote-log-index-cache".to_owned(), None),
            ("a-".to_owned(), None),
            ("-0".to_owned(), None),
            ("a-99999999999".to_owned(), None),
        ];
        for (name, expected) in cases {
            assert_eq!(PartitionDir::parse(&name), expected, "{name}");
        }
    }

    #[test]
    fn one_process_has_the_directory() {
        let disk = SimDisk::new();
        let held = directory(&disk);
        assert!(LogDirectory::open(Arc::new(disk.clone()), PathBuf::from("logs")).is_err());
        drop(held);
        directory(&disk);
    }

    #[test]
    fn the_marker_says_how_the_last_user_ended() {
        let disk = SimDisk::new();
        let directory = directory(&disk);
        assert_eq!(directory.clean_shutdown().unwrap(), None);

        directory.write_clean_shutdown(BrokerEpoch(7)).unwrap();
        assert_eq!(directory.clean_shutdown().unwrap(), Some(BrokerEpoch(7)));
        let path = Path::new("logs").join(CLEAN_SHUTDOWN);
        assert_eq!(disk.read(&path).unwrap(), br#"{"version":0,"brokerEpoch":7}"#);

        directory.remove_clean_shutdown().unwrap();
        directory.remove_clean_shutdown().unwrap();
        assert_eq!(directory.clean_shutdown().unwrap(), None);
    }

    #[test]
    fn an_incarnation_counts_until_the_machine_is_started_again() {
        let disk = SimDisk::new();
        let held = directory(&disk);
        assert_eq!(held.incarnation_of_this_boot().unwrap(), None);

        let first = Incarnation { epoch: BrokerEpoch(7), registering: Some(Uuid::from_u128(5)) };
        held.write_incarnation(first).unwrap();
        drop(held);
        let held = directory(&disk);
        assert_eq!(held.incarnation_of_this_boot().unwrap(), Some(first), "a kill takes nothing");
        drop(held);

        disk.lose_power(&mut ottla_types::Random::new(1));
        let held = directory(&disk);
        assert_eq!(held.incarnation_of_this_boot().unwrap(), None);
        let second = Incarnation { epoch: BrokerEpoch(9), registering: None };
        held.write_incarnation(second).unwrap();
        assert_eq!(held.incarnation_of_this_boot().unwrap(), Some(second));
        held.remove_incarnation().unwrap();
        assert_eq!(held.incarnation_of_this_boot().unwrap(), None);
    }

    #[test]
    fn a_deleted_log_makes_room_for_one_of_the_same_name() {
        let disk = SimDisk::new();
        let directory = directory(&disk);
        let partition = TopicPartition::new("x".repeat(249), 0);
        disk.create_dir_all(&directory.partition_path(&partition)).unwrap();

        let aside = directory.mark_deleted(&partition, Uuid::from_u128(77)).unwrap();

        assert!(aside.file_name().unwrap().len() <= 255);
        assert_eq!(directory.partition_dirs().unwrap(), [(aside.clone(), PartitionDir::Deleted)]);
        directory.remove(&aside).unwrap();
        assert_eq!(directory.partition_dirs().unwrap(), []);
    }
}
