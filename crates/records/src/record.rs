//! The records inside a batch (`DefaultRecord`).

use crate::batch::{BatchHeader, BatchView, CorruptBatch, TimestampType};
use crate::compression::{Compression, decompress};
use crate::varint;
use ottla_types::{Offset, Timestamp};
use std::borrow::Cow;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// Its time: the batch's if the leader's clock counts.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; a record without one is a tombstone.
    pub value: Option<&'a [u8]>,
    headers_count: i32,
    headers: &'a [u8],
}

/// A record's header: application data beside the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// Its name, UTF-8 by convention but not checked.
    pub key: &'a [u8],
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = RecordHeader<'a>> + use<'a> {
        let mut rest = self.headers;
        (0..self.headers_count).map_while(move |_| header(&mut rest))
    }
}

/// The records of a batch, decompressed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    pub(crate) fn of(batch: &BatchView<'a>, bytes_max: usize) -> Result<Records<'a>, CorruptBatch> {
        let header = *batch.header();
        let bytes = match header.compression {
            Compression::None => Cow::Borrowed(batch.payload()),
            compression => Cow::Owned(decompress(compression, batch.payload(), bytes_max)?),
        };
        Ok(Records { header, bytes })
    }

    /// The header of their batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Walks the records. After an error the iterator is at its end; bytes that follow the last record are an
    /// error too.
    pub fn iter(&self) -> Iter<'_> {
        Iter { header: &self.header, rest: &self.bytes, index: 0, ended: false }
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    header: &'a BatchHeader,
    rest: &'a [u8],
    index: i32,
    ended: bool,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Record<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.header.records_count {
            self.ended = true;
            return match self.rest.len() {
                0 => None,
                more => Some(Err(CorruptBatch::TrailingRecordBytes(more))),
            };
        }
        let index = self.index;
        self.index += 1;
        let record = record(&mut self.rest, self.header).ok_or(CorruptBatch::Record { index });
        self.ended = record.is_err();
        Some(record)
    }
}

fn record<'a>(rest: &mut &'a [u8], batch: &BatchHeader) -> Option<Record<'a>> {
    let length = usize::try_from(varint::read_i32(rest)?).ok()?;
    let mut body = take(rest, length)?;
    let _attributes = take(&mut body, 1)?;
    // Wraps as Java's does: the extremes of both ends are a timestamp too.
    let timestamp = batch.base_timestamp.0.wrapping_add(varint::read_i64(&mut body)?);
    let offset_delta = varint::read_i32(&mut body)?;
    if !(0..=batch.last_offset_delta).contains(&offset_delta) {
        return None;
    }
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let headers_count = varint::read_i32(&mut body)?;
    let headers = body;
    // Two bytes at least for each header: a count beyond that ends at the first that is missing.
    for _ in 0..u32::try_from(headers_count).ok()? {
        header(&mut body)?;
    }
    if !body.is_empty() {
        return None;
    }
    let timestamp = match batch.timestamp_type() {
        TimestampType::Create => Timestamp(timestamp),
        TimestampType::LogAppend => batch.max_timestamp,
    };
    Some(Record {
        offset: batch.base_offset + i64::from(offset_delta),
        timestamp,
        key,
        value,
        headers_count,
        headers,
    })
}

fn header<'a>(rest: &mut &'a [u8]) -> Option<RecordHeader<'a>> {
    let key = nullable(rest)??;
    let value = nullable(rest)?;
    Some(RecordHeader { key, value })
}

/// The outer `None`: does not parse. The inner: length −1.
fn nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint::read_i32(rest)? {
        -1 => Some(None),
        length => take(rest, usize::try_from(length).ok()?).map(Some),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}
