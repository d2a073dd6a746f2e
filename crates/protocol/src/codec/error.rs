//! Why bytes are no message, and why a message cannot become bytes.

use std::fmt;
use std::io;

/// Bytes that are not what they should be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// How many bytes of the input (of the tagged field, inside one) had been read.
    pub position: usize,
}

/// What is wrong with the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The input ends too early.
    #[error("{needed} more bytes expected, {remaining} left")]
    Truncated {
        /// How many bytes the next value takes.
        needed: usize,
        /// How many there are.
        remaining: usize,
    },
    /// An array says it has more elements than the rest of the input could hold.
    #[error("array of {len} elements in {remaining} bytes")]
    ArrayTooLong {
        /// What the array says.
        len: usize,
        /// How many bytes there are.
        remaining: usize,
    },
    /// The arrays of a message would take far more memory than it has bytes.
    #[error("array of {needed} bytes in memory, {left} allowed")]
    Memory {
        /// How many bytes of memory the array takes.
        needed: usize,
        /// How many are left of what the message may take.
        left: usize,
    },
    /// A string longer than 32767 bytes, or a frame longer than allowed.
    #[error("length {len} is not in 0..={max}")]
    Length {
        /// The length found.
        len: i64,
        /// The longest allowed.
        max: i64,
    },
    /// Null where the version has none.
    #[error("null where the version allows none")]
    Null,
    /// A varint of more bits than its type.
    #[error("varint is too long")]
    Varint,
    /// The message has no such version.
    #[error("{name} has no version {version}")]
    UnsupportedVersion {
        /// The message.
        name: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No API has this key.
    #[error("no API has the key {0}")]
    UnknownApiKey(i16),
    /// No record of this family has this type.
    #[error("no {family} record has the type {id}")]
    UnknownRecord {
        /// The family.
        family: &'static str,
        /// The type found.
        id: u32,
    },
    /// A metadata record in a frame that is not version 1.
    #[error("frame version {0}, not 1")]
    FrameVersion(u32),
    /// Bytes after the end.
    #[error("{0} bytes after the end")]
    Trailing(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (after {} bytes)", self.kind, self.position)
    }
}

impl std::error::Error for DecodeError {}

/// A message that cannot be written at a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is `None` where the version has no null.
    #[error("{0} is null where the version allows none")]
    Null(&'static str),
    /// A string is longer than 32767 bytes, or something else than `i32::MAX`.
    #[error("length {0} does not fit")]
    TooLong(usize),
    /// The message has no such version.
    #[error("{name} has no version {version}")]
    UnsupportedVersion {
        /// The message.
        name: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Records in a file could not be read into memory.
    #[error("records in a file: {0}")]
    Read(io::ErrorKind),
}
