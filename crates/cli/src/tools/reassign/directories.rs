//! In which directories replicas are, and are to be.

use super::{Failure, error, failed, plural};
use crate::output;
use ottla_client::Admin;
use ottla_client::admin::reassignments::{ReplicaAt, ReplicaDirectories};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait until a replica may have come that is to be put into a directory.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the replicas of partitions are, of those brokers that live.
pub(super) async fn of(
    admin: &Admin,
    partitions: &BTreeMap<TopicPartition, Vec<NodeId>>,
) -> Result<BTreeMap<ReplicaAt, String>, Failure> {
    let holders: BTreeSet<NodeId> = partitions.values().flatten().copied().collect();
    let all = described(admin, &holders).await?;
    Ok(all.into_iter().filter_map(|(at, directories)| Some((at, directories.current?))).collect())
}

async fn described(
    admin: &Admin,
    holders: &BTreeSet<NodeId>,
) -> Result<BTreeMap<ReplicaAt, ReplicaDirectories>, Failure> {
    if holders.is_empty() {
        return Ok(BTreeMap::new());
    }
    let alive = admin.describe_cluster().await.map_err(failed)?.brokers;
    let asked: Vec<NodeId> = holders.intersection(&alive).copied().collect();
    admin.replica_directories(&asked).await.map_err(failed)
}

/// Those of the replicas that are being moved between directories now, and where they are until then.
pub(super) async fn moving(
    admin: &Admin,
    targets: &BTreeMap<ReplicaAt, String>,
) -> Result<BTreeMap<ReplicaAt, String>, Failure> {
    let found = described(admin, &targets.keys().map(|(node, _)| *node).collect()).await?;
    let moving = found.into_iter().filter(|(at, _)| targets.contains_key(at));
    Ok(moving
        .filter_map(|(at, known)| known.future.and(known.current).map(|current| (at, current)))
        .collect())
}

/// How far the replicas are on their way into these directories: lines, and whether one is under way.
pub(super) async fn states(
    admin: &Admin,
    targets: &BTreeMap<ReplicaAt, String>,
) -> Result<(String, bool), Failure> {
    let found = described(admin, &targets.keys().map(|(node, _)| *node).collect()).await?;
    let mut is_moving = false;
    let lines: Vec<String> = targets
        .iter()
        .map(|(at, target)| {
            let known = found.get(at);
            is_moving |= known.is_some_and(|known| known.future.is_some());
            state(at, target, known)
        })
        .collect();
    Ok((lines.join("\n"), is_moving))
}

fn state((node, at): &ReplicaAt, target: &str, known: Option<&ReplicaDirectories>) -> String {
    let known = known.map(|known| (known.current.as_deref(), known.future.as_deref()));
    match known {
        None | Some((None, _)) => format!(
            "Partition {at} is not found in any live log dir on broker {node}. There is likely an offline log \
             directory on the broker."
        ),
        Some((_, Some(future))) if future == target => {
            format!("Reassignment of replica {at}-{node} is still in progress.")
        }
        Some((_, Some(future))) => {
            format!("Partition {at} on broker {node} is being moved to log dir {future} instead of {target}.")
        }
        Some((Some(current), None)) if current == target => {
            format!("Reassignment of replica {at}-{node} completed successfully.")
        }
        Some((Some(current), None)) => {
            format!("Partition {at} on broker {node} is not being moved from log dir {current} to {target}.")
        }
    }
}

/// Puts replicas into directories, as soon as they are there.
pub(super) async fn move_to(
    admin: &Admin,
    mut pending: BTreeMap<ReplicaAt, String>,
    timeout: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    while !pending.is_empty() {
        let mut started = Vec::new();
        for node in pending.keys().map(|(node, _)| *node).collect::<BTreeSet<_>>() {
            let moves: BTreeMap<TopicPartition, String> = pending
                .iter()
                .filter(|((of, _), _)| *of == node)
                .map(|((_, at), path)| (at.clone(), path.clone()))
                .collect();
            for (at, code) in admin.move_to_directories(node, &moves).await.map_err(failed)? {
                match code {
                    ErrorCode::None => started.push((node, at)),
                    ErrorCode::ReplicaNotAvailable => {}
                    _ => return Err(error(format_args!("Failed to alter dir for {at}-{node}"))),
                }
            }
        }
        for at in started {
            let Some(path) = pending.remove(&at) else { continue };
            let (node, TopicPartition { topic, partition }) = at;
            output::line(format_args!(
                "Successfully started moving log directory to {path} for replica {topic}-{partition} with broker \
                 {node} "
            ));
        }
        if pending.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let replicas: Vec<String> = pending.keys().map(|(node, at)| format!("{at}-{node}")).collect();
            return Err(Failure::Failed(format!(
                "Timed out before log directory move{} could be started for: {}",
                plural(replicas.len()),
                replicas.join(",")
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_where_it_is_to_be_on_its_way_or_not() {
        let at = (NodeId(2), TopicPartition::new("t", 0));
        let directories = |current: &str, future: Option<&str>| ReplicaDirectories {
            current: Some(current.to_owned()),
            future: future.map(str::to_owned),
        };
        let said = |known: Option<ReplicaDirectories>| state(&at, "/b", known.as_ref());

        assert!(said(None).contains("is not found in any live log dir on broker 2"));
        assert_eq!(
            said(Some(directories("/a", None))),
            "Partition t-0 on broker 2 is not being moved from log dir /a to /b."
        );
        let done = "Reassignment of replica t-0-2 completed successfully.";
        assert_eq!(said(Some(directories("/b", None))), done);
        let moving = "Reassignment of replica t-0-2 is still in progress.";
        assert_eq!(said(Some(directories("/a", Some("/b")))), moving);
        assert_eq!(
            said(Some(directories("/a", Some("/c")))),
            "Partition t-0 on broker 2 is being moved to log dir /c instead of /b."
        );
    }
}
