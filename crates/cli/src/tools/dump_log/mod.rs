//! `kafka-dump-log`: the files of a log directory as text (`DumpLogSegments`).
//!
//! Reading order: [`log_file`] with [`batches`] and [`decoders`], [`index_files`], [`producers`], [`findings`].

pub(super) mod batches;
mod decoders;
mod findings;
mod index_files;
mod log_file;
mod producers;

use super::Failure;
use super::options::{Parsed, Tool, flag, optional, refused, require, value};
use crate::output;
use decoders::Decoder;
use findings::Findings;
use std::path::Path;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-dump-log",
    purpose: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a \
              seemingly corrupt log segment.",
    short_purpose: None,
    commands: &[],
    options: &[
        flag("cluster-metadata-decoder", "Shows records as those of the metadata log."),
        flag("deep-iteration", "Shows the records, not only their batches."),
        value("files", "file,...", "REQUIRED: the files to show."),
        flag("index-sanity-check", "Checks indexes as a broker does that starts; shows no entries."),
        optional(
            "key-decoder-class",
            "class",
            "What keys are: org.apache.kafka.tools.api.StringDecoder, LongDecoder or IntegerDecoder.",
        ),
        value("max-bytes", "size", "How much of each log is read. (default: 2147483647)"),
        value("max-message-size", "size", "The largest batch that an index points to. (default: 5242880)"),
        flag("offsets-decoder", "Shows records as those of __consumer_offsets."),
        flag("print-data-log", "Shows keys and values. A decoder does so too."),
        refused("remote-log-metadata-decoder", "there is no tiered storage"),
        flag("share-group-state-decoder", "Shows records as those of __share_group_state."),
        flag("skip-record-metadata", "Shows only keys and values of records."),
        flag("transaction-log-decoder", "Shows records as those of __transaction_state."),
        optional("value-decoder-class", "class", "What values are, as for keys."),
        flag("verify-index-only", "Compares indexes with their logs; shows no entries."),
    ],
};

/// What is shown.
struct Wanted {
    /// The records of a batch too.
    records: bool,
    /// Their offsets, times and sizes.
    record_metadata: bool,
    /// How keys and values are read; `None` leaves them out.
    decoder: Option<Decoder>,
    /// How much of a log is read.
    bytes_max: u64,
    /// The largest batch that an index may point to.
    batch_bytes_max: u64,
    /// What is done with an index.
    index: IndexMode,
}

/// What is done with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexMode {
    /// Its entries are shown, and compared with the log.
    Show,
    /// Its entries are compared with the log.
    Verify,
    /// It is looked at by itself.
    SanityCheck,
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["files"])?;
    let wanted = wanted(parsed)?;
    let mut findings = Findings::default();
    let files = parsed.values("files").flat_map(|files| files.split(',')).map(str::trim);
    for file in files.filter(|file| !file.is_empty()) {
        output::line(format_args!("Dumping {file}"));
        dump(file, &wanted, &mut findings)?;
    }
    findings.report();
    Ok(())
}

fn wanted(parsed: &Parsed) -> Result<Wanted, Failure> {
    let decoder = Decoder::of(parsed)?;
    let size = |name, default| {
        let number = parsed.number(name)?.unwrap_or(default);
        u64::try_from(number).map_err(|_| Failure::Refused(format!("--{name} {number} is negative")))
    };
    let index = if parsed.has("index-sanity-check") {
        IndexMode::SanityCheck
    } else if parsed.has("verify-index-only") {
        IndexMode::Verify
    } else {
        IndexMode::Show
    };
    Ok(Wanted {
        records: decoder.is_some() || parsed.has("deep-iteration"),
        record_metadata: !parsed.has("skip-record-metadata"),
        decoder,
        bytes_max: size("max-bytes", i32::MAX)?,
        batch_bytes_max: size("max-message-size", 5 * 1024 * 1024)?,
        index,
    })
}

fn dump(file: &str, wanted: &Wanted, findings: &mut Findings) -> Result<(), Failure> {
    match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("log" | "checkpoint") => log_file::dump(file, wanted, findings),
        Some("index") => index_files::dump_offsets(file, wanted, findings),
        Some("timeindex") => index_files::dump_times(file, wanted, findings),
        Some("txnindex") => index_files::dump_transactions(file),
        Some("snapshot") => producers::dump(file),
        _ => {
            output::error_line(format_args!("Ignoring unknown file {file}"));
            Ok(())
        }
    }
}

/// What a file that cannot be read is said to be.
fn unreadable(file: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Refused(format!("{file}: {error}"))
}

/// The file's name without the directories.
fn name(file: &str) -> &str {
    Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file)
}

/// The offset that a segment's files are named by.
fn base_offset(file: &str) -> Result<i64, Failure> {
    let digits = name(file).split('.').next().unwrap_or_default();
    digits
        .parse()
        .map_err(|_| Failure::Refused(format!("{file} is not named by an offset, as {:020}.log is", 0)))
}
