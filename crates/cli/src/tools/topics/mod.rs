//! `kafka-topics`: topics created, deleted, listed, described, enlarged (`TopicCommand`).
//!
//! Reading order: [`describe`], [`brokers`], [`controllers`].

mod brokers;
mod controllers;
mod describe;

use super::options::{Parsed, Tool, exclude, flag, only_with, require, value};
use super::{Failure, connect, include_list};
use crate::output;
use describe::Filter;
use ottla_client::admin::topics::NewTopic;
use ottla_types::{NodeId, Uuid};
use std::collections::BTreeMap;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-topics",
    purpose: "This tool helps to create, delete, describe, or change a topic.",
    short_purpose: Some("Create, delete, describe, or change a topic."),
    commands: &[],
    options: &[
        flag("alter", "Gives a topic more partitions."),
        flag("at-min-isr-partitions", "Describes only partitions with as many in-sync replicas as required."),
        value("bootstrap-server", "server", "REQUIRED: the brokers to begin with, as host:port,..."),
        value("command-config", "file", "A client's properties."),
        value("config", "name=value", "A setting of the topic to be created; may be given more than once."),
        flag("create", "Creates a topic."),
        flag("delete", "Deletes topics."),
        value("delete-config", "name", "Does nothing since Kafka 4.0, and says so."),
        flag("describe", "Describes topics."),
        flag("exclude-internal", "Leaves out Kafka's own topics."),
        flag("if-exists", "Fails not if there is no such topic."),
        flag("if-not-exists", "Fails not if the topic is there already."),
        flag("list", "Lists topics."),
        value("partition-size-limit-per-response", "count", "How many partitions one answer may describe."),
        value("partitions", "count", "How many partitions the topic has, or is to have."),
        value("replica-assignment", "ids", "The brokers of each partition: 1:2,2:3 are two partitions."),
        value("replication-factor", "count", "How many replicas each partition has."),
        value("topic", "topic", "The topic; a regular expression, but for --create."),
        value("topic-id", "id", "The id of the topic to describe."),
        flag("topics-with-overrides", "Describes only topics with settings of their own."),
        flag("unavailable-partitions", "Describes only partitions without a live leader."),
        flag("under-min-isr-partitions", "Describes only partitions with too few in-sync replicas."),
        flag("under-replicated-partitions", "Describes only partitions with replicas that lag."),
        value("zookeeper", "host:port", "In place of --bootstrap-server: a controller of the quorum."),
    ],
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Alter,
    Describe,
    List,
    Delete,
}

impl Action {
    /// The option that asks for it.
    fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Alter => "alter",
            Action::Describe => "describe",
            Action::List => "list",
            Action::Delete => "delete",
        }
    }
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let action = action(parsed)?;
    check(parsed, action)?;
    let quorum = parsed.has("zookeeper");
    match action {
        Action::Create => {
            let topic = new_topic(parsed)?;
            connect::block_on(async {
                if quorum {
                    controllers::create(parsed, &topic).await
                } else {
                    brokers::create(parsed, &topic).await
                }
            })
        }
        Action::Delete if quorum => connect::block_on(controllers::delete(parsed)),
        Action::Delete => connect::block_on(brokers::delete(parsed)),
        Action::List if quorum => connect::block_on(controllers::list(parsed)),
        Action::List => connect::block_on(brokers::list(parsed)),
        Action::Describe if quorum => connect::block_on(controllers::describe(parsed)),
        Action::Describe => connect::block_on(brokers::describe(parsed)),
        Action::Alter => connect::block_on(brokers::alter(parsed)),
    }
}

const COLLISION_WARNING: &str = "WARNING: Due to limitations in metric names, topics with a period ('.') or \
     underscore ('_') could collide. To avoid issues it is best to use either, but not both.";

fn action(parsed: &Parsed) -> Result<Action, Failure> {
    let actions = [Action::Create, Action::List, Action::Alter, Action::Describe, Action::Delete];
    let mut given = actions.into_iter().filter(|action| parsed.has(action.name()));
    match (given.next(), given.next()) {
        (Some(action), None) => Ok(action),
        _ => Err(Failure::Usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
                .to_owned(),
        )),
    }
}

