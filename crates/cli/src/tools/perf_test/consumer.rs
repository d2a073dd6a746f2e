//! `kafka-consumer-perf-test`: how fast records are read (`ConsumerPerformance`).

use super::{MEGABYTE, properties};
use crate::output;
use crate::tools::options::{Parsed, Tool, flag, optional, refused, value};
use crate::tools::{Failure, connect, include_list, membership};
use ottla_client::client::Topics;
use ottla_client::consumer::group::GroupConfig;
use ottla_client::consumer::{ConsumerConfig, ConsumerRecord, Isolation, OffsetReset};
use ottla_client::{Client, ClientError, Consumer};
use ottla_types::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-consumer-perf-test",
    purpose: "This tool is used to verify the consumer performance.",
    short_purpose: None,
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "server to connect to",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("command-config", "config file", "A consumer's properties."),
        value(
            "command-property",
            "prop1=val1",
            "A consumer's property: isolation.level, fetch.max.bytes, ...",
        ),
        value("consumer.config", "config file", "As --command-config. Deprecated."),
        refused("date-format", "times are shown as yyyy-MM-dd HH:mm:ss:SSS"),
        value("fetch-size", "size", "Bytes of one partition in one answer, at most; 1048576 if not given."),
        flag("from-latest", "Begins at the end where nothing is committed, not at the first record."),
        value("group", "gid", "The group; one of its own if not given."),
        flag("hide-header", "Leaves out the header."),
        value("include", "Java regex (String)", "The topics, by a regular expression."),
        value("messages", "count", "As --num-records. Deprecated."),
        value("num-records", "count", "REQUIRED: how many records."),
        refused("print-metrics", "the client has no metrics of its own; the brokers have"),
        value("reporting-interval", "interval_ms", "How often to report; 5000 if not given."),
        flag("show-detailed-stats", "Reports meanwhile."),
        refused("socket-buffer-size", "the system chooses it"),
        optional("timeout", "milliseconds", "Ends when nothing came for so long; 10000 if not given."),
        value("topic", "topic", "The topic."),
    ],
};

/// Records taken at once, as Kafka's consumer does.
const RECORDS_MAX: usize = 500;

/// How long to wait for records before looking at the time.
const POLL: Duration = Duration::from_millis(100);

/// What is to be read.
struct Plan {
    topic: Option<String>,
    include: Option<regex::Regex>,
    group: GroupConfig,
    records: u64,
    timeout: Duration,
    interval: Duration,
    is_detailed: bool,
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    crate::tools::options::require(parsed, &["bootstrap-server"])?;
    let has = |name| parsed.has(name);
    if has("topic") == has("include") {
        return usage("Exactly one of --include/--topic is required.");
    }
    if has("num-records") == has("messages") {
        return usage("Exactly one of --num-records/--messages is required.");
    }
    for (old, new) in [("messages", "num-records"), ("consumer.config", "command-config")] {
        if has(old) && has(new) {
            return usage(&format!("Only one of --{new} and --{old} can be specified."));
        }
        if has(old) {
            output::line(format_args!("Warning: --{old} is deprecated. Use --{new} instead."));
        }
    }
    let records = match parsed.number("num-records")? {
        Some(records) => records,
        None => parsed.number("messages")?.unwrap_or_default(),
    };
    let interval: u64 = parsed.number("reporting-interval")?.unwrap_or(5000);
    if interval == 0 {
        return Err(Failure::Refused("Reporting interval must be greater than 0.".to_owned()));
    }
    let include = parsed.value("include").map(include_list::pattern).transpose().map_err(Failure::Refused)?;
    let file = parsed.value("command-config").or(parsed.value("consumer.config"));
    let properties = properties(parsed, file, &["command-property"])?;
    let mut config = config(&properties)?;
    if has("fetch-size") || !properties.contains_key("max.partition.fetch.bytes") {
        config.partition_bytes_max = parsed.number("fetch-size")?.unwrap_or(1 << 20);
    }
    config.reset = if has("from-latest") { OffsetReset::Latest } else { OffsetReset::Earliest };
    let id = properties.get("client.id").map_or("perf-consumer-client", String::as_str);
    let client = connect::config(parsed.value("bootstrap-server").unwrap_or_default(), file, id)?;
    let client = Client::new(client);
    let group = match parsed.value("group").or(properties.get("group.id").map(String::as_str)) {
        Some(group) => group.to_owned(),
        None => format!("perf-consumer-{}", client.random_index(100_000)),
    };
    let group = membership::group_config(&group, &properties)?;
    let plan = Plan {
        topic: parsed.value("topic").map(str::to_owned),
        include,
        group,
        records,
        timeout: Duration::from_millis(parsed.number("timeout")?.unwrap_or(10_000)),
        interval: Duration::from_millis(interval),
        is_detailed: has("show-detailed-stats"),
    };
    if !has("hide-header") {
        output::line(header(plan.is_detailed));
    }
    let began = ottla_net::clock::wall();
    let figures = connect::block_on(async { consume(&plan, client, config).await })?;
    if !plan.is_detailed {
        let (first, last) = (figures.of_all(), figures.of_fetches());
        output::line(format!("{}, {}, {first}, {last}", moment(began), moment(ottla_net::clock::wall())));
    }
    Ok(())
}

fn header(is_detailed: bool) -> String {
    let first = if is_detailed { "time, threadId" } else { "start.time, end.time" };
    format!(
        "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
         fetch.MB.sec, fetch.nMsg.sec"
    )
}

