//! `kafka-console-consumer`: records become lines on standard output (`ConsoleConsumer`).

use super::formatter::Formatter;
use super::properties;
use crate::tools::options::{Parsed, Tool, flag, refused, require, value};
use crate::tools::{Failure, connect, membership};
use crate::{output, signals};
use ottla_client::client::Topics;
use ottla_client::consumer::group::{GroupConfig, find_coordinator};
use ottla_client::consumer::{ConsumerConfig, Isolation, OffsetReset, StartAt};
use ottla_client::{Client, ClientError, Consumer};
use ottla_net::CallError;
use ottla_types::{Offset, TopicPartition};
use regex::Regex;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const TOOL: Tool = Tool {
    name: "kafka-console-consumer",
    purpose: "This tool helps to read data from Kafka topics and outputs it to standard output.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("bootstrap-server", "server", "REQUIRED: the brokers to begin with, as host:port,..."),
        value("command-config", "file", "A client's properties."),
        value("command-property", "key=value", "As --consumer-property."),
        value("consumer.config", "file", "As --command-config."),
        value("consumer-property", "key=value", "group.id, auto.offset.reset or isolation.level."),
        flag("enable-systest-events", "Prints shutdown_complete in the end."),
        refused("formatter", "records are written as DefaultMessageFormatter does"),
        refused("formatter-config", "use --formatter-property"),
        value(
            "formatter-property",
            "key=value",
            "print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key, print.value, key.separator, line.separator, headers.separator, null.literal.",
        ),
        flag("from-beginning", "Begins with the first record where nothing is committed."),
        value("group", "id", "The group; one of its own if not given."),
        value("include", "regex", "The topics, by a regular expression."),
        value("isolation-level", "level", "read_uncommitted (the default) or read_committed."),
        refused("key-deserializer", "keys are written as they are"),
        value("max-messages", "count", "Ends after so many records."),
        value("offset", "offset", "Where to begin: a number, earliest or latest; needs --partition."),
        value("partition", "partition", "Reads only this partition."),
        value("property", "key=value", "As --formatter-property."),
        flag("skip-message-on-error", "Goes on after an error."),
        value("timeout-ms", "ms", "Ends when nothing came for so long."),
        value("topic", "topic", "The topic."),
        refused("value-deserializer", "values are written as they are"),
    ],
};

/// Records taken at once.
const RECORDS_MAX: usize = 500;

/// How often to look whether a topic is there.
const TOPIC_PAUSE: Duration = Duration::from_millis(500);

/// What is to be read, and how.
struct Plan {
    topic: Option<String>,
    include: Option<Regex>,
    partition: Option<i32>,
    start: Option<StartAt>,
    group: Option<String>,
    /// How it takes part, in that group or in one of its own.
    membership: GroupConfig,
    messages_max: Option<u64>,
    timeout: Option<Duration>,
    skip_errors: bool,
    config: ConsumerConfig,
}

pub(crate) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server"])?;
    let formatter = Formatter::new(&properties(parsed, &["property", "formatter-property"])?)?;
    let plan = plan(parsed)?;
    let addresses = parsed.value("bootstrap-server").unwrap_or_default();
    let file = parsed.value("command-config").or(parsed.value("consumer.config"));
    let client = Client::new(connect::config(addresses, file, "console-consumer")?);
    let mut count = 0;
    let done = connect::block_on(consume(client, &plan, &formatter, &mut count));
    output::error_line(format_args!("Processed a total of {count} messages"));
    if parsed.has("enable-systest-events") {
        output::line("shutdown_complete");
    }
    done
}

fn plan(parsed: &Parsed) -> Result<Plan, Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    let client = properties(parsed, &["consumer-property", "command-property"])?;
    let known = [&["group.id", "auto.offset.reset", "isolation.level"], membership::PROPERTIES].concat();
    super::check_known(&client, &known)?;
    let membership = membership::group_config("", &client)?;
    let has = |name| parsed.has(name);
    if has("topic") == has("include") {
        return usage("Exactly one of --include/--topic is required. ");
    }
    let partition: Option<i32> = parsed.number("partition")?;
    if partition.is_some() && !has("topic") {
        return usage("The topic is required when partition is specified.");
    }
    if has("offset") && partition.is_none() {
        return usage("The partition is required when offset is specified.");
    }
    if has("offset") && has("from-beginning") {
        return usage("Options from-beginning and offset cannot be specified together.");
    }
    let group = parsed.value("group").or(client.get("group.id").map(String::as_str)).map(str::to_owned);
    if group.is_some() && partition.is_some() {
        return usage("Options group and partition cannot be specified together.");
    }
    let start = match parsed.value("offset") {
        None => None,
        Some("earliest") => Some(StartAt::Earliest),
        Some("latest") => Some(StartAt::Latest),
        Some(text) => match text.parse() {
            Ok(offset) if offset >= 0 => Some(StartAt::Offset(Offset(offset))),
            _ => {
                return usage(&format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
                ));
            }
        },
    };
    let mut config = ConsumerConfig::default();
    let reset = client.get("auto.offset.reset").map(String::as_str);
    config.reset = match reset {
        _ if has("from-beginning") => OffsetReset::Earliest,
        None | Some("latest") => OffsetReset::Latest,
        Some("earliest") => OffsetReset::Earliest,
        Some("none") => OffsetReset::None,
        Some(other) => return usage(&format!("auto.offset.reset cannot be {other}")),
    };
    let isolation = parsed.value("isolation-level").or(client.get("isolation.level").map(String::as_str));
    config.isolation = match isolation {
        None | Some("read_uncommitted") => Isolation::ReadUncommitted,
        Some("read_committed") => Isolation::ReadCommitted,
        Some(other) => return usage(&format!("--isolation-level cannot be {other}")),
    };
    let include = parsed.value("include").map(|text| {
        Regex::new(&format!("^(?:{text})$"))
            .map_err(|error| Failure::Refused(format!("--include {text}: {error}")))
    });
    Ok(Plan {
        topic: parsed.value("topic").map(str::to_owned),
        include: include.transpose()?,
        partition,
        start,
        group,
        membership,
        messages_max: parsed.number("max-messages")?,
        timeout: parsed.number("timeout-ms")?.map(Duration::from_millis),
        skip_errors: has("skip-message-on-error"),
        config,
    })
}

