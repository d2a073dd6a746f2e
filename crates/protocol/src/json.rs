//! Messages as JSON, in the shape of Kafka's own converters (`...JsonConverter`): what `kafka-dump-log`
//! prints, and what the oracle compares.

use crate::codec::Records;
use bytes::Bytes;
use ottla_types::Uuid;
use std::fmt::Write as _;

/// A value that has a JSON form at a version.
pub trait ToJson {
    /// Appends the value to `out`.
    fn to_json(&self, out: &mut String, version: i16);
}

/// The JSON text of a message at a version.
pub fn json<T: ToJson + ?Sized>(message: &T, version: i16) -> String {
    let mut out = String::new();
    message.to_json(&mut out, version);
    out
}

/// An object under construction.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    version: i16,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub fn new(out: &'a mut String, version: i16) -> Object<'a> {
        out.push('{');
        Object { out, version, empty: true }
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, value: &(impl ToJson + ?Sized)) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        name.to_json(self.out, self.version);
        self.out.push(':');
        value.to_json(self.out, self.version);
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push('}');
    }
}

macro_rules! display_to_json {
    ($($type:ty)*) => {$(
        impl ToJson for $type {
            fn to_json(&self, out: &mut String, _version: i16) {
                write!(out, "{self}").expect("a String takes everything");
            }
        }
    )*};
}
display_to_json!(bool i8 i16 i32 i64 u16 u32);

/// JSON has no infinities and no NaN; they become strings, in Java's words.
impl ToJson for f64 {
    fn to_json(&self, out: &mut String, version: i16) {
        if self.is_finite() {
            write!(out, "{self:?}").expect("a String takes everything");
        } else if self.is_nan() {
            "NaN".to_json(out, version);
        } else {
            (if *self > 0.0 { "Infinity" } else { "-Infinity" }).to_json(out, version);
        }
    }
}

impl ToJson for str {
    fn to_json(&self, out: &mut String, _version: i16) {
        out.push('"');
        for c in self.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a String takes everything"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut String, version: i16) {
        self.as_str().to_json(out, version);
    }
}

impl ToJson for Uuid {
    fn to_json(&self, out: &mut String, version: i16) {
        self.to_string().to_json(out, version);
    }
}

/// Base64, as Kafka's converters.
impl ToJson for Bytes {
    fn to_json(&self, out: &mut String, _version: i16) {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        out.push('"');
        for chunk in self.chunks(3) {
            let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for i in 0..4 {
                let digit = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
                out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
            }
        }
        out.push('"');
    }
}

/// Only their size: Kafka calls the field `recordsSizeInBytes`.
impl ToJson for Records {
    fn to_json(&self, out: &mut String, _version: i16) {
        write!(out, "{}", self.len()).expect("a String takes everything");
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut String, version: i16) {
        match self {
            Some(value) => value.to_json(out, version),
            None => out.push_str("null"),
        }
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut String, version: i16) {
        out.push('[');
        for (i, value) in self.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            value.to_json(out, version);
        }
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_padded_base64() {
        for (bytes, text) in [("", "\"\""), ("f", "\"Zg==\""), ("fo", "\"Zm8=\""), ("foo", "\"Zm9v\"")] {
            assert_eq!(json(&Bytes::from(bytes), 0), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(json("a\"b\\c\n", 0), "\"a\\\"b\\\\c\\u000a\"");
    }
}
