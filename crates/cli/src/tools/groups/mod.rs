//! `kafka-consumer-groups`: groups listed, described, deleted, and moved to other offsets
//! (`ConsumerGroupCommand`).
//!
//! Reading order: [`check`], [`describe`], [`scope`], [`reset`], [`plan_file`], [`time`], [`delete`], [`text`].

mod check;
mod delete;
pub(crate) mod describe;
mod plan_file;
mod reset;
pub(crate) mod scope;
pub(crate) mod text;
pub(crate) mod time;

use super::connect::NoClient;
use super::exceptions::shown as exception;
use super::options::{Parsed, Tool, flag, optional, refused, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::{Admin, ClientError};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    purpose: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
    short_purpose: None,
    commands: &[],
    options: &[
        flag("all-groups", "Means every group."),
        flag("all-topics", "Means every topic of which the group has committed offsets."),
        value("bootstrap-server", "server", "REQUIRED: the brokers to begin with, as host:port,..."),
        value("by-duration", "duration", "Goes on at what was written so long ago: PnDTnHnMnS."),
        value("command-config", "file", "A client's properties."),
        flag("delete", "Deletes groups without members."),
        flag("delete-offsets", "Deletes offsets of a group."),
        flag("describe", "Describes groups: their offsets, if nothing else is asked for."),
        flag("dry-run", "Only shows which offsets would be set. This is the default."),
        flag("execute", "Sets the offsets."),
        flag("export", "Shows offsets as comma-separated values."),
        value("from-file", "path", "Goes on at the offsets in this file, as --export writes them."),
        value("group", "id", "The group; may be given more than once."),
        flag("list", "Lists groups."),
        flag("members", "Describes the members."),
        flag("offsets", "Describes the offsets."),
        flag("reset-offsets", "Moves a group without members to other offsets."),
        value("shift-by", "count", "Goes on so many records later, or earlier."),
        optional("state", "states", "Describes the state; lists only groups in these states."),
        value("timeout", "ms", "How long to try."),
        flag("to-current", "Goes on where the group is."),
        value(
            "to-datetime",
            "datetime",
            "Goes on at this time: YYYY-MM-DDTHH:mm:ss.sss, in UTC or with a zone.",
        ),
        flag("to-earliest", "Goes on at the first record."),
        flag("to-latest", "Goes on at the end."),
        value("to-offset", "offset", "Goes on at this offset."),
        value("topic", "topic", "The topic, or topic:0,1 for partitions of it."),
        optional("type", "types", "Lists groups with their types, or only those of these types."),
        refused("validate-regex", "regular expressions of subscriptions are not served"),
        flag("verbose", "Describes more."),
    ],
};

/// Why nothing more can be done. Kafka's tool says so and ends with exit code 0, but where its options are to blame.
#[derive(Debug)]
enum Trouble {
    /// The command line: the usage follows.
    Usage(String),
    /// What failed, as an exception would say it.
    Exception(String),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Trouble {
        Trouble::Exception(exception(&error))
    }
}

impl From<NoClient> for Trouble {
    fn from(error: NoClient) -> Trouble {
        if let Some(cause) = error.cause() {
            output::error_line(cause);
        }
        Trouble::Exception(match error {
            NoClient::File(..) => format!("java.nio.file.NoSuchFileException: {error}"),
            other => other.to_string(),
        })
    }
}

impl From<super::options::Invalid> for Trouble {
    fn from(invalid: super::options::Invalid) -> Trouble {
        Trouble::Exception(invalid.0)
    }
}

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let action = check::action(parsed)?;
    let done = connect::block_on(async {
        Ok(async {
            let limit = Duration::from_millis(parsed.number("timeout")?.unwrap_or(30_000));
            let admin = connect::admin_within(parsed, TOOL.name, limit)?;
            match action {
                "list" => list(parsed, &admin).await,
                "describe" => describe::describe(parsed, &admin).await,
                "delete" => delete::groups(parsed, &admin).await,
                "reset-offsets" => reset::reset_offsets(parsed, &admin).await,
                _ => delete::offsets(parsed, &admin).await,
            }
        }
        .await)
    })?;
    match done {
        Ok(()) => Ok(()),
        Err(Trouble::Usage(message)) => Err(Failure::Usage(message)),
        Err(Trouble::Exception(message)) => {
            complain(format_args!("Executing consumer group command failed due to {message}"));
            Ok(())
        }
    }
}

/// What went wrong, on standard output.
fn complain(message: impl std::fmt::Display) {
    output::line(format_args!("\nError: {message}"));
}

/// The groups' ids that the command line selects, sorted.
async fn selected(parsed: &Parsed, admin: &Admin) -> Result<Vec<String>, Trouble> {
    let ids: BTreeSet<String> = if parsed.has("all-groups") {
        let all = admin.list_groups(&[], &[]).await?;
        all.into_iter()
            .filter(|group| is_of_consumers(&group.protocol_type))
            .map(|group| group.group_id)
            .collect()
    } else {
        parsed.values("group").map(str::to_owned).collect()
    };
    Ok(ids.into_iter().collect())
}

/// A group that was only given offsets has no protocol yet.
fn is_of_consumers(protocol_type: &str) -> bool {
    matches!(protocol_type, "consumer" | "")
}

/// The states of consumer groups, in the order in which Kafka's tool lists them.
const STATES: &[&str] =
    &["Dead", "Reconciling", "Stable", "Assigning", "Empty", "PreparingRebalance", "CompletingRebalance"];

/// The types of consumer groups, likewise.
const TYPES: &[&str] = &["Consumer", "Classic"];

/// The words of a list that an option has for its value, as they are in `known`.
fn words(parsed: &Parsed, name: &str, list: &str, known: &[&str]) -> Result<Vec<String>, Trouble> {
    let Some(text) = parsed.value(name).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let find = |word: &str| known.iter().find(|known| known.eq_ignore_ascii_case(word.trim()));
    let words: Option<Vec<String>> =
        text.split(',').map(|word| find(word).map(|&word| word.to_owned())).collect();
    words.ok_or_else(|| {
        Trouble::Usage(format!("Invalid {list} list '{text}'. Valid {name}s are: {}", known.join(", ")))
    })
}

async fn list(parsed: &Parsed, admin: &Admin) -> Result<(), Trouble> {
    let states = words(parsed, "state", "state", STATES)?;
    let types = words(parsed, "type", "types", TYPES)?;
    let found = admin.list_groups(&states, &types).await?;
    let of_consumers = found.into_iter().filter(|group| is_of_consumers(&group.protocol_type));
    if parsed.has("state") || parsed.has("type") {
        let rows: Vec<_> = of_consumers
            .map(|group| {
                let shown = TYPES.iter().find(|name| name.eq_ignore_ascii_case(&group.group_type));
                (group.group_id, shown.map_or(group.group_type, |&name| name.to_owned()), group.group_state)
            })
            .collect();
        output::text(&text::list(&rows, parsed.has("type"), parsed.has("state")));
    } else {
        of_consumers.for_each(|group| output::line(group.group_id));
    }
    Ok(())
}
