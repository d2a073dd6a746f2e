//! `ottla produce`: lines of standard input become records.

use super::advice::explain;
use super::block_on;
use super::connection::Connection;
use super::progress::Progress;
use super::show::{Shown, counted};
use crate::output;
use crate::tools::Failure;
use crate::tools::console::producer::read_stdin;
use crate::tools::console::reader::Reader;
use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use ottla_client::client::Topics;
use ottla_client::producer::{Acks, Delivery, ProducerConfig, ProducerRecord, SendError, Written};
use ottla_client::{Client, Producer};
use ottla_records::Compression;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Writes records to a topic: one for each line of standard input.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The topic; it must be there.
    topic: String,
    /// The key of every record.
    #[arg(long, short, conflicts_with = "key_separator")]
    key: Option<String>,
    /// Each line has a key before this text, and the value after it; \t is a tab.
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = separator)]
    key_separator: Option<String>,
    /// A header of every record; may be given more than once.
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(Bytes, Option<Bytes>)>,
    /// The partition; by the key, or by chance, if not given.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// A key or value that is this text is none: a record without a value deletes its key from a compacted topic.
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Who must have a record before it counts as written.
    #[arg(long, value_enum, default_value_t = Acknowledged::All)]
    acks: Acknowledged,
    /// How batches are compressed.
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"])]
    compression: String,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    shown: Shown,
}

/// Who must have a record before it counts as written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledged {
    /// Every in-sync replica.
    All,
    /// The partition's leader.
    Leader,
}

fn separator(text: &str) -> Result<String, String> {
    Some(text.to_owned()).filter(|text| !text.is_empty()).ok_or_else(|| "it cannot be empty".to_owned())
}

