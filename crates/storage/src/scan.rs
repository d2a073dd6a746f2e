//! Walking the batches of a segment's file from front to back.

use crate::disk::DiskFile;
use crate::error::StorageError;
use ottla_records::{BatchHeader, BatchView, CorruptBatch, HEADER_BYTES};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How much is read at a time to find headers; about what lies between two index entries.
const CHUNK_BYTES: usize = 4096;

/// Why a walk ends before the end.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// The bytes at this position are not a batch.
    Corrupt(u64, CorruptBatch),
}

impl ScanError {
    /// What it means where the file is known to have been whole: the disk is at fault.
    pub(crate) fn at(self, path: &Path) -> StorageError {
        match self {
            ScanError::Io(source) => StorageError::Io { action: "read", path: path.to_owned(), source },
            ScanError::Corrupt(position, error) => {
                StorageError::invalid(path, format!("at byte {position}: {error}"))
            }
        }
    }
}

/// A batch's header and the byte in the file where it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Found {
    /// The byte after the batch.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size_in_bytes as u64
    }
}

/// Walks the headers of `position..end`, skipping what they precede.
pub(crate) fn headers(file: &Arc<dyn DiskFile>, position: u64, end: u64) -> Headers {
    Headers { file: Arc::clone(file), position, end, chunk: Vec::new(), chunk_start: position }
}

/// See [`headers`].
#[derive(Debug)]
pub(crate) struct Headers {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl Iterator for Headers {
    type Item = Result<Found, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let found = self.header_here();
        self.position = found.as_ref().map_or(self.end, Found::end);
        Some(found)
    }
}

impl Headers {
    fn header_here(&mut self) -> Result<Found, ScanError> {
        let position = self.position;
        let corrupt = |error| ScanError::Corrupt(position, error);
        let remaining = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let at = (position - self.chunk_start) as usize;
        if self.chunk.len() < at.saturating_add(HEADER_BYTES) {
            self.chunk.resize(CHUNK_BYTES.min(remaining), 0);
            let read = self.file.read_at(&mut self.chunk, position).map_err(ScanError::Io)?;
            self.chunk.truncate(read);
            self.chunk_start = position;
        }
        let at = (position - self.chunk_start) as usize;
        let header = BatchHeader::parse(&self.chunk[at..]).map_err(corrupt)?;
        if header.size_in_bytes > remaining {
            return Err(corrupt(CorruptBatch::Incomplete {
                needed: header.size_in_bytes,
                available: remaining,
            }));
        }
        Ok(Found { position, header })
    }
}

/// Reads the batch that [`headers`] found; `buffer` is used again and again.
pub(crate) fn batch<'a>(
    file: &Arc<dyn DiskFile>,
    found: &Found,
    buffer: &'a mut Vec<u8>,
) -> Result<BatchView<'a>, ScanError> {
    buffer.resize(found.header.size_in_bytes, 0);
    file.read_exact_at(buffer, found.position).map_err(ScanError::Io)?;
    BatchView::parse_exactly(buffer).map_err(|error| ScanError::Corrupt(found.position, error))
}
