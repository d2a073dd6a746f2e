//! The primitives that generated code is made of.

mod decoder;
mod encoder;
mod error;
mod form;
mod payload;

pub use decoder::{Decoder, MEMORY_FACTOR, Tag};
pub use encoder::{Encoder, Segment, TaggedFields};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use form::Form;
pub use payload::Records;

#[cfg(test)]
mod tests;