fn header(text: &str) -> Result<(Bytes, Option<Bytes>), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` does not have the form NAME=VALUE"))?;
    Ok((name.to_owned().into(), Some(value.to_owned().into())))
}

/// Records without answer, at most.
const UNDER_WAY_MAX: usize = 10_000;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let reader = reader(arguments)?;
    let client = arguments.connection.client()?;
    block_on(async {
        let topics = [arguments.topic.clone()];
        let metadata = client.retry("metadata", || client.refresh(Topics::Named(&topics))).await;
        let metadata = metadata.map_err(|error| explain(&client, error))?;
        let Some(topic) = metadata.topics.get(&arguments.topic) else {
            bail!("there is no topic {0}; make it with: ottla topic create {0}", arguments.topic);
        };
        if let Some(partition) =
            arguments.partition.filter(|partition| !topic.partitions.contains_key(partition))
        {
            let count = counted(topic.partitions.len(), "partition");
            bail!("topic {} has no partition {partition}: it has {count}", arguments.topic);
        }
        send(arguments, &reader, client).await
    })
}

/// What makes records of lines.
fn reader(arguments: &Arguments) -> Result<Reader> {
    let mut properties = BTreeMap::new();
    if let Some(separator) = &arguments.key_separator {
        properties.insert("parse.key".to_owned(), "true".to_owned());
        properties.insert("key.separator".to_owned(), separator.clone());
    }
    if let Some(null) = &arguments.null {
        properties.insert("null.marker".to_owned(), null.clone());
    }
    Reader::new(&arguments.topic, &properties).map_err(|failure| anyhow!(words(failure)))
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Usage(message) | Failure::Failed(message) | Failure::Refused(message) => message,
        Failure::Quiet => String::new(),
    }
}

fn config(arguments: &Arguments) -> Result<ProducerConfig> {
    let codec = (0..=4).filter_map(Compression::from_id).find(|codec| codec.name() == arguments.compression);
    let codec = codec.ok_or_else(|| anyhow!("there is no compression {}", arguments.compression))?;
    let timeout = arguments.connection.timeout();
    let mut config = ProducerConfig {
        // What a person types goes out at once; what is piped fills batches meanwhile.
        linger: Duration::from_millis(5),
        block_max: timeout,
        delivery_timeout: timeout,
        compression: codec.into(),
        ..ProducerConfig::default()
    };
    if arguments.acks == Acknowledged::Leader {
        (config.acks, config.idempotent) = (Acks::Leader, false);
    }
    Ok(config)
}

/// What came of the records so far.
struct Outcome {
    progress: Progress,
    shown: Shown,
    written: u64,
    failed: Option<SendError>,
}

async fn send(arguments: &Arguments, reader: &Reader, client: Client) -> Result<()> {
    let producer = Producer::new(client, config(arguments)?);
    let mut lines = read_stdin().map_err(|failure| anyhow!(words(failure)))?;
    let progress = Progress::of_input("sent");
    let mut outcome = Outcome { progress, shown: arguments.shown, written: 0, failed: None };
    let mut sent = VecDeque::new();
    let mut number = 0;
    let mut unreadable = None;
    // After a failure nothing more is sent: what follows would be out of place.
    while outcome.failed.is_none()
        && let Some(line) = lines.recv().await
    {
        number += 1;
        let record = match reader.record(&line, number) {
            Ok(record) => complete(arguments, record),
            Err(message) => {
                unreadable = Some(message);
                break;
            }
        };
        outcome.progress.add(1, line.len() as u64);
        match producer.send(record).await {
            Ok(delivery) => sent.push_back(delivery),
            Err(error) => outcome.failed = Some(error),
        }
        // Answers that are there by now are told now: somebody may wait for each.
        while sent.len() > UNDER_WAY_MAX || (lines.is_empty() && !sent.is_empty()) {
            settle(&mut sent, &mut outcome).await;
        }
    }
    producer.flush().await;
    while !sent.is_empty() {
        settle(&mut sent, &mut outcome).await;
    }
    outcome.progress.clear();
    let written = counted(usize::try_from(outcome.written).unwrap_or(usize::MAX), "record");
    if !arguments.shown.is_json() {
        output::error_line(format_args!("{written} written to {}", arguments.topic));
    }
    match (outcome.failed, unreadable) {
        (Some(error), _) => bail!("{error}: {written} of {number} are known to be written"),
        (None, Some(message)) => bail!("{message}: the {written} before it are written"),
        (None, None) => Ok(()),
    }
}

/// The record with what every record has.
fn complete(arguments: &Arguments, mut record: ProducerRecord) -> ProducerRecord {
    if let Some(key) = &arguments.key {
        record.key = Some(key.clone().into()).filter(|_| arguments.null.as_ref() != Some(key));
    }
    record.partition = arguments.partition;
    record.headers.extend(arguments.header.iter().cloned());
    record
}

async fn settle(sent: &mut VecDeque<Delivery>, outcome: &mut Outcome) {
    let Some(delivery) = sent.pop_front() else { return };
    match delivery.await {
        Ok(written) => {
            outcome.written += 1;
            if outcome.shown.is_json() {
                output::line(told(&written));
            }
        }
        Err(error) => _ = outcome.failed.get_or_insert(error),
    }
}

fn told(written: &Written) -> serde_json::Value {
    json!({
        "topic": written.partition.topic,
        "partition": written.partition.partition,
        "offset": Some(written.offset.0).filter(|&offset| offset >= 0),
        "timestamp_ms": written.timestamp.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn record(options: &str, line: &'static str) -> Result<ProducerRecord, String> {
        let words = ["produce", "t"].into_iter().chain(options.split_whitespace());
        let arguments = Line::try_parse_from(words).map_err(|error| error.to_string())?.arguments;
        let record = reader(&arguments).unwrap().record(&Bytes::from_static(line.as_bytes()), 1)?;
        Ok(complete(&arguments, record))
    }

    #[test]
    fn a_line_becomes_a_record() {
        let plain = record("", "a:b").unwrap();
        assert_eq!((plain.key, plain.value, plain.partition), (None, Some("a:b".into()), None));

        let keyed = record("-K : -p 3 -H h=1=2 --null -", "a:-").unwrap();
        assert_eq!((keyed.key, keyed.value, keyed.partition), (Some("a".into()), None, Some(3)));
        assert_eq!(keyed.headers, [("h".into(), Some("1=2".into()))]);

        assert_eq!(record("-k all", "b").unwrap().key, Some("all".into()));
    }

    #[test]
    fn options_that_mean_nothing_are_refused() {
        for options in ["-k a -K :", "-K", "-p -1", "-H h", "--acks none", "-z rar"] {
            assert!(record(options, "a:b").is_err(), "{options}");
        }
        assert!(record("-K :", "no separator").unwrap_err().contains("line number 1"));
    }
}
