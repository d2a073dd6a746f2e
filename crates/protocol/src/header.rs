//! What stands before every body, and its odd rules.

use crate::api_key::ApiKey;
use crate::codec::{DecodeError, Decoder, EncodeError, Encoder, Form};

/// The header of a request. Version 2 has tagged fields at its end; the client id stays a classic string
/// even there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: ApiKey,
    /// Which version of it. May be one that the API does not have: see [`RequestHeader::decode`].
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a frame.
    ///
    /// The header is decoded as the *version* says even when the API does not have it, so that an
    /// ApiVersions request of the future can be answered (KIP-511); all others are for the caller to refuse.
    ///
    /// # Errors
    /// When the key is unknown or the header is truncated.
    pub fn decode(input: &mut Decoder) -> Result<RequestHeader, DecodeError> {
        let key = input.i16()?;
        let api_key = ApiKey::try_from(key).map_err(|kind| input.error(kind))?;
        let api_version = input.i16()?;
        let correlation_id = input.i32()?;
        let client_id = input.nullable_string(Form::Classic)?;
        if request_header_version(api_key, api_version) >= 2 {
            input.skip_tagged_fields()?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// When the client id is longer than 32767 bytes.
    pub fn encode(&self, out: &mut Encoder) -> Result<(), EncodeError> {
        out.i16(self.api_key as i16);
        out.i16(self.api_version);
        out.i32(self.correlation_id);
        out.nullable_string(self.client_id.as_deref(), Form::Classic)?;
        if request_header_version(self.api_key, self.api_version) >= 2 {
            out.tagged_fields();
        }
        Ok(())
    }
}

/// The header of a response. Version 1 has tagged fields at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of the response to a request of this API and version.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn decode(input: &mut Decoder, key: ApiKey, version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = input.i32()?;
        if response_header_version(key, version) >= 1 {
            input.skip_tagged_fields()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes the header of the response to a request of this API and version.
    pub fn encode(&self, out: &mut Encoder, key: ApiKey, version: i16) {
        out.i32(self.correlation_id);
        if response_header_version(key, version) >= 1 {
            out.tagged_fields();
        }
    }
}

/// 2 when the API's version is flexible, else 1.
pub const fn request_header_version(key: ApiKey, version: i16) -> i16 {
    if key.is_flexible(version) { 2 } else { 1 }
}

/// 1 when the API's version is flexible, else 0; always 0 for ApiVersions, whose answer must be read by
/// clients that know nothing yet (KIP-511).
pub const fn response_header_version(key: ApiKey, version: i16) -> i16 {
    if key.is_flexible(version) && !matches!(key, ApiKey::ApiVersions) { 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api_key: ApiKey, api_version: i16, client_id: Option<&str>, bytes: &[u8]) {
        let header = RequestHeader {
            api_key,
            api_version,
            correlation_id: 7,
            client_id: client_id.map(str::to_owned),
        };

        let mut out = Encoder::new();
        header.encode(&mut out).unwrap();
        let mut input = Decoder::new(bytes.to_vec());

        assert_eq!(out.finish_to_vec().unwrap(), bytes);
        assert_eq!(RequestHeader::decode(&mut input), Ok(header));
        input.finish().unwrap();
    }

    #[test]
    fn the_client_id_is_never_compact() {
        check(ApiKey::Metadata, 8, Some("ab"), b"\0\x03\0\x08\0\0\0\x07\0\x02ab");
        check(ApiKey::Metadata, 9, Some("ab"), b"\0\x03\0\x09\0\0\0\x07\0\x02ab\0");
        check(ApiKey::Metadata, 9, None, b"\0\x03\0\x09\0\0\0\x07\xff\xff\0");
        check(ApiKey::ApiVersions, 99, Some(""), b"\0\x12\0\x63\0\0\0\x07\0\0\0");
        check(ApiKey::SaslHandshake, 1, Some(""), b"\0\x11\0\x01\0\0\0\x07\0\0");
    }

    #[test]
    fn a_client_id_that_is_not_utf8_is_still_a_name() {
        let mut input = Decoder::new(b"\0\x03\0\x08\0\0\0\x07\0\x02a\xff".to_vec());

        assert_eq!(RequestHeader::decode(&mut input).unwrap().client_id.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn the_answer_to_api_versions_never_has_tagged_fields() {
        assert_eq!(response_header_version(ApiKey::ApiVersions, 4), 0);
        assert_eq!(response_header_version(ApiKey::Metadata, 8), 0);
        assert_eq!(response_header_version(ApiKey::Metadata, 9), 1);
        assert_eq!(response_header_version(ApiKey::OffsetDelete, 0), 0);
    }
}
