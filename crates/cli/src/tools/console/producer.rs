//! `kafka-console-producer`: lines of standard input become records (`ConsoleProducer`).

use super::properties;
use super::reader::Reader;
use crate::output;
use crate::tools::options::{Parsed, Tool, flag, optional, refused, require, value};
use crate::tools::{Failure, connect};
use bytes::Bytes;
use ottla_client::producer::{Acks, Delivery, ProducerConfig};
use ottla_client::{Client, Producer};
use ottla_records::Compression;
use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-console-producer",
    purpose: "This tool helps to read data from standard input and publish it to Kafka.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("batch-size", "bytes", "The size at which a batch is full."),
        value("bootstrap-server", "server", "REQUIRED: the brokers to begin with, as host:port,..."),
        value("command-config", "file", "A client's properties."),
        refused("command-property", "write it into the file of --command-config"),
        optional("compression-codec", "codec", "none, gzip (if nothing is named), snappy, lz4 or zstd."),
        refused("line-reader", "lines are read as LineMessageReader does"),
        value("max-block-ms", "ms", "How long to wait for memory and metadata."),
        value("max-memory-bytes", "bytes", "What records that are not acknowledged may take."),
        refused("max-partition-memory-bytes", "use --batch-size"),
        refused("message-send-max-retries", "records are sent again until delivery.timeout.ms is over"),
        refused("metadata-expiry-ms", "metadata is asked for when it is needed"),
        value("producer.config", "file", "As --command-config."),
        refused("producer-property", "write it into the file of --command-config"),
        value("property", "key=value", "As --reader-property."),
        refused("reader-config", "use --reader-property"),
        value(
            "reader-property",
            "key=value",
            "parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error.",
        ),
        value(
            "request-required-acks",
            "acks",
            "-1 or all: every in-sync replica (the default); 1: the leader.",
        ),
        value("request-timeout-ms", "ms", "How long a request may wait for its answer."),
        refused("retry-backoff-ms", "the pause between tries is short and fixed"),
        refused("socket-buffer-size", "the system chooses it"),
        flag("sync", "Sends one record after the other."),
        value("timeout", "ms", "How long a record may wait for others to go with it; 1000 if not given."),
        value("topic", "topic", "REQUIRED: the topic."),
    ],
};

/// Lines read ahead, and records without answer, at most.
const AHEAD_MAX: usize = 10_000;

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["topic", "bootstrap-server"])?;
    let topic = parsed.value("topic").unwrap_or_default();
    let reader = Reader::new(topic, &properties(parsed, &["property", "reader-property"])?)?;
    let config = config(parsed)?;
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    let file = parsed.value("command-config").or(parsed.value("producer.config"));
    let mut client = connect::config(addresses, file, "console-producer")?;
    if let Some(timeout) = parsed.number("request-timeout-ms")? {
        client.request_timeout = Duration::from_millis(timeout);
    }
    connect::block_on(async {
        let producer = Producer::new(Client::new(client), config);
        send_lines(&producer, &reader, read_stdin()?, parsed.has("sync")).await
    })
}

fn config(parsed: &Parsed) -> Result<ProducerConfig, Failure> {
    let mut config = ProducerConfig {
        linger: Duration::from_millis(parsed.number("timeout")?.unwrap_or(1000)),
        batch_bytes_max: parsed.number("batch-size")?.unwrap_or(16 * 1024),
        ..ProducerConfig::default()
    };
    if let Some(bytes) = parsed.number("max-memory-bytes")? {
        config.buffer_bytes_max = bytes;
    }
    if let Some(block) = parsed.number("max-block-ms")? {
        config.block_max = Duration::from_millis(block);
    }
    match parsed.value("request-required-acks") {
        None | Some("-1" | "all") => {}
        Some("1") => (config.acks, config.idempotent) = (Acks::Leader, false),
        Some(other) => {
            let message =
                format!("--request-required-acks {other} is not supported by Ottla: use -1, all or 1");
            return Err(Failure::Refused(message));
        }
    }
    if parsed.has("compression-codec") {
        let name = parsed.value("compression-codec").unwrap_or("gzip");
        let codec = (0..=4).filter_map(Compression::from_id).find(|codec| codec.name() == name);
        let codec = codec.ok_or_else(|| Failure::Refused(format!("there is no compression {name}")))?;
        config.compression = codec.into();
    }
    Ok(config)
}

/// The lines of standard input, without their ends.
pub(crate) fn read_stdin() -> Result<mpsc::Receiver<Bytes>, Failure> {
    let (lines, read) = mpsc::channel(AHEAD_MAX);
    let prompt = std::io::stdin().is_terminal();
    // Reading blocks, and must not hold up what is sent.
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut input = std::io::stdin().lock();
            loop {
                if prompt {
                    output::text(">");
                }
                let mut line = Vec::new();
                match input.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                if line.last() == Some(&b'\n') {
                    line.pop();
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                }
                if lines.blocking_send(line.into()).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Failure::Refused(format!("standard input cannot be read: {error}")))?;
    Ok(read)
}

async fn send_lines(
    producer: &Producer,
    reader: &Reader,
    mut lines: mpsc::Receiver<Bytes>,
    sync: bool,
) -> Result<(), Failure> {
    let mut sent: VecDeque<Delivery> = VecDeque::new();
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        number += 1;
        let record = match reader.record(&line, number) {
            Ok(record) => record,
            Err(message) => {
                producer.flush().await;
                return Err(Failure::Refused(message));
            }
        };
        match producer.send(record).await {
            Ok(delivery) => sent.push_back(delivery),
            Err(error) => complain(&error),
        }
        if sync {
            producer.flush().await;
        }
        while sync && !sent.is_empty() || sent.len() > AHEAD_MAX {
            settle(&mut sent).await;
        }
    }
    producer.flush().await;
    while !sent.is_empty() {
        settle(&mut sent).await;
    }
    Ok(())
}

async fn settle(sent: &mut VecDeque<Delivery>) {
    if let Some(delivery) = sent.pop_front()
        && let Err(error) = delivery.await
    {
        complain(&error);
    }
}

/// As Kafka's tool, which goes on and ends with exit code 0 all the same.
fn complain(error: &ottla_client::producer::SendError) {
    output::error_line(format_args!("ERROR Error when sending message: {error}"));
}
