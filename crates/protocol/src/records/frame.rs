//! How records of the metadata log, and coordinators' records, say what they are.

use crate::codec::{DecodeError, DecodeErrorKind, Decoder, Encoder};
use crate::message::{Message, decode_prefixed};
use bytes::Bytes;

/// The only version of the frame (`org.apache.kafka.server.common.serialization.AbstractApiMessageSerde`).
const FRAME_VERSION: u32 = 1;

/// Reads the frame before a metadata record: its type and its version.
///
/// # Errors
/// When it is truncated, or of another frame version than 1.
pub fn read_frame_header(input: &mut Decoder) -> Result<(u32, i16), DecodeError> {
    let frame_version = input.uvarint()?;
    if frame_version != FRAME_VERSION {
        return Err(input.error(DecodeErrorKind::FrameVersion(frame_version)));
    }
    let id = input.uvarint()?;
    let version = input.uvarint()?;
    let max = i64::from(i16::MAX);
    let error = |input: &Decoder| input.error(DecodeErrorKind::Length { len: i64::from(version), max });
    i16::try_from(version).map(|version| (id, version)).map_err(|_| error(input))
}

/// Writes the frame before a metadata record.
///
/// # Panics
/// When the version is negative.
pub fn write_frame_header(out: &mut Encoder, id: u32, version: i16) {
    out.uvarint(FRAME_VERSION);
    out.uvarint(id);
    out.uvarint(u32::try_from(version).expect("versions are not negative"));
}

/// Reads a coordinator record's value, after its version.
pub(crate) fn decode_value<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    decode_prefixed(value).map(|(_, value)| value)
}

/// The error for a coordinator record's key of an unknown type.
pub(crate) fn unknown_key(family: &'static str, id: i16) -> DecodeErrorKind {
    DecodeErrorKind::UnknownRecord { family, id: u32::from(id as u16) }
}
