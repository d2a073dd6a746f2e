//! `ottla group`: groups listed, described, deleted, and moved to other offsets.

use super::advice::explain;
use super::block_on;
use super::connection::Connection;
use super::place::Place;
use super::show::{Done, NONE, Shown, Table, counted, or_none};
use crate::tools::groups::describe::offset_rows;
use crate::tools::groups::scope::{Scope, scope};
use crate::tools::groups::text::OffsetRow;
use anyhow::{Context, Result, anyhow, bail, ensure};
use ottla_client::admin::groups::{GroupDescription, MemberDescription};
use ottla_client::admin::places::Places;
use ottla_client::client::Topics;
use ottla_client::{Admin, ClientError};
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, TopicPartition};
use serde_json::{Value, json};

/// Groups of consumers: which there are, how far they have come, and where they go on.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    shown: Shown,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists groups.
    List,
    /// Describes groups: their members, what each of these has, and how far behind it is.
    Describe(Names),
    /// Deletes groups without members, and the offsets that they have committed.
    Delete(Names),
    /// Sets where a group without members goes on.
    Reset(Reset),
}

#[derive(clap::Args)]
struct Names {
    /// The groups.
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("place").required(true)))]
struct Reset {
    /// The group; it need not exist yet.
    group: String,
    /// Where it goes on: earliest, latest, an offset, or a time: 2h ago is 2h, a moment in UTC "2026-11-29 20:15:02".
    #[arg(long, group = "place", value_name = "PLACE")]
    to: Option<Place>,
    /// It goes on so many records later than now; earlier, with a minus.
    #[arg(long, group = "place", value_name = "COUNT", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Only this topic, or topic:0,1 for partitions of it; all that the group has committed offsets of if not given.
    #[arg(long, value_name = "TOPIC", value_parser = scope)]
    topic: Vec<Scope>,
    /// Only shows where it would go on.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shown = arguments.shown;
    block_on(async {
        let admin = arguments.connection.admin()?;
        match &arguments.command {
            Command::List => list(&admin, shown).await,
            Command::Describe(names) => describe(&admin, &names.groups, shown).await,
            Command::Delete(names) => delete(&admin, &names.groups, shown).await,
            Command::Reset(reset) => self::reset(&admin, reset, shown).await,
        }
    })
}

async fn list(admin: &Admin, shown: Shown) -> Result<()> {
    let mut groups = admin.list_groups(&[], &[]).await.map_err(|error| explain(admin.client(), error))?;
    groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    let (mut table, mut values) = (Table::new(["GROUP", "STATE", "TYPE", "PROTOCOL"]), Vec::new());
    for group in groups {
        let given = |text: &str| Some(text.to_lowercase()).filter(|text| !text.is_empty());
        let (kind, protocol) = (given(&group.group_type), given(&group.protocol_type));
        values.push(json!({
            "group": group.group_id,
            "state": group.group_state,
            "type": kind,
            "protocol": protocol,
        }));
        table.row([group.group_id, group.group_state, or_none(kind), or_none(protocol)]);
    }
    shown.print(&Value::Array(values), &table.text(""));
    Ok(())
}

/// The group, if there is one: a coordinator may also say that one that it does not know is dead.
async fn found(admin: &Admin, name: &str) -> Result<Option<GroupDescription>> {
    match admin.describe_group(name).await {
        Ok(group) if group.state == "Dead" => Ok(None),
        Ok(group) => Ok(Some(group)),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
        Err(error) => Err(explain(admin.client(), error)),
    }
}

fn no_such_group(name: &str) -> anyhow::Error {
    anyhow!("there is no group {name}. `ottla group list` shows which there are")
}

async fn describe(admin: &Admin, names: &[String], shown: Shown) -> Result<()> {
    let (mut values, mut texts) = (Vec::new(), Vec::new());
    for name in names {
        let group = found(admin, name).await?.ok_or_else(|| no_such_group(name))?;
        let rows = offset_rows(admin, &group).await.map_err(|error| explain(admin.client(), error))?;
        values.push(described_json(&group, &rows));
        texts.push(described_text(&group, &rows));
    }
    shown.print(&Value::Array(values), &texts.join("\n"));
    Ok(())
}

/// How many records are left to read, where that is known.
fn lag(row: &OffsetRow) -> Option<i64> {
    row.end.zip(row.current).map(|(end, current)| (end - current).max(0))
}

