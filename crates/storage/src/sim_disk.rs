//! A disk in memory that can lose power.
//!
//! Every file and directory has two views: what programs see, and what a power loss leaves for certain. Between
//! the two anything may happen, by seed: of the changes to a directory since its last sync the first few
//! survive; of a file's bytes any sectors, and of its length any that it had on the way.
//!
//! A *kill* is nothing special here: drop what holds the files and open again; the page cache survives. Power is
//! lost by [`SimDisk::lose_power`]. Single operations can be made to fail, to see a disk break.

use crate::disk::{DirEntry, DirLock, Disk, DiskFile, DiskSpace, parent};
use ottla_types::{Random, ReadAt};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// How large the disk is. While it is not filling up, nothing that is written to it makes a difference.
const SPACE_BYTES: u64 = 1 << 40;

/// Fewer files are not worth looking for those that are nowhere.
const FILES_MIN: usize = 64;

/// Which operation a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultOn {
    /// [`DiskFile::write_all_at`]: the first half of the bytes is written.
    Write,
    /// [`DiskFile::sync`]: nothing becomes durable.
    Sync,
    /// Reading from a file.
    Read,
    /// Creating, renaming or removing a name.
    Name,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What programs see: absolute names, directories included.
    names: BTreeMap<PathBuf, Node>,
    /// The names that a power loss leaves.
    durable_names: BTreeMap<PathBuf, Node>,
    /// Changes to each directory's names since it was synced, in order.
    unsynced: BTreeMap<PathBuf, Vec<Change>>,
    files: BTreeMap<u64, Contents>,
    /// How often each file is open: one without a name is there until it is closed.
    open: BTreeMap<u64, usize>,
    /// When there are as many files, it is looked whether all of them are still somewhere.
    files_max: usize,
    next_file: u64,
    locks: BTreeSet<PathBuf>,
    /// How many operations of a kind still succeed before one fails, and how.
    faults: BTreeMap<FaultOn, (u64, ErrorKind)>,
    /// How many operations of any kind still succeed before the machine stops.
    until_stop: Option<u64>,
    operations: u64,
    /// How many bytes there is room for, if the disk is filling up. Others fill it: what is deleted makes none.
    room: Option<u64>,
    /// How often power was lost.
    boots: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

