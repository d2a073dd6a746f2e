//! `--execute` and `--cancel`: moves begun, and taken back.

use super::plan::{self, Plan};
use super::{Failure, directories, error, failed, names, plural, replicas, throttles, unknown};
use crate::output;
use crate::tools::options::Parsed;
use ottla_client::{Admin, ClientError};
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ALREADY: &str = "Cannot execute because there is an existing partition assignment.  Use --additional to \
     override this and create a new partition assignment in addition to the existing one. The --additional flag \
     can also be used to change the throttle by resubmitting the current reassignment.";

/// How long to wait until replicas can be put into directories, unless the command line says it.
const TIMEOUT_MS: i64 = 10_000;

pub(super) async fn execute(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let timeout = timeout(parsed)?;
    let rates = throttles::Rates::read(parsed)?;
    let plan = Plan::read(&plan::text(parsed.value("reassignment-json-file").unwrap_or_default())?)?;
    plan.check()?;
    let ongoing = admin.list_reassignments().await.map_err(failed)?;
    if !ongoing.is_empty() && !parsed.has("additional") {
        return Err(Failure::Failed(ALREADY.to_owned()));
    }
    let known = admin.describe_cluster().await.map_err(failed)?.brokers;
    let asked: BTreeSet<NodeId> =
        plan.partitions.iter().flat_map(|(_, replicas)| replicas.iter().copied()).collect();
    if let Some(node) = asked.difference(&known).next() {
        return Err(error(format_args!("Unknown broker id {node}")));
    }
    let current = current(admin, &plan).await?;
    let directories = directories::of(admin, &current).await?;
    output::line(format_args!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option \
         during rollback",
        plan::write(&current, |node, at| directories.get(&(node, at.clone())).cloned())
    ));
    throttles::set(admin, rates, &plan, &ongoing, &current).await?;
    let targets: BTreeMap<TopicPartition, Option<Vec<NodeId>>> =
        plan.partitions.iter().map(|(at, replicas)| (at.clone(), Some(replicas.clone()))).collect();
    let may_change_factor = !parsed.has("disallow-replication-factor-change");
    let refused = admin.reassign(&targets, may_change_factor).await.map_err(failed)?;
    if !refused.is_empty() {
        return Err(Failure::Failed(format!("Error reassigning partition(s):\n{}", reasons(&refused))));
    }
    let count = targets.len();
    output::line(format_args!(
        "Successfully started partition reassignment{} for {}",
        plural(count),
        names(targets.keys())
    ));
    directories::move_to(admin, plan.directories, timeout).await
}

pub(super) async fn cancel(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let timeout = timeout(parsed)?;
    let plan = Plan::read(&plan::text(parsed.value("reassignment-json-file").unwrap_or_default())?)?;
    let ongoing = admin.list_reassignments().await.map_err(failed)?;
    let partitions = plan.partitions.iter().map(|(at, _)| at);
    let active: BTreeMap<TopicPartition, Option<Vec<NodeId>>> =
        partitions.filter(|at| ongoing.contains_key(at)).map(|at| (at.clone(), None)).collect();
    if active.is_empty() {
        output::line("None of the specified partition reassignments are active.");
    } else {
        let refused = admin.reassign(&active, true).await.map_err(failed)?;
        if !refused.is_empty() {
            return Err(Failure::Failed(format!(
                "Error cancelling partition reassignment{} for:\n{}",
                plural(refused.len()),
                reasons(&refused)
            )));
        }
        output::line(format_args!(
            "Successfully cancelled partition reassignment{} for: {}",
            plural(active.len()),
            names(active.keys())
        ));
    }
    let moving = directories::moving(admin, &plan.directories).await?;
    if moving.is_empty() {
        // Kafka's tool does not end the line.
        output::text("None of the specified partition moves are active.");
    } else {
        directories::move_to(admin, moving, timeout).await?;
    }
    if !parsed.has("preserve-throttles") {
        throttles::clear(admin, &plan).await?;
    }
    Ok(())
}

fn timeout(parsed: &Parsed) -> Result<Duration, Failure> {
    let millis = parsed.number::<i64>("timeout")?.unwrap_or(TIMEOUT_MS);
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// The replicas that the partitions of the plan have now; fails when one is not there.
async fn current(admin: &Admin, plan: &Plan) -> Result<BTreeMap<TopicPartition, Vec<NodeId>>, Failure> {
    let mut found = replicas(admin, &plan.topics()).await?;
    let planned: BTreeSet<&TopicPartition> = plan.partitions.iter().map(|(at, _)| at).collect();
    found.retain(|at, _| planned.contains(at));
    let missing: Vec<String> =
        planned.into_iter().filter(|at| !found.contains_key(at)).map(TopicPartition::to_string).collect();
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(unknown(format_args!("Unable to find partition: {}", missing.join(", "))))
    }
}

fn reasons(refused: &BTreeMap<TopicPartition, ClientError>) -> String {
    refused.iter().map(|(at, error)| format!("{at}: {error}")).collect::<Vec<_>>().join("\n")
}
