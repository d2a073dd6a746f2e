//! From values to bytes, in pieces, so that records are never copied.

use super::payload::read;
use super::{EncodeError, Form, Records};
use bytes::Bytes;
use ottla_types::{FileRegion, Uuid};

/// Records in memory of at least this many bytes become a segment of their own; fewer are cheaper to copy
/// than to send as one more piece.
const SEGMENT_BYTES_MIN: usize = 1024;

/// The longest string, in bytes of UTF-8.
const STRING_LEN_MAX: usize = i16::MAX as usize;

/// A piece of an encoded message.
#[derive(Clone, Debug)]
pub enum Segment {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file.
    File(FileRegion),
}

impl Segment {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::File(region) => region.len,
        }
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Collects a message: small things in a buffer, records as they are.
#[derive(Debug, Default)]
pub struct Encoder {
    /// What came before `current`, in order.
    pieces: Vec<Piece>,
    /// How many bytes `pieces` hold.
    pieces_bytes: usize,
    current: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    /// Still ours: a length at its start may yet be filled in.
    Buffer(Vec<u8>),
    Shared(Segment),
}

impl Encoder {
    /// An encoder without any bytes yet.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// An encoder with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Encoder {
        Encoder { current: Vec::with_capacity(bytes), ..Encoder::default() }
    }

    /// An encoder that begins with the four bytes of a frame's length, which
    /// [`Encoder::finish_frame`] fills in.
    pub fn framed() -> Encoder {
        Encoder { current: vec![0; 4], ..Encoder::default() }
    }

    /// How many bytes were written, records included.
    pub fn len(&self) -> usize {
        self.pieces_bytes + self.current.len()
    }

    /// Returns whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order; none of them empty.
    pub fn finish(mut self) -> Vec<Segment> {
        self.flush();
        let shared = |piece| match piece {
            Piece::Buffer(bytes) => Segment::Bytes(Bytes::from(bytes)),
            Piece::Shared(segment) => segment,
        };
        self.pieces.into_iter().map(shared).collect()
    }

    /// The pieces of a frame, its length filled in.
    ///
    /// # Errors
    /// When the frame is longer than `i32::MAX`.
    ///
    /// # Panics
    /// When the encoder was not made by [`Encoder::framed`].
    pub fn finish_frame(mut self) -> Result<Vec<Segment>, EncodeError> {
        let body = self.len().checked_sub(4).expect("begun by `framed`");
        let prefix = i32::try_from(body).map_err(|_| EncodeError::TooLong(body))?.to_be_bytes();
        let first = match self.pieces.first_mut() {
            None => &mut self.current,
            Some(Piece::Buffer(bytes)) => bytes,
            Some(Piece::Shared(_)) => panic!("begun by `framed`"),
        };
        first[..4].copy_from_slice(&prefix);
        Ok(self.finish())
    }

    /// Everything in one piece; records in files are read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn finish_to_vec(mut self) -> Result<Vec<u8>, EncodeError> {
        if self.pieces.is_empty() {
            return Ok(self.current);
        }
        let mut all = Vec::with_capacity(self.len());
        self.flush();
        for piece in self.pieces {
            match piece {
                Piece::Buffer(bytes) => all.extend_from_slice(&bytes),
                Piece::Shared(Segment::Bytes(bytes)) => all.extend_from_slice(&bytes),
                Piece::Shared(Segment::File(region)) => all.extend_from_slice(&read(&region)?),
            }
        }
        Ok(all)
    }

    fn flush(&mut self) {
        if !self.current.is_empty() {
            self.pieces_bytes += self.current.len();
            self.pieces.push(Piece::Buffer(std::mem::take(&mut self.current)));
        }
    }

    fn push(&mut self, segment: Segment) {
        self.flush();
        self.pieces_bytes += segment.len();
        self.pieces.push(Piece::Shared(segment));
    }
}

/// Numbers and raw bytes.
impl Encoder {
    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.current.push(u8::from(value));
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, big-endian, as all that follow.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }

    /// Seven bits a byte, the lowest first; one to five bytes.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, len) = uvarint(value);
        self.raw(&bytes[..len]);
    }
}

fn uvarint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[len] = if value == 0 { low } else { low | 0x80 };
        len += 1;
        if value == 0 {
            return (bytes, len);
        }
    }
}

impl Encoder {
    /// A string.
    ///
    /// # Errors
    /// When it is longer than 32767 bytes.
    pub fn string(&mut self, value: &str, form: Form) -> Result<(), EncodeError> {
        if value.len() > STRING_LEN_MAX {
            return Err(EncodeError::TooLong(value.len()));
        }
        match form {
            Form::Classic => self.i16(value.len() as i16),
            Form::Flexible => self.uvarint(value.len() as u32 + 1),
        }
        self.raw(value.as_bytes());
        Ok(())
    }