impl Node {
    fn file(&self) -> Option<u64> {
        match self {
            Node::File(id) => Some(*id),
            Node::Dir => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// How far the file has room of its own.
    reserved: u64,
    /// The least length since the last sync: what lies beyond may be old or new.
    shortest: usize,
    /// The first byte in which the two views may differ: a sync of a long log costs what was appended.
    changed_from: usize,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Loses power and starts again: what was not synced is gone, or torn, as `random` has it. Open files are
    /// of no use afterwards, and all locks are free.
    pub fn lose_power(&self, random: &mut Random) {
        let mut state = self.lock();
        state.boots += 1;
        let unsynced = std::mem::take(&mut state.unsynced);
        for changes in unsynced.into_values() {
            let survive = random.index(changes.len() + 1);
            for change in &changes[..survive] {
                apply(&mut state.durable_names, change);
            }
        }
        state.drop_strays();
        state.names = state.durable_names.clone();
        for contents in state.files.values_mut() {
            contents.tear(random);
        }
        let State { names, files, .. } = &mut *state;
        let alive: BTreeSet<u64> = names.values().filter_map(Node::file).collect();
        files.retain(|id, _| alive.contains(id));
        state.locks.clear();
        state.faults.clear();
        state.until_stop = None;
        // A file opened before keeps its number, which no longer leads anywhere that is looked at.
        state.next_file += 1 << 32;
    }

    /// Makes the operation of this kind that comes after `later` others fail with `error`, and all that follow.
    pub fn fail(&self, on: FaultOn, later: u64, error: ErrorKind) {
        self.lock().faults.insert(on, (later, error));
    }

    /// Stops the machine after `later` more operations: all that follow fail, until power is lost
    /// ([`SimDisk::lose_power`]) or the fault ended. A write that is under way is half done.
    pub fn stop_after(&self, later: u64) {
        self.lock().until_stop = Some(later);
    }

    /// Leaves room for so many more bytes. Writes that need more fail with `StorageFull`, until [`SimDisk::heal`].
    pub fn fill_up_to(&self, room: u64) {
        self.lock().room = Some(room);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.until_stop = None;
        state.faults.clear();
        state.room = None;
    }

    /// Becomes a new disk, empty and without faults. Open files are of no use afterwards.
    pub fn wipe(&self) {
        let mut state = self.lock();
        let State { next_file, operations, boots, .. } = *state;
        // A file opened before keeps its number, which no longer leads anywhere that is looked at.
        *state = State { next_file: next_file + (1 << 32), operations, boots, ..State::default() };
    }

    /// Ends the process that held the locks.
    pub fn release_locks(&self) {
        self.lock().locks.clear();
    }

    /// How many operations were carried out: where a fault can be placed.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Changes bytes of a file behind everybody's back, durably.
    ///
    /// # Errors
    /// `NotFound`; `UnexpectedEof` when the file is shorter.
    pub fn corrupt(&self, path: &Path, position: usize, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let contents = state.contents(path)?;
        for view in [&mut contents.bytes, &mut contents.durable] {
            let range = position..position + bytes.len();
            if let Some(slice) = view.get_mut(range) {
                slice.copy_from_slice(bytes);
            }
        }
        if contents.bytes.len() < position + bytes.len() {
            Err(ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file.
    fn file(&self, state: &mut State, id: u64) -> Arc<dyn DiskFile> {
        *state.open.entry(id).or_default() += 1;
        Arc::new(SimFile { disk: self.clone(), id })
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Remove(path) => {
            if names.remove(path) == Some(Node::Dir) {
                remove_below(names, path);
            }
        }
        // Most are files, and then nothing is below.
        Change::Rename(from, to) if is_file(names, from) && names.get(to) != Some(&Node::Dir) => {
            let file = names.remove(from).expect("looked at just before");
            names.insert(to.clone(), file);
        }
        Change::Rename(from, to) => {
            let dir = names.remove(from);
            let moved = remove_below(names, from);
            if dir.is_none() && moved.is_empty() {
                return;
            }
            names.remove(to);
            remove_below(names, to);
            names.extend(dir.map(|node| (to.clone(), node)));
            names.extend(moved.into_iter().map(|(name, node)| {
                let rest = name.strip_prefix(from).expect("it was below");
                (to.join(rest), node)
            }));
        }
    }
}

/// What is in a directory, or below it. Names are in the order of their parts: these follow it.
fn below<'a>(
    names: &'a BTreeMap<PathBuf, Node>,
    dir: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
    names.range::<Path, _>((Excluded(dir), Unbounded)).take_while(move |(path, _)| path.starts_with(dir))
}

fn remove_below(names: &mut BTreeMap<PathBuf, Node>, dir: &Path) -> Vec<(PathBuf, Node)> {
    let gone: Vec<PathBuf> = below(names, dir).map(|(name, _)| name.clone()).collect();
    gone.into_iter().filter_map(|name| names.remove_entry(&name)).collect()
}

fn is_file(names: &BTreeMap<PathBuf, Node>, path: &Path) -> bool {
    matches!(names.get(path), Some(Node::File(_)))
}

impl Contents {
    /// Becomes one of the states in which a power loss may leave the file.
    fn tear(&mut self, random: &mut Random) {
        if self.bytes == self.durable && self.shortest == self.bytes.len() {
            return;
        }
        let lengths = [self.durable.len(), self.bytes.len(), self.shortest];
        let low = lengths.into_iter().min().unwrap_or(0);
        let high = lengths.into_iter().max().unwrap_or(0);
        let len =
            if random.chance(500) { lengths[random.index(3)] } else { low + random.index(high - low + 1) };
        let mut torn = vec![0; len];
        // One in so many sectors is left as it was; often none is.
        let lost_per_mille = [0, 0, 100, 500, 1000][random.index(5)];
        for start in (0..len).step_by(SECTOR_BYTES) {
            let end = (start + SECTOR_BYTES).min(len);
            let old = random.chance(lost_per_mille) || start >= self.bytes.len();
            let source = if old { &self.durable } else { &self.bytes };
            let from = source.get(start..end.min(source.len())).unwrap_or(&[]);
            torn[start..start + from.len()].copy_from_slice(from);
        }
        self.shortest = torn.len();
        self.changed_from = torn.len();
        self.durable.clone_from(&torn);
        self.bytes = torn;
    }

    fn set_len(&mut self, len: usize) {
        self.reserved = self.reserved.min(len as u64);
        self.changed_from = self.changed_from.min(len).min(self.bytes.len());
        self.bytes.resize(len, 0);
        self.shortest = self.shortest.min(len);
    }

    fn sync(&mut self) {
        self.durable.truncate(self.changed_from);
        self.durable.extend_from_slice(&self.bytes[self.durable.len()..]);
        self.shortest = self.bytes.len();
        self.changed_from = self.bytes.len();
    }
}

impl State {
    fn operate(&mut self, on: FaultOn) -> io::Result<()> {
        match &mut self.until_stop {
            Some(0) => return Err(io::Error::other("the machine has stopped")),
            Some(later) => *later -= 1,
            None => {}
        }
        self.operations += 1;
        match self.faults.get_mut(&on) {
            None => Ok(()),
            Some((0, error)) => Err((*error).into()),
            Some((later, _)) => {
                *later -= 1;
                Ok(())
            }
        }
    }

    /// Makes room for a file that reaches up to `end`.
    fn take_room(&mut self, id: u64, end: u64) -> io::Result<()> {
        let contents = self.files.entry(id).or_default();
        let needed = end.saturating_sub(contents.reserved.max(contents.bytes.len() as u64));
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(needed).ok_or(ErrorKind::StorageFull)?;
        }
        contents.reserved = contents.reserved.max(end);
        Ok(())
    }

    /// What is in a directory whose own name did not survive is gone with it.
    fn drop_strays(&mut self) {
        let mut kept: BTreeMap<PathBuf, Node> = BTreeMap::new();
        for (path, node) in std::mem::take(&mut self.durable_names) {
            let dir = parent(&path);
            let is_top = dir.components().all(|part| !matches!(part, Component::Normal(_)));
            if is_top || kept.get(dir) == Some(&Node::Dir) {
                kept.insert(path, node);
            }
        }
        self.durable_names = kept;
    }

    /// What has changed in a directory that is renamed or removed, and below it, comes before that: a journal has it in this
    /// order. A directory that is made later under the same name has nothing of it.
    fn close(&mut self, dir: &Path) -> Vec<Change> {
        let is_below = |path: &PathBuf| path.starts_with(dir);
        let below: Vec<PathBuf> = self.unsynced.keys().filter(|path| is_below(path)).cloned().collect();
        below.into_iter().filter_map(|path| self.unsynced.remove(&path)).flatten().collect()
    }

    fn change(&mut self, change: Change) {
        let before = match &change {
            Change::Remove(path) | Change::Rename(path, _) => self.close(path),
            Change::Set(..) => Vec::new(),
        };
        let dir = match &change {
            Change::Set(path, _) | Change::Remove(path) | Change::Rename(_, path) => parent(path).to_owned(),
        };
        apply(&mut self.names, &change);
        let changes = self.unsynced.entry(dir).or_default();
        changes.extend(before);
        changes.push(change);
    }

    fn contents(&mut self, path: &Path) -> io::Result<&mut Contents> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(self.files.entry(*id).or_default()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Forgets files that have no name any more, not even after a loss of power, and that nobody has open.
    fn forget_files(&mut self) {
        let names = self.names.values().chain(self.durable_names.values());
        let mut alive: BTreeSet<u64> =
            names.filter_map(Node::file).chain(self.open.keys().copied()).collect();
        alive.extend(self.unsynced.values().flatten().filter_map(|change| match change {
            Change::Set(_, node) => node.file(),
            Change::Remove(_) | Change::Rename(..) => None,
        }));
        self.files.retain(|id, _| alive.contains(id));
        self.files_max = (2 * self.files.len()).max(FILES_MIN);
    }

    fn new_file(&mut self, path: &Path) -> u64 {
        if self.files.len() >= self.files_max {
            self.forget_files();
        }
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, Contents::default());
        self.change(Change::Set(path.to_owned(), Node::File(id)));
        id
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn with<T>(&self, on: FaultOn, f: impl FnOnce(&mut Contents) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        state.operate(on)?;
        f(state.files.entry(self.id).or_default())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if let Some(count) = state.open.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.id);
            }
        }
    }
}

impl ReadAt for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with(FaultOn::Read, |contents| contents.bytes.read_exact_at(buffer, position))
    }
}

