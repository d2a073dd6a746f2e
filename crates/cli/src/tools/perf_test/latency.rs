//! `kafka-e2e-latency`: how long a record takes from being sent to being read (`EndToEndLatency`).

use super::properties;
use crate::output;
use crate::tools::options::{Parsed, Tool, optional, require, value};
use crate::tools::{Failure, connect};
use bytes::Bytes;
use ottla_client::admin::topics::NewTopic;
use ottla_client::client::Topics;
use ottla_client::consumer::offsets::LATEST;
use ottla_client::consumer::{ConsumerConfig, ConsumerRecord, StartAt};
use ottla_client::producer::{Acks, ProducerConfig, ProducerRecord};
use ottla_client::{Admin, Client, Consumer, Producer};
use ottla_types::{Random, TopicPartition};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-e2e-latency",
    purpose: "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.",
    short_purpose: None,
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "bootstrap-server",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        optional("command-config", "config-file", "A client's properties."),
        optional("num-headers", "count", "How many headers a record has; 0 if not given."),
        value("num-records", "count", "REQUIRED: how many records."),
        value("producer-acks", "producer-acks", "REQUIRED: 1 or all."),
        optional("record-header-key-size", "bytes", "How many bytes a header's name has; 0 if not given."),
        optional("record-header-size", "bytes", "How many bytes a header has; -1 for none; 0 if not given."),
        optional(
            "record-key-size",
            "bytes",
            "How many bytes a record's key has; 0, or not given, is without a key.",
        ),
        value("record-size", "bytes", "REQUIRED: how many bytes a record has."),
        value(
            "topic",
            "topic-name",
            "REQUIRED: the topic. It is made, with one partition, if it is not there.",
        ),
    ],
};

/// How long a record may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// After how many records one is told of.
const TOLD: usize = 1000;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    topic: String,
    records: usize,
    acks: Acks,
    size: usize,
    key_size: usize,
    headers: usize,
    header_key_size: usize,
    /// None: a header without a value.
    header_size: Option<usize>,
}

impl Plan {
    fn read(parsed: &Parsed) -> Result<Plan, Failure> {
        require(parsed, &["bootstrap-server", "topic", "num-records", "producer-acks", "record-size"])?;
        let usage = |message: &str| Failure::Usage(message.to_owned());
        let number = |name: &str| Ok::<i64, Failure>(parsed.number(name)?.unwrap_or(0));
        let size = |name: &str| {
            let refused = || usage(&format!("Value for --{name} must be a non-negative integer."));
            usize::try_from(number(name)?).map_err(|_| refused())
        };
        let acks = match parsed.value("producer-acks") {
            Some("1") => Acks::Leader,
            Some("all") => Acks::All,
            _ => {
                let message = "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. \
                               Please use '1' or 'all'.";
                return Err(usage(message));
            }
        };
        let records = usize::try_from(number("num-records")?).ok().filter(|&records| records > 0);
        Ok(Plan {
            topic: parsed.value("topic").unwrap_or_default().to_owned(),
            records: records.ok_or_else(|| usage("Value for --num-records must be a positive integer."))?,
            acks,
            size: size("record-size")?,
            key_size: size("record-key-size")?,
            headers: size("num-headers")?,
            header_key_size: size("record-header-key-size")?,
            header_size: match number("record-header-size")? {
                -1 => None,
                _ => Some(size("record-header-size")?),
            },
        })
    }

    /// One record: each of its parts is one letter over and over.
    fn record(&self, random: &mut Random) -> ProducerRecord {
        let mut bytes = |size: usize| Bytes::from(vec![b'A' + random.below(26) as u8; size]);
        let headers =
            (0..self.headers).map(|_| (bytes(self.header_key_size), self.header_size.map(&mut bytes)));
        let headers = headers.collect();
        ProducerRecord {
            headers,
            key: (self.key_size > 0).then(|| bytes(self.key_size)),
            ..ProducerRecord::of(&self.topic, bytes(self.size))
        }
    }
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let plan = Plan::read(parsed)?;
    let file = parsed.value("command-config");
    let properties = properties(parsed, file, &[])?;
    let id = properties.get("client.id").map_or("e2e-latency", String::as_str);
    let config = connect::config(parsed.value("bootstrap-server").unwrap_or_default(), file, id)?;
    let mut taken = connect::block_on(async { measure(&plan, Client::new(config)).await })?;
    output::text(&summary(&mut taken));
    Ok(())
}

/// How long each record took.
async fn measure(plan: &Plan, client: Client) -> Result<Vec<Duration>, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
    let partitions = partitions(plan, &client).await?;
    let admin = Admin::new(client.clone());
    let ends = admin.places_at(&partitions, LATEST).await.map_err(|error| refused(&error))?;
    // What is there is not waited for.
    let config = ConsumerConfig { wait_max: Duration::ZERO, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client.clone(), config);
    consumer.assign(ends.into_iter().map(|(at, end)| (at, StartAt::Offset(end))));
    let config = ProducerConfig {
        acks: plan.acks,
        idempotent: plan.acks == Acks::All,
        block_max: Duration::MAX,
        ..ProducerConfig::default()
    };
    let mut random = Random::new(client.random_number());
    let producer = Producer::new(client, config);
    let mut taken = Vec::with_capacity(plan.records);
    for number in 0..plan.records {
        let record = plan.record(&mut random);
        let sent = record.clone();
        let begin = Instant::now();
        let delivery = producer.send(record).await.map_err(|error| refused(&error))?;
        delivery.await.map_err(|error| refused(&error))?;
        let read = consumer.poll(PATIENCE, 2).await.map_err(|error| refused(&error))?;
        let elapsed = begin.elapsed();
        check(&sent, &read)?;
        if number % TOLD == 0 {
            output::line(format_args!("{number}\t{:?}", elapsed.as_nanos() as f64 / 1e6));
        }
        taken.push(elapsed);
    }
    Ok(taken)
}

