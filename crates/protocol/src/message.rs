//! What every message can do.

use crate::api_key::ApiKey;
use crate::codec::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder};
use bytes::Bytes;
use std::ops::RangeInclusive;

/// A message with versions.
///
/// Its fields are those of all its versions. Fields that a version lacks have their defaults after decoding
/// at that version, and are dropped in silence when encoding at it.
pub trait Message: Sized + Default {
    /// Kafka's name.
    const NAME: &'static str;
    /// The versions that exist.
    const VERSIONS: RangeInclusive<i16>;

    /// Returns whether lengths are varints and structs end with tagged fields (KIP-482).
    fn is_flexible(version: i16) -> bool;

    /// Reads a message; what follows it stays in the decoder.
    ///
    /// # Errors
    /// When there is no such version, or the bytes are wrong.
    fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message.
    ///
    /// # Errors
    /// When there is no such version, or a value does not fit it.
    fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// A message that is a request of an API.
pub trait Request: Message {
    /// The API.
    const KEY: ApiKey;
    /// What answers it, at the same version.
    type Response: Message;
}

/// Encodes a message into one piece of memory.
///
/// # Errors
/// As [`Message::encode`], and when records lie in a file that cannot be read.
pub fn encode_to_vec<M: Message>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut out = Encoder::new();
    message.encode(&mut out, version)?;
    out.finish_to_vec()
}

/// Decodes a message that is all of `bytes`.
///
/// # Errors
/// As [`Message::decode`], and when bytes are left.
pub fn decode_all<M: Message>(bytes: impl Into<Bytes>, version: i16) -> Result<M, DecodeError> {
    let mut input = Decoder::new(bytes);
    let message = M::decode(&mut input, version)?;
    input.finish()?;
    Ok(message)
}

/// Encodes a message after its version, an i16: how coordinators' records, consumer protocol blobs and
/// principals are stored.
///
/// # Errors
/// As [`encode_to_vec`].
pub fn encode_prefixed<M: Message>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut out = Encoder::new();
    out.i16(version);
    message.encode(&mut out, version)?;
    out.finish_to_vec()
}

/// Decodes a message that comes after its version, an i16, and is all of the rest. Gives the version too.
///
/// # Errors
/// As [`decode_all`].
pub fn decode_prefixed<M: Message>(bytes: impl Into<Bytes>) -> Result<(i16, M), DecodeError> {
    let mut input = Decoder::new(bytes);
    let version = input.i16()?;
    let message = M::decode(&mut input, version)?;
    input.finish()?;
    Ok((version, message))
}

/// Refuses a version that a message to be read does not have.
pub(crate) fn check_decode<M: Message>(input: &Decoder, version: i16) -> Result<(), DecodeError> {
    if M::VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(input.error(DecodeErrorKind::UnsupportedVersion { name: M::NAME, version }))
}

/// Refuses a version that a message to be written does not have.
pub(crate) fn check_encode<M: Message>(version: i16) -> Result<(), EncodeError> {
    if M::VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(EncodeError::UnsupportedVersion { name: M::NAME, version })
}

/// The value of a field that the version requires.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, EncodeError> {
    value.ok_or(EncodeError::Null(field))
}
