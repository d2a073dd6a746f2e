//! `kafka-delete-records`: records deleted up to an offset (`DeleteRecordsCommand`).

use super::options::{Parsed, Tool, require, value};
use super::{Failure, connect, java_map};
use crate::output;
use ottla_client::ClientError;
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, TopicPartition};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-delete-records",
    purpose: "This tool helps to delete records of the given partitions down to the specified offset.",
    short_purpose: None,
    commands: &[],
    options: &[
        value(
            "bootstrap-server",
            "server(s) to use for bootstrapping",
            "REQUIRED: the brokers to begin with, as host:port,...",
        ),
        value("command-config", "command config property file path", "A client's properties."),
        value(
            "offset-json-file",
            "Offset json file path",
            "REQUIRED: which records go, as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \
             \"version\": 1}. Offset -1 is everything that is committed.",
        ),
    ],
};

/// The only version of the file.
const VERSION: i64 = 1;

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server", "offset-json-file"])?;
    let path = parsed.value("offset-json-file").unwrap_or_default();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Refused(format!("{path}: {error}")))?;
    let asked = read(&text).map_err(Failure::Refused)?;
    let admin = connect::admin(parsed, TOOL.name)?;
    output::line("Executing records delete operation");
    let deleted = connect::block_on(async { Ok(admin.delete_records(&asked).await) })?;
    output::line("Records delete operation completed:");
    for (at, outcome) in java_map::partitions_in_hash_order(deleted.into_iter().collect(), |(at, _)| at) {
        match outcome {
            Ok(low_watermark) => {
                output::line(format_args!("partition: {at}\tlow_watermark: {low_watermark}"))
            }
            Err(error) => output::line(format_args!("partition: {at}\terror: {}", describe(&error))),
        }
    }
    Ok(())
}

/// Which records the file asks to delete.
fn read(text: &str) -> Result<BTreeMap<TopicPartition, Offset>, String> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| "The input string is not a valid JSON".to_owned())?;
    match json.get("version") {
        None => {}
        Some(version) if version.as_i64() == Some(VERSION) => {}
        Some(version) => return Err(format!("Not supported version field value {version}")),
    }
    let partitions = json.get("partitions").and_then(Value::as_array).ok_or("Missing partitions field")?;
    let mut asked = BTreeMap::new();
    let mut duplicates = Vec::new();
    for entry in partitions {
        let number = |field| entry.get(field).and_then(Value::as_i64);
        let topic = entry.get("topic").and_then(Value::as_str);
        let partition = number("partition").and_then(|number| i32::try_from(number).ok());
        let (Some(topic), Some(partition), Some(offset)) = (topic, partition, number("offset")) else {
            return Err(format!("topic, partition and offset are needed: {entry}"));
        };
        let at = TopicPartition::new(topic, partition);
        if asked.insert(at.clone(), Offset(offset)).is_some() {
            duplicates.push(at.to_string());
        }
    }
    if duplicates.is_empty() {
        Ok(asked)
    } else {
        Err(format!("Offset json file contains duplicate topic partitions: {}", duplicates.join(",")))
    }
}

/// As Kafka's tool shows it: by the exception's class, and in its words where they are of interest here.
fn describe(error: &ClientError) -> String {
    let (class, words) = match error.code() {
        Some(ErrorCode::OffsetOutOfRange) => (
            "OffsetOutOfRangeException",
            Some("The requested offset is not within the range of offsets maintained by the server."),
        ),
        Some(ErrorCode::PolicyViolation) => {
            ("PolicyViolationException", Some("Request parameters do not satisfy the configured policy."))
        }
        Some(ErrorCode::InvalidTopicException) => ("InvalidTopicException", None),
        Some(ErrorCode::UnknownTopicOrPartition) => ("UnknownTopicOrPartitionException", None),
        Some(ErrorCode::RequestTimedOut) => ("TimeoutException", None),
        Some(ErrorCode::NotLeaderOrFollower) => ("NotLeaderOrFollowerException", None),
        _ => return error.to_string(),
    };
    let message = words.map_or_else(|| error.to_string(), str::to_owned);
    format!("org.apache.kafka.common.errors.{class}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_partitions_and_offsets_once() {
        let one = r#"{"topic":"t","partition":2,"offset":5}"#;
        let file =
            |entries: &str, version: &str| format!(r#"{{"partitions":[{entries}],"version":{version}}}"#);

        let asked = read(&file(one, "1")).unwrap();

        assert_eq!(asked, BTreeMap::from([(TopicPartition::new("t", 2), Offset(5))]));
        for (text, expected) in [
            (file(&format!("{one},{one}"), "1"), "Offset json file contains duplicate topic partitions: t-2"),
            (file(one, "2"), "Not supported version field value 2"),
            (r#"{"version":1}"#.to_owned(), "Missing partitions field"),
            (file(r#"{"topic":"t"}"#, "1"), r#"topic, partition and offset are needed: {"topic":"t"}"#),
        ] {
            assert_eq!(read(&text), Err(expected.to_owned()), "{text}");
        }
    }
}
