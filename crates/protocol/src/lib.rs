//! Kafka's messages as bytes: every request, response and internal record of Kafka 4.4, at every version.
//!
//! What a message looks like stands in `schemas/`; `cargo xtask codegen` turns that into `src/generated/`.
//! This crate knows what is well-formed, not what is right: it opens no record batch, and no id, epoch or
//! offset means anything to it. Everything it decodes is untrusted; see [`Decoder`] for what that costs.
//!
//! ```text
//! frame:     length i32 | header | body
//! request:   api key i16 | version i16 | correlation id i32 | client id | (tagged fields) | body
//! response:  correlation id i32 | (tagged fields) | body
//! ```
//!
//! Reading order: [`message`], [`codec`], then [`api_key`], [`header`], [`frame`], [`error_code`]; of what
//! is generated, one module of [`messages`] and one family of [`records`]; [`registry`] for tools.

pub mod api_key;
#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;
pub mod codec;
pub mod error_code;
pub mod frame;
#[allow(
    missing_docs,
    reason = "fields are documented by Kafka's names; what is said of them is generated too"
)]
#[allow(clippy::all, reason = "generated code is regular, not idiomatic")]
mod generated;
pub mod header;
pub mod json;
pub mod message;
mod prelude;
pub mod records;
pub mod registry;

pub use api_key::ApiKey;
pub use codec::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder, Form, Records, Segment};
pub use error_code::ErrorCode;
pub use generated::messages;
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request, decode_all, decode_prefixed, encode_prefixed, encode_to_vec};
