//! `kafka-producer-perf-test`: how fast records are acknowledged (`ProducerPerformance`).

use super::properties;
use super::stats::Stats;
use crate::output;
use crate::tools::options::{Argument, Opt, Parsed, Tool, flag, refused, value};
use crate::tools::{Failure, connect};
use bytes::Bytes;
use ottla_client::producer::{Acks, Delivery, ProducerConfig, ProducerRecord, SendError};
use ottla_client::{Client, Producer};
use ottla_records::Compression;
use ottla_types::Random;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-producer-perf-test",
    purpose: "This tool is used to verify the producer performance.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("bootstrap-server", "BOOTSTRAP-SERVER", "The brokers to begin with, as host:port,..."),
        value("command-config", "CONFIG-FILE", "A producer's properties."),
        several(
            "command-property",
            "A producer's properties: acks, batch.size, linger.ms, compression.type, ...",
        ),
        refused("key-distribution", "records have no keys"),
        value("num-records", "NUM-RECORDS", "REQUIRED: how many records."),
        value(
            "payload-delimiter",
            "PAYLOAD-DELIMITER",
            "What stands between payloads in the file; \\n if not given.",
        ),
        value("payload-file", "PAYLOAD-FILE", "Payloads to choose from."),
        flag("payload-monotonic", "Payloads are numbers that grow."),
        refused("print-metrics", "the client has no metrics of its own; the brokers have"),
        value("producer.config", "CONFIG-FILE", "As --command-config. Deprecated."),
        several("producer-props", "As --command-property. Deprecated."),
        refused("random-seed", "payloads are random"),
        refused("record-key-range", "records have no keys"),
        value("record-size", "RECORD-SIZE", "How many bytes a record has."),
        value("reporting-interval", "INTERVAL-MS", "How often to report; 5000 if not given."),
        value("throughput", "THROUGHPUT", "REQUIRED: about how many records a second; -1: as many as go."),
        value("topic", "TOPIC", "REQUIRED: the topic."),
        refused("transaction-duration-ms", "the client has no transactions"),
        refused("transactional-id", "the client has no transactions"),
        value("warmup-records", "WARMUP-RECORDS", "So many records at the beginning count apart."),
    ],
};

/// An option with one or more pairs.
const fn several(name: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, argument: Argument::Several("PROP-NAME=PROP-VALUE"), help }
}

/// What is to be sent, and how.
struct Plan {
    topic: String,
    records: u64,
    warmup: u64,
    /// Records a second; as many as go if `None`.
    throughput: Option<f64>,
    interval: Duration,
    payload: Payload,
}

/// What records hold.
#[derive(Debug)]
enum Payload {
    Random(usize),
    Chosen(Vec<Bytes>),
    Monotonic,
}

impl Payload {
    fn next(&self, number: u64, random: &mut Random) -> Bytes {
        match self {
            Payload::Random(size) => {
                let mut bytes = Vec::with_capacity(*size + 8);
                while bytes.len() < *size {
                    // A letter of each byte: twelve in a number.
                    let letters = random.next_u64().to_le_bytes().map(|byte| b'A' + byte % 26);
                    bytes.extend_from_slice(&letters);
                }
                bytes.truncate(*size);
                bytes.into()
            }
            Payload::Chosen(payloads) => payloads[random.index(payloads.len())].clone(),
            Payload::Monotonic => number.to_string().into_bytes().into(),
        }
    }
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let plan = plan(parsed)?;
    let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
    for [one, other] in [["command-property", "producer-props"], ["command-config", "producer.config"]] {
        if parsed.has(one) && parsed.has(other) {
            return refuse(&format!("--{one} and --{other} cannot be specified together."));
        }
        if parsed.has(other) {
            output::line(format_args!(
                "Option --{other} has been deprecated and will be removed in a future version. Use --{one} instead."
            ));
        }
    }
    let file = parsed.value("command-config").or(parsed.value("producer.config"));
    let mut properties = properties(parsed, file, &["command-property", "producer-props"])?;
    if let Some(servers) = parsed.value("bootstrap-server") {
        properties.insert("bootstrap.servers".to_owned(), servers.to_owned());
    }
    let Some(servers) = properties.remove("bootstrap.servers") else {
        return refuse(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or \
             --command-config must be specified.",
        );
    };
    let id = properties.get("client.id").map_or("perf-producer-client", String::as_str);
    let client = connect::config(&servers, file, id)?;
    let config = config(&properties)?;
    connect::block_on(async { send(&plan, Client::new(client), config).await })
}