fn described_json(group: &GroupDescription, rows: &[OffsetRow]) -> Value {
    let member = |member: &MemberDescription| {
        let mut share = member.assignment.clone();
        share.sort();
        json!({
            "member": member.member_id,
            "instance": member.group_instance_id,
            "client": member.client_id,
            "host": member.host.trim_start_matches('/'),
            "partitions": share.iter().map(|at| json!({ "topic": at.topic, "partition": at.partition })).collect::<Vec<_>>(),
        })
    };
    let offset = |row: &OffsetRow| {
        let at = row.at.as_ref()?;
        Some(json!({
            "topic": at.topic,
            "partition": at.partition,
            "committed": row.current,
            "end_offset": row.end,
            "lag": lag(row),
            "member": row.consumer_id,
        }))
    };
    json!({
        "group": group.group_id,
        "state": group.state,
        "coordinator": group.coordinator.0,
        "assignor": Some(&group.assignor).filter(|assignor| !assignor.is_empty()),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": rows.iter().filter_map(offset).collect::<Vec<_>>(),
        "lag": rows.iter().filter_map(lag).sum::<i64>(),
    })
}

fn described_text(group: &GroupDescription, rows: &[OffsetRow]) -> String {
    let behind = rows.iter().filter_map(lag).sum::<i64>();
    let mut text = format!(
        "{}  {}  {}  {}  coordinator {}\n",
        group.group_id,
        group.state,
        counted(group.members.len(), "member"),
        match behind {
            0 => "caught up".to_owned(),
            _ => format!("{} behind", counted(usize::try_from(behind).unwrap_or(usize::MAX), "record")),
        },
        group.coordinator
    );
    let mut table = Table::new(["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "CLIENT", "HOST"]);
    for row in rows {
        let (topic, partition) = match &row.at {
            Some(at) => (at.topic.clone(), at.partition.to_string()),
            None => (NONE.to_owned(), NONE.to_owned()),
        };
        table.row([
            topic,
            partition,
            or_none(row.current),
            or_none(row.end),
            or_none(lag(row)),
            or_none(row.client_id.as_ref()),
            or_none(row.host.as_ref().map(|host| host.trim_start_matches('/'))),
        ]);
    }
    if !rows.is_empty() {
        text += &table.text(" ");
    }
    text
}

async fn delete(admin: &Admin, names: &[String], shown: Shown) -> Result<()> {
    let mut done = Done::default();
    let outcome = async {
        for name in names {
            let deleted = admin.delete_group(name).await.map_err(|error| explain(admin.client(), error));
            deleted.with_context(|| format!("group {name} is not deleted"))?;
            done.add(json!({ "group": name, "deleted": true }), &format!("deleted {name}"));
        }
        Ok(())
    };
    let outcome = outcome.await;
    done.print(shown);
    outcome
}

async fn reset(admin: &Admin, reset: &Reset, shown: Shown) -> Result<()> {
    let refused = |error: ClientError| explain(admin.client(), error);
    if let Some(group) = found(admin, &reset.group).await?
        && !group.members.is_empty()
    {
        bail!(
            "group {} has {} ({}): stop them first. `ottla group describe {0}` shows them",
            reset.group,
            counted(group.members.len(), "member"),
            group.state
        );
    }
    let committed = admin.committed_offsets(&reset.group).await.map_err(refused)?;
    let committed: Places = committed
        .into_iter()
        .map(|(at, found)| (at, found.offset))
        .filter(|(_, offset)| offset.0 >= 0)
        .collect();
    let partitions = match reset.topic.as_slice() {
        [] => committed.keys().cloned().collect(),
        scopes => named(admin, scopes).await?,
    };
    ensure!(
        !partitions.is_empty(),
        "group {} has committed no offsets: name topics with --topic",
        reset.group
    );
    let places = match (reset.to, reset.shift_by) {
        (Some(place), _) => place.find(admin, &partitions).await,
        (None, by) => admin.places_within(shifted(&committed, partitions, by.unwrap_or_default())?).await,
    }
    .map_err(refused)?;
    if !reset.dry_run {
        admin.alter_offsets(&reset.group, &places).await.map_err(refused)?;
    }
    show_reset(reset, &committed, &places, shown);
    Ok(())
}

/// The partitions that `--topic` names; fails when there is no such topic or partition.
async fn named(admin: &Admin, scopes: &[Scope]) -> Result<Vec<TopicPartition>> {
    let topic_of = |scope: &Scope| match scope {
        Scope::Topic(topic) => Some(topic.clone()),
        Scope::Partitions(partitions) => partitions.first().map(|at| at.topic.clone()),
    };
    let topics: Vec<String> = scopes.iter().filter_map(topic_of).collect();
    let client = admin.client();
    let metadata = client.retry("describeTopics", || client.refresh(Topics::Named(&topics))).await;
    let metadata = metadata.map_err(|error| explain(client, error))?;
    let mut found = Vec::new();
    for (scope, topic) in scopes.iter().zip(&topics) {
        let Some(there) = metadata.topics.get(topic) else {
            bail!("there is no topic {topic}. `ottla topic list` shows which there are");
        };
        match scope {
            Scope::Topic(_) => {
                found.extend(
                    there.partitions.keys().map(|&number| TopicPartition::new(topic.clone(), number)),
                );
            }
            Scope::Partitions(partitions) => {
                if let Some(at) = partitions.iter().find(|at| !there.partitions.contains_key(&at.partition)) {
                    bail!(
                        "topic {topic} has no partition {}: it has {}",
                        at.partition,
                        counted(there.partitions.len(), "partition")
                    );
                }
                found.extend(partitions.iter().cloned());
            }
        }
    }
    Ok(found)
}

/// The committed offsets of the partitions, shifted.
fn shifted(committed: &Places, partitions: Vec<TopicPartition>, by: i64) -> Result<Places> {
    let shift = |at: TopicPartition| match committed.get(&at) {
        Some(offset) => Ok((at, Offset(offset.0.saturating_add(by)))),
        None => bail!("no offset of {at} is committed that could be shifted: say --to instead"),
    };
    partitions.into_iter().map(shift).collect()
}

fn show_reset(reset: &Reset, committed: &Places, places: &Places, shown: Shown) {
    let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO"]);
    let mut values = Vec::new();
    for (at, to) in places {
        let from = committed.get(at).map(|from| from.0);
        table.row([at.topic.clone(), at.partition.to_string(), or_none(from), to.to_string()]);
        values.push(json!({ "topic": at.topic, "partition": at.partition, "from": from, "to": to.0 }));
    }
    let value = json!({ "group": reset.group, "dry_run": reset.dry_run, "offsets": values });
    let head =
        if reset.dry_run { " would go on here; leave out --dry-run to do it" } else { " goes on here" };
    shown.print(&value, &format!("{}{head}\n{}", reset.group, table.text(" ")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::NodeId;
    use std::collections::BTreeMap;

    fn places<const N: usize>(offsets: [(&str, i32, i64); N]) -> Places {
        let place = |(topic, partition, offset)| (TopicPartition::new(topic, partition), Offset(offset));
        BTreeMap::from(offsets.map(place))
    }

    #[test]
    fn only_what_is_committed_can_be_shifted() {
        let committed = places([("t", 0, 5)]);
        let at = |partition| vec![TopicPartition::new("t", partition)];

        assert_eq!(shifted(&committed, at(0), -2).unwrap(), places([("t", 0, 3)]));
        assert!(shifted(&committed, at(1), 1).is_err());
    }

    #[test]
    fn a_group_is_described_with_how_far_behind_it_is() {
        let group = GroupDescription {
            group_id: "g".to_owned(),
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            assignor: "range".to_owned(),
            members: Vec::new(),
            coordinator: NodeId(2),
        };
        let row = OffsetRow {
            group: "g".to_owned(),
            at: Some(TopicPartition::new("t", 0)),
            current: Some(7),
            end: Some(10),
            client_id: Some("c".to_owned()),
            host: Some("/127.0.0.1".to_owned()),
            ..OffsetRow::default()
        };

        assert_eq!(
            described_text(&group, std::slice::from_ref(&row)),
            "g  Stable  0 members  3 records behind  coordinator 2\n \
             TOPIC  PARTITION  COMMITTED  END  LAG  CLIENT  HOST\n \
             t              0          7   10    3  c       127.0.0.1\n"
        );
        assert_eq!(described_json(&group, &[row])["lag"], json!(3));
    }
}
