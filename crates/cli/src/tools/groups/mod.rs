//! `kafka-consumer-groups`: groups listed, described, deleted, and moved to other offsets
//! (`ConsumerGroupCommand`).
//!
//! Reading order: [`text`], [`reset`].

mod reset;
mod text;

use super::options::{Argument, Opt, Parsed, Tool, flag, refused, require, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::admin::groups::{GroupDescription, MemberDescription};
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{LATEST, list_offsets};
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use text::{OffsetRow, StateRow};

pub(super) const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    purpose: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
    commands: &[],
    options: &[
        flag("all-groups", "Means every group."),
        flag("all-topics", "Means every topic of which the group has committed offsets."),
        value("bootstrap-server", "server", "REQUIRED: the brokers to begin with, as host:port,..."),
        refused("by-duration", "use --to-offset"),
        value("command-config", "file", "A client's properties."),
        flag("delete", "Deletes groups without members."),
        flag("delete-offsets", "Deletes offsets of a group."),
        flag("describe", "Describes groups: their offsets, if nothing else is asked for."),
        flag("dry-run", "Only shows which offsets would be set. This is the default."),
        flag("execute", "Sets the offsets."),
        flag("export", "Shows offsets as comma-separated values."),
        refused("from-file", "use --to-offset"),
        value("group", "id", "The group; may be given more than once."),
        flag("list", "Lists groups."),
        flag("members", "Describes the members."),
        flag("offsets", "Describes the offsets."),
        flag("reset-offsets", "Moves a group without members to other offsets."),
        value("shift-by", "count", "Goes on so many records later, or earlier."),
        Opt {
            name: "state",
            short: None,
            argument: Argument::Optional("states"),
            help: "Describes the state; lists only groups in these states.",
        },
        value("timeout", "ms", "How long to try."),
        flag("to-current", "Goes on where the group is."),
        refused("to-datetime", "use --to-offset"),
        flag("to-earliest", "Goes on at the first record."),
        flag("to-latest", "Goes on at the end."),
        value("to-offset", "offset", "Goes on at this offset."),
        value("topic", "topic", "The topic, or topic:0,1 for partitions of it."),
        Opt {
            name: "type",
            short: None,
            argument: Argument::Optional("types"),
            help: "Lists groups with their types, or only those of these types.",
        },
        refused("validate-regex", "regular expressions of subscriptions are not served"),
        flag("verbose", "Describes more."),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    require(parsed, &["bootstrap-server"])?;
    let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
    let mut given = actions.into_iter().filter(|action| parsed.has(action));
    let (Some(action), None) = (given.next(), given.next()) else {
        return Err(Failure::Usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets.".to_owned(),
        ));
    };
    if action != "list" && parsed.has("group") == parsed.has("all-groups") {
        let message = format!("Option [{action}] takes one of these options: [all-groups], [group]");
        return Err(Failure::Usage(message));
    }
    let done = connect::block_on(async {
        let timeout = Duration::from_millis(parsed.number("timeout")?.unwrap_or(30_000));
        let addresses = parsed.value("bootstrap-server").unwrap_or_default();
        let mut config = connect::config(addresses, parsed.value("command-config"), TOOL.name)?;
        config.deadline = timeout;
        let admin = Admin::new(ottla_client::Client::new(config));
        match action {
            "list" => list(parsed, &admin).await,
            "describe" => describe(parsed, &admin).await,
            "delete" => delete(parsed, &admin).await,
            "reset-offsets" => reset_offsets(parsed, &admin).await,
            _ => delete_offsets(parsed, &admin).await,
        }
    });
    match done {
        // Kafka's tool says so and ends with exit code 0.
        Err(Failure::Failed(message)) => {
            output::text(&message);
            output::line("");
            Ok(())
        }
        other => other,
    }
}

fn refuse(message: String) -> Failure {
    Failure::Failed(format!("\nError: {message}"))
}

fn failed(error: ClientError) -> Failure {
    // Kafka's tool names the exception too.
    let exception = match (&error, error.code()) {
        (_, Some(ErrorCode::GroupIdNotFound)) => "GroupIdNotFoundException",
        (_, Some(ErrorCode::GroupAuthorizationFailed)) => "GroupAuthorizationException",
        (ClientError::TimedOut { .. }, _) => "TimeoutException",
        _ => return refuse(error.to_string()),
    };
    refuse(format!(
        "Executing consumer group command failed due to org.apache.kafka.common.errors.{exception}: {error}"
    ))
}