async fn consume(client: Client, plan: &Plan, formatter: &Formatter, count: &mut u64) -> Result<(), Failure> {
    let asked_to_end =
        signals::asked_to_end().map_err(|error| Failure::Refused(format!("no signals: {error}")))?;
    let mut consumer = None;
    let ended = tokio::select! {
        biased;
        () = asked_to_end => Ok(()),
        ended = read(client, plan, formatter, count, &mut consumer) => ended,
    };
    if let Some(consumer) = consumer {
        consumer.close().await.map_err(broken)?;
    }
    ended
}

fn broken(error: ClientError) -> Failure {
    Failure::Refused(format!("ERROR Error processing message, terminating consumer process: {error}"))
}

async fn read(
    client: Client,
    plan: &Plan,
    formatter: &Formatter,
    count: &mut u64,
    slot: &mut Option<Consumer>,
) -> Result<(), Failure> {
    let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
    let Some(topics) = wait_for_topics(&client, plan, deadline).await? else {
        timed_out();
        return Ok(());
    };
    let consumer = slot.insert(Consumer::new(client, plan.config.clone()));
    begin(consumer, plan, topics).await?;
    let mut last = Instant::now();
    while plan.messages_max.is_none_or(|max| *count < max) {
        let left = plan
            .messages_max
            .map_or(RECORDS_MAX, |max| usize::try_from(max - *count).unwrap_or(RECORDS_MAX).min(RECORDS_MAX));
        let wait = plan.timeout.unwrap_or(Duration::from_secs(1));
        let records = match consumer.poll(wait, left).await {
            Ok(records) => records,
            Err(error) if plan.skip_errors => {
                output::error_line(format_args!("ERROR {error}"));
                continue;
            }
            Err(error) => return Err(broken(error)),
        };
        if records.is_empty() {
            if plan.timeout.is_some_and(|timeout| last.elapsed() >= timeout) {
                timed_out();
                return Ok(());
            }
            continue;
        }
        last = Instant::now();
        let mut out = Vec::new();
        for record in &records {
            formatter.write(&mut out, record);
        }
        *count += records.len() as u64;
        output::bytes(&out);
    }
    Ok(())
}

fn timed_out() {
    output::error_line("ERROR Error processing message, terminating consumer process: nothing came in time");
}

/// The topics, once there are any; `None` after the deadline.
async fn wait_for_topics(
    client: &Client,
    plan: &Plan,
    deadline: Option<Instant>,
) -> Result<Option<Vec<String>>, Failure> {
    let mut warned = false;
    loop {
        let found = match (&plan.topic, &plan.include) {
            (Some(topic), _) => {
                let names = vec![topic.clone()];
                let metadata =
                    client.retry("metadata", || client.refresh_or_create(&names)).await.map_err(broken)?;
                if metadata.topics.contains_key(topic) { names } else { Vec::new() }
            }
            (None, include) => {
                let metadata =
                    client.retry("metadata", || client.refresh(Topics::All)).await.map_err(broken)?;
                let wanted = |name: &&String| include.as_ref().is_some_and(|include| include.is_match(name));
                metadata.topics.keys().filter(wanted).cloned().collect()
            }
        };
        if !found.is_empty() {
            return Ok(Some(found));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(None);
        }
        if !warned {
            warned = true;
            output::error_line("WARN there is no such topic yet: waiting for it");
        }
        tokio::time::sleep(TOPIC_PAUSE).await;
    }
}

/// Joins a group; or, of a partition, or where there is no coordinator of groups, reads alone.
async fn begin(consumer: &mut Consumer, plan: &Plan, topics: Vec<String>) -> Result<(), Failure> {
    let client = consumer.client().clone();
    let alone = match (plan.partition, &plan.group) {
        (Some(partition), _) => Some(vec![TopicPartition::new(topics[0].clone(), partition)]),
        (None, group) => {
            let group =
                group.clone().unwrap_or_else(|| format!("console-consumer-{}", client.random_index(100_000)));
            match find_coordinator(&client, &group).await {
                Ok(_) => {
                    consumer.subscribe(topics, GroupConfig { group_id: group, ..plan.membership.clone() });
                    return Ok(());
                }
                // In a group of its own it would read the same.
                Err(ClientError::Unreachable { source: CallError::Unsupported { .. }, .. })
                    if plan.group.is_none() =>
                {
                    None
                }
                Err(error) => return Err(broken(error)),
            }
        }
    };
    let partitions = alone.unwrap_or_else(|| {
        let metadata = client.metadata();
        let all = topics.iter().filter_map(|name| metadata.topics.get(name));
        all.flat_map(|topic| {
            topic.partitions.keys().map(|&index| TopicPartition::new(topic.name.clone(), index))
        })
        .collect()
    });
    let otherwise = match plan.config.reset {
        OffsetReset::Earliest => StartAt::Earliest,
        OffsetReset::Latest | OffsetReset::None => StartAt::Latest,
    };
    let start = plan.start.unwrap_or(otherwise);
    consumer.assign(partitions.into_iter().map(|at| (at, start)));
    Ok(())
}
