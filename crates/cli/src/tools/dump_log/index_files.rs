//! A segment's indexes: `.index`, `.timeindex` and `.txnindex`.

use super::batches::Batches;
use super::findings::TimeFinding;
use super::{Findings, IndexMode, Wanted, base_offset, unreadable};
use crate::output;
use crate::tools::Failure;
use ottla_records::CorruptBatch;

/// Entries of `.index`: an offset less the segment's, and a place in the log.
const OFFSET_ENTRY_BYTES: usize = 8;
/// Entries of `.timeindex`: a time, and an offset less the segment's.
const TIME_ENTRY_BYTES: usize = 12;
/// Entries of `.txnindex`: a version, and four numbers.
const TRANSACTION_ENTRY_BYTES: usize = 34;

/// A batch that is larger when decompressed is not compared.
const BATCH_BYTES_MAX: usize = 1 << 30;

pub(super) fn dump_offsets(file: &str, wanted: &Wanted, findings: &mut Findings) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let bytes = std::fs::read(file).map_err(unreadable(file))?;
    if bytes.is_empty() {
        output::line(format_args!("{file} is empty."));
        return Ok(());
    }
    let (entries, _) = bytes.as_chunks::<OFFSET_ENTRY_BYTES>();
    let entry = |entry: &[u8]| (base + i64::from(i32_at(entry, 0)), i32_at(entry, 4));
    if wanted.index == IndexMode::SanityCheck {
        let is_sane = entries.last().is_none_or(|last| entry(last).0 >= base);
        return sane(file, is_sane, "its last offset lies before its segment");
    }
    for (index, bytes) in entries.iter().enumerate() {
        let (offset, position) = entry(bytes);
        if is_unwritten(index, offset, base) {
            break;
        }
        let found = last_offset_at(&log_of(file), position, wanted.batch_bytes_max)?;
        if found != offset {
            findings.mismatch(file, offset, found);
        }
        if wanted.index == IndexMode::Show {
            output::line(format_args!("offset: {offset} position: {position}"));
        }
    }
    Ok(())
}

pub(super) fn dump_times(file: &str, wanted: &Wanted, findings: &mut Findings) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let bytes = std::fs::read(file).map_err(unreadable(file))?;
    let (entries, _) = bytes.as_chunks::<TIME_ENTRY_BYTES>();
    let entry = |entry: &[u8]| (i64_at(entry, 0), base + i64::from(i32_at(entry, 8)));
    if wanted.index == IndexMode::SanityCheck {
        let ends = entries.first().zip(entries.last());
        let is_sane =
            ends.is_none_or(|(first, last)| entry(last).0 >= entry(first).0 && entry(last).1 >= base);
        return sane(file, is_sane, "its last entry lies before its first, or before its segment");
    }
    let mut previous = -1;
    for (index, bytes) in entries.iter().enumerate() {
        let (timestamp, offset) = entry(bytes);
        if is_unwritten(index, offset, base) {
            break;
        }
        match largest_time(&log_of(file), offset)? {
            Found::Time(found) => {
                if found != timestamp {
                    findings.time(file, TimeFinding::Mismatch { timestamp, found });
                }
                if previous >= timestamp {
                    findings.time(file, TimeFinding::OutOfOrder { timestamp, previous });
                }
            }
            Found::Other(found) => findings.time(file, TimeFinding::NoSuchOffset { offset, found }),
        }
        if wanted.index == IndexMode::Show {
            output::line(format_args!("timestamp: {timestamp} offset: {offset}"));
        }
        previous = timestamp;
    }
    Ok(())
}

pub(super) fn dump_transactions(file: &str) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(unreadable(file))?;
    let (entries, _) = bytes.as_chunks::<TRANSACTION_ENTRY_BYTES>();
    for entry in entries {
        output::line(format_args!(
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            i16::from_be_bytes([entry[0], entry[1]]),
            i64_at(entry, 2),
            i64_at(entry, 10),
            i64_at(entry, 18),
            i64_at(entry, 26),
        ));
    }
    Ok(())
}

/// Returns whether an entry was never written: a broker that was killed leaves zeros at the end of an index, space
/// that it had taken beforehand.
fn is_unwritten(index: usize, offset: i64, base: i64) -> bool {
    index > 0 && offset == base
}

fn sane(file: &str, is_sane: bool, otherwise: &str) -> Result<(), Failure> {
    if !is_sane {
        return Err(Failure::Refused(format!("{file} is corrupt: {otherwise}")));
    }
    output::line(format_args!("{file} passed sanity check."));
    Ok(())
}

/// The log that an index belongs to.
fn log_of(index: &str) -> String {
    let stem = index.rsplit_once('.').map_or(index, |(stem, _)| stem);
    format!("{stem}.log")
}

fn last_offset_at(log: &str, position: i32, bytes_max: u64) -> Result<i64, Failure> {
    let none =
        || Failure::Refused(format!("{log} has no batch at {position}, where the index says there is one"));
    let position = u64::try_from(position).map_err(|_| none())?;
    let mut batches = Batches::open(log, position, bytes_max).map_err(unreadable(log))?;
    match batches.next().map_err(unreadable(log))? {
        Some((_, Ok(batch))) => Ok(batch.header().last_offset().0),
        Some((_, Err(_))) | None => Err(none()),
    }
}

/// What a log has at an offset that an index of times names.
enum Found {
    /// The largest time in the batch that ends with it.
    Time(i64),
    /// The end of the first batch that ends after it; −1 if none does.
    Other(i64),
}

fn largest_time(log: &str, offset: i64) -> Result<Found, Failure> {
    let corrupt = |error: CorruptBatch| Failure::Refused(format!("{log}: {error}"));
    let mut batches = Batches::open(log, 0, u64::MAX).map_err(unreadable(log))?;
    while let Some((_, batch)) = batches.next().map_err(unreadable(log))? {
        let batch = batch.map_err(corrupt)?;
        let last = batch.header().last_offset().0;
        if last < offset {
            continue;
        }
        if last > offset {
            return Ok(Found::Other(last));
        }
        let mut largest = -1;
        for record in batch.records(BATCH_BYTES_MAX).map_err(corrupt)?.iter() {
            largest = largest.max(record.map_err(corrupt)?.timestamp.0);
        }
        return Ok(Found::Time(largest));
    }
    Ok(Found::Other(-1))
}

fn i32_at(entry: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes of an entry"))
}

fn i64_at(entry: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes of an entry"))
}