/// Which options go together (`TopicCommandOptions.checkArgs`, in its order).
fn check(parsed: &Parsed, action: Action) -> Result<(), Failure> {
    let has = |name| parsed.has(name);
    if has("delete-config") {
        output::error_line(
            "delete-config option is no longer supported and deprecated since version 4.0. \
             The config will be fully removed in future releases.",
        );
    }
    match (has("bootstrap-server"), has("zookeeper")) {
        (true, false) => {}
        (false, true) if action == Action::Alter => {
            return Err(Failure::Refused("--alter needs --bootstrap-server".to_owned()));
        }
        (false, true) => {}
        (true, true) => {
            let message = "Only one of --bootstrap-server or --zookeeper must be specified";
            return Err(Failure::Refused(message.to_owned()));
        }
        (false, false) => return Err(Failure::Refused("--bootstrap-server must be specified".to_owned())),
    }
    if action == Action::Describe && has("if-exists") {
        match (has("topic"), has("topic-id")) {
            (false, false) => {
                let message = "--topic or --topic-id is required to describe a topic";
                return Err(Failure::Usage(message.to_owned()));
            }
            (true, true) => output::line(
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not \
                 Uuid.ZERO_UUID",
            ),
            _ => {}
        }
    }
    if matches!(action, Action::Create | Action::Alter | Action::Delete) {
        require(parsed, &["topic"])?;
    }
    if action == Action::Alter {
        if has("config") {
            return Err(Failure::Usage(
                "Option combination \"[[config], [bootstrap-server]]\" can't be used with option \"[alter]\" \
                 (To alter topic configurations, the kafka-configs tool can be used.)"
                    .to_owned(),
            ));
        }
        require(parsed, &["partitions"])?;
    }
    let action = action.name();
    only_with(parsed, "config", action, &["alter", "create"])?;
    only_with(parsed, "partitions", action, &["alter", "create"])?;
    only_with(parsed, "replication-factor", action, &["create"])?;
    only_with(parsed, "replica-assignment", action, &["alter", "create"])?;
    if action == "create" {
        exclude(parsed, "replica-assignment", &["partitions", "replication-factor"])?;
    }
    for filter in REPLICATION_FILTERS {
        only_with(parsed, filter, action, &["describe"])?;
        exclude(parsed, filter, &["topics-with-overrides"])?;
    }
    only_with(parsed, "topics-with-overrides", action, &["describe"])?;
    only_with(parsed, "if-exists", action, &["alter", "delete", "describe"])?;
    only_with(parsed, "if-not-exists", action, &["create"])?;
    only_with(parsed, "exclude-internal", action, &["list", "describe"])?;
    // Kafka ignores these elsewhere.
    only_with(parsed, "partition-size-limit-per-response", action, &["describe"])?;
    only_with(parsed, "topic-id", action, &["describe"])
}

