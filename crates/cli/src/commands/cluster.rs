//! `ottla cluster`: who is in the cluster, who leads it, and whether all is well.

use super::advice::explain;
use super::block_on;
use super::connection::Connection;
use super::show::{Shown, Table, counted, or_none};
use super::topic::Health;
use anyhow::Result;
use ottla_client::admin::cluster::QuorumDescription;
use ottla_client::{Admin, ClientError, Metadata};
use ottla_net::CallError;
use ottla_types::NodeId;
use serde_json::{Value, json};

/// The cluster: its brokers and its controllers.
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
    /// Tells the cluster's id, its brokers and what they lead, and whether all is well.
    Info,
    /// Tells which controllers there are, who leads them, and how far behind the others are.
    Quorum,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    block_on(async {
        let admin = arguments.connection.admin()?;
        match arguments.command {
            Command::Info => info(&admin, arguments.shown).await,
            Command::Quorum => quorum(&admin, arguments.shown).await,
        }
    })
}

async fn info(admin: &Admin, shown: Shown) -> Result<()> {
    let refused = |error: ClientError| explain(admin.client(), error);
    admin.list_topics().await.map_err(refused)?;
    let metadata = admin.client().metadata();
    let controller = match admin.describe_quorum().await {
        Ok(quorum) => Some((NodeId(quorum.partition.leader_id), quorum.partition.leader_epoch)),
        // Other clusters may have no quorum, or keep it to themselves.
        Err(ClientError::Unreachable { source: CallError::Unsupported { .. }, .. }) => None,
        Err(error) => return Err(refused(error)),
    };
    let (value, text) = informed(&metadata, controller);
    shown.print(&value, &text);
    Ok(())
}

fn informed(metadata: &Metadata, controller: Option<(NodeId, i32)>) -> (Value, String) {
    let partitions = || metadata.topics.values().flat_map(|topic| topic.partitions.values());
    let count = partitions().count();
    let health = Health::of(partitions().map(|p| (p.leader, p.replicas.len(), p.isr.len())));
    let mut table = Table::new(["BROKER", "ADDRESS", "RACK", "LEADS", "REPLICAS", "IN-SYNC"]);
    let mut brokers = Vec::new();
    for (&id, broker) in &metadata.brokers {
        let leads = partitions().filter(|partition| partition.leader == Some(id)).count();
        let replicas = partitions().filter(|partition| partition.replicas.contains(&id)).count();
        let in_sync = partitions().filter(|partition| partition.isr.contains(&id)).count();
        table.row([
            id.to_string(),
            broker.address.to_string(),
            or_none(broker.rack.as_ref()),
            leads.to_string(),
            replicas.to_string(),
            in_sync.to_string(),
        ]);
        brokers.push(json!({
            "id": id.0,
            "address": broker.address.to_string(),
            "rack": broker.rack,
            "leads": leads,
            "replicas": replicas,
            "in_sync": in_sync,
        }));
    }
    let value = json!({
        "cluster_id": metadata.cluster_id,
        "controller": controller.map(|(leader, _)| leader.0),
        "controller_epoch": controller.map(|(_, epoch)| epoch),
        "brokers": brokers,
        "topics": metadata.topics.len(),
        "partitions": { "all": count, "offline": health.offline, "under_replicated": health.under_replicated },
    });
    let leader = match controller {
        Some((leader, epoch)) => format!("  controller {leader} (epoch {epoch})"),
        None => String::new(),
    };
    let text = format!(
        "cluster {}  {}{leader}\n{} {}, {}: {health}\n",
        metadata.cluster_id.as_deref().unwrap_or("without an id"),
        counted(metadata.brokers.len(), "broker"),
        table.text(" "),
        counted(metadata.topics.len(), "topic"),
        counted(count, "partition"),
    );
    (value, text)
}

async fn quorum(admin: &Admin, shown: Shown) -> Result<()> {
    let quorum = admin.describe_quorum().await.map_err(|error| explain(admin.client(), error))?;
    let (value, text) = described(&quorum, ottla_net::clock::wall().0);
    shown.print(&value, &text);
    Ok(())
}

fn described(quorum: &QuorumDescription, now: i64) -> (Value, String) {
    let partition = &quorum.partition;
    let replicas = partition.current_voters.iter().map(|replica| (replica, "voter"));
    let replicas = replicas.chain(partition.observers.iter().map(|replica| (replica, "observer")));
    let end = partition.current_voters.iter().find(|voter| voter.replica_id == partition.leader_id);
    let end = end.map(|leader| leader.log_end_offset);
    let mut table = Table::new(["NODE", "ROLE", "LOG END", "BEHIND", "CAUGHT UP"]);
    let mut nodes = Vec::new();
    for (replica, role) in replicas {
        let role = if replica.replica_id == partition.leader_id { "leader" } else { role };
        let log_end = Some(replica.log_end_offset).filter(|&offset| offset >= 0);
        let behind = end.zip(log_end).map(|(end, log_end)| (end - log_end).max(0));
        let caught_up = Some(replica.last_caught_up_timestamp).filter(|&time| time >= 0);
        let ago = caught_up.map(|time| format!("{} ms ago", (now - time).max(0)));
        table.row([
            replica.replica_id.to_string(),
            role.to_owned(),
            or_none(log_end),
            or_none(behind),
            or_none(ago),
        ]);
        nodes.push(json!({
            "id": replica.replica_id,
            "role": role,
            "log_end_offset": log_end,
            "behind": behind,
            "last_caught_up_ms": caught_up,
        }));
    }
    let value = json!({
        "leader": partition.leader_id,
        "epoch": partition.leader_epoch,
        "high_watermark": partition.high_watermark,
        "nodes": nodes,
    });
    let text = format!(
        "leader {}  epoch {}  high watermark {}\n{}",
        partition.leader_id,
        partition.leader_epoch,
        partition.high_watermark,
        table.text(" ")
    );
    (value, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::describe_quorum_response::{PartitionData, ReplicaState};

    #[test]
    fn the_quorum_is_told_with_how_far_each_is_behind() {
        let replica = |replica_id, log_end_offset, last_caught_up_timestamp| ReplicaState {
            replica_id,
            log_end_offset,
            last_caught_up_timestamp,
            ..Default::default()
        };
        let partition = PartitionData {
            leader_id: 2,
            leader_epoch: 7,
            high_watermark: 90,
            current_voters: vec![replica(1, 95, 400), replica(2, 100, 500)],
            observers: vec![replica(3, -1, -1)],
            ..Default::default()
        };

        let (value, text) = described(&QuorumDescription { partition, nodes: Vec::new() }, 500);

        assert_eq!(
            text,
            "leader 2  epoch 7  high watermark 90\n NODE  ROLE      LOG END  BEHIND  CAUGHT UP\n    \
             1  voter          95       5  100 ms ago\n    \
             2  leader        100       0  0 ms ago\n    \
             3  observer        -       -  -\n"
        );
        assert_eq!(value["nodes"][2]["behind"], Value::Null);
    }
}
