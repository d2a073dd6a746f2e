//! The one place that touches files, behind a trait that the simulator fulfils too.
//!
//! What a power loss may undo is part of the contract: bytes written are durable once [`DiskFile::sync`]
//! returns; names created, renamed or removed are durable once [`Disk::sync_dir`] of their directory returns.

use ottla_types::ReadAt;
#[cfg(target_os = "linux")]
use rustix::fs::FallocateFlags;
use rustix::fs::FlockOperation;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file, shared. Reading and writing name their position; there is no cursor.
pub trait DiskFile: ReadAt + Debug {
    /// Writes all of `bytes` from byte `position` on, extending the file if need be.
    ///
    /// # Errors
    /// What the device says; then some of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Reads into `buffer` from byte `position` on as much as there is, up to its size.
    ///
    /// # Errors
    /// What the device says. The end of the file is no error.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Cuts or extends the file to `len` bytes, and gives back what was preallocated beyond.
    ///
    /// # Errors
    /// What the device says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes what was written, and the file's length, survive a power loss.
    ///
    /// # Errors
    /// What the device says. The bytes may be lost for good then: a second call that succeeds proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the device says.
    fn size(&self) -> io::Result<u64>;

    /// Sets disk space aside for `len` bytes from `position` on without changing the file's length. A hint:
    /// where the file system cannot do it, nothing happens.
    ///
    /// # Errors
    /// When the space is not there.
    fn preallocate(&self, position: u64, len: u64) -> io::Result<()>;
}

/// What a directory holds under a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory's. Names that are not UTF-8 are not listed: none of ours are such.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// How much room there is on the disk that holds a directory (KIP-827).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// The size of the file system.
    pub total_bytes: u64,
    /// What an ordinary process may still write.
    pub usable_bytes: u64,
}

/// Holds a directory's lock until it is dropped.
pub trait DirLock: Send + Sync + Debug {}

/// A file system. All paths are absolute or relative to the process, as the caller likes.
pub trait Disk: Send + Sync + Debug {
    /// Opens an existing file to read and write.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; whatever else the device says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, emptying one that exists.
    ///
    /// # Errors
    /// What the device says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Reads a small file whole.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; whatever else the device says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Replaces a small file at once: whoever looks sees the old bytes or the new ones, also after a power
    /// loss. Returns when the new ones are durable.
    ///
    /// # Errors
    /// What the device says.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Replaces a small file at once for whoever looks, but promises nothing about a power loss: the file may
    /// then be old, new or torn. The file returned can be synced later.
    ///
    /// # Errors
    /// What the device says.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>>;

    /// The entries of a directory, ordered by name.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; whatever else the device says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory and those above it, if they do not exist.
    ///
    /// # Errors
    /// What the device says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, replacing a file that has it.
    ///
    /// # Errors
    /// What the device says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; whatever else the device says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all it holds.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; whatever else the device says.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory survive a power loss.
    ///
    /// # Errors
    /// What the device says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock that `path` stands for, creating the file; against other processes, Kafka's included.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else holds it; whatever else the device says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;

    /// How much room there is where `dir` is.
    ///
    /// # Errors
    /// What the device says.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;

    /// What tells one start of the machine, and one mounting of the file system that has this path, from all others: as
    /// long as it is the same, what was written is there, synced or not. `None` where the system does not say.
    fn boot_id(&self, path: &Path) -> Option<String>;
}

/// Takes a file away if it is there.
pub(crate) fn remove_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a small file if it is there.
pub(crate) fn read_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name under which a file is written before it takes `path`'s.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl ReadAt for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn sendable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

impl DiskFile for RealFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(target_os = "linux")]
    fn preallocate(&self, position: u64, len: u64) -> io::Result<()> {
        // With the length kept: a tail of zeros would make Kafka's own readers fail.
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, position, len) {
            Err(error) if error == rustix::io::Errno::OPNOTSUPP || error == rustix::io::Errno::NOSYS => {
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn preallocate(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl DirLock for RealLock {}

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let temporary = temporary(path);
        let file = self.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        fs::rename(&temporary, path)?;
        Ok(file)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Synced before it takes the name, so that the name never stands for a torn file.
        let temporary = temporary(path);
        let file = self.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        fs::rename(&temporary, path)?;
        self.sync_dir(parent(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Two kinds of lock: flock also holds within one process; Java's FileChannel takes the POSIX kind.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => Err(ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(Box::new(RealLock(file))),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let space = rustix::fs::statvfs(dir)?;
        Ok(DiskSpace {
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            usable_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    fn boot_id(&self, path: &Path) -> Option<String> {
        // Linux alone has this file.
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = Some(id.trim()).filter(|id| !id.is_empty())?;
        Some(mount_id(path).map_or_else(|| id.to_owned(), |mount| format!("{id}/{mount}")))
    }
}

/// A number that no other mount has had since the machine was started. `None` before Linux 6.8: there a file system that
/// lost what it could not write, and was mounted anew, is not told from one that did not.
#[cfg(target_os = "linux")]
fn mount_id(path: &Path) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    /// `STATX_MNT_ID_UNIQUE`: the older `STATX_MNT_ID` is given again to whatever is mounted next.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let found = statx(CWD, path, AtFlags::empty(), UNIQUE).ok()?;
    (found.stx_mask & UNIQUE.bits() != 0).then_some(found.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_id(_path: &Path) -> Option<u64> {
    None
}

/// How much of the device a file has beyond what it holds.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn set_aside_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).expect("the file is there");
    (metadata.blocks() * 512).saturating_sub(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preallocating_keeps_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("f")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();

        file.preallocate(3, 1 << 20).unwrap();

        assert_eq!(file.size().unwrap(), 3);
        let mut bytes = [0; 9];
        assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 2);
        assert_eq!(&bytes[..2], b"bc");
        assert!(file.sendable().is_some());
    }

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");

        let held = RealDisk.lock(&path).unwrap();
        assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(held);
        RealDisk.lock(&path).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");

        RealDisk.write_atomically(&path, b"longer").unwrap();
        RealDisk.write_atomically(&path, b"new").unwrap();

        assert_eq!(RealDisk.read(&path).unwrap(), b"new");
        assert_eq!(RealDisk.list(dir.path()).unwrap().len(), 1);
        assert!(RealDisk.space(dir.path()).unwrap().total_bytes > 0);
    }
}