    /// A string or null.
    ///
    /// # Errors
    /// When it is longer than 32767 bytes.
    pub fn nullable_string(&mut self, value: Option<&str>, form: Form) -> Result<(), EncodeError> {
        match (value, form) {
            (Some(value), _) => self.string(value, form)?,
            (None, Form::Classic) => self.i16(-1),
            (None, Form::Flexible) => self.uvarint(0),
        }
        Ok(())
    }

    /// The length of a blob or array. Of an array it must be followed by that many elements.
    ///
    /// # Errors
    /// When it is more than `i32::MAX`.
    pub fn length(&mut self, len: usize, form: Form) -> Result<(), EncodeError> {
        let short = i32::try_from(len).map_err(|_| EncodeError::TooLong(len))?;
        match form {
            Form::Classic => self.i32(short),
            Form::Flexible => self.uvarint(short as u32 + 1),
        }
        Ok(())
    }

    /// The null of a blob or array.
    pub fn null(&mut self, form: Form) {
        match form {
            Form::Classic => self.i32(-1),
            Form::Flexible => self.uvarint(0),
        }
    }

    /// A blob, copied.
    ///
    /// # Errors
    /// When it is longer than `i32::MAX`.
    pub fn bytes(&mut self, value: &[u8], form: Form) -> Result<(), EncodeError> {
        self.length(value.len(), form)?;
        self.raw(value);
        Ok(())
    }

    /// A blob, copied, or null.
    ///
    /// # Errors
    /// When it is longer than `i32::MAX`.
    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, form: Form) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(value, form)?,
            None => self.null(form),
        }
        Ok(())
    }

    /// Record batches: shared, not copied, unless they are few bytes.
    ///
    /// # Errors
    /// When they are longer than `i32::MAX`.
    pub fn records(&mut self, value: &Records, form: Form) -> Result<(), EncodeError> {
        self.length(value.len(), form)?;
        match value {
            Records::Memory(bytes) if bytes.len() < SEGMENT_BYTES_MIN => self.raw(bytes),
            Records::Memory(bytes) => self.push(Segment::Bytes(bytes.clone())),
            Records::File(region) if region.len == 0 => {}
            Records::File(region) => self.push(Segment::File(region.clone())),
        }
        Ok(())
    }

    /// Record batches as [`Encoder::records`], or null.
    ///
    /// # Errors
    /// When they are longer than `i32::MAX`.
    pub fn nullable_records(&mut self, value: Option<&Records>, form: Form) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.records(value, form)?,
            None => self.null(form),
        }
        Ok(())
    }

    /// An array, each element written by `element`.
    ///
    /// # Errors
    /// When it is longer than `i32::MAX`, or an element cannot be written.
    pub fn array<T>(
        &mut self,
        value: &[T],
        form: Form,
        mut element: impl FnMut(&mut Encoder, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(value.len(), form)?;
        value.iter().try_for_each(|value| element(self, value))
    }

    /// An array as [`Encoder::array`], or null.
    ///
    /// # Errors
    /// When it is longer than `i32::MAX`, or an element cannot be written.
    pub fn nullable_array<T>(
        &mut self,
        value: Option<&[T]>,
        form: Form,
        element: impl FnMut(&mut Encoder, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.array(value, form, element)?,
            None => self.null(form),
        }
        Ok(())
    }

    /// Whether a nullable struct follows (KIP-893).
    pub fn is_present(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    /// Whether a nullable struct follows inside a tagged field.
    pub fn is_present_tagged(&mut self, present: bool) {
        self.uvarint(u32::from(present));
    }

    /// Begins the tagged fields at the end of a struct.
    pub fn tagged_fields(&mut self) -> TaggedFields<'_> {
        let count_at = self.current.len();
        self.current.push(0);
        TaggedFields { encoder: self, count_at }
    }
}

/// The tagged fields at the end of a struct. To be written in ascending order of their tags.
#[derive(Debug)]
pub struct TaggedFields<'a> {
    encoder: &'a mut Encoder,
    /// Where in the current buffer their number stands. No schema has more than 127.
    count_at: usize,
}

impl TaggedFields<'_> {
    /// Adds a field.
    ///
    /// # Errors
    /// When `content` cannot be written.
    ///
    /// # Panics
    /// When `content` has records, which no tagged field has, or this is the 128th field of the struct.
    pub fn field(
        &mut self,
        tag: u32,
        content: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let encoder = &mut *self.encoder;
        let pieces = encoder.pieces.len();
        encoder.uvarint(tag);
        let start = encoder.current.len();
        content(encoder)?;
        assert_eq!(encoder.pieces.len(), pieces, "a tagged field has no records");
        let len = encoder.current.len() - start;
        let (size, size_len) = uvarint(u32::try_from(len).map_err(|_| EncodeError::TooLong(len))?);
        encoder.current.splice(start..start, size[..size_len].iter().copied());
        assert!(encoder.current[self.count_at] < 127, "a struct has at most 127 tagged fields");
        encoder.current[self.count_at] += 1;
        Ok(())
    }
}
