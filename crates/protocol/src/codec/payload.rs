//! Record batches inside messages: bytes in memory, or a piece of a file that is never read.

use super::EncodeError;
use bytes::Bytes;
use ottla_types::FileRegion;
use std::sync::Arc;

/// Record batches as a message carries them: opaque here, `ottla-records` looks inside.
#[derive(Clone, Debug)]
pub enum Records {
    /// In memory. What decoding yields, as a slice of the input.
    Memory(Bytes),
    /// In a file: leaves by `sendfile` where possible.
    File(FileRegion),
}

impl Records {
    /// No batches.
    pub const EMPTY: Records = Records::Memory(Bytes::new());

    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Records::Memory(bytes) => bytes.len(),
            Records::File(region) => region.len,
        }
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, read from the file if that is where they are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        match self {
            Records::Memory(bytes) => Ok(bytes.clone()),
            Records::File(region) => read(region).map(Bytes::from),
        }
    }
}

/// Reads a region into memory.
pub(super) fn read(region: &FileRegion) -> Result<Vec<u8>, EncodeError> {
    region.read().map_err(|error| EncodeError::Read(error.kind()))
}

/// Equal bytes in memory, or the same place of the same file. Memory never equals a file: comparing them
/// would mean reading it.
impl PartialEq for Records {
    fn eq(&self, other: &Records) -> bool {
        match (self, other) {
            (Records::Memory(a), Records::Memory(b)) => a == b,
            (Records::File(a), Records::File(b)) => {
                Arc::ptr_eq(&a.file, &b.file) && a.position == b.position && a.len == b.len
            }
            (Records::Memory(_), Records::File(_)) | (Records::File(_), Records::Memory(_)) => false,
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Memory(bytes)
    }
}

impl From<Vec<u8>> for Records {
    fn from(bytes: Vec<u8>) -> Records {
        Records::Memory(Bytes::from(bytes))
    }
}

impl From<FileRegion> for Records {
    fn from(region: FileRegion) -> Records {
        Records::File(region)
    }
}
