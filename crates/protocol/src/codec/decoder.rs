//! From bytes to values, without trusting a single length.

use super::{DecodeError, DecodeErrorKind, Form, Records};
use bytes::Bytes;
use ottla_types::Uuid;

/// The longest string, in bytes of UTF-8, in either form (`org.apache.kafka.common.protocol.types`).
const STRING_LEN_MAX: usize = i16::MAX as usize;

/// A cursor over the bytes of a message.
///
/// Blobs and records come out as slices of the input, which stays alive as long as they do. Nothing makes it
/// allocate more than the input could justify: a string is allocated only once all of its bytes are there;
/// an array whose elements cannot fit into what remains is refused at its length, and starts with no more
/// memory than bytes remain; and all arrays of a message together take at most [`MEMORY_FACTOR`] times its
/// bytes, which bounds what many tiny elements can do.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    position: usize,
    /// How many bytes of memory arrays may still take.
    memory: usize,
}

/// How many bytes of memory the arrays of a message may take for each of its own. An empty string is 24
/// bytes of memory in one of input; but real arrays hold strings that differ from each other, and stay below
/// half of this.
pub const MEMORY_FACTOR: usize = 16;

/// What arrays may take however short the message is.
const MEMORY_BYTES_MIN: usize = 1 << 16;

/// Whether a tagged field was one that the version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It was read.
    Known,
    /// It is to be skipped.
    Unknown,
}

impl Decoder {
    /// Starts at the first of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Decoder {
        let bytes = bytes.into();
        let memory = bytes.len().saturating_mul(MEMORY_FACTOR).max(MEMORY_BYTES_MIN);
        Decoder { bytes, position: 0, memory }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bytes that are left, as a slice of the input.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::Trailing(left))),
        }
    }

    /// An error at this place.
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, position: self.position }
    }

    fn require(&self, needed: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if needed > remaining {
            return Err(self.error(DecodeErrorKind::Truncated { needed, remaining }));
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&[u8], DecodeError> {
        self.require(len)?;
        let start = self.position;
        self.position += len;
        Ok(&self.bytes[start..self.position])
    }

    /// Passes over bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn skip(&mut self, len: usize) -> Result<(), DecodeError> {
        self.take(len).map(|_| ())
    }

    fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        self.require(len)?;
        let start = self.position;
        self.position += len;
        Ok(self.bytes.slice(start..self.position))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives as many bytes as asked"))
    }
}

/// Numbers.
#[expect(clippy::missing_errors_doc, reason = "all of them fail for want of bytes, and for nothing else")]
impl Decoder {
    /// One byte; everything but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Two bytes, big-endian, as all that follow.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid::from_bytes)
    }
}

