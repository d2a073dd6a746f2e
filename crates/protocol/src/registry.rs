//! All messages, by name, for tests and tools that go through every one.

use crate::codec::{DecodeError, Decoder, EncodeError};
use crate::json::{ToJson, json};
use crate::message::{Message, encode_to_vec};
use bytes::Bytes;
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::generated::registry::MESSAGES;

/// What a message is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request's body.
    Request,
    /// A response's body.
    Response,
    /// A record's key or value.
    Record,
    /// A blob inside something else.
    Data,
}

/// A message without its type.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Kafka's name.
    pub name: &'static str,
    /// What it is part of.
    pub kind: Kind,
    /// Its versions.
    pub versions: RangeInclusive<i16>,
    json: fn(Bytes, i16) -> Result<String, DecodeError>,
    recode: fn(Bytes, i16) -> Result<Recoded, RecodeError>,
    default: fn(i16) -> Result<Vec<u8>, EncodeError>,
    #[cfg(any(test, feature = "arbitrary"))]
    arbitrary: fn(&mut ottla_types::Random, i16) -> Result<Vec<u8>, EncodeError>,
}

/// A message that was decoded and encoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recoded {
    /// Its bytes. Those it came from may be others that mean the same.
    pub bytes: Vec<u8>,
    /// Its JSON.
    pub json: String,
    /// Its JSON at the last version: with defaults where the version it came from has no field.
    pub json_latest: String,
    /// Its `Debug` text.
    pub debug: String,
    /// How many bytes were left after it.
    pub remaining: usize,
}

/// Why a message could not be decoded, or not be encoded again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecodeError {
    /// The bytes are wrong.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What was decoded cannot be encoded: never the bytes' fault.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

#[cfg(any(test, feature = "arbitrary"))]
pub(crate) use crate::arbitrary::Arbitrary as Testable;

/// Stands in for `Arbitrary` where that is not compiled.
#[cfg(not(any(test, feature = "arbitrary")))]
pub(crate) trait Testable {}
#[cfg(not(any(test, feature = "arbitrary")))]
impl<T> Testable for T {}

impl Entry {
    pub(crate) const fn of<M: Message + ToJson + Testable + fmt::Debug>(kind: Kind) -> Entry {
        let (first, last) = (*M::VERSIONS.start(), *M::VERSIONS.end());
        Entry {
            name: M::NAME,
            kind,
            versions: first..=last,
            json: |bytes, version| Ok(json(&M::decode(&mut Decoder::new(bytes), version)?, version)),
            recode: recode::<M>,
            default: |version| encode_to_vec(&M::default(), version),
            #[cfg(any(test, feature = "arbitrary"))]
            arbitrary: |random, version| encode_to_vec(&M::arbitrary(random, version), version),
        }
    }

    /// The message called `name`.
    pub fn find(name: &str) -> Option<&'static Entry> {
        MESSAGES.iter().find(|entry| entry.name == name)
    }

    /// The JSON of a message. Bytes that follow it are not looked at.
    ///
    /// # Errors
    /// When the bytes are wrong.
    pub fn json(&self, bytes: impl Into<Bytes>, version: i16) -> Result<String, DecodeError> {
        (self.json)(bytes.into(), version)
    }

    /// Decodes a message and encodes it again, at one version.
    ///
    /// # Errors
    /// When the bytes are wrong.
    pub fn recode(&self, bytes: impl Into<Bytes>, version: i16) -> Result<Recoded, RecodeError> {
        (self.recode)(bytes.into(), version)
    }

    /// The bytes of a message that has its default in every field.
    ///
    /// # Errors
    /// When there is no such version, or the default of a field is no value of it: records that may not be
    /// null.
    pub fn default_bytes(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        (self.default)(version)
    }

    /// The bytes of a random message that fills every field of the version.
    ///
    /// # Errors
    /// When there is no such version.
    #[cfg(any(test, feature = "arbitrary"))]
    pub fn arbitrary(&self, random: &mut ottla_types::Random, version: i16) -> Result<Vec<u8>, EncodeError> {
        (self.arbitrary)(random, version)
    }
}

fn recode<M: Message + ToJson + fmt::Debug>(bytes: Bytes, version: i16) -> Result<Recoded, RecodeError> {
    let mut input = Decoder::new(bytes);
    let message = M::decode(&mut input, version)?;
    let remaining = input.remaining();
    let bytes = encode_to_vec(&message, version)?;
    let (json, json_latest) = (json(&message, version), json(&message, *M::VERSIONS.end()));
    Ok(Recoded { bytes, json, json_latest, debug: format!("{message:?}"), remaining })
}

#[cfg(test)]
mod tests;