/// The group's ids that the command line selects.
async fn groups(parsed: &Parsed, admin: &Admin) -> Result<Vec<String>, Failure> {
    if !parsed.has("all-groups") {
        return Ok(parsed.values("group").map(str::to_owned).collect());
    }
    let all = admin.list_groups(&[], &[]).await.map_err(failed)?;
    let ids: BTreeSet<String> = all.into_iter().map(|group| group.group_id).collect();
    Ok(ids.into_iter().collect())
}

fn words(parsed: &Parsed, name: &str) -> Vec<String> {
    let words = parsed.value(name).unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

async fn list(parsed: &Parsed, admin: &Admin) -> Result<(), Failure> {
    let (states, types) = (words(parsed, "state"), words(parsed, "type"));
    let found = admin.list_groups(&states, &types).await.map_err(failed)?;
    let of_consumers =
        found.into_iter().filter(|group| matches!(group.protocol_type.as_str(), "consumer" | ""));
    if parsed.has("state") || parsed.has("type") {
        let rows: Vec<_> =
            of_consumers.map(|group| (group.group_id, group.group_type, group.group_state)).collect();
        output::text(&text::list(&rows, parsed.has("type"), parsed.has("state")));
    } else {
        of_consumers.for_each(|group| output::line(group.group_id));
    }
    Ok(())
}

async fn describe(parsed: &Parsed, admin: &Admin) -> Result<(), Failure> {
    let views = ["members", "offsets", "state"].iter().filter(|view| parsed.has(view)).count();
    if views > 1 {
        let message = "Option [describe] takes at most one of these options: [members], [offsets], [state]";
        return Err(Failure::Usage(message.to_owned()));
    }
    for id in groups(parsed, admin).await? {
        let group = admin.describe_group(&id).await.map_err(failed)?;
        if group.state == "Dead" {
            return Err(refuse(format!("Consumer group '{id}' does not exist.")));
        }
        let verbose = parsed.has("verbose");
        if parsed.has("state") {
            output::text(&text::state(&state_row(admin, &group)));
        } else if parsed.has("members") {
            warn_of_state(&group);
            output::text(&text::members(&id, &group.members, verbose));
        } else {
            warn_of_state(&group);
            let rows = offset_rows(admin, &group).await?;
            if !rows.is_empty() {
                output::text(&text::offsets(&rows, verbose));
            }
        }
    }
    Ok(())
}

fn warn_of_state(group: &GroupDescription) {
    let id = &group.group_id;
    match group.state.as_str() {
        "Empty" => output::error_line(format_args!("\nConsumer group '{id}' has no active members.")),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output::error_line(format_args!("\nWarning: Consumer group '{id}' is rebalancing."));
        }
        _ => {}
    }
}

fn state_row(admin: &Admin, group: &GroupDescription) -> StateRow {
    let metadata = admin.client().metadata();
    let address = metadata.brokers.get(&group.coordinator).map(|broker| broker.address.to_string());
    StateRow {
        group: group.group_id.clone(),
        coordinator: format!("{}  ({})", address.unwrap_or_default(), group.coordinator),
        assignor: group.assignor.clone(),
        state: group.state.clone(),
        members: group.members.len(),
    }
}