impl DiskFile for SimFile {
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let position = position as usize;
        let write = |contents: &mut Contents, bytes: &[u8]| {
            let end = position + bytes.len();
            contents.changed_from = contents.changed_from.min(position).min(contents.bytes.len());
            if contents.bytes.len() < end {
                contents.bytes.resize(end, 0);
            }
            contents.bytes[position..end].copy_from_slice(bytes);
        };
        let mut state = self.disk.lock();
        let failed = state
            .operate(FaultOn::Write)
            .and_then(|()| state.take_room(self.id, (position + bytes.len()) as u64));
        if failed.is_ok() {
            write(state.files.entry(self.id).or_default(), bytes);
        } else {
            write(state.files.entry(self.id).or_default(), &bytes[..bytes.len() / 2]);
        }
        failed
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(FaultOn::Read, |contents| {
            let from = contents.bytes.get(position as usize..).unwrap_or(&[]);
            let count = from.len().min(buffer.len());
            buffer[..count].copy_from_slice(&from[..count]);
            Ok(count)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(FaultOn::Write, |contents| {
            contents.set_len(len as usize);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(FaultOn::Sync, |contents| {
            contents.sync();
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(FaultOn::Read, |contents| Ok(contents.bytes.len() as u64))
    }

    fn preallocate(&self, position: u64, len: u64) -> io::Result<()> {
        self.disk.lock().take_room(self.id, position + len)
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        match state.names.get(path).copied() {
            Some(Node::File(id)) => Ok(self.file(&mut state, id)),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.operate(FaultOn::Name)?;
        if let Some(Node::File(id)) = state.names.get(path).copied() {
            state.files.entry(id).or_default().set_len(0);
            return Ok(self.file(&mut state, id));
        }
        let id = state.new_file(path);
        Ok(self.file(&mut state, id))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        state.operate(FaultOn::Read)?;
        Ok(state.contents(path)?.bytes.clone())
    }

    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = crate::disk::temporary(path);
        let file = self.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(parent(path))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
        let temporary = crate::disk::temporary(path);
        let file = self.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        self.rename(&temporary, path)?;
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.lock();
        if !matches!(state.names.get(dir), Some(Node::Dir)) {
            return Err(ErrorKind::NotFound.into());
        }
        let mut entries = Vec::new();
        for (path, node) in below(&state.names, dir) {
            if parent(path) == dir
                && let Some(name) = path.file_name().and_then(|name| name.to_str())
            {
                entries.push(DirEntry { name: name.to_owned(), is_dir: *node == Node::Dir });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let mut path = PathBuf::new();
        for component in dir.components() {
            path.push(component);
            if component != Component::RootDir && !state.names.contains_key(&path) {
                state.operate(FaultOn::Name)?;
                state.change(Change::Set(path.clone(), Node::Dir));
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(FaultOn::Name)?;
        if !state.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(FaultOn::Name)?;
        state.contents(path)?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(FaultOn::Name)?;
        if !state.names.contains_key(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(dir.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(FaultOn::Sync)?;
        for change in state.unsynced.remove(dir).unwrap_or_default() {
            apply(&mut state.durable_names, &change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        if !self.lock().locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        if !self.lock().names.contains_key(path) {
            self.create(path)?;
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn space(&self, _dir: &Path) -> io::Result<DiskSpace> {
        let state = self.lock();
        Ok(DiskSpace { total_bytes: SPACE_BYTES, usable_bytes: state.room.unwrap_or(SPACE_BYTES) })
    }

    fn boot_id(&self, _path: &Path) -> Option<String> {
        Some(self.lock().boots.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("d")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        disk
    }

    #[test]
    fn a_directory_under_the_name_of_one_that_was_removed_has_nothing_of_it() {
        for seed in 0..50 {
            let disk = disk();
            disk.create(Path::new("d/old")).unwrap();
            disk.rename(Path::new("d"), Path::new("away")).unwrap();
            disk.create_dir_all(Path::new("d")).unwrap();
            disk.sync_dir(Path::new(".")).unwrap();
            disk.create(Path::new("d/new")).unwrap();

            disk.lose_power(&mut Random::new(seed));

            let names = |dir: &str| disk.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name);
            assert!(names("d").all(|name| name == "new"), "seed {seed}");
            assert_eq!(names("away").collect::<Vec<_>>(), ["old"], "it was renamed with what it had");
        }
    }

    #[test]
    fn what_is_in_a_directory_that_did_not_survive_is_gone() {
        for seed in 0..50 {
            let disk = disk();
            disk.create_dir_all(Path::new("d/e")).unwrap();
            disk.create(Path::new("d/e/f")).unwrap();
            disk.sync_dir(Path::new("d/e")).unwrap();

            disk.lose_power(&mut Random::new(seed));

            let has = |path: &str| disk.open(Path::new(path)).is_ok();
            assert!(disk.list(Path::new("d/e")).is_ok() || !has("d/e/f"), "seed {seed}");
        }
    }

    #[test]
    fn a_wiped_disk_is_a_new_one() {
        let disk = disk();
        let file = disk.create(Path::new("d/f")).unwrap();
        disk.fail(FaultOn::Write, 0, ErrorKind::Other);
        disk.wipe();
        assert!(disk.list(Path::new("d")).is_err(), "it is empty");
        disk.create_dir_all(Path::new("d")).unwrap();
        disk.create(Path::new("d/f")).unwrap().write_all_at(b"new", 0).unwrap();
        file.write_all_at(b"old", 0).unwrap();
        assert_eq!(disk.read(Path::new("d/f")).unwrap(), b"new", "an open file leads nowhere");
    }

    #[test]
    fn a_power_loss_takes_only_what_was_not_synced() {
        let path = Path::new("d/f");
        let mut outcomes = BTreeSet::new();
        for seed in 0..100 {
            let disk = disk();
            let file = disk.create(path).unwrap();
            file.write_all_at(b"durable", 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("d")).unwrap();
            file.write_all_at(b" and not", 7).unwrap();

            disk.lose_power(&mut Random::new(seed));

            let bytes = disk.read(path).unwrap();
            assert!(bytes.starts_with(b"durable") && bytes.len() <= 15, "{bytes:?}");
            outcomes.insert(bytes);
        }
        assert!(outcomes.len() > 5, "{outcomes:?}");
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_gone() {
        let mut survived = 0;
        for seed in 0..100 {
            let disk = disk();
            let file = disk.create(Path::new("d/a")).unwrap();
            file.sync().unwrap();
            disk.rename(Path::new("d/a"), Path::new("d/b")).unwrap();

            disk.lose_power(&mut Random::new(seed));

            let names = disk.list(Path::new("d")).unwrap();
            assert!(names.len() <= 1);
            survived += names.len();
        }
        assert!((20..90).contains(&survived), "{survived}");
    }

    #[test]
    fn an_atomic_write_is_whole_and_durable() {
        for seed in 0..100 {
            let disk = disk();
            let path = Path::new("d/f");
            disk.write_atomically(path, b"old").unwrap();
            disk.replace(path, b"new").unwrap();
            disk.write_atomically(path, b"newest").unwrap();
            disk.lose_power(&mut Random::new(seed));
            assert_eq!(disk.read(path).unwrap(), b"newest");
        }
    }

    #[test]
    fn a_file_is_forgotten_that_is_nowhere_and_nobody_has_open() {
        let disk = disk();
        let path = Path::new("d/f");
        let open = disk.create(path).unwrap();
        open.write_all_at(b"open", 0).unwrap();
        disk.remove_file(path).unwrap();
        disk.create(Path::new("d/kept")).unwrap().write_all_at(b"kept", 0).unwrap();
        for _ in 0..10 * FILES_MIN {
            disk.write_atomically(path, b"new").unwrap();
        }

        let mut bytes = [0; 4];
        open.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, &disk.read(Path::new("d/kept")).unwrap()[..]), (b"open", &b"kept"[..]));
        assert!(disk.lock().files.len() <= FILES_MIN, "{}", disk.lock().files.len());
    }

    #[test]
    fn a_fault_comes_when_it_is_due() {
        let disk = disk();
        let file = disk.create(Path::new("d/f")).unwrap();
        disk.fail(FaultOn::Write, 1, ErrorKind::StorageFull);

        file.write_all_at(b"ab", 0).unwrap();
        assert_eq!(file.write_all_at(b"cdef", 2).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(file.size().unwrap(), 4);
        disk.heal();
        file.write_all_at(b"ef", 4).unwrap();
    }

    #[test]
    fn a_full_disk_takes_what_has_room_already() {
        let disk = disk();
        let file = disk.create(Path::new("d/f")).unwrap();
        file.preallocate(0, 8).unwrap();
        disk.fill_up_to(4);

        file.write_all_at(b"12345678", 0).unwrap();
        file.write_all_at(b"9a", 8).unwrap();
        assert_eq!(disk.space(Path::new("d")).unwrap().usable_bytes, 2);
        assert_eq!(file.write_all_at(b"bcdefg", 10).unwrap_err().kind(), ErrorKind::StorageFull);

        disk.heal();
        file.write_all_at(b"bcdefg", 10).unwrap();
        assert_eq!(file.size().unwrap(), 16);
    }

    #[test]
    fn a_lock_is_held_once() {
        let disk = disk();
        let path = Path::new("d/.lock");
        let held = Disk::lock(&disk, path).unwrap();
        assert!(Disk::lock(&disk, path).is_err());
        drop(held);
        Disk::lock(&disk, path).unwrap();
    }
}