impl Decoder {
    /// Seven bits a byte, the lowest first; at most five bytes.
    ///
    /// # Errors
    /// When the bytes end, or the value has more than 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.fixed::<1>()?[0];
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeErrorKind::Varint))
    }

    /// A length as the form writes it; `None` for null.
    fn length(&mut self, form: Form, width: Width) -> Result<Option<usize>, DecodeError> {
        let len = match (form, width) {
            (Form::Flexible, _) => i64::from(self.uvarint()?) - 1,
            (Form::Classic, Width::Short) => i64::from(self.i16()?),
            (Form::Classic, Width::Int) => i64::from(self.i32()?),
        };
        // As in Kafka, every negative length is null.
        Ok(usize::try_from(len).ok())
    }

    fn non_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(DecodeErrorKind::Null))
    }

    /// A string.
    ///
    /// # Errors
    /// When it is null, truncated or too long.
    pub fn string(&mut self, form: Form) -> Result<String, DecodeError> {
        let value = self.nullable_string(form)?;
        self.non_null(value)
    }

    /// A string, or null. What is not UTF-8 is replaced by U+FFFD, as Kafka does: clients that never look at
    /// their strings (a group id, the metadata of an offset) must not lose the connection for one.
    ///
    /// # Errors
    /// When it is truncated or too long.
    pub fn nullable_string(&mut self, form: Form) -> Result<Option<String>, DecodeError> {
        let Some(len) = self.length(form, Width::Short)? else { return Ok(None) };
        self.check_string_len(len)?;
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        // Replacing may have made it longer than what can be written again.
        self.check_string_len(text.len())?;
        Ok(Some(text))
    }

    fn check_string_len(&self, len: usize) -> Result<(), DecodeError> {
        if len <= STRING_LEN_MAX {
            return Ok(());
        }
        Err(self.error(DecodeErrorKind::Length { len: len as i64, max: STRING_LEN_MAX as i64 }))
    }

    /// A blob, as a slice of the input.
    ///
    /// # Errors
    /// When it is null or truncated.
    pub fn bytes(&mut self, form: Form) -> Result<Bytes, DecodeError> {
        let value = self.nullable_bytes(form)?;
        self.non_null(value)
    }

    /// A blob, as a slice of the input, or null.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn nullable_bytes(&mut self, form: Form) -> Result<Option<Bytes>, DecodeError> {
        match self.length(form, Width::Int)? {
            None => Ok(None),
            Some(len) => self.slice(len).map(Some),
        }
    }

    /// Record batches, as a slice of the input.
    ///
    /// # Errors
    /// When they are null or truncated.
    pub fn records(&mut self, form: Form) -> Result<Records, DecodeError> {
        self.bytes(form).map(Records::Memory)
    }

    /// Record batches, as a slice of the input, or null.
    ///
    /// # Errors
    /// When they are truncated.
    pub fn nullable_records(&mut self, form: Form) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(form)?.map(Records::Memory))
    }

    /// An array of elements that take `element_bytes_min` bytes or more each.
    ///
    /// # Errors
    /// When it is null, says it is longer than the input, or an element is wrong.
    pub fn array<T>(
        &mut self,
        form: Form,
        element_bytes_min: usize,
        element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let value = self.nullable_array(form, element_bytes_min, element)?;
        self.non_null(value)
    }

    /// An array as [`Decoder::array`], or null.
    ///
    /// # Errors
    /// When it says it is longer than the input, or an element is wrong.
    pub fn nullable_array<T>(
        &mut self,
        form: Form,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(len) = self.length(form, Width::Int)? else { return Ok(None) };
        let remaining = self.remaining();
        if len > remaining / element_bytes_min.max(1) {
            return Err(self.error(DecodeErrorKind::ArrayTooLong { len, remaining }));
        }
        let needed = len.saturating_mul(size_of::<T>());
        self.memory = match self.memory.checked_sub(needed) {
            Some(left) => left,
            None => return Err(self.error(DecodeErrorKind::Memory { needed, left: self.memory })),
        };
        let mut elements = Vec::with_capacity(first_capacity::<T>(len, remaining));
        for _ in 0..len {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Whether a nullable struct follows: one byte, negative for null (KIP-893).
    ///
    /// # Errors
    /// When there is no byte.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? >= 0)
    }

    /// Whether a nullable struct follows inside a tagged field: a varint there, 0 for null.
    ///
    /// # Errors
    /// When there is no varint.
    pub fn is_present_tagged(&mut self) -> Result<bool, DecodeError> {
        Ok(self.uvarint()? > 0)
    }

    /// The tagged fields at the end of a struct. `field` reads those it knows from a decoder that holds just
    /// that field; the others are skipped.
    ///
    /// # Errors
    /// When a field is truncated, is wrong, or does not fill the size that it says it has.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Decoder) -> Result<Tag, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let mut content = Decoder { bytes: self.slice(size)?, position: 0, memory: self.memory };
            let known = field(tag, &mut content)?;
            self.memory = content.memory;
            if known == Tag::Known {
                content.finish()?;
            }
        }
        Ok(())
    }

    /// Skips the tagged fields of a struct that knows none.
    ///
    /// # Errors
    /// When a field is truncated.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(Tag::Unknown))
    }
}

/// How many of `len` elements an array starts with room for: no more memory than there are bytes. Beyond that
/// it grows as elements prove real.
pub(super) fn first_capacity<T>(len: usize, remaining: usize) -> usize {
    len.min(remaining / size_of::<T>().max(1))
}

/// How wide a classic length is.
#[derive(Clone, Copy)]
enum Width {
    Short,
    Int,
}
