//! `kafka-leader-election`: leaders elected on request (`LeaderElectionCommand`).

use super::options::{Parsed, Tool, flag, value};
use super::{Failure, connect, exceptions, java_map};
use crate::output;
use ottla_client::ClientError;
use ottla_client::admin::reassignments::ElectionType;
use ottla_protocol::ErrorCode;
use ottla_types::TopicPartition;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-leader-election",
    purpose: "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are \
              preferred replicas and unclean replicas.",
    short_purpose: None,
    commands: &[],
    options: &[
        value("admin.config", "config file", "A client's properties. Deprecated: use --command-config."),
        flag("all-topic-partitions", "All partitions that may need it."),
        value("bootstrap-server", "host:port", "REQUIRED: the brokers to begin with, as host:port,..."),
        value("command-config", "config file", "A client's properties."),
        value(
            "election-type",
            "election type",
            "REQUIRED: preferred, or unclean: any replica, where none in sync is left.",
        ),
        value("partition", "partition id", "The partition of --topic."),
        value(
            "path-to-json-file",
            "Path to JSON file",
            "The partitions, as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1}]}.",
        ),
        value("topic", "topic name", "The topic of --partition."),
    ],
};

/// How long the cluster may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn refuse(message: impl Into<String>) -> Failure {
    Failure::Refused(message.into())
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    check(parsed)?;
    let (election_type, name) = election_type(parsed.value("election-type").unwrap_or_default())?;
    let partitions = match (parsed.value("path-to-json-file"), parsed.value("topic")) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|_| refuse(format!("java.io.IOException: Unable to read file {path}")))?;
            Some(read(&text)?)
        }
        (None, Some(topic)) => {
            Some(vec![TopicPartition::new(topic, parsed.number("partition")?.unwrap_or(0))])
        }
        (None, None) => None,
    };
    let elected = connect::block_on(async {
        let file = parsed.value("command-config").or_else(|| parsed.value("admin.config"));
        let admin = connect::admin_with_within(parsed, file, TOOL.name, PATIENCE)?;
        let elected = admin.elect_leaders(election_type, partitions.as_deref()).await;
        elected.map_err(|error| refuse(exceptions::shown(&error)))
    })?;
    let (text, failed) = outcome(name, elected);
    output::text(&text);
    match failed {
        0 => Ok(()),
        _ => Err(refuse(format!("{failed} replica(s) could not be elected"))),
    }
}

/// The complaints of Kafka's tool, in its order.
fn check(parsed: &Parsed) -> Result<(), Failure> {
    let missing = ["bootstrap-server", "election-type"].into_iter().filter(|name| !parsed.has(name));
    let missing: Vec<&str> = missing.collect();
    if !missing.is_empty() {
        return Err(refuse(format!("Missing required option(s): {}", missing.join(", "))));
    }
    let which = ["topic", "all-topic-partitions", "path-to-json-file"];
    if which.iter().filter(|name| parsed.has(name)).count() != 1 {
        let message = format!("One and only one of the following options is required: {}", which.join(", "));
        return Err(refuse(message));
    }
    match (parsed.has("topic"), parsed.has("partition")) {
        (true, false) => Err(refuse("Missing required option(s): partition")),
        (false, true) => Err(refuse("Option partition is only allowed if topic is used")),
        _ => Ok(()),
    }?;
    if parsed.has("admin.config") && parsed.has("command-config") {
        return Err(refuse("--admin.config and --command-config cannot be specified together"));
    }
    Ok(())
}

fn election_type(text: &str) -> Result<(ElectionType, &'static str), Failure> {
    match text.to_ascii_uppercase().as_str() {
        "PREFERRED" => Ok((ElectionType::Preferred, "PREFERRED")),
        "UNCLEAN" => Ok((ElectionType::Unclean, "UNCLEAN")),
        _ => Err(refuse(format!("Cannot parse argument '{text}' of option election-type"))),
    }
}

/// The partitions that a file names.
fn read(text: &str) -> Result<Vec<TopicPartition>, Failure> {
    let json: Value = serde_json::from_str(text).map_err(|_| refuse("Replica election data is empty"))?;
    let list = json.get("partitions");
    let list = list.ok_or_else(|| refuse("Replica election data is missing \"partitions\" field"))?;
    let wrong =
        |what: &str| refuse(format!("{what} in the replica election data is missing or of another type"));
    let mut partitions = Vec::new();
    for entry in list.as_array().ok_or_else(|| wrong("\"partitions\""))? {
        let topic = entry.get("topic").and_then(Value::as_str).ok_or_else(|| wrong("a \"topic\""))?;
        let partition = entry.get("partition").and_then(Value::as_i64);
        let partition = partition.and_then(|number| i32::try_from(number).ok());
        partitions.push(TopicPartition::new(topic, partition.ok_or_else(|| wrong("a \"partition\""))?));
    }
    let is_twice = |at: &&TopicPartition| partitions.iter().filter(|other| other == at).count() > 1;
    let twice: BTreeSet<&TopicPartition> = partitions.iter().filter(is_twice).collect();
    if !twice.is_empty() {
        let names = listed(twice.into_iter().cloned().collect());
        return Err(refuse(format!("Replica election data contains duplicate partitions: [{names}]")));
    }
    Ok(partitions)
}

/// The partitions' names, in the order of a Java set.
fn listed(partitions: Vec<TopicPartition>) -> String {
    let partitions = java_map::partitions_in_hash_order(partitions, |at| at);
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(", ")
}

/// What is said of the partitions, and of how many that they have no leader of this type.
fn outcome(name: &str, elected: BTreeMap<TopicPartition, Result<(), ClientError>>) -> (String, usize) {
    let (mut done, mut needless, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (at, outcome) in elected {
        match outcome {
            Ok(()) => done.push(at),
            Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded) => needless.push(at),
            Err(error) => failed.push((at, error)),
        }
    }
    let mut text = String::new();
    if !done.is_empty() {
        let names = listed(done);
        text += &format!("Successfully completed leader election ({name}) for partitions {names}\n");
    }
    if !needless.is_empty() {
        text += &format!("Valid replica already elected for partitions {}\n", listed(needless));
    }
    let count = failed.len();
    for (at, error) in java_map::partitions_in_hash_order(failed, |(at, _)| at) {
        let why = exceptions::shown(&error);
        text += &format!("Error completing leader election ({name}) for partition: {at}: {why}\n");
    }
    (text, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_line() {
        let at = |partition| TopicPartition::new("t", partition);
        let refused = |code| Err(ClientError::refused(code, Some("why".to_owned())));
        let elected = BTreeMap::from([
            (at(0), Ok(())),
            (at(1), Ok(())),
            (at(2), refused(ErrorCode::ElectionNotNeeded)),
            (at(3), refused(ErrorCode::PreferredLeaderNotAvailable)),
        ]);

        let (text, failed) = outcome("PREFERRED", elected);

        assert_eq!(
            text,
            "Successfully completed leader election (PREFERRED) for partitions t-1, t-0\n\
             Valid replica already elected for partitions t-2\n\
             Error completing leader election (PREFERRED) for partition: t-3: \
             org.apache.kafka.common.errors.PreferredLeaderNotAvailableException: why\n"
        );
        assert_eq!(failed, 1);
    }
}
