//! `--reset-offsets`: where a group is to go on.

use super::plan_file::{self, Plan};
use super::{Trouble, complain, scope, selected, text, time};
use crate::output;
use crate::tools::java_map::{in_hash_order, partitions_in_hash_order};
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::places::Places;
use ottla_client::consumer::offsets::{EARLIEST, LATEST};
use ottla_types::{Offset, Timestamp, TopicPartition};
use std::collections::BTreeMap;

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scenario {
    Offset(i64),
    Earliest,
    Latest,
    Current,
    ShiftBy(i64),
    /// At the first record that is not older.
    Time(Timestamp),
    /// At the offsets of a file, by group.
    File(BTreeMap<String, Plan>),
}

fn scenario(parsed: &Parsed) -> Result<Scenario, Trouble> {
    if let Some(offset) = parsed.number("to-offset")? {
        return Ok(Scenario::Offset(offset));
    }
    if let Some(by) = parsed.number("shift-by")? {
        return Ok(Scenario::ShiftBy(by));
    }
    if let Some(text) = parsed.value("to-datetime") {
        let unreadable = |why| Trouble::Exception(format!("java.text.ParseException: {why}"));
        return time::date_time(text).map(Scenario::Time).map_err(unreadable);
    }
    if let Some(text) = parsed.value("by-duration") {
        let length = time::duration_ms(text).map_err(Trouble::Exception)?;
        return Ok(Scenario::Time(Timestamp(ottla_net::clock::wall().0.saturating_sub(length))));
    }
    if let Some(path) = parsed.value("from-file") {
        let mut groups = parsed.values("group");
        let only_group = groups.next().filter(|_| groups.next().is_none());
        return plan_file::read(path, only_group).map(Scenario::File);
    }
    match (parsed.has("to-earliest"), parsed.has("to-latest"), parsed.has("to-current")) {
        (true, _, _) => Ok(Scenario::Earliest),
        (_, true, _) => Ok(Scenario::Latest),
        (_, _, true) => Ok(Scenario::Current),
        _ => Err(Trouble::Usage(
            "Option '[reset-offsets]' requires one of the following scenarios: [[to-earliest], [to-current], \
             [to-latest], [by-duration], [to-datetime], [from-file], [shift-by], [to-offset]]"
                .to_owned(),
        )),
    }
}

pub(super) async fn reset_offsets(parsed: &Parsed, admin: &Admin) -> Result<(), Trouble> {
    let mut scenario = None;
    let mut planned: BTreeMap<String, Plan> = BTreeMap::new();
    for id in in_hash_order(selected(parsed, admin).await?, |id| id) {
        let state = admin.describe_group(&id).await;
        let state = match state {
            Ok(group) => group.state,
            // It need not exist: this is how it begins.
            Err(error) if error.code() == Some(ottla_protocol::ErrorCode::GroupIdNotFound) => {
                "Dead".to_owned()
            }
            Err(error) => {
                let exception = super::exception(&error);
                return Err(Trouble::Exception(format!(
                    "java.util.concurrent.ExecutionException: {exception}"
                )));
            }
        };
        if state != "Empty" && state != "Dead" {
            complain(format_args!(
                "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
            ));
            planned.insert(id, Plan::new());
            continue;
        }
        let partitions = partitions(parsed, admin, &id).await?;
        // Kafka's tool complains of the scope, and of groups that are not inactive, before it looks at the scenario.
        let scenario = match &scenario {
            Some(known) => known,
            None => scenario.insert(self::scenario(parsed)?),
        };
        let plan = plan(scenario, admin, &id, partitions).await?;
        if parsed.has("execute") && !plan.is_empty() {
            let offsets = plan.iter().map(|(at, &offset)| (at.clone(), Offset(offset))).collect();
            admin.alter_offsets(&id, &offsets).await?;
        }
        planned.insert(id, plan);
    }
    show(parsed, planned);
    Ok(())
}

fn show(parsed: &Parsed, planned: BTreeMap<String, Plan>) {
    let groups = in_hash_order(planned.into_iter().collect(), |(id, _)| id);
    let ordered = groups.into_iter().map(|(id, plan)| {
        let plan: Vec<(TopicPartition, i64)> = plan.into_iter().collect();
        (id, partitions_in_hash_order(plan, |(at, _)| at))
    });
    let ordered: Vec<(String, Vec<(TopicPartition, i64)>)> = ordered.collect();
    if !parsed.has("export") {
        output::text(&text::reset(&ordered));
        return;
    }
    let is_one = parsed.values("group").count() == 1;
    let lines = ordered.iter().map(|(id, plan)| {
        let group = (!is_one).then_some(id.as_str());
        plan_file::write(group, plan.iter().map(|(at, offset)| (at, *offset)))
    });
    output::line(lines.collect::<String>());
}

