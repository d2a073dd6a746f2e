//! `.txnindex`: the aborted transactions whose markers are in the segment (`TransactionIndex`). A consumer
//! that reads committed records only is told of them, and skips their batches.

use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, StorageError};
use crate::file_names;
use crate::index_file::{Entry, IndexFile};
use ottla_types::{Offset, ProducerId};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A transaction that ended with an ABORT marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record here.
    pub first_offset: Offset,
    /// The offset of the marker.
    pub last_offset: Offset,
    /// The last stable offset once it had ended: no transaction that ends later starts before it.
    pub last_stable_offset: Offset,
}

impl Entry for AbortedTransaction {
    const BYTES: usize = 34;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&0i16.to_be_bytes());
        for field in [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0]
        {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let field = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes of 34"));
        AbortedTransaction {
            producer_id: ProducerId(field(2)),
            first_offset: Offset(field(10)),
            last_offset: Offset(field(18)),
            last_stable_offset: Offset(field(26)),
        }
    }
}

/// Its file exists only once there is an entry.
#[derive(Debug)]
pub(crate) struct TransactionIndex {
    path: PathBuf,
    entries: Option<IndexFile<AbortedTransaction>>,
}

impl TransactionIndex {
    /// An index without entries; a file that is there is removed.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        ending: &str,
    ) -> Result<Self, StorageError> {
        let path = file_names::with_suffix(
            &file_names::path(dir, base_offset, file_names::TRANSACTION_INDEX),
            ending,
        );
        crate::disk::remove_if_exists(disk, &path).at("remove", &path)?;
        Ok(TransactionIndex { path, entries: None })
    }

    /// `None` when the file is not a whole number of plausible entries. What it says of `known` and later goes.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        known: Option<Offset>,
    ) -> Result<Option<Self>, StorageError> {
        let path = file_names::path(dir, base_offset, file_names::TRANSACTION_INDEX);
        match disk.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some(TransactionIndex { path, entries: None }));
            }
            outcome => outcome.at("open", &path)?,
        };
        let entries = IndexFile::<AbortedTransaction>::open(disk, path.clone(), known)?;
        let Some(mut entries) = entries else {
            return Ok(None);
        };
        // One by one: where power was lost there may be anything after what is known.
        let mut next = base_offset;
        let plausible = entries.count_while(|aborted| {
            let follows = next <= aborted.last_offset && aborted.first_offset < aborted.last_offset;
            next = aborted.last_offset + 1;
            follows && known.is_none_or(|known| aborted.last_offset < known)
        })?;
        if plausible < entries.count() {
            match known {
                None => return Ok(None),
                Some(_) => entries.truncate(plausible)?,
            }
        }
        Ok(Some(TransactionIndex { path, entries: Some(entries) }))
    }

    /// Adds an entry; returns whether the file is new.
    pub(crate) fn append(
        &mut self,
        disk: &dyn Disk,
        aborted: AbortedTransaction,
    ) -> Result<bool, StorageError> {
        let is_new = self.entries.is_none();
        let entries = match &mut self.entries {
            Some(entries) => entries,
            empty => empty.insert(IndexFile::create(disk, self.path.clone())?),
        };
        if let Some(last) = entries.last() {
            assert!(last.last_offset < aborted.last_offset, "{last:?} then {aborted:?}");
        }
        entries.append(aborted)?;
        Ok(is_new)
    }

    /// Adds to `found` the aborted transactions with records in `from..upper`; returns whether those of later
    /// segments may have some too.
    pub(crate) fn collect(
        &self,
        from: Offset,
        upper: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, StorageError> {
        let Some(entries) = &self.entries else { return Ok(true) };
        let start = entries.partition_point(|aborted| aborted.last_offset < from)?;
        for aborted in entries.from(start) {
            let aborted = aborted?;
            if aborted.first_offset < upper {
                found.push(aborted);
            }
            if aborted.last_stable_offset >= upper {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops the transactions that ended at `offset` or later.
    pub(crate) fn truncate_to(&mut self, offset: Offset) -> Result<(), StorageError> {
        let Some(entries) = &mut self.entries else { return Ok(()) };
        let below = entries.partition_point(|aborted| aborted.last_offset < offset)?;
        entries.truncate(below)
    }

    pub(crate) fn file(&self) -> Option<&Arc<dyn DiskFile>> {
        self.entries.as_ref().map(IndexFile::file)
    }
}
