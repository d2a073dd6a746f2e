//! `kafka-get-offsets`: the offsets of partitions, by time or by place (`GetOffsetShell`).

use super::options::{Parsed, Tool, flag, require, value};
use super::{Failure, connect, exceptions, include_list};
use crate::output;
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{
    EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, MAX_TIMESTAMP,
    list_offsets_each,
};
use ottla_client::{ClientError, HostPort};
use ottla_types::{Timestamp, TopicPartition};
use regex::Regex;
use std::collections::BTreeSet;
use std::ops::Range;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-get-offsets",
    purpose: "An interactive shell for getting topic-partition offsets.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: the brokers to begin with."),
        value("command-config", "config file", "A client's properties."),
        flag("exclude-internal-topics", "Leaves out Kafka's own topics."),
        value("partitions", "partition ids", "These partitions, as 0,1,2; else all."),
        value(
            "time",
            "timestamp",
            "The first record that is not older than this, in milliseconds; or -1 or latest (the default), -2 or \
             earliest, -3 or max-timestamp, -4 or earliest-local, -5 or latest-tiered, -6 or \
             earliest-pending-upload.",
        ),
        value("topic", "topic", "The topics, by a regular expression; else all."),
        value(
            "topic-partitions",
            "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
            "Topics by regular expressions, each with a partition or a range of them without its end.",
        ),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server"])?;
    if HostPort::parse_list(parsed.value("bootstrap-server").unwrap_or_default()).is_err() {
        return Err(Failure::Usage("Please provide valid host:port like host1:9091,host2:9092".to_owned()));
    }
    let has = |name| parsed.has(name);
    if has("topic-partitions") && (has("topic") || has("partitions")) {
        return Err(failed("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let time = time(parsed.value("time").unwrap_or("latest"))?;
    let rules = match parsed.value("topic-partitions") {
        Some(text) => text.split(',').map(rule).collect::<Result<Vec<_>, _>>()?,
        None => vec![Rule {
            topics: include_list::pattern(parsed.value("topic").unwrap_or(".*")).map_err(failed)?,
            partitions: partitions(parsed.value("partitions").unwrap_or_default())?,
        }],
    };
    connect::block_on(async {
        let admin = connect::admin(parsed, "GetOffsetShell")?;
        let refused = |error: ClientError| failed(error);
        let topics = admin.list_topics().await.map_err(refused)?;
        let metadata = admin.client().metadata();
        let mut asked = Vec::new();
        for (name, is_internal) in topics {
            let Some(topic) = metadata.topics.get(&name) else { continue };
            if is_internal && has("exclude-internal-topics") {
                continue;
            }
            let wanted = topic.partitions.keys().filter(|&&p| rules.iter().any(|rule| rule.allows(&name, p)));
            asked.extend(wanted.map(|&partition| (TopicPartition::new(name.clone(), partition), time)));
        }
        if asked.is_empty() {
            return Err(failed("Could not match any topic-partitions with the specified filters"));
        }
        let asked = asked.into_iter().collect();
        for (at, found) in list_offsets_each(admin.client(), &asked, Isolation::ReadUncommitted).await {
            match found {
                // No record is that late.
                Ok(found) if found.offset.0 < 0 => {}
                Ok(found) => output::line(format_args!("{}:{}:{}", at.topic, at.partition, found.offset)),
                Err(error) => output::error_line(format_args!(
                    "Skip getting offsets for topic-partition {at} due to error: {}",
                    exceptions::shown(&error)
                )),
            }
        }
        Ok(())
    })
}

fn failed(message: impl std::fmt::Display) -> Failure {
    Failure::Refused(format!("Error occurred: {message}"))
}

/// What `--time` means.
fn time(text: &str) -> Result<Timestamp, Failure> {
    match text {
        "latest" => Ok(LATEST),
        "earliest" => Ok(EARLIEST),
        "max-timestamp" => Ok(MAX_TIMESTAMP),
        "earliest-local" => Ok(EARLIEST_LOCAL),
        "latest-tiered" => Ok(LATEST_TIERED),
        "earliest-pending-upload" => Ok(EARLIEST_PENDING_UPLOAD),
        _ => text.parse().map(Timestamp).map_err(|_| {
            failed(format!(
                "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / \
                 -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long \
                 format timestamp"
            ))
        }),
    }
}

/// Some topics, and some partitions of each.
#[derive(Debug)]
struct Rule {
    topics: Regex,
    partitions: Partitions,
}

#[derive(Debug)]
enum Partitions {
    Some(BTreeSet<i32>),
    Range(Range<i32>),
    All,
}

impl Rule {
    fn allows(&self, topic: &str, partition: i32) -> bool {
        let of_topic = match &self.partitions {
            Partitions::Some(numbers) => numbers.contains(&partition),
            Partitions::Range(range) => range.contains(&partition),
            Partitions::All => true,
        };
        of_topic && self.topics.is_match(topic)
    }
}

/// What `--partitions` names.
fn partitions(text: &str) -> Result<Partitions, Failure> {
    if text.is_empty() {
        return Ok(Partitions::All);
    }
    let numbers: Result<BTreeSet<i32>, _> = text.split(',').map(str::parse).collect();
    numbers.map(Partitions::Some).map_err(|_| {
        failed(format!(
            "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ))
    })
}

/// One of the rules of `--topic-partitions`: `topic`, `topic:1`, `topic:1-3`; any part may be missing.
fn rule(text: &str) -> Result<Rule, Failure> {
    let invalid =
        || failed(format!("org.apache.kafka.tools.TerseException: Invalid rule specification: {text}"));
    let (topic, numbers) = text.split_once(':').unwrap_or((text, ""));
    let number = |digits: &str, otherwise: i32| match digits {
        "" => Ok(otherwise),
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => Err(invalid()),
        _ => digits.parse().map_err(|_| failed(format!("For input string: \"{digits}\""))),
    };
    let partitions = match numbers.split_once('-') {
        Some((first, end)) => Partitions::Range(number(first, 0)?..number(end, i32::MAX)?),
        None if numbers.is_empty() => Partitions::All,
        None => Partitions::Some(BTreeSet::from([number(numbers, 0)?])),
    };
    let topics = if topic.is_empty() { ".*" } else { topic };
    Ok(Rule { topics: include_list::pattern(topics).map_err(failed)?, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_topic_and_a_range_without_its_end() {
        let allowed = |text: &str| -> Vec<i32> {
            let rule = rule(text).unwrap();
            (0..6).filter(|&partition| rule.allows("t", partition)).collect()
        };

        assert_eq!(allowed("t"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(allowed("t:"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(allowed("t:2"), [2]);
        assert_eq!(allowed("t:1-3"), [1, 2]);
        assert_eq!(allowed(":4-"), [4, 5]);
        assert_eq!(allowed("x|t:-2"), [0, 1]);
        assert!(allowed("u:2").is_empty());
        for text in ["t:x", "t:1:2", "t:1-x", "(", "t:99999999999"] {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_has_a_name_or_a_number() {
        for (text, expected) in [("latest", -1), ("-2", -2), ("earliest-pending-upload", -6), ("5", 5)] {
            assert_eq!(time(text).unwrap(), Timestamp(expected), "{text}");
        }
        assert!(time("now").is_err());
    }
}
