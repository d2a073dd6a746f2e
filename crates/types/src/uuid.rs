//! 128-bit identifiers in Kafka's text form.

use std::fmt;
use std::str::FromStr;

/// A topic's, directory's, incarnation's or cluster's id. Its text is base64url without padding:
/// 22 characters (`org.apache.kafka.common.Uuid`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zero: "no id" on the wire, and the directory id of a replica not yet assigned to one is
    /// [`Uuid::UNASSIGNED_DIR`].
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The topic id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Uuid = Uuid::from_u128(1);
    /// Directory id of a replica whose directory the broker has not chosen yet (KIP-858).
    pub const UNASSIGNED_DIR: Uuid = Uuid::from_u128(1);
    /// Directory id of a replica whose directory has failed (KIP-858).
    pub const LOST_DIR: Uuid = Uuid::from_u128(2);
    /// Directory id of a replica on a broker that does not report directories (KIP-858).
    pub const MIGRATING_DIR: Uuid = Uuid::from_u128(0);

    /// The id with these big-endian bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Uuid {
        Uuid(bytes)
    }

    /// The id with this numeric value.
    pub const fn from_u128(value: u128) -> Uuid {
        Uuid(value.to_be_bytes())
    }

    /// The big-endian bytes, as on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }

    /// Returns whether Kafka keeps this id for a meaning of its own: the numbers below 100.
    pub fn is_reserved(self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0; 22];
        for (i, slot) in text.iter_mut().enumerate() {
            // 22 digits of 6 bits are 132 bits: the last digit holds the low 2 bits, shifted up by 4.
            let digit = if i < 21 { value >> (122 - 6 * i) } else { value << 4 };
            *slot = ALPHABET[(digit & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 22 characters of base64url that stand for 128 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseUuidError(String);

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an id: expected 22 characters of A-Z, a-z, 0-9, `-` and `_`", self.0)
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Uuid, ParseUuidError> {
        let error = || ParseUuidError(text.to_owned());
        if text.len() != 22 {
            return Err(error());
        }
        let mut value: u128 = 0;
        for (i, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|&c| c == byte).ok_or_else(error)? as u128;
            value = if i < 21 { value << 6 | digit } else { value << 2 | digit >> 4 };
        }
        Ok(Uuid::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        let cases = [
            (Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::METADATA_TOPIC, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (Uuid::from_u128(100), "AAAAAAAAAAAAAAAAAAAAZA"),
            (Uuid::from_u128(u128::MAX), "_____________________w"),
        ];
        for (uuid, text) in cases {
            assert_eq!(uuid.to_string(), text);
            assert_eq!(text.parse(), Ok(uuid));
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in ["", "short", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
