//! The length before every request and response.

use crate::api_key::ApiKey;
use crate::codec::{DecodeErrorKind, EncodeError, Encoder, Segment};
use crate::header::{RequestHeader, ResponseHeader};
use crate::message::{Message, Request};

/// How many bytes the length itself takes.
pub const LENGTH_BYTES: usize = 4;

/// The longest request that Kafka takes unless told otherwise (`socket.request.max.bytes`).
pub const FRAME_BYTES_MAX_DEFAULT: usize = 104_857_600;

/// Reads the length of a frame: how many bytes follow it.
///
/// # Errors
/// When it is negative or above `bytes_max`: the connection cannot be used any more.
pub fn frame_len(prefix: [u8; LENGTH_BYTES], bytes_max: usize) -> Result<usize, DecodeErrorKind> {
    let len = i32::from_be_bytes(prefix);
    let error = || DecodeErrorKind::Length { len: i64::from(len), max: bytes_max as i64 };
    usize::try_from(len).ok().filter(|&len| len <= bytes_max).ok_or_else(error)
}

/// A whole request, ready to be sent.
///
/// # Errors
/// When the API has no such version, or a value does not fit it.
pub fn request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    api_version: i16,
    body: &R,
) -> Result<Vec<Segment>, EncodeError> {
    let mut out = Encoder::framed();
    let client_id = client_id.map(str::to_owned);
    RequestHeader { api_key: R::KEY, api_version, correlation_id, client_id }.encode(&mut out)?;
    body.encode(&mut out, api_version)?;
    out.finish_frame()
}

/// A whole response to a request of this API and version, ready to be sent.
///
/// # Errors
/// When the API has no such version, or a value does not fit it.
pub fn response<M: Message>(
    correlation_id: i32,
    key: ApiKey,
    api_version: i16,
    body: &M,
) -> Result<Vec<Segment>, EncodeError> {
    let mut out = Encoder::framed();
    ResponseHeader { correlation_id }.encode(&mut out, key, api_version);
    body.encode(&mut out, api_version)?;
    out.finish_frame()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::HeartbeatResponse;

    #[test]
    fn a_length_is_between_zero_and_the_limit() {
        assert_eq!(frame_len([0, 0, 0, 0], 10), Ok(0));
        assert_eq!(frame_len([0, 0, 0, 10], 10), Ok(10));
        assert!(frame_len([0, 0, 0, 11], 10).is_err());
        assert!(frame_len([0xff, 0xff, 0xff, 0xff], usize::MAX).is_err());
    }

    #[test]
    fn a_frame_begins_with_what_follows_in_bytes() {
        let segments = response(9, ApiKey::Heartbeat, 4, &HeartbeatResponse::default()).unwrap();

        let [Segment::Bytes(bytes)] = segments.as_slice() else { panic!("{segments:?}") };
        assert_eq!(bytes.as_ref(), b"\0\0\0\x0c\0\0\0\x09\0\0\0\0\0\0\0\0");
    }
}