/// A row for each partition that a member has, then for each other of which an offset is committed.
async fn offset_rows(admin: &Admin, group: &GroupDescription) -> Result<Vec<OffsetRow>, Failure> {
    let committed = admin.committed_offsets(&group.group_id).await.map_err(failed)?;
    let mut owners: BTreeMap<TopicPartition, &MemberDescription> = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|at| (at.clone(), member)));
    }
    let asked = owners.keys().chain(committed.keys()).map(|at| (at.clone(), LATEST)).collect();
    let ends = list_offsets(admin.client(), &asked, Isolation::ReadUncommitted).await.map_err(failed)?;
    let row = |at: &TopicPartition, member: Option<&MemberDescription>| OffsetRow {
        group: group.group_id.clone(),
        at: Some(at.clone()),
        current: committed.get(at).map(|committed| committed.offset.0).filter(|&offset| offset >= 0),
        leader_epoch: committed.get(at).map(|committed| committed.leader_epoch.0).filter(|&epoch| epoch >= 0),
        end: ends.get(at).map(|end| end.offset.0),
        consumer_id: member.map(|member| member.member_id.clone()),
        host: member.map(|member| member.host.clone()),
        client_id: member.map(|member| member.client_id.clone()),
    };
    let mut rows = Vec::new();
    // Those with the most partitions come first.
    let mut members: Vec<&MemberDescription> = group.members.iter().collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    for member in members {
        let mut share = member.assignment.clone();
        share.sort();
        rows.extend(share.iter().map(|at| row(at, Some(member))));
        if share.is_empty() {
            rows.push(OffsetRow {
                group: group.group_id.clone(),
                consumer_id: Some(member.member_id.clone()),
                host: Some(member.host.clone()),
                client_id: Some(member.client_id.clone()),
                ..OffsetRow::default()
            });
        }
    }
    rows.extend(committed.keys().filter(|at| !owners.contains_key(*at)).map(|at| row(at, None)));
    Ok(rows)
}

async fn delete(parsed: &Parsed, admin: &Admin) -> Result<(), Failure> {
    let (mut deleted, mut refused) = (Vec::new(), Vec::new());
    for id in groups(parsed, admin).await? {
        match admin.delete_group(&id).await {
            Ok(()) => deleted.push(format!("'{id}'")),
            Err(error) => refused.push(format!("* Group '{id}' could not be deleted due to: {error}")),
        }
    }
    if refused.is_empty() {
        output::line(format_args!(
            "Deletion of requested consumer groups ({}) was successful.",
            deleted.join(", ")
        ));
        return Ok(());
    }
    output::text("\nError: Deletion of some consumer groups failed:\n");
    refused.iter().for_each(output::line);
    if !deleted.is_empty() {
        output::line(format_args!(
            "\nThese consumer groups were deleted successfully: {}",
            deleted.join(", ")
        ));
    }
    Ok(())
}

async fn reset_offsets(parsed: &Parsed, admin: &Admin) -> Result<(), Failure> {
    if parsed.has("execute") && parsed.has("dry-run") {
        let message = "Option [reset-offsets] only accepts one of [execute], [dry-run]";
        return Err(Failure::Usage(message.to_owned()));
    }
    for id in groups(parsed, admin).await? {
        let state = admin.describe_group(&id).await.map_err(failed)?.state;
        if state != "Empty" && state != "Dead" {
            return Err(refuse(format!(
                "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
            )));
        }
        let planned = reset::plan(parsed, admin, &id).await?;
        if parsed.has("execute") {
            let offsets = planned.iter().map(|(at, &offset)| (at.clone(), Offset(offset))).collect();
            admin.alter_offsets(&id, &offsets).await.map_err(failed)?;
        }
        if parsed.has("export") {
            let several = parsed.has("all-groups") || parsed.values("group").count() > 1;
            let group = if several { format!("{id},") } else { String::new() };
            for (at, offset) in &planned {
                output::line(format_args!("{group}{},{},{offset}", at.topic, at.partition));
            }
            output::line("");
        } else {
            output::text(&text::reset(&id, &planned));
        }
    }
    Ok(())
}

async fn delete_offsets(parsed: &Parsed, admin: &Admin) -> Result<(), Failure> {
    let partitions = reset::selected(parsed, admin).await?;
    for id in groups(parsed, admin).await? {
        let outcome = admin.delete_offsets(&id, &partitions).await.map_err(failed)?;
        output::line(format_args!("Request succeeded for deleting offsets from group {id}."));
        let width = outcome.keys().map(|at| at.topic.len()).max().unwrap_or(0).max(15);
        let mut table = format!("\n{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS");
        for (at, code) in &outcome {
            let status =
                if code.is_error() { format!("Error: {}", code.message()) } else { "Successful".to_owned() };
            table += &format!("\n{:<width$} {:<10} {status:<15}", at.topic, at.partition);
        }
        output::line(table);
    }
    Ok(())
}
