//! What generated code is written with.

pub(crate) use crate::api_key::ApiKey;
#[cfg(any(test, feature = "arbitrary"))]
pub(crate) use crate::arbitrary::Arbitrary;
pub(crate) use crate::codec::{
    DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder, Form, Records, Tag,
};
pub(crate) use crate::json::{Object, ToJson};
pub(crate) use crate::message::{Message, Request, check_decode, check_encode, encode_prefixed, required};
pub(crate) use crate::records::frame::{decode_value, read_frame_header, unknown_key, write_frame_header};
pub(crate) use bytes::Bytes;
#[cfg(any(test, feature = "arbitrary"))]
pub(crate) use ottla_types::Random;
pub(crate) use ottla_types::Uuid;
pub(crate) use std::ops::RangeInclusive;
