//! `kafka-verifiable-producer`: numbers that grow, and a line of JSON for what became of each (`VerifiableProducer`).

use super::{json, say};
use crate::signals;
use crate::tools::options::{Parsed, Tool, value};
use crate::tools::perf_test::{producer, properties};
use crate::tools::{Failure, connect};
use ottla_client::producer::{Acks, ProducerConfig, ProducerRecord, SendError, Written};
use ottla_client::{Client, Producer};
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-verifiable-producer",
    purpose: "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \"send\" \
              request, making externally visible which messages have been acked and which have not.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("acks", "ACKS", "1, or -1 for all replicas in sync; -1 if not given."),
        value("bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: the brokers to begin with."),
        value("command-config", "CONFIG-FILE", "A producer's properties."),
        value("max-messages", "MAX-MESSAGES", "How many records; -1, or not given: until it is ended."),
        value(
            "message-create-time",
            "CREATE-TIME",
            "The time of the first record, in milliseconds since 1970.",
        ),
        value("producer.config", "CONFIG-FILE", "As --command-config. Deprecated."),
        value(
            "repeating-keys",
            "REPEATING-KEYS",
            "Records have keys: 0, 1, ... up to this number, and again.",
        ),
        value(
            "throughput",
            "THROUGHPUT",
            "About how many records a second; -1, or not given: as many as go.",
        ),
        value("topic", "TOPIC", "REQUIRED: the topic."),
        value("value-prefix", "VALUE-PREFIX", "A number that stands before each value, with a dot."),
    ],
};

/// What is to be sent.
#[derive(Debug)]
struct Plan {
    topic: String,
    /// None: until it is ended.
    records: Option<u64>,
    /// Records a second; as many as go if not more than 0.
    throughput: i64,
    first_time: Option<i64>,
    prefix: Option<i32>,
    keys: Option<u64>,
}

impl Plan {
    fn read(parsed: &Parsed) -> Result<Plan, Failure> {
        super::require(parsed, &["topic", "bootstrap-server"])?;
        let records: i64 = parsed.number("max-messages")?.unwrap_or(-1);
        let keys: Option<u64> = parsed.number("repeating-keys")?;
        if keys == Some(0) {
            return Err(Failure::Refused("--repeating-keys must be greater than 0".to_owned()));
        }
        Ok(Plan {
            topic: parsed.value("topic").unwrap_or_default().to_owned(),
            records: u64::try_from(records).ok(),
            throughput: parsed.number("throughput")?.unwrap_or(-1),
            first_time: parsed.number("message-create-time")?.filter(|&time| time != -1),
            prefix: parsed.number("value-prefix")?,
            keys,
        })
    }

    fn key(&self, number: u64) -> Option<String> {
        self.keys.map(|keys| (number % keys).to_string())
    }

    fn value(&self, number: u64) -> String {
        match self.prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        }
    }

    /// When the record is due, after the first.
    fn due(&self, number: u64) -> Duration {
        match self.throughput {
            1.. => Duration::from_secs_f64(number as f64 / self.throughput as f64),
            _ => Duration::ZERO,
        }
    }
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let plan = Plan::read(parsed)?;
    let refuse = |message: &str| Err(Failure::Refused(message.to_owned()));
    let file = super::properties_file(parsed, "producer.config")?;
    let properties = properties(parsed, file, &[])?;
    let mut config = producer::config(&properties)?;
    match parsed.value("acks") {
        None | Some("-1") => {}
        Some("1") => (config.acks, config.idempotent) = (Acks::Leader, false),
        Some("0") => {
            return refuse("--acks 0 is not supported by Ottla: nothing would be known of any record");
        }
        Some(other) => {
            return refuse(&format!("argument --acks: invalid choice: '{other}' (choose from {{0,1,-1}})"));
        }
    }
    let id = properties.get("client.id").map_or("verifiable-producer", String::as_str);
    let client = connect::config(parsed.value("bootstrap-server").unwrap_or_default(), file, id)?;
    connect::block_on(async { send(&plan, Client::new(client), config).await })
}

async fn send(plan: &Plan, client: Client, config: ProducerConfig) -> Result<(), Failure> {
    let asked_to_end = signals::asked_to_end().map_err(|error| Failure::Refused(error.to_string()))?;
    let mut asked_to_end = pin!(asked_to_end);
    say("startup_complete", &[]);
    let producer = Producer::new(client, config);
    let start = Instant::now();
    let mut time = plan.first_time;
    let mut answers = JoinSet::new();
    let (mut sent, mut acknowledged) = (0, 0);
    while plan.records.is_none_or(|records| sent < records) {
        let (key, value) = (plan.key(sent), plan.value(sent));
        let record = ProducerRecord {
            timestamp: time,
            key: key.clone().map(Into::into),
            ..ProducerRecord::of(&plan.topic, value.clone())
        };
        let accepted = async {
            tokio::time::sleep_until(start + plan.due(sent)).await;
            producer.send(record).await
        };
        let accepted = tokio::select! {
            biased;
            () = &mut asked_to_end => break,
            accepted = accepted => accepted,
        };
        sent += 1;
        // As Kafka's tool has it: from record to record by the time since the start.
        time = time
            .map(|time| time.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)));
        answers.spawn(async move {
            let outcome = match accepted {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            (key, value, outcome)
        });
        while let Some(Ok((key, value, outcome))) = answers.try_join_next() {
            acknowledged += u64::from(tell(&plan.topic, key, value, outcome));
        }
    }
    producer.flush().await;
    while let Some(Ok((key, value, outcome))) = answers.join_next().await {
        acknowledged += u64::from(tell(&plan.topic, key, value, outcome));
    }
    say("shutdown_complete", &[]);
    say(
        "tool_data",
        &[
            ("sent", json(sent)),
            ("acked", json(acknowledged)),
            ("target_throughput", json(plan.throughput)),
            ("avg_throughput", json(acknowledged as f64 / start.elapsed().as_secs_f64())),
        ],
    );
    Ok(())
}

/// Tells what became of a record. Returns whether it was acknowledged.
fn tell(topic: &str, key: Option<String>, value: String, outcome: Result<Written, SendError>) -> bool {
    let (key, value) = (("key", json(key)), ("value", json(value)));
    match outcome {
        Ok(written) => {
            let partition = ("partition", json(written.partition.partition));
            let offset = ("offset", json(written.offset.0));
            say("producer_send_success", &[key, value, offset, ("topic", json(topic)), partition]);
            true
        }
        Err(error) => {
            let message = ("message", json(error.to_string()));
            say("producer_send_error", &[key, value, ("topic", json(topic)), message]);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn read(line: &str) -> Result<Plan, Failure> {
        Plan::read(&options::parse_line(&TOOL, line)?)
    }

    #[test]
    fn records_are_numbers_with_keys_and_a_prefix_as_they_are_asked_for() {
        let plan = read("--topic t --bootstrap-server b:1").unwrap();
        assert_eq!((plan.records, plan.key(3), plan.value(3)), (None, None, "3".to_owned()));
        assert_eq!(plan.due(1000), Duration::ZERO);

        let more = "--max-messages 9 --throughput 100 --value-prefix 7 --repeating-keys 2";
        let plan = read(&format!("--topic t --bootstrap-server b:1 {more}")).unwrap();
        assert_eq!(
            (plan.records, plan.key(3), plan.value(3)),
            (Some(9), Some("1".to_owned()), "7.3".to_owned())
        );
        assert_eq!(plan.due(50), Duration::from_millis(500));
        assert!(read("--topic t").is_err());
        assert!(read("--topic t --bootstrap-server b:1 --repeating-keys 0").is_err());
    }
}
