//! `--describe`: where groups are, who is in them, and how they are.

use super::text::{self, OffsetRow, StateRow};
use super::{Trouble, selected};
use crate::output;
use crate::tools::options::Parsed;
use ottla_client::admin::groups::{GroupDescription, MemberDescription};
use ottla_client::consumer::Isolation;
use ottla_client::consumer::offsets::{LATEST, list_offsets};
use ottla_client::{Admin, ClientError};
use ottla_types::TopicPartition;
use std::collections::BTreeMap;

pub(super) async fn describe(parsed: &Parsed, admin: &Admin) -> Result<(), Trouble> {
    let verbose = parsed.has("verbose");
    // All is asked before anything is said: one group that does not exist is one too many.
    let mut said = Vec::new();
    for id in selected(parsed, admin).await? {
        let group = admin.describe_group(&id).await?;
        let shown = if parsed.has("state") {
            text::state(&state_row(admin, &group), verbose)
        } else if parsed.has("members") {
            text::members(&id, &group.members, verbose)
        } else {
            let rows = offset_rows(admin, &group).await?;
            if rows.is_empty() { String::new() } else { text::offsets(&rows, verbose) }
        };
        said.push((group, shown));
    }
    for (group, shown) in said {
        warn_of_state(&group);
        output::text(&shown);
    }
    Ok(())
}

fn warn_of_state(group: &GroupDescription) {
    let id = &group.group_id;
    match group.state.as_str() {
        "Dead" => super::complain(format_args!("Consumer group '{id}' does not exist.")),
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
///
/// # Errors
/// When the coordinator or a leader refuses, or does not answer in time.
pub(crate) async fn offset_rows(
    admin: &Admin,
    group: &GroupDescription,
) -> Result<Vec<OffsetRow>, ClientError> {
    let committed = admin.committed_offsets(&group.group_id).await?;
    let mut owners: BTreeMap<TopicPartition, &MemberDescription> = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|at| (at.clone(), member)));
    }
    let asked = owners.keys().chain(committed.keys()).map(|at| (at.clone(), LATEST)).collect();
    let ends = list_offsets(admin.client(), &asked, Isolation::ReadUncommitted).await?;
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