fn plan(parsed: &Parsed) -> Result<Plan, Failure> {
    let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
    if let Some(missing) = ["topic", "num-records", "throughput"].iter().find(|name| !parsed.has(name)) {
        return refuse(&format!("argument --{missing} is required"));
    }
    let records: i64 = parsed.number("num-records")?.unwrap_or_default();
    let Some(records) = u64::try_from(records).ok().filter(|&records| records > 0) else {
        return refuse("--num-records should be greater than zero.");
    };
    let warmup: u64 = parsed.number("warmup-records")?.unwrap_or_default();
    if warmup >= records {
        return refuse(
            "The value for --warmup-records must be strictly fewer than the number of records in the test, \
             --num-records.",
        );
    }
    let throughput: f64 = parsed.number("throughput")?.unwrap_or(-1.0);
    if throughput == 0.0 {
        return refuse("--throughput 0 would send nothing for ever: use -1 for as many records as go");
    }
    let interval: i64 = parsed.number("reporting-interval")?.unwrap_or(5000);
    let Some(interval) = u64::try_from(interval).ok().filter(|&millis| millis > 0) else {
        return refuse("--reporting-interval should be greater than zero.");
    };
    let kinds = ["record-size", "payload-file", "payload-monotonic"];
    if kinds.iter().filter(|kind| parsed.has(kind)).count() != 1 {
        return refuse("exactly one of --record-size, --payload-file and --payload-monotonic is required");
    }
    let payload = match (parsed.number::<i64>("record-size")?, parsed.value("payload-file")) {
        (Some(size), _) => match usize::try_from(size) {
            Ok(size) if size > 0 => Payload::Random(size),
            _ => return refuse("--record-size should be greater than zero."),
        },
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Refused(format!("{path}: {error}")))?;
            let delimiter = parsed.value("payload-delimiter").unwrap_or("\n").replace("\\n", "\n");
            let payloads: Vec<Bytes> = text
                .split(delimiter.as_str())
                .filter(|payload| !payload.is_empty())
                .map(|payload| Bytes::from(payload.to_owned()))
                .collect();
            if payloads.is_empty() {
                return refuse("File does not exist or empty file provided.");
            }
            output::line(format_args!("Reading payloads from: {path}"));
            output::line(format_args!("Number of records read: {}", payloads.len()));
            Payload::Chosen(payloads)
        }
        (None, None) => Payload::Monotonic,
    };
    Ok(Plan {
        topic: parsed.value("topic").unwrap_or_default().to_owned(),
        records,
        warmup,
        throughput: Some(throughput).filter(|&throughput| throughput > 0.0),
        interval: Duration::from_millis(interval),
        payload,
    })
}

/// A producer as these properties say; one that means nothing to us is refused.
pub(crate) fn config(properties: &BTreeMap<String, String>) -> Result<ProducerConfig, Failure> {
    let mut config = ProducerConfig { linger: Duration::from_millis(5), ..ProducerConfig::default() };
    config.batch_bytes_max = 16 * 1024;
    for (name, text) in properties {
        let invalid = || Failure::Refused(format!("Invalid value {text} for configuration {name}"));
        let number = || text.parse::<u64>().map_err(|_| invalid());
        let size = || text.parse::<usize>().map_err(|_| invalid());
        match name.as_str() {
            // What the connection is told, by the file; or what says how keys and values become bytes.
            "client.id" | "key.serializer" | "value.serializer" => {}
            "acks" if matches!(text.as_str(), "all" | "-1") => {}
            "acks" if text == "1" => (config.acks, config.idempotent) = (Acks::Leader, false),
            "enable.idempotence" if text == "true" => {}
            "enable.idempotence" if text == "false" => config.idempotent = false,
            "linger.ms" => config.linger = Duration::from_millis(number()?),
            "batch.size" => config.batch_bytes_max = size()?,
            "buffer.memory" => config.buffer_bytes_max = size()?,
            "max.block.ms" => config.block_max = Duration::from_millis(number()?),
            "delivery.timeout.ms" => config.delivery_timeout = Duration::from_millis(number()?),
            "compression.type" => {
                let codec = (0..=4).filter_map(Compression::from_id).find(|codec| codec.name() == text);
                config.compression = codec.ok_or_else(invalid)?.into();
            }
            _ => {
                return Err(Failure::Refused(format!(
                    "the property {name}={text} is not supported by Ottla: leave it out"
                )));
            }
        }
    }
    Ok(config)
}

/// Records without answer, in the order of each partition: that is the order in which they are answered.
struct UnderWay {
    partitions: Vec<VecDeque<(Instant, usize, Delivery)>>,
    stats: Stats,
    steady: Option<Stats>,
    answered: u64,
    warmup: u64,
}

