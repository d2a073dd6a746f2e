//! A segment's batches and records, and those of a snapshot of the metadata log.

use super::batches::Batches;
use super::decoders::Contents;
use super::{Findings, Wanted, base_offset, name, unreadable};
use crate::output;
use crate::tools::Failure;
use bytes::Bytes;
use ottla_protocol::json::json;
use ottla_protocol::records::ControlRecord;
use ottla_records::batch::{NO_SEQUENCE, TimestampType, add_sequence};
use ottla_records::control::ControlType;
use ottla_records::{BatchView, Compression, Record};

/// A batch that is larger when decompressed is not shown.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// The snapshot that a node is formatted with.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What stands before a record.
const RECORD: &str = "|";

pub(super) fn dump(file: &str, wanted: &Wanted, findings: &mut Findings) -> Result<(), Failure> {
    output::line(title(file)?);
    let mut batches = Batches::open(file, 0, wanted.bytes_max).map_err(unreadable(file))?;
    let mut last_offset = -1;
    while let Some((position, batch)) = batches.next().map_err(unreadable(file))? {
        let refused = |error| Failure::Refused(format!("{file}: the batch at {position}: {error}"));
        let batch = batch.map_err(refused)?;
        output::line(batch_line(&batch, position));
        if !wanted.records {
            continue;
        }
        for record in batch.records(BATCH_BYTES_MAX).map_err(refused)?.iter() {
            let record = record.map_err(refused)?;
            if record.offset.0 != last_offset + 1 {
                findings.gap(file, last_offset, record.offset.0);
            }
            last_offset = record.offset.0;
            print_record(&batch, &record, wanted)?;
        }
    }
    // What was not to be read is not invalid.
    let trailing = batches.trailing_bytes();
    if trailing > 0 && wanted.bytes_max == i32::MAX as u64 {
        output::line(format_args!("Found {trailing} invalid bytes at the end of {}", name(file)));
    }
    Ok(())
}

/// What a file says it is by its name.
fn title(file: &str) -> Result<String, Failure> {
    let file_name = name(file);
    if file_name == BOOTSTRAP {
        return Ok("KRaft bootstrap snapshot".to_owned());
    }
    let Some(snapshot) = file_name.strip_suffix(".checkpoint") else {
        return Ok(format!("Log starting offset: {}", base_offset(file)?));
    };
    let parts = snapshot.split_once('-').map(|(offset, epoch)| (offset.parse::<i64>(), epoch.parse::<i32>()));
    match parts {
        Some((Ok(offset), Ok(epoch))) => Ok(format!("Snapshot end offset: {offset}, epoch: {epoch}")),
        _ => {
            Err(Failure::Refused(format!("{file} is not named by an offset and an epoch, as a snapshot is")))
        }
    }
}

fn batch_line(batch: &BatchView<'_>, position: u64) -> String {
    let header = batch.header();
    let horizon = if header.attributes.has_delete_horizon() {
        format!("OptionalLong[{}]", header.base_timestamp)
    } else {
        "OptionalLong.empty".to_owned()
    };
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} \
         position: {position} {}: {} size: {} magic: 2 compresscodec: {} crc: {} isvalid: {}",
        header.base_offset,
        header.last_offset(),
        header.records_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        header.is_transactional(),
        header.is_control(),
        time_name(header.timestamp_type()),
        header.max_timestamp,
        header.size_in_bytes,
        compression_name(header.compression),
        header.crc,
        batch.check_crc().is_ok(),
    )
}

fn time_name(timestamp_type: TimestampType) -> &'static str {
    match timestamp_type {
        TimestampType::Create => "CreateTime",
        TimestampType::LogAppend => "LogAppendTime",
    }
}

fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

/// Prints a record. What comes before its contents is printed even when those cannot be read, as Kafka does.
fn print_record(batch: &BatchView<'_>, record: &Record<'_>, wanted: &Wanted) -> Result<(), Failure> {
    let is_control = batch.header().is_control();
    let mut line = String::new();
    if wanted.record_metadata {
        line += &record_metadata(batch, record);
        if is_control {
            line += &control(record);
        }
    }
    let mut done = Ok(());
    if let Some(decoder) = wanted.decoder.filter(|_| !is_control) {
        match decoder.read(record) {
            Ok(contents) => append_contents(&mut line, &contents),
            Err(message) => done = Err(Failure::Refused(message)),
        }
    }
    if done.is_ok() {
        line.push('\n');
    }
    output::text(&line);
    done
}

fn record_metadata(batch: &BatchView<'_>, record: &Record<'_>) -> String {
    let header = batch.header();
    let delta = i32::try_from(record.offset.0 - header.base_offset.0).unwrap_or(0);
    let sequence = match header.base_sequence {
        NO_SEQUENCE => NO_SEQUENCE,
        base => add_sequence(base, delta),
    };
    let size = |part: Option<&[u8]>| part.map_or(-1, |part| part.len() as i64);
    let keys = record.headers().map(|header| String::from_utf8_lossy(header.key).into_owned());
    format!(
        "{RECORD} offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset,
        time_name(header.timestamp_type()),
        record.timestamp,
        size(record.key),
        size(record.value),
        keys.collect::<Vec<_>>().join(","),
    )
}

fn append_contents(line: &mut String, contents: &Contents) {
    for (name, content) in [("key", &contents.key), ("payload", &contents.value)] {
        let Some(content) = content else { continue };
        if line.is_empty() {
            *line += RECORD;
        }
        *line += &format!(" {name}: {content}");
    }
}

/// What a control record says.
fn control(record: &Record<'_>) -> String {
    let copy = |part: Option<&[u8]>| Bytes::copy_from_slice(part.unwrap_or_default());
    let known = match ControlRecord::decode(copy(record.key), copy(record.value)) {
        Ok(Some(known)) => known,
        Ok(None) => {
            let id = record.key.and_then(ControlType::from_key).map_or(-1, ControlType::id);
            return format!(" controlType: UNKNOWN({id})");
        }
        Err(error) => return format!(" {error}"),
    };
    match &known {
        ControlRecord::Abort(marker) => {
            format!(" endTxnMarker: ABORT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::Commit(marker) => {
            format!(" endTxnMarker: COMMIT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::LeaderChange(record) => format!(" LeaderChange: {}", json(record, record.version)),
        ControlRecord::SnapshotHeader(record) => format!(" SnapshotHeader {}", json(record, record.version)),
        ControlRecord::SnapshotFooter(record) => format!(" SnapshotFooter {}", json(record, record.version)),
        ControlRecord::KRaftVersion(record) => format!(" KRaftVersion {}", json(record, record.version)),
        ControlRecord::KRaftVoters(record) => format!(" KRaftVoters {}", json(record, record.version)),
    }
}
