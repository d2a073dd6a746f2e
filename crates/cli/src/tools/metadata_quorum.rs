//! `kafka-metadata-quorum`: the controllers' quorum described, and its voters changed (`MetadataQuorumCommand`).

use super::options::{Parsed, Tool, flag, value};
use super::{Failure, connect};
use crate::output;
use ottla_client::admin::cluster::QuorumDescription;
use ottla_client::{ClientError, Quorum};
use ottla_net::Clock;
use ottla_protocol::messages::describe_quorum_response::{Node, ReplicaState};
use ottla_types::Timestamp;
use std::fmt::Write as _;

mod voters;

pub(super) const TOOL: Tool = Tool {
    name: "kafka-metadata-quorum",
    purpose: "This tool describes kraft metadata quorum status.",
    short_purpose: None,
    commands: &["describe", "add-controller", "remove-controller"],
    options: &[
        value("bootstrap-controller", "server", "The controllers to begin with, as host:port,..."),
        value("bootstrap-server", "server", "The brokers to begin with, as host:port,..."),
        value("command-config", "file", "A client's properties; of add-controller, the new controller's."),
        value("controller-directory-id", "id", "The metadata directory of the controller to remove.").or('d'),
        value("controller-id", "id", "The controller to remove.").or('i'),
        flag("dry-run", "Only says what would be done."),
        flag("human-readable", "Shows times in words.").or('h'),
        flag("replication", "Describes each replica.").or('r'),
        flag("status", "Describes the quorum in short.").or('s'),
    ],
};

pub(super) fn run(parsed: &Parsed) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    let Some(command) = parsed.command else {
        return usage("the commands are describe, add-controller and remove-controller");
    };
    if parsed.has("bootstrap-server") == parsed.has("bootstrap-controller") {
        return usage("one of --bootstrap-server --bootstrap-controller is required");
    }
    check_options(parsed, command)?;
    match command {
        "add-controller" => return voters::add(parsed),
        "remove-controller" => return voters::remove(parsed),
        _ => {}
    }
    let (status, replication) = (parsed.has("status"), parsed.has("replication"));
    if status && replication {
        return Err(Failure::Refused(
            "Only one of --status or --replication should be specified with describe sub-command".to_owned(),
        ));
    }
    if !status && !replication {
        return Err(Failure::Refused(
            "One of --status or --replication must be specified with describe sub-command".to_owned(),
        ));
    }
    if status && parsed.has("human-readable") {
        return Err(Failure::Refused(
            "The option --human-readable is only supported along with --replication".to_owned(),
        ));
    }
    let (cluster_id, quorum) = connect::block_on(ask(parsed))?;
    if status {
        output::text(&describe_status(&cluster_id, &quorum));
    } else {
        let now = parsed.has("human-readable").then(|| Clock::new().now().wall);
        output::text(&describe_replication(&quorum, now));
    }
    Ok(())
}

/// Options of one command mean nothing to another.
fn check_options(parsed: &Parsed, command: &str) -> Result<(), Failure> {
    only_if_given(parsed, &["status", "replication", "human-readable"], command, &["describe"])?;
    only_if_given(parsed, &["dry-run"], command, &["add-controller", "remove-controller"])?;
    only_if_given(parsed, &["controller-id", "controller-directory-id"], command, &["remove-controller"])
}

fn only_if_given(parsed: &Parsed, names: &[&str], command: &str, of: &[&str]) -> Result<(), Failure> {
    match names.iter().find(|name| parsed.has(name) && !of.contains(&command)) {
        Some(name) => Err(Failure::Usage(format!("--{name} means nothing to {command}"))),
        None => Ok(()),
    }
}

async fn ask(parsed: &Parsed) -> Result<(String, QuorumDescription), Failure> {
    let refused = |error: ClientError| Failure::Refused(format!("Error: {error}"));
    if let Some(addresses) = parsed.value("bootstrap-controller") {
        let config = connect::config(addresses, parsed.value("command-config"), TOOL.name)?;
        let mut quorum = Quorum::new(config);
        let cluster_id = quorum.cluster_id().await.map_err(refused)?;
        return Ok((cluster_id, quorum.describe().await.map_err(refused)?));
    }
    let admin = connect::admin(parsed, TOOL.name)?;
    let cluster = admin.describe_cluster().await.map_err(refused)?;
    Ok((cluster.cluster_id, admin.describe_quorum().await.map_err(refused)?))
}

fn describe_status(cluster_id: &str, quorum: &QuorumDescription) -> String {
    let partition = &quorum.partition;
    let leader = partition.current_voters.iter().find(|voter| voter.replica_id == partition.leader_id);
    let others = partition.current_voters.iter().filter(|voter| voter.replica_id != partition.leader_id);
    let slowest = others.min_by_key(|voter| voter.log_end_offset);
    // A single voter has nobody who lags.
    let (lag, lag_ms) = match (leader, slowest) {
        (Some(leader), Some(slowest)) => {
            let lag = leader.log_end_offset - slowest.log_end_offset;
            let time = match (lag, slowest.last_caught_up_timestamp) {
                (0, _) => 0,
                (_, -1) => -1,
                (_, caught_up) => leader.last_caught_up_timestamp - caught_up,
            };
            (lag, time)
        }
        _ => (0, 0),
    };
    let voters = list(&partition.current_voters, &quorum.nodes);
    let observers = list(&partition.observers, &[]);
    let rows: [(&str, &dyn std::fmt::Display); 8] = [
        ("ClusterId:", &cluster_id),
        ("LeaderId:", &partition.leader_id),
        ("LeaderEpoch:", &partition.leader_epoch),
        ("HighWatermark:", &partition.high_watermark),
        ("MaxFollowerLag:", &lag),
        ("MaxFollowerLagTimeMs:", &lag_ms),
        ("CurrentVoters:", &voters),
        ("CurrentObservers:", &observers),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name:<24}{value}").expect("a String takes everything");
    }
    text
}