/// The options by which only partitions are described whose replication is of interest; in the order in which Kafka
/// looks for what they do not go with.
const REPLICATION_FILTERS: &[&str] = &[
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

fn filter(parsed: &Parsed) -> Filter {
    Filter {
        under_replicated: parsed.has("under-replicated-partitions"),
        unavailable: parsed.has("unavailable-partitions"),
        under_min_isr: parsed.has("under-min-isr-partitions"),
        at_min_isr: parsed.has("at-min-isr-partitions"),
        with_overrides: parsed.has("topics-with-overrides"),
    }
}

/// The topic that the command line describes. What a cluster would refuse in the same words is refused here.
fn new_topic(parsed: &Parsed) -> Result<NewTopic, Failure> {
    let name = parsed.value("topic").unwrap_or_default().to_owned();
    let mut configs = BTreeMap::new();
    for config in parsed.values("config") {
        let Some((name, value)) = config.split_once('=') else {
            let message = "requirement failed: Invalid topic config: all configs to be added must be in the \
                           format \"key=val\".";
            return Err(failure(message));
        };
        configs.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    let partitions = number(parsed, "partitions")?;
    let replication_factor = number(parsed, "replication-factor")?;
    let assignment = match parsed.value("replica-assignment") {
        None => Vec::new(),
        Some(text) => assignment(text)?,
    };
    if name.contains(['.', '_']) {
        output::line(COLLISION_WARNING);
    }
    let replication_factor = match replication_factor.map(i16::try_from) {
        None => None,
        Some(Ok(factor)) if factor >= 1 => Some(factor),
        Some(_) => {
            let message = format!("The replication factor must be between 1 and {} inclusive", i16::MAX);
            return Err(failure(&message));
        }
    };
    if partitions.is_some_and(|count| count < 1) {
        return Err(failure("The partitions must be greater than 0"));
    }
    if name.is_empty() {
        return Err(failure("The given topic name '' cannot be represented in a request."));
    }
    ottla_types::validate_topic_name(&name).map_err(|error| failure(&error.to_string()))?;
    Ok(NewTopic { name, partitions, replication_factor, assignment, configs: configs.into_iter().collect() })
}

/// The id of the topic to describe. Zero is none, as for Kafka.
fn topic_id(parsed: &Parsed) -> Option<&str> {
    parsed.value("topic-id").filter(|id| id.parse() != Ok(Uuid::ZERO))
}

/// The option's value, as a number.
fn number(parsed: &Parsed, name: &str) -> Result<Option<i32>, Failure> {
    parsed.number(name).map_err(|error| failure(&error.0))
}

/// The brokers of each partition, as `1:2,2:3` says.
fn assignment(text: &str) -> Result<Vec<Vec<NodeId>>, Failure> {
    let mut all: Vec<Vec<NodeId>> = Vec::new();
    // As Java's `split`: what is empty at the end is left out.
    for partition in text.trim_end_matches(',').split(',') {
        let mut brokers = Vec::new();
        for id in partition.split(':').map(str::trim) {
            let broker = NodeId(id.parse().map_err(|_| failure(&format!("For input string: \"{id}\"")))?);
            if brokers.contains(&broker) {
                return Err(failure(&format!(
                    "Partition replica lists may not contain duplicate entries: {id}"
                )));
            }
            brokers.push(broker);
        }
        if all.first().is_some_and(|first| first.len() != brokers.len()) {
            let ids: Vec<String> = brokers.iter().map(NodeId::to_string).collect();
            return Err(failure(&format!(
                "Partition {} has different replication factor: [{}]",
                all.len(),
                ids.join(", ")
            )));
        }
        all.push(brokers);
    }
    Ok(all)
}

fn failure(message: &str) -> Failure {
    Failure::Failed(format!("Error while executing topic command : {message}"))
}

/// The topics that `--topic` and `--exclude-internal` select. Sorted, as they come.
fn select<'a>(
    parsed: &Parsed,
    topics: impl Iterator<Item = (&'a str, bool)>,
) -> Result<Vec<String>, Failure> {
    let wanted = parsed.value("topic").map(include_list::pattern).transpose();
    let wanted = wanted.map_err(|message| failure(&message))?;
    let exclude_internal = parsed.has("exclude-internal");
    Ok(topics
        .filter(|(name, is_internal)| {
            wanted.as_ref().is_none_or(|wanted| wanted.is_match(name)) && !(exclude_internal && *is_internal)
        })
        .map(|(name, _)| name.to_owned())
        .collect())
}

/// Fails if a topic was named and there is none, unless `--if-exists` allows that.
fn check_found(parsed: &Parsed, found: &[String]) -> Result<(), Failure> {
    match parsed.value("topic") {
        Some(topic) if found.is_empty() && !parsed.has("if-exists") => {
            Err(failure(&format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::options;

    fn read(line: &str) -> Parsed {
        options::parse_line(&TOOL, line).unwrap()
    }

    fn refusal(line: &str) -> String {
        let parsed = read(line);
        match action(&parsed).and_then(|action| check(&parsed, action)) {
            Err(Failure::Usage(message) | Failure::Refused(message) | Failure::Failed(message)) => message,
            Err(Failure::Quiet) => String::new(),
            Ok(()) => "accepted".to_owned(),
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_kafkas_words() {
        let one_action =
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        let cases = [
            ("--bootstrap-server a:1", one_action),
            ("--bootstrap-server a:1 --list --create", one_action),
            ("--list", "--bootstrap-server must be specified"),
            ("--bootstrap-server a:1 --create", "Missing required argument \"[topic]\""),
            (
                "--bootstrap-server a:1 --list --partitions 3",
                "Option \"[partitions]\" can't be used with option \"[list]\"",
            ),
            ("--bootstrap-server a:1 --alter --topic t", "Missing required argument \"[partitions]\""),
            (
                "--bootstrap-server a:1 --zookeeper a:1 --list",
                "Only one of --bootstrap-server or --zookeeper must be specified",
            ),
            ("--zookeeper a:1 --list", "accepted"),
            ("--bootstrap-server a:1 --describe --topic t --under-replicated-partitions", "accepted"),
        ];
        for (line, expected) in cases {
            assert_eq!(refusal(line), expected, "{line}");
        }
    }

    #[test]
    fn a_topic_is_selected_by_a_regular_expression() {
        let all = [("a", false), ("ab", false), ("b.c", false), ("__consumer_offsets", true)];
        let select = |line: &str| select(&read(line), all.into_iter()).unwrap();

        assert_eq!(select("--list --topic a"), ["a"]);
        assert_eq!(select("--list --topic a.*"), ["a", "ab"]);
        assert_eq!(select("--list --topic a,b.c"), ["a", "b.c"]);
        assert_eq!(select("--list --exclude-internal").len(), 3);
    }

    #[test]
    fn an_assignment_is_as_long_for_every_partition() {
        assert_eq!(assignment("1:2,2:3").unwrap().len(), 2);
        assert_eq!(assignment("1:2,").unwrap().len(), 1);
        for text in ["1:2,3", "1:1", "a", "", "1:2,,2:1"] {
            assert!(assignment(text).is_err(), "{text}");
        }
    }
}
