//! The file system of a host: a disk, and another one under a name of its own.

use ottla_storage::disk::DirEntry;
use ottla_storage::sim_disk::FaultOn;
use ottla_storage::{DirLock, Disk, DiskFile, DiskSpace, SimDisk};
use ottla_types::Random;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Where the first disk holds logs.
pub const FIRST: &str = "/data";

/// Where the second disk is.
pub const SECOND: &str = "/more";

/// Two disks.
#[derive(Clone, Debug)]
pub struct Mounts {
    first: SimDisk,
    second: SimDisk,
}

impl Default for Mounts {
    /// Two empty ones.
    fn default() -> Mounts {
        let mounts = Mounts { first: SimDisk::new(), second: SimDisk::new() };
        mounts.make_mount_points();
        mounts
    }
}

impl Mounts {
    /// Where a disk is mounted is a directory that no loss of power takes.
    fn make_mount_points(&self) {
        for (disk, path) in [(&self.first, FIRST), (&self.second, SECOND)] {
            let made = disk.create_dir_all(Path::new(path)).and_then(|()| disk.sync_dir(Path::new("/")));
            made.expect("a new disk works");
        }
    }

    fn at(&self, path: &Path) -> &SimDisk {
        if path.starts_with(SECOND) { &self.second } else { &self.first }
    }

    /// The host loses power.
    pub fn lose_power(&self, random: &mut Random) {
        self.first.lose_power(random);
        self.second.lose_power(random);
    }

    /// The first disk begins to fail: every operation of a kind, after so many more of them.
    pub fn fail(&self, on: FaultOn, later: u64) {
        self.first.fail(on, later, ErrorKind::Other);
    }

    /// The second disk begins to fail.
    pub fn fail_second(&self, on: FaultOn, later: u64) {
        self.second.fail(on, later, ErrorKind::Other);
    }

    /// The first disk has room for so many more bytes.
    pub fn fill_up_to(&self, room: u64) {
        self.first.fill_up_to(room);
    }

    /// Both are replaced by new ones.
    pub fn wipe(&self) {
        self.first.wipe();
        self.second.wipe();
        self.make_mount_points();
    }

    /// Both work again.
    pub fn heal(&self) {
        self.first.heal();
        self.second.heal();
    }
}

impl Disk for Mounts {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path).create(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.at(path).read(path)
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.at(path).write_atomically(path, bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path).replace(path, bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.at(dir).list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.at(dir).create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from).rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.at(path).remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.at(dir).remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.at(dir).sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.at(path).lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        self.at(dir).space(dir)
    }

    fn boot_id(&self, path: &Path) -> Option<String> {
        self.at(path).boot_id(path)
    }
}
