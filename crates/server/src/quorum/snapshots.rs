//! The snapshots of the metadata log: files beside its segments (KIP-630).
//!
//! `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint` contains everything before that offset. A file with
//! this name is whole: it is written under another and renamed when it is on disk.

use ottla_metadata::{MetadataImage, MetadataVersion, Unreadable, checkpoint};
use ottla_protocol::records::control::VotersRecord;
use ottla_storage::{Disk, Log, StorageError};
use ottla_types::{LeaderEpoch, Now, Offset, OffsetAndEpoch, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const SUFFIX: &str = ".checkpoint";

/// The snapshot that `format` writes.
const FIRST: OffsetAndEpoch = OffsetAndEpoch { offset: Offset::ZERO, epoch: LeaderEpoch(0) };

/// The snapshots in the directory of the metadata log.
#[derive(Clone, Debug)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// A piece of a snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There is no such snapshot.
    NoSnapshot,
    /// The file is not that long.
    OutOfRange,
    /// These bytes, of a file of `size` bytes.
    Bytes {
        /// The size of the whole file.
        size: u64,
        /// What was asked for; short at the end of the file.
        bytes: Vec<u8>,
    },
}

/// What a node starts from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The latest snapshot.
    pub id: Option<OffsetAndEpoch>,
    /// The image that it makes; empty without one.
    pub image: MetadataImage,
    /// The voters that it names; without one, those that the node was formatted with.
    pub voters: Option<VotersRecord>,
}

/// Why a node cannot start from its snapshots.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The disk refuses.
    #[error("{path}: {source}", path = .path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The log cannot be made to begin where the snapshot ends.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The latest snapshot is no snapshot.
    #[error(
        "{path}: {source}; the file is damaged: copy it from another controller, or remove {dir} to fetch all of it again",
        path = .path.display(), dir = .path.parent().unwrap_or(.path).display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Unreadable,
    },
    /// What lies before the log's beginning is in no snapshot.
    #[error(
        "{dir}: the log begins at offset {start}, but the latest snapshot ends at {contained}; copy the missing .checkpoint file from another controller, or remove the directory to fetch all of it again",
        dir = .dir.display()
    )]
    Gap {
        /// The directory of the metadata log.
        dir: PathBuf,
        /// Where the log begins.
        start: Offset,
        /// Where the latest snapshot ends; 0 without one.
        contained: Offset,
    },
}

