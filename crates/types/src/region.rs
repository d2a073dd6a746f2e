//! A piece of a file, named but not read: how records leave without being copied.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Something that can be read at a position, without a cursor.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` from byte `position` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are fewer bytes; whatever else the device says.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// The descriptor to hand to `sendfile`, or `None` when there is none (memory, a simulated disk).
    fn sendable(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let start = usize::try_from(position).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// `len` bytes of a file from byte `position` on.
///
/// The file is shared and may be truncated or written again meanwhile: whoever reads late must be able to
/// tell (Kafka's followers drop batches newer than the epoch they fetched, KAFKA-18723).
#[derive(Clone)]
pub struct FileRegion {
    /// The file.
    pub file: Arc<dyn ReadAt>,
    /// The first byte.
    pub position: u64,
    /// How many bytes.
    pub len: usize,
}

impl FileRegion {
    /// Reads the whole region into memory.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes)
    }
}

impl fmt::Debug for FileRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRegion({}+{})", self.position, self.len)
    }
}