/// A consumer as these properties say; one that means nothing to us is refused.
pub(crate) fn config(properties: &BTreeMap<String, String>) -> Result<ConsumerConfig, Failure> {
    let mut config = ConsumerConfig::default();
    for (name, text) in properties {
        let number = || {
            text.parse::<i32>()
                .map_err(|_| Failure::Refused(format!("Invalid value {text} for configuration {name}")))
        };
        match name.as_str() {
            // What the connection is told; or what says how bytes become keys and values.
            "client.id" | "group.id" | "key.deserializer" | "value.deserializer" => {}
            name if membership::PROPERTIES.contains(&name) => {}
            "isolation.level" if text == "read_committed" => config.isolation = Isolation::ReadCommitted,
            "isolation.level" if text == "read_uncommitted" => {}
            "fetch.max.bytes" => config.fetch_bytes_max = number()?,
            "max.partition.fetch.bytes" => config.partition_bytes_max = number()?,
            "fetch.max.wait.ms" => {
                config.wait_max = Duration::from_millis(u64::try_from(number()?).unwrap_or_default());
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

/// What was read within a time.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    records: u64,
    bytes: u64,
    elapsed: Duration,
    /// How much of it went by before the group's share was there.
    joining: Duration,
}

impl Figures {
    fn add(&mut self, records: &[ConsumerRecord]) {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.records += records.len() as u64;
        self.bytes += records.iter().map(|record| size(&record.key) + size(&record.value)).sum::<u64>();
    }

    /// Megabytes, megabytes a second, records, records a second.
    fn of_all(&self) -> String {
        let (megabytes, records) = (self.bytes as f64 / MEGABYTE, self.records as f64);
        let seconds = self.elapsed.as_secs_f64();
        format!("{megabytes:.4}, {:.4}, {}, {:.4}", megabytes / seconds, self.records, records / seconds)
    }

    /// Milliseconds of joining and of fetching; megabytes and records a second of the latter.
    fn of_fetches(&self) -> String {
        let fetching = self.elapsed.saturating_sub(self.joining);
        // Nothing is fetched in no time.
        let a_second = |amount: f64| if fetching.is_zero() { 0.0 } else { amount / fetching.as_secs_f64() };
        format!(
            "{}, {}, {:.4}, {:.4}",
            self.joining.as_millis(),
            fetching.as_millis(),
            a_second(self.bytes as f64 / MEGABYTE),
            a_second(self.records as f64)
        )
    }
}

async fn consume(plan: &Plan, client: Client, config: ConsumerConfig) -> Result<Figures, Failure> {
    let failed = |error: ClientError| Failure::Refused(error.to_string());
    let topics = match (&plan.topic, &plan.include) {
        (Some(topic), _) => vec![topic.clone()],
        (None, include) => {
            let metadata = client.retry("metadata", || client.refresh(Topics::All)).await.map_err(failed)?;
            let is_wanted = |name: &&String| include.as_ref().is_some_and(|include| include.is_match(name));
            metadata.topics.keys().filter(is_wanted).cloned().collect()
        }
    };
    let mut consumer = Consumer::new(client, config);
    consumer.subscribe(topics, plan.group.clone());
    let (start, mut last) = (Instant::now(), Instant::now());
    let (mut all, mut recent, mut reported) = (Figures::default(), Figures::default(), Instant::now());
    while all.records < plan.records {
        let left = usize::try_from(plan.records - all.records).unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
        let records = consumer.poll(POLL, left).await.map_err(failed)?;
        if consumer.generation() < 0 {
            (all.joining, recent.joining) = (start.elapsed(), reported.elapsed());
        } else if all.joining.is_zero() {
            // The first call both joins and fetches: all of it counts as joining, as it mostly is.
            (all.joining, recent.joining) = (start.elapsed(), reported.elapsed());
        }
        if records.is_empty() {
            if last.elapsed() >= plan.timeout {
                output::line(format_args!(
                    "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You \
                     can use the --timeout option to increase the timeout.",
                    plan.timeout.as_millis()
                ));
                break;
            }
        } else {
            last = Instant::now();
        }
        all.add(&records);
        recent.add(&records);
        if plan.is_detailed && reported.elapsed() >= plan.interval {
            recent.elapsed = reported.elapsed();
            // Amounts are of all, rates of the time since the last report.
            let (megabytes, seconds) = (all.bytes as f64 / MEGABYTE, recent.elapsed.as_secs_f64());
            output::line(format!(
                "{}, 0, {megabytes:.4}, {:.4}, {}, {:.4}, {}",
                moment(ottla_net::clock::wall()),
                recent.bytes as f64 / MEGABYTE / seconds,
                all.records,
                recent.records as f64 / seconds,
                recent.of_fetches()
            ));
            (recent, reported) = (Figures::default(), Instant::now());
        }
    }
    all.elapsed = start.elapsed();
    consumer.close().await.map_err(failed)?;
    Ok(all)
}

/// A moment as Kafka's tool shows it, in UTC.
fn moment(at: Timestamp) -> String {
    output::date_and_time(at).replace('.', ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_amounts_and_rates() {
        let figures = Figures {
            records: 2000,
            bytes: 4 << 20,
            elapsed: Duration::from_secs(4),
            joining: Duration::from_secs(3),
        };

        assert_eq!(figures.of_all(), "4.0000, 1.0000, 2000, 500.0000");
        assert_eq!(figures.of_fetches(), "3000, 1000, 4.0000, 2000.0000");
        assert_eq!(moment(Timestamp(1_763_842_502_120)), "2025-11-22 20:15:02:120");
        assert_eq!(header(false).split(", ").count(), 10);
    }

    #[test]
    fn a_property_that_means_nothing_is_refused() {
        let config = |name: &str, value: &str| config(&BTreeMap::from([(name.to_owned(), value.to_owned())]));

        assert_eq!(config("isolation.level", "read_committed").unwrap().isolation, Isolation::ReadCommitted);
        assert!(config("isolation.level", "all").is_err() && config("interceptor.classes", "a").is_err());
    }
}