impl UnderWay {
    /// Counts what was answered; waits until something is, if `waits` and anything can be.
    async fn settle(&mut self, waits: bool) -> Result<(), SendError> {
        poll_fn(|context| {
            let mut is_settled = false;
            let now = Instant::now();
            for partition in &mut self.partitions {
                while let Some((sent, bytes, delivery)) = partition.front_mut() {
                    let Poll::Ready(answer) = Pin::new(delivery).poll(context) else { break };
                    answer?;
                    self.answered += 1;
                    self.stats.add(*bytes, now - *sent);
                    if self.answered > self.warmup
                        && let Some(steady) = &mut self.steady
                    {
                        steady.add(*bytes, now - *sent);
                    }
                    partition.pop_front();
                    is_settled = true;
                }
            }
            let is_empty = self.partitions.iter().all(VecDeque::is_empty);
            if is_settled || !waits || is_empty { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

async fn send(plan: &Plan, client: Client, config: ProducerConfig) -> Result<(), Failure> {
    let failed = |error: SendError| Failure::Refused(format!("records are not written: {error}"));
    let names = [plan.topic.clone()];
    let metadata = client.retry("metadata", || client.refresh_or_create(&names)).await;
    let metadata = metadata.map_err(|error| Failure::Refused(error.to_string()))?;
    let Some(topic) = metadata.topics.get(&plan.topic) else {
        return Err(Failure::Refused(format!("there is no topic {}", plan.topic)));
    };
    let mut random = Random::new(client.random_number());
    let batch_bytes = config.batch_bytes_max.max(1);
    let producer = Producer::new(client, config);
    let mut under_way = UnderWay {
        partitions: topic.partitions.keys().map(|_| VecDeque::new()).collect(),
        stats: Stats::new(plan.records),
        steady: (plan.warmup > 0).then(|| Stats::new(plan.records - plan.warmup)),
        answered: 0,
        warmup: plan.warmup,
    };
    let start = Instant::now();
    let (mut reported, mut steady_since) = (start, None);
    // One partition gets a batch's worth before the next is chosen, so that batches are full (KIP-480).
    let (mut partition, mut filled) = (0, 0);
    for number in 0..plan.records {
        if let Some(throughput) = plan.throughput {
            let due = start + Duration::from_secs_f64(number as f64 / throughput);
            while Instant::now() < due {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => {}
                    settled = under_way.settle(true) => {
                        settled.map_err(failed)?;
                        // With nothing under way there is nothing to wait for but the time.
                        if under_way.partitions.iter().all(VecDeque::is_empty) {
                            tokio::time::sleep_until(due).await;
                        }
                    }
                }
            }
        }
        let payload = plan.payload.next(number, &mut random);
        let bytes = payload.len();
        if filled >= batch_bytes {
            (partition, filled) = ((partition + 1) % under_way.partitions.len(), 0);
        }
        filled += bytes;
        if number == plan.warmup {
            steady_since = Some(Instant::now());
        }
        let record = ProducerRecord {
            partition: i32::try_from(partition).ok(),
            ..ProducerRecord::of(&plan.topic, payload)
        };
        let sent = Instant::now();
        // While memory is full, answers are what makes room; they come by themselves.
        let delivery = producer.send(record).await.map_err(failed)?;
        under_way.partitions[partition].push_back((sent, bytes, delivery));
        under_way.settle(false).await.map_err(failed)?;
        if reported.elapsed() >= plan.interval {
            under_way.stats.report(reported.elapsed()).iter().for_each(output::line);
            reported = Instant::now();
        }
    }
    producer.flush().await;
    while under_way.partitions.iter().any(|partition| !partition.is_empty()) {
        under_way.settle(true).await.map_err(failed)?;
    }
    output::line(under_way.stats.total(start.elapsed(), ""));
    if let (Some(steady), Some(since)) = (&under_way.steady, steady_since) {
        output::line(steady.total(since.elapsed(), " steady state"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn read(line: &str) -> Result<Plan, Failure> {
        plan(&options::parse_line(&TOOL, line)?)
    }

    #[test]
    fn what_is_to_be_sent_is_checked() {
        let base = "--topic t --num-records 10 --throughput -1";
        assert!(read(&format!("{base} --record-size 100 --warmup-records 9")).is_ok());
        assert!(read(&format!("{base} --payload-monotonic")).is_ok());
        for line in [
            "--topic t --num-records 10 --record-size 1",
            "--topic t --num-records 0 --throughput -1 --record-size 1",
            "--topic t --num-records 10 --throughput 0 --record-size 1",
            base,
            &format!("{base} --record-size 0"),
            &format!("{base} --record-size 1 --payload-monotonic"),
            &format!("{base} --record-size 1 --warmup-records 10"),
            &format!("{base} --record-size 1 --reporting-interval 0"),
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn properties_make_a_producer() {
        let config = |pairs: &[(&str, &str)]| {
            config(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };

        let made = config(&[("acks", "1"), ("linger.ms", "20"), ("compression.type", "zstd")]).unwrap();
        assert_eq!(
            (made.acks, made.idempotent, made.linger),
            (Acks::Leader, false, Duration::from_millis(20))
        );
        for wrong in
            [("acks", "0"), ("linger.ms", "x"), ("compression.type", "rar"), ("interceptor.classes", "a")]
        {
            assert!(config(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_payload_has_the_size_that_was_asked_for() {
        let mut random = Random::new(7);
        for size in [1, 8, 13, 1000] {
            let payload = Payload::Random(size).next(0, &mut random);
            assert!(payload.len() == size && payload.iter().all(u8::is_ascii_uppercase));
        }
        assert_eq!(Payload::Monotonic.next(41, &mut random), "41");
    }
}
