//! A file of entries of one size, in increasing order, only ever appended to and cut.
//!
//! The last entries are kept in memory: reads near the end of a log, nearly all of them, touch no index file.
//! Others search the file itself, whose pages the kernel keeps as it sees fit.

use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, StorageError};
use ottla_types::Offset;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

/// How an entry looks on disk.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    /// Its size.
    const BYTES: usize;

    fn encode(self, out: &mut Vec<u8>);

    /// `bytes` has [`Entry::BYTES`].
    fn decode(bytes: &[u8]) -> Self;
}

/// How many entries are kept in memory at most.
const TAIL_MAX: usize = 512;

/// How many entries are read at once, where some are wanted one after the other.
const BLOCK_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct IndexFile<E> {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    count: usize,
    /// The last entries, `count - tail.len()..count`.
    tail: Vec<E>,
    entry: PhantomData<E>,
}

impl<E: Entry> IndexFile<E> {
    /// A new, empty index.
    pub(crate) fn create(disk: &dyn Disk, path: PathBuf) -> Result<Self, StorageError> {
        let file = disk.create(&path).at("create", &path)?;
        Ok(IndexFile { path, file, count: 0, tail: Vec::new(), entry: PhantomData })
    }

    /// Opens an index; `None` when it does not exist or its size is not a whole number of entries. One that is believed up to
    /// an offset only (`known`) may have been written to when its writer ended: then a part of an entry goes.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: PathBuf,
        known: Option<Offset>,
    ) -> Result<Option<Self>, StorageError> {
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("open", &path),
        };
        let size = file.size().at("stat", &path)?;
        let count = usize::try_from(size / E::BYTES as u64).expect("an index fits the address space");
        if size % E::BYTES as u64 != 0 {
            if known.is_none() {
                return Ok(None);
            }
            file.truncate((count * E::BYTES) as u64).at("truncate", &path)?;
        }
        let mut index = IndexFile { path, file, count, tail: Vec::new(), entry: PhantomData };
        index.load_tail()?;
        Ok(Some(index))
    }

    pub(crate) fn append(&mut self, entry: E) -> Result<(), StorageError> {
        let mut bytes = Vec::with_capacity(E::BYTES);
        entry.encode(&mut bytes);
        self.file.write_all_at(&bytes, (self.count * E::BYTES) as u64).at("write", &self.path)?;
        self.count += 1;
        if self.tail.len() == TAIL_MAX {
            self.tail.drain(..TAIL_MAX / 2);
        }
        self.tail.push(entry);
        Ok(())
    }

    /// Keeps the first `count` entries.
    pub(crate) fn truncate(&mut self, count: usize) -> Result<(), StorageError> {
        if count < self.count {
            self.file.truncate((count * E::BYTES) as u64).at("truncate", &self.path)?;
            self.count = count;
            self.load_tail()?;
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.tail.last().copied()
    }

    pub(crate) fn get(&self, index: usize) -> Result<E, StorageError> {
        let tail_start = self.count - self.tail.len();
        if let Some(at) = index.checked_sub(tail_start) {
            return Ok(self.tail[at]);
        }
        Ok(self.read(index, 1)?[0])
    }

    /// How many entries from the front fulfil `holds`, which must not hold again once it does not.
    pub(crate) fn partition_point(&self, holds: impl Fn(&E) -> bool) -> Result<usize, StorageError> {
        let tail_start = self.count - self.tail.len();
        if tail_start == 0 || self.tail.first().is_some_and(&holds) {
            return Ok(tail_start + self.tail.partition_point(holds));
        }
        let (mut low, mut high) = (0, tail_start);
        while low < high {
            let middle = low.midpoint(high);
            if holds(&self.get(middle)?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// How many entries from the front fulfil `holds`, one by one: for what may not be in order.
    pub(crate) fn count_while(&self, mut holds: impl FnMut(&E) -> bool) -> Result<usize, StorageError> {
        for (count, entry) in self.from(0).enumerate() {
            if !holds(&entry?) {
                return Ok(count);
            }
        }
        Ok(self.count)
    }

    /// The entries from `index` on. Those that are not in memory are read some at a time: whoever stops early pays for few.
    pub(crate) fn from(&self, index: usize) -> impl Iterator<Item = Result<E, StorageError>> {
        let mut next = index;
        let blocks = std::iter::from_fn(move || {
            if next >= self.count {
                return None;
            }
            let block = self.block(next);
            next = block.as_ref().map_or(self.count, |block| next + block.len());
            Some(block)
        });
        blocks.flat_map(|block| match block {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// Some of the entries from `index` on, at least one.
    fn block(&self, index: usize) -> Result<Vec<E>, StorageError> {
        let tail_start = self.count - self.tail.len();
        match index.checked_sub(tail_start) {
            Some(at) => Ok(self.tail[at..].to_vec()),
            None => self.read(index, BLOCK_MAX.min(tail_start - index)),
        }
    }

    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    fn load_tail(&mut self) -> Result<(), StorageError> {
        let kept = self.count.min(TAIL_MAX);
        self.tail = self.read(self.count - kept, kept)?;
        Ok(())
    }

    fn read(&self, index: usize, count: usize) -> Result<Vec<E>, StorageError> {
        let mut bytes = vec![0; count * E::BYTES];
        self.file.read_exact_at(&mut bytes, (index * E::BYTES) as u64).at("read", &self.path)?;
        Ok(bytes.chunks_exact(E::BYTES).map(E::decode).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;

    impl Entry for u64 {
        const BYTES: usize = 8;

        fn encode(self, out: &mut Vec<u8>) {
            out.extend(self.to_be_bytes());
        }

        fn decode(bytes: &[u8]) -> u64 {
            u64::from_be_bytes(bytes.try_into().unwrap())
        }
    }

    #[test]
    fn every_entry_is_found_in_memory_or_on_disk() {
        let disk = SimDisk::new();
        let path = PathBuf::from("index");
        let mut index = IndexFile::<u64>::create(&disk, path.clone()).unwrap();
        for entry in 0..2000 {
            index.append(entry * 2).unwrap();
        }
        let reopened = IndexFile::<u64>::open(&disk, path, None).unwrap().unwrap();
        for index in [&index, &reopened] {
            for target in 0..4001 {
                let below = index.partition_point(|&entry| entry < target).unwrap();
                assert_eq!(below as u64, target.div_ceil(2).min(2000), "{target}");
            }
        }

        index.truncate(700).unwrap();
        assert_eq!((index.count(), index.last()), (700, Some(1398)));
        assert_eq!(index.get(3).unwrap(), 6);
        let from = |at: usize| index.from(at).collect::<Result<Vec<u64>, _>>().unwrap();
        assert_eq!(from(698), [1396, 1398]);
        assert_eq!(from(0), (0..700).map(|entry| entry * 2).collect::<Vec<u64>>());
        assert!(from(700).is_empty());
    }
}
