//! The batches of a log's file, read one after the other: a segment may be larger than memory.

use ottla_records::batch::{BatchHeader, HEADER_BYTES};
use ottla_records::{BatchView, CorruptBatch};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// A place in a log's file from which batches are read.
pub(in crate::tools) struct Batches {
    file: BufReader<File>,
    position: u64,
    end: u64,
    bytes: Vec<u8>,
}

impl Batches {
    /// The batches from `position` on, within `bytes_max` bytes.
    pub(in crate::tools) fn open(path: &str, position: u64, bytes_max: u64) -> std::io::Result<Batches> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len().min(position.saturating_add(bytes_max));
        file.seek(SeekFrom::Start(position))?;
        Ok(Batches { file: BufReader::new(file), position, end, bytes: Vec::new() })
    }

    /// The next batch and where it lies; `None` where no whole batch follows.
    ///
    /// The inner error is that of one that is whole by its length, and yet cannot be read.
    pub(in crate::tools) fn next(
        &mut self,
    ) -> std::io::Result<Option<(u64, Result<BatchView<'_>, CorruptBatch>)>> {
        let left = self.end.saturating_sub(self.position);
        if left < HEADER_BYTES as u64 {
            return Ok(None);
        }
        self.bytes.resize(HEADER_BYTES, 0);
        self.file.read_exact(&mut self.bytes)?;
        let at = self.position;
        let size = match BatchHeader::parse(&self.bytes) {
            Ok(header) => header.size_in_bytes,
            // Zeros that were preallocated, or the end of an append that was cut short.
            Err(CorruptBatch::Length(_)) => return Ok(None),
            Err(error) => return Ok(Some((at, Err(error)))),
        };
        if size as u64 > left {
            return Ok(None);
        }
        self.bytes.resize(size, 0);
        self.file.read_exact(&mut self.bytes[HEADER_BYTES..])?;
        self.position += size as u64;
        Ok(Some((at, BatchView::parse_exactly(&self.bytes))))
    }

    /// How many bytes follow the last batch.
    pub(super) fn trailing_bytes(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }
}
