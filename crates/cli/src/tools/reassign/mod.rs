//! `kafka-reassign-partitions`: replicas moved between brokers (`ReassignPartitionsCommand`).
//!
//! Reading order: [`plan`], [`generate`], [`execute`], [`throttles`], [`verify`], [`directories`].

mod directories;
mod execute;
mod generate;
mod plan;
mod throttles;
mod verify;

use super::options::{Parsed, Tool, flag, optional, refused, require, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, TopicPartition};
use std::collections::BTreeMap;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-reassign-partitions",
    purpose: "This tool helps to move topic partitions between replicas.",
    short_purpose: None,
    commands: &[],
    options: &[
        flag("additional", "Moves in addition to what is under way."),
        optional("bootstrap-server", "server", "The brokers to begin with, as host:port,..."),
        value("broker-list", "ids", "The brokers to which --generate moves, as 1,2,3."),
        flag("cancel", "Takes back what is under way."),
        value("command-config", "file", "A client's properties."),
        flag("disable-rack-aware", "Makes a plan as if there were no racks."),
        flag(
            "disallow-replication-factor-change",
            "Refuses plans by which a partition gets more or fewer replicas.",
        ),
        flag("execute", "Begins to move replicas as the plan says."),
        flag("generate", "Makes a plan, and does nothing else."),
        flag("list", "Tells what is under way."),
        flag("preserve-throttles", "Leaves throttles as they are."),
        value("reassignment-json-file", "file", "The plan."),
        value(
            "replica-alter-log-dirs-throttle",
            "bytes",
            "How many bytes a second a broker may move between its directories, until --verify finds that all is done.",
        ),
        value(
            "throttle",
            "bytes",
            "How many bytes a second a broker may serve and fetch for this, until --verify finds that all is done.",
        ),
        value(
            "timeout",
            "ms",
            "How long to wait until replicas can be put into directories; 10000 if not given.",
        ),
        value("topics-to-move-json-file", "file", "The topics for which --generate makes a plan."),
        flag("verify", "Tells whether the plan is carried out."),
        refused("bootstrap-controller", "name brokers with --bootstrap-server; they ask the controller"),
    ],
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Generate,
    Execute,
    Verify,
    Cancel,
    List,
}

impl Action {
    const ALL: [Action; 5] =
        [Action::Generate, Action::Execute, Action::Verify, Action::Cancel, Action::List];

    /// The option that asks for it.
    fn name(self) -> &'static str {
        match self {
            Action::Generate => "generate",
            Action::Execute => "execute",
            Action::Verify => "verify",
            Action::Cancel => "cancel",
            Action::List => "list",
        }
    }

    /// The options that it needs, and those that it takes besides.
    fn options(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Action::Generate => (&["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"]),
            Action::Execute => (
                &["reassignment-json-file"],
                &[
                    "additional",
                    "throttle",
                    "replica-alter-log-dirs-throttle",
                    "timeout",
                    "disallow-replication-factor-change",
                ],
            ),
            Action::Verify => (&["reassignment-json-file"], &["preserve-throttles"]),
            Action::Cancel => (&["reassignment-json-file"], &["preserve-throttles", "timeout"]),
            Action::List => (&[], &[]),
        }
    }
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let action = check(parsed)?;
    connect::block_on(async {
        let admin = connect::admin(parsed, "reassign-partitions-tool")?;
        match action {
            Action::Generate => generate::generate(&admin, parsed).await,
            Action::Execute => execute::execute(&admin, parsed).await,
            Action::Verify => verify::verify(&admin, parsed).await,
            Action::Cancel => execute::cancel(&admin, parsed).await,
            Action::List => list(&admin).await,
        }
    })
}

/// Which options go together, in the order in which Kafka looks.
fn check(parsed: &Parsed) -> Result<Action, Failure> {
    let mut given = Action::ALL.into_iter().filter(|action| parsed.has(action.name()));
    let (Some(action), None) = (given.next(), given.next()) else {
        return Err(Failure::Usage(
            "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list"
                .to_owned(),
        ));
    };
    if !parsed.has("bootstrap-server") {
        let message = "Please specify either --bootstrap-server or --bootstrap-controller";
        return Err(Failure::Usage(message.to_owned()));
    }
    let (needed, taken) = action.options();
    require(parsed, needed)?;
    let always = [action.name(), "bootstrap-server", "command-config"];
    let is_taken = |name: &str| needed.contains(&name) || taken.contains(&name) || always.contains(&name);
    let other =
        TOOL.options.iter().map(|option| option.name).find(|name| parsed.has(name) && !is_taken(name));
    match other {
        Some(name) => Err(Failure::Usage(format!(
            "Option \"[{name}]\" can't be used with action \"[{}]\"",
            action.name()
        ))),
        None => Ok(action),
    }
}

/// What Kafka's tool ends with when something is wrong; the stack trace below it is Java's.
fn error(message: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("Error: {message}\n"))
}

/// What a cluster refuses, as Kafka's tool shows it: by the name of the exception.
fn failed(refusal: ClientError) -> Failure {
    match refusal.code() {
        Some(code) => error(format!("{}: {refusal}", exception(code))),
        None => error(refusal),
    }
}

fn unknown(message: impl std::fmt::Display) -> Failure {
    error(format!("{}: {message}", exception(ErrorCode::UnknownTopicOrPartition)))
}

/// The name of Kafka's exception for an error: its code's in another spelling.
fn exception(code: ErrorCode) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    let words: String = code.name().split('_').map(word).collect();
    format!("org.apache.kafka.common.errors.{words}Exception")
}

/// Partitions as the tool writes them.
fn names<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> String {
    partitions.map(TopicPartition::to_string).collect::<Vec<_>>().join(",")
}

/// Brokers as the tool writes them.
fn ids(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

/// An "s" for more than one, and for none.
fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

async fn list(admin: &Admin) -> Result<(), Failure> {
    let ongoing = admin.list_reassignments().await.map_err(failed)?;
    if ongoing.is_empty() {
        output::line("No partition reassignments found.");
        return Ok(());
    }
    output::line("Current partition reassignments:");
    for (at, reassignment) in &ongoing {
        let part = |name: &str, nodes: &[NodeId]| {
            if nodes.is_empty() { String::new() } else { format!(" {name}: {}.", ids(nodes)) }
        };
        output::line(format_args!(
            "{at}: replicas: {}.{}{}",
            ids(&reassignment.replicas),
            part("adding", &reassignment.adding),
            part("removing", &reassignment.removing)
        ));
    }
    Ok(())
}

/// The replicas that partitions have; fails when a topic is not there.
async fn replicas(
    admin: &Admin,
    topics: &[String],
) -> Result<BTreeMap<TopicPartition, Vec<NodeId>>, Failure> {
    let described = admin.describe_topics(topics).await.map_err(failed)?;
    if let Some(missing) = topics.iter().find(|name| described.iter().all(|topic| topic.name != **name)) {
        return Err(unknown(format_args!("Topic {missing} not found.")));
    }
    let mut found = BTreeMap::new();
    for topic in described {
        for (index, partition) in topic.partitions {
            found.insert(TopicPartition::new(&topic.name, index), partition.replicas);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_name_of_kafkas_exception() {
        let name = exception(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(name, "org.apache.kafka.common.errors.UnknownTopicOrPartitionException");
    }
}