impl Snapshots {
    /// The snapshots in `dir`, which exists.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Snapshots {
        Snapshots { disk, dir: dir.to_owned() }
    }

    /// All snapshots, the oldest first. The one at offset 0, which `format` writes to name the first voters, is
    /// none.
    ///
    /// # Errors
    /// What the device says.
    pub fn list(&self) -> io::Result<Vec<OffsetAndEpoch>> {
        let entries = self.disk.list(&self.dir)?;
        let mut found: Vec<OffsetAndEpoch> = entries.iter().filter_map(|entry| parse(&entry.name)).collect();
        found.retain(|id| id.offset > Offset::ZERO);
        found.sort_by_key(|id| (id.offset, id.epoch));
        Ok(found)
    }

    /// Loads the latest snapshot, and makes `log` begin there if it ends before it, or holds something else: a snapshot of another
    /// node was written, and the process ended before it took the log's place; or power was lost before what the snapshot
    /// contains was synced to the log, where it had taken the place of records that were never committed.
    ///
    /// # Errors
    /// When the snapshot is damaged, or the log begins after it.
    pub fn load_latest(&self, log: &mut Log, now: Now) -> Result<Loaded, LoadError> {
        let dir = || self.dir.clone();
        let latest = self.list().map_err(|source| LoadError::Disk { path: self.dir.clone(), source })?.pop();
        let contained = latest.map_or(Offset::ZERO, |id| id.offset);
        if log.log_start_offset() > contained {
            return Err(LoadError::Gap { dir: dir(), start: log.log_start_offset(), contained });
        }
        let Some(id) = latest else {
            let voters = self.formatted_voters()?;
            return Ok(Loaded { id: None, image: MetadataImage::default(), voters });
        };
        let bytes = self.read(id).map_err(|source| LoadError::Disk { path: self.path(id), source })?;
        let damaged = |source| LoadError::Damaged { path: self.path(id), source };
        let contents = checkpoint::decode(&bytes).map_err(damaged)?;
        let image = contents.image(id).map_err(damaged)?;
        // A log that begins where the snapshot ends knows nothing of that record.
        let last = log.epochs().epoch_of(Offset(id.offset.0 - 1));
        let is_reached = log.log_end_offset() > id.offset
            || (log.log_end_offset() == id.offset && log.latest_epoch() == id.epoch);
        if !is_reached || last.is_some_and(|epoch| epoch != id.epoch) {
            tracing::info!(snapshot = %id, end = %log.log_end_offset(), "the metadata log begins anew where its snapshot ends");
            log.truncate_fully_and_start_at(id.offset, now)?;
        }
        Ok(Loaded { id: Some(id), image, voters: contents.voters })
    }

    /// The voters that the node was formatted with.
    fn formatted_voters(&self) -> Result<Option<VotersRecord>, LoadError> {
        let path = self.path(FIRST);
        let bytes = match self.read(FIRST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Disk { path, source }),
        };
        match checkpoint::decode(&bytes) {
            Ok(contents) => Ok(contents.voters),
            Err(source) => Err(LoadError::Damaged { path, source }),
        }
    }

    /// Writes the snapshot that names the first voters, for a node that has no log yet.
    ///
    /// # Errors
    /// What the device says.
    pub fn write_first(&self, voters: &VotersRecord, now: Timestamp) -> io::Result<()> {
        let bytes = checkpoint::encode(&[], MetadataVersion::LATEST, FIRST.epoch, now, Some(voters))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.write(FIRST, &bytes)
    }

    /// Reads a snapshot whole.
    ///
    /// # Errors
    /// What the device says.
    pub fn read(&self, id: OffsetAndEpoch) -> io::Result<Vec<u8>> {
        self.disk.read(&self.path(id))
    }

    /// Reads `bytes_max` bytes of a snapshot from byte `position` on.
    ///
    /// # Errors
    /// What the device says.
    pub fn read_piece(&self, id: OffsetAndEpoch, position: i64, bytes_max: usize) -> io::Result<Piece> {
        let file = match self.disk.open(&self.path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Piece::NoSnapshot),
            Err(error) => return Err(error),
        };
        let size = file.size()?;
        let Some(position) = u64::try_from(position).ok().filter(|&position| position < size) else {
            return Ok(Piece::OutOfRange);
        };
        let rest = usize::try_from(size - position).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(bytes_max)];
        let read = file.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(Piece::Bytes { size, bytes })
    }

    /// Writes a snapshot; on return it is on disk.
    ///
    /// # Errors
    /// What the device says.
    pub fn write(&self, id: OffsetAndEpoch, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_atomically(&self.path(id), bytes)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// What the device says. That it is not there is no error.
    pub fn remove(&self, id: OffsetAndEpoch) -> io::Result<()> {
        match self.disk.remove_file(&self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The size of a snapshot in bytes; 0 when it is not there.
    pub fn size(&self, id: OffsetAndEpoch) -> u64 {
        self.disk.open(&self.path(id)).and_then(|file| file.size()).unwrap_or(0)
    }

    /// When the last record was appended that a snapshot contains, as its header says.
    pub fn time(&self, id: OffsetAndEpoch) -> Option<Timestamp> {
        match self.read_piece(id, 0, checkpoint::HEADER_BYTES_MAX) {
            Ok(Piece::Bytes { bytes, .. }) => checkpoint::time_of(&bytes),
            _ => None,
        }
    }

    fn path(&self, id: OffsetAndEpoch) -> PathBuf {
        self.dir.join(format!("{:020}-{:010}{SUFFIX}", id.offset.0, id.epoch.0))
    }
}

fn parse(name: &str) -> Option<OffsetAndEpoch> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    if offset.len() != 20 || epoch.len() != 10 {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(offset) || !digits(epoch) {
        return None;
    }
    Some(OffsetAndEpoch { offset: Offset(offset.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::QuorumLog;
    use bytes::Bytes;
    use ottla_raft::ReplicatedLog;
    use ottla_storage::{LogConfig, Recovery, SimDisk};
    use ottla_types::Monotonic;

    fn id(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    fn snapshots() -> Snapshots {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("log")).unwrap();
        Snapshots::new(Arc::new(disk), Path::new("log"))
    }

    /// A log of two records of epoch 1 and three of epoch 2, and what is left of it when a snapshot is found beside it.
    fn after_loading(snapshot: OffsetAndEpoch) -> (Offset, Offset) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let now = Now { monotonic: Monotonic(0), wall: Timestamp(5) };
        let dir = Path::new("log");
        let opened = Log::open(disk.clone(), dir.to_owned(), LogConfig::metadata(), Recovery::UNKNOWN, now);
        let mut log = QuorumLog::new(opened.unwrap().0, None, None, "CONTROLLER".to_owned());
        for (epoch, count) in [(1, 2), (2, 3)] {
            let records = vec![Bytes::from_static(b"x"); count];
            log.append_records(LeaderEpoch(epoch), &records, now).unwrap();
        }
        let snapshots = Snapshots::new(disk, dir);
        let bytes = checkpoint::encode(&[], MetadataVersion::LATEST, snapshot.epoch, now.wall, None).unwrap();
        snapshots.write(snapshot, &bytes).unwrap();

        snapshots.load_latest(log.storage_mut(), now).unwrap();

        (log.start_offset(), log.storage().log_end_offset())
    }

    #[test]
    fn a_log_that_does_not_go_on_from_its_snapshot_begins_anew_there() {
        assert_eq!(
            after_loading(id(2, 1)),
            (Offset(0), Offset(5)),
            "it has what the snapshot contains, and more"
        );
        assert_eq!(after_loading(id(5, 2)), (Offset(0), Offset(5)), "it has just that");
        assert_eq!(after_loading(id(7, 2)), (Offset(7), Offset(7)), "it ends before");
        assert_eq!(after_loading(id(5, 3)), (Offset(5), Offset(5)), "it has something else");
        assert_eq!(
            after_loading(id(3, 3)),
            (Offset(3), Offset(3)),
            "it has something else, and more of that"
        );
    }

    #[test]
    fn names_are_kafkas() {
        let cases = [
            ("00000000000000000012-0000000003.checkpoint", Some(id(12, 3))),
            ("00000000000000000012-0000000003.checkpoint.part", None),
            ("00000000000000000012-0000000003.checkpoint.deleted", None),
            ("00000000000000000012-000000003.checkpoint", None),
            ("0000000000000000012-0000000003.checkpoint", None),
            ("+0000000000000000012-0000000003.checkpoint", None),
            ("99999999999999999999-0000000003.checkpoint", None),
            ("00000000000000000012.log", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse(name), expected, "{name}");
        }
        assert_eq!(
            snapshots().path(id(12, 3)).file_name().unwrap(),
            "00000000000000000012-0000000003.checkpoint"
        );
    }

    #[test]
    fn are_listed_by_what_they_contain() {
        let snapshots = snapshots();
        for one in [id(900, 1), id(12, 1), id(0, 0), id(1000, 7)] {
            snapshots.write(one, b"x").unwrap();
        }
        snapshots.remove(id(12, 1)).unwrap();
        snapshots.remove(id(12, 1)).unwrap();

        assert_eq!(snapshots.list().unwrap(), [id(900, 1), id(1000, 7)]);
    }

    #[test]
    fn a_piece_is_of_the_snapshot_asked_for_and_within_it() {
        let snapshots = snapshots();
        snapshots.write(id(9, 1), b"0123456789").unwrap();
        let piece = |position, bytes_max| snapshots.read_piece(id(9, 1), position, bytes_max).unwrap();
        let bytes = |bytes: &[u8]| Piece::Bytes { size: 10, bytes: bytes.to_vec() };

        assert_eq!(piece(0, 4), bytes(b"0123"));
        assert_eq!(piece(8, 4), bytes(b"89"));
        assert_eq!(piece(10, 4), Piece::OutOfRange);
        assert_eq!(piece(-1, 4), Piece::OutOfRange);
        assert_eq!(snapshots.read_piece(id(9, 2), 0, 4).unwrap(), Piece::NoSnapshot);
    }
}