/// The partitions of the topic, which is made if it is not there.
async fn partitions(plan: &Plan, client: &Client) -> Result<Vec<TopicPartition>, Failure> {
    let refused = |error: ottla_client::ClientError| Failure::Refused(error.to_string());
    let known = client.retry("metadata", || client.refresh(Topics::All)).await.map_err(refused)?;
    if !known.topics.contains_key(&plan.topic) {
        output::line(format_args!(
            "Topic \"{}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1",
            plan.topic
        ));
        let topic = NewTopic {
            name: plan.topic.clone(),
            partitions: Some(1),
            replication_factor: Some(1),
            ..NewTopic::default()
        };
        let made = Admin::new(client.clone()).create_topic(&topic).await;
        made.inspect_err(|_| output::line(format_args!("Creation of topic {} failed", plan.topic)))
            .map_err(refused)?;
    }
    let names = [plan.topic.clone()];
    let known = client.retry("metadata", || client.refresh_or_create(&names)).await.map_err(refused)?;
    let topic = known.topics.get(&plan.topic).into_iter();
    let numbers = topic.flat_map(|topic| topic.partitions.keys().copied());
    Ok(numbers.map(|number| TopicPartition::new(plan.topic.clone(), number)).collect())
}

/// What was read is what was sent, alone.
fn check(sent: &ProducerRecord, read: &[ConsumerRecord]) -> Result<(), Failure> {
    let text = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "null".to_owned(),
    };
    let refuse = |message: String| Err(Failure::Refused(message));
    let Some(first) = read.first() else {
        let millis = PATIENCE.as_millis();
        return refuse(format!("poll() timed out before finding a result (timeout:[{millis}ms])"));
    };
    for (what, read, sent) in [("value", &first.value, &sent.value), ("key", &first.key, &sent.key)] {
        if read != sent {
            let (read, sent) = (text(read), text(sent));
            return refuse(format!(
                "The message {what} read [{read}] did not match the message {what} sent [{sent}]"
            ));
        }
    }
    if first.headers != sent.headers {
        return refuse("The headers read did not match the headers sent".to_owned());
    }
    if read.len() > 1 {
        return refuse(format!("Only one result was expected during this test. We found [{}]", read.len()));
    }
    Ok(())
}

/// Percentiles are whole milliseconds, as those of Kafka's tool.
fn summary(taken: &mut [Duration]) -> String {
    taken.sort_unstable();
    let millis: f64 = taken.iter().map(|taken| taken.as_secs_f64() * 1e3).sum();
    let at = |part: f64| taken[(taken.len() as f64 * part) as usize].as_millis();
    format!(
        "Avg latency: {:.4} ms\nPercentiles: 50th = {}, 99th = {}, 99.9th = {}\n",
        millis / taken.len() as f64,
        at(0.5),
        at(0.99),
        at(0.999)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn read(line: &str) -> Result<Plan, Failure> {
        Plan::read(&options::parse_line(&TOOL, line)?)
    }

    const LINE: &str = "--bootstrap-server b:1 --topic t";

    #[test]
    fn what_is_to_be_sent_is_checked() {
        let line = format!("{LINE} --num-records 1 --producer-acks all --record-size 0");
        let plan =
            read(&format!("{line} --record-key-size 2 --num-headers 1 --record-header-size -1")).unwrap();
        let record = plan.record(&mut Random::new(1));
        assert_eq!(record.value, Some(Bytes::new()));
        assert_eq!(record.key.map(|key| key.len()), Some(2));
        assert_eq!(record.headers, [(Bytes::new(), None)]);
        for (line, expected) in [
            (LINE.to_owned(), "Missing required argument \"[num-records]\""),
            (
                format!("{LINE} --num-records 0 --producer-acks 1 --record-size 1"),
                "Value for --num-records must be a positive integer.",
            ),
            (
                format!("{line} --record-key-size -1"),
                "Value for --record-key-size must be a non-negative integer.",
            ),
            (
                format!("{line} --record-header-size -2"),
                "Value for --record-header-size must be a non-negative integer.",
            ),
        ] {
            assert!(matches!(read(&line), Err(Failure::Usage(message)) if message == expected), "{line}");
        }
        assert!(read(&format!("{LINE} --num-records 1 --producer-acks 0 --record-size 1")).is_err());
    }

    #[test]
    fn percentiles_are_those_of_kafkas_tool() {
        let mut taken: Vec<Duration> = (0..1000).rev().map(|n| Duration::from_micros(n * 100)).collect();
        assert_eq!(
            summary(&mut taken),
            "Avg latency: 49.9500 ms\nPercentiles: 50th = 50, 99th = 99, 99.9th = 99\n"
        );
        assert!(summary(&mut [Duration::from_millis(2)]).ends_with("50th = 2, 99th = 2, 99.9th = 2\n"));
    }
}