/// The partitions that the command line selects; none where a file does.
async fn partitions(parsed: &Parsed, admin: &Admin, group: &str) -> Result<Vec<TopicPartition>, Trouble> {
    if parsed.has("all-topics") {
        Ok(admin.committed_offsets(group).await?.into_keys().collect())
    } else if parsed.has("topic") {
        scope::partitions(&scope::scopes(parsed)?, admin).await
    } else if parsed.has("from-file") {
        Ok(Vec::new())
    } else {
        let message = "One of the reset scopes should be defined: --all-topics, --topic.";
        Err(Trouble::Usage(message.to_owned()))
    }
}

/// The offsets at which the group is to go on.
async fn plan(
    scenario: &Scenario,
    admin: &Admin,
    group: &str,
    partitions: Vec<TopicPartition>,
) -> Result<Plan, Trouble> {
    match scenario {
        Scenario::Offset(offset) => {
            in_range(admin, partitions.into_iter().map(|at| (at, *offset)).collect()).await
        }
        Scenario::Earliest => at_time(admin, &partitions, EARLIEST).await,
        Scenario::Latest => at_time(admin, &partitions, LATEST).await,
        Scenario::Time(time) => since(admin, partitions, *time).await,
        Scenario::Current => current(admin, group, partitions).await,
        Scenario::ShiftBy(by) => shifted(admin, group, partitions, *by).await,
        Scenario::File(plans) => match plans.get(group) {
            Some(plan) => in_range(admin, plan.clone()).await,
            None => {
                complain(format_args!("No reset plan for group {group} found"));
                Ok(Plan::new())
            }
        },
    }
}

/// The offsets that the partitions have for [`EARLIEST`] or [`LATEST`].
async fn at_time(admin: &Admin, partitions: &[TopicPartition], time: Timestamp) -> Result<Plan, Trouble> {
    scope::check_exist(partitions, admin).await?;
    Ok(plan_of(admin.places_at(partitions, time).await?))
}

fn plan_of(places: Places) -> Plan {
    places.into_iter().map(|(at, offset)| (at, offset.0)).collect()
}

/// The first records that are not older; where there is none, the end.
async fn since(admin: &Admin, partitions: Vec<TopicPartition>, time: Timestamp) -> Result<Plan, Trouble> {
    scope::check_exist(&partitions, admin).await?;
    let (places, late) = admin.places_since(&partitions, time).await?;
    for at in partitions_in_hash_order(late, |at| at) {
        output::line(format_args!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            at.partition, at.topic
        ));
    }
    Ok(plan_of(places))
}

/// Where the group is; partitions in which it never was have no entry.
async fn committed(admin: &Admin, group: &str) -> Result<Plan, Trouble> {
    let committed = admin.committed_offsets(group).await?;
    let offsets = committed.into_iter().map(|(at, committed)| (at, committed.offset.0));
    Ok(offsets.filter(|&(_, offset)| offset >= 0).collect())
}

/// Where the group is; where it never was, the end.
async fn current(admin: &Admin, group: &str, partitions: Vec<TopicPartition>) -> Result<Plan, Trouble> {
    let committed = committed(admin, group).await?;
    let mut plan = Plan::new();
    let mut new = Vec::new();
    for at in partitions {
        match committed.get(&at) {
            Some(&offset) => _ = plan.insert(at, offset),
            None => new.push(at),
        }
    }
    plan.append(&mut at_time(admin, &new, LATEST).await?);
    Ok(plan)
}

async fn shifted(
    admin: &Admin,
    group: &str,
    partitions: Vec<TopicPartition>,
    by: i64,
) -> Result<Plan, Trouble> {
    let committed = committed(admin, group).await?;
    let shifted = |at: TopicPartition| match committed.get(&at) {
        Some(current) => Ok((at, current.saturating_add(by))),
        None => Err(Trouble::Usage(format!(
            "Cannot shift offset for partition {at} since there is no current committed offset"
        ))),
    };
    let wanted = partitions.into_iter().map(shifted).collect::<Result<Plan, Trouble>>()?;
    in_range(admin, wanted).await
}

/// The offsets, but within what the logs have.
async fn in_range(admin: &Admin, wanted: Plan) -> Result<Plan, Trouble> {
    scope::check_exist(wanted.keys(), admin).await?;
    let wanted = wanted.into_iter().map(|(at, offset)| (at, Offset(offset))).collect();
    Ok(plan_of(admin.places_within(wanted).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::groups::TOOL;
    use crate::tools::options;

    #[test]
    fn an_option_says_where_to_go_on() {
        let read = |line: &str| scenario(&options::parse_line(&TOOL, line).unwrap());

        assert_eq!(read("--to-offset 5").unwrap(), Scenario::Offset(5));
        assert_eq!(read("--shift-by -5").unwrap(), Scenario::ShiftBy(-5));
        assert_eq!(read("--to-current").unwrap(), Scenario::Current);
        assert_eq!(read("--to-datetime 1970-01-01T00:00:01.0").unwrap(), Scenario::Time(Timestamp(1000)));
        for line in ["", "--to-datetime now", "--by-duration 1h", "--from-file no-such-file", "--to-offset x"]
        {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