/// Replicas as JSON; the endpoints of those that have any.
fn list(replicas: &[ReplicaState], nodes: &[Node]) -> String {
    let one = |replica: &ReplicaState| {
        let mut text = format!("{{\"id\": {}", replica.replica_id);
        // A voter by configuration alone has no directory.
        if !replica.replica_directory_id.is_zero() {
            text += &format!(", \"directoryId\": \"{}\"", replica.replica_directory_id);
        }
        if let Some(node) = nodes.iter().find(|node| node.node_id == replica.replica_id) {
            let endpoints = node.listeners.iter().map(|l| format!("\"{}://{}:{}\"", l.name, l.host, l.port));
            text += &format!(", \"endpoints\": [{}]", endpoints.collect::<Vec<_>>().join(", "));
        }
        text + "}"
    };
    format!("[{}]", replicas.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The table of replicas; times in words if the present is given.
fn describe_replication(quorum: &QuorumDescription, now: Option<Timestamp>) -> String {
    let partition = &quorum.partition;
    let leader_end = partition
        .current_voters
        .iter()
        .find(|voter| voter.replica_id == partition.leader_id)
        .map_or(-1, |leader| leader.log_end_offset);
    let time = |time: i64| match now {
        Some(now) if time >= 0 => format!("{} ms ago", now.0 - time),
        Some(_) => "unknown".to_owned(),
        None => time.to_string(),
    };
    let row = |replica: &ReplicaState, status: &str| {
        [
            replica.replica_id.to_string(),
            replica.replica_directory_id.to_string(),
            replica.log_end_offset.to_string(),
            (leader_end - replica.log_end_offset).to_string(),
            time(replica.last_fetch_timestamp),
            time(replica.last_caught_up_timestamp),
            status.to_owned(),
        ]
    };
    let (leaders, followers): (Vec<_>, Vec<_>) =
        partition.current_voters.iter().partition(|voter| voter.replica_id == partition.leader_id);
    let header = [
        "NodeId",
        "DirectoryId",
        "LogEndOffset",
        "Lag",
        "LastFetchTimestamp",
        "LastCaughtUpTimestamp",
        "Status",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(leaders.iter().map(|replica| row(replica, "Leader")));
    rows.extend(followers.iter().map(|replica| row(replica, "Follower")));
    rows.extend(partition.observers.iter().map(|replica| row(replica, "Observer")));
    table(&rows)
}

/// Columns as wide as their longest cell, each followed by a tab.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            write!(text, "{cell:<width$}\t").expect("a String takes everything");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::describe_quorum_response::{Listener, PartitionData};
    use ottla_types::Uuid;

    fn quorum() -> QuorumDescription {
        let replica = |replica_id, log_end_offset, caught_up| ReplicaState {
            replica_id,
            replica_directory_id: Uuid::from_u128(100),
            log_end_offset,
            last_fetch_timestamp: caught_up,
            last_caught_up_timestamp: caught_up,
        };
        QuorumDescription {
            partition: PartitionData {
                leader_id: 2,
                leader_epoch: 5,
                high_watermark: 80,
                current_voters: vec![replica(1, 75, 900), replica(2, 80, 1000)],
                observers: vec![replica(4, 80, 1000)],
                ..Default::default()
            },
            nodes: vec![Node {
                node_id: 1,
                listeners: vec![Listener { name: "CONTROLLER".into(), host: "h".into(), port: 9093 }],
            }],
        }
    }

    #[test]
    fn the_status_is_kafkas() {
        assert_eq!(
            describe_status("c", &quorum()),
            "ClusterId:              c\n\
             LeaderId:               2\n\
             LeaderEpoch:            5\n\
             HighWatermark:          80\n\
             MaxFollowerLag:         5\n\
             MaxFollowerLagTimeMs:   100\n\
             CurrentVoters:          [{\"id\": 1, \"directoryId\": \"AAAAAAAAAAAAAAAAAAAAZA\", \"endpoints\": [\"CONTROLLER://h:9093\"]}, {\"id\": 2, \"directoryId\": \"AAAAAAAAAAAAAAAAAAAAZA\"}]\n\
             CurrentObservers:       [{\"id\": 4, \"directoryId\": \"AAAAAAAAAAAAAAAAAAAAZA\"}]\n"
        );
    }

    #[test]
    fn the_leader_comes_first_in_the_table() {
        let text = describe_replication(&quorum(), None);
        let lines: Vec<&str> = text.lines().collect();

        assert_eq!(
            lines[0],
            "NodeId\tDirectoryId           \tLogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus  \t"
        );
        assert!(lines[1].starts_with("2     \t") && lines[1].ends_with("Leader  \t"));
        assert!(lines[2].starts_with("1     \t") && lines[2].ends_with("Follower\t"));
        assert!(lines[3].starts_with("4     \t") && lines[3].ends_with("Observer\t"));
    }
}
