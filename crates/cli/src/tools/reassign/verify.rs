//! `--verify`: how far a plan is carried out.

use super::plan::{self, Plan};
use super::{Failure, directories, failed, ids, throttles};
use crate::output;
use crate::tools::options::Parsed;
use ottla_client::Admin;
use ottla_client::admin::topics::Reassignment;
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn verify(admin: &Admin, parsed: &Parsed) -> Result<(), Failure> {
    let plan = Plan::read(&plan::text(parsed.value("reassignment-json-file").unwrap_or_default())?)?;
    let ongoing = admin.list_reassignments().await.map_err(failed)?;
    let settled: BTreeSet<&String> =
        plan.partitions.iter().filter(|(at, _)| !ongoing.contains_key(at)).map(|(at, _)| &at.topic).collect();
    let settled: Vec<String> = settled.into_iter().cloned().collect();
    let described = admin.describe_topics(&settled).await.map_err(failed)?;
    let mut current = BTreeMap::new();
    for topic in described {
        for (index, partition) in topic.partitions {
            current.insert(TopicPartition::new(&topic.name, index), partition.replicas);
        }
    }
    output::line(states(&plan, &ongoing, &current));
    let (moves, moves_ongoing) = directories::states(admin, &plan.directories).await?;
    output::line(moves);
    if ongoing.is_empty() && !moves_ongoing && !parsed.has("preserve-throttles") {
        throttles::clear(admin, &plan).await?;
    }
    Ok(())
}

fn states(
    plan: &Plan,
    ongoing: &BTreeMap<TopicPartition, Reassignment>,
    current: &BTreeMap<TopicPartition, Vec<NodeId>>,
) -> String {
    // Of a partition that is named twice, the last counts.
    let targets: BTreeMap<&TopicPartition, &Vec<NodeId>> =
        plan.partitions.iter().map(|(at, target)| (at, target)).collect();
    let mut lines = vec!["Status of partition reassignment:".to_owned()];
    for (at, target) in targets {
        let replicas = current.get(at).map_or(&[][..], Vec::as_slice);
        lines.push(if ongoing.contains_key(at) {
            format!("Reassignment of partition {at} is still in progress.")
        } else if replicas == target.as_slice() {
            format!("Reassignment of partition {at} is completed.")
        } else {
            format!(
                "There is no active reassignment of partition {at}, but replica set is {} rather than {}.",
                ids(replicas),
                ids(target)
            )
        });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_on_its_way_there_or_elsewhere() {
        let at = |partition| TopicPartition::new("t", partition);
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let plan = Plan {
            partitions: vec![(at(2), nodes(&[3, 4])), (at(0), nodes(&[1, 2])), (at(1), nodes(&[1]))],
            ..Plan::default()
        };
        let ongoing = BTreeMap::from([(at(1), Reassignment::default())]);
        let current = BTreeMap::from([(at(0), nodes(&[1, 2])), (at(2), nodes(&[1, 2]))]);

        assert_eq!(
            states(&plan, &ongoing, &current),
            "Status of partition reassignment:\n\
             Reassignment of partition t-0 is completed.\n\
             Reassignment of partition t-1 is still in progress.\n\
             There is no active reassignment of partition t-2, but replica set is 1,2 rather than 3,4."
        );
    }
}
