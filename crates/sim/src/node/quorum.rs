//! Who votes: named by the configuration, or by the log (KIP-853); and an administrator who takes voters out and adds them again.

use super::workload::Workload;
use anyhow::{Result, ensure};
use ottla_client::admin::cluster::add_voter_request;
use ottla_client::{Admin, ClientError};
use ottla_protocol::messages::RemoveRaftVoterRequest;
use ottla_protocol::messages::add_raft_voter_request::Listener;
use ottla_server::format::{FirstVoters, InitialController};
use ottla_types::{NodeId, Offset, Random, Uuid};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Where controllers listen.
pub const CONTROLLER_PORT: u16 = 9093;

/// Apart from all other chance.
const APART: u64 = 0x0076_6f74_6572;

/// What takes longer is given up: it may have been carried out, or may be.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause between two changes.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Who votes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// All nodes, by their configuration and for ever (kraft.version 0).
    Configured,
    /// All nodes: each was formatted with the same list.
    Listed,
    /// The first node; the others come later.
    Standalone,
}

/// How the quorum of a run is made, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voting {
    /// Who votes first.
    pub beginning: Beginning,
    /// Whether nodes become voters by themselves (`controller.quorum.auto.join.enable`).
    pub joins: bool,
    /// Whether an administrator takes voters out and adds them again.
    pub changes: bool,
    /// Whether a node may come back with an empty disk. Where the log names the voters it is another voter then, and what the
    /// former one had promised is not expected of it. Where the configuration does, the promise of the quorum ends there: what
    /// two of three have may be on the one that was emptied, and on one that the other does not hear of. And while the
    /// administrator has made two of the three voters, neither of them can be spared.
    pub wipes: bool,
    /// Whether there is a snapshot of the metadata log every few records, so that who comes back begins with one.
    pub snapshots: bool,
}

impl Voting {
    /// What `controller.quorum.voters` makes.
    pub const CONFIGURED: Voting = Voting {
        beginning: Beginning::Configured,
        joins: false,
        changes: false,
        wipes: false,
        snapshots: false,
    };

    /// By the seed of a run: in one of three the log names the voters.
    pub fn of(seed: u64) -> Voting {
        let mut random = Random::new(seed ^ APART);
        let snapshots = random.chance(500);
        if !random.chance(333) {
            return Voting { snapshots, ..Voting::CONFIGURED };
        }
        let beginning = if random.chance(500) { Beginning::Listed } else { Beginning::Standalone };
        let wipes = random.chance(500);
        Voting { beginning, joins: wipes || random.chance(300), changes: !wipes, wipes, snapshots }
    }

    /// What the nodes are set to, a line each.
    pub fn settings(self, names: &[String]) -> String {
        let at = |name: &String| format!("{name}:{CONTROLLER_PORT}");
        let mut text = String::new();
        match self.beginning {
            Beginning::Configured => {
                let voters =
                    names.iter().enumerate().map(|(node, name)| format!("{}@{}", node + 1, at(name)));
                let voters: Vec<String> = voters.collect();
                let _ = writeln!(text, "controller.quorum.voters={}", voters.join(","));
            }
            Beginning::Listed | Beginning::Standalone => {
                let servers: Vec<String> = names.iter().map(at).collect();
                let _ = writeln!(text, "controller.quorum.bootstrap.servers={}", servers.join(","));
            }
        }
        if self.joins {
            text.push_str("controller.quorum.auto.join.enable=true\n");
        }
        if self.snapshots {
            text.push_str(
                "metadata.log.max.record.bytes.between.snapshots=2000\nmetadata.max.retention.bytes=1\n",
            );
        }
        text
    }

    /// How each node is formatted.
    pub fn first_voters(self, names: &[String], random: &mut Random) -> Vec<FirstVoters> {
        let all = |voters: FirstVoters| names.iter().map(|_| voters.clone()).collect();
        match self.beginning {
            Beginning::Configured => all(FirstVoters::Configured),
            Beginning::Listed => {
                let listed = names.iter().enumerate().map(|(node, name)| InitialController {
                    id: id(node),
                    host: name.clone(),
                    port: CONTROLLER_PORT,
                    directory_id: random.uuid(),
                });
                all(FirstVoters::Listed(listed.collect()))
            }
            Beginning::Standalone => {
                let rest = names.iter().skip(1).map(|_| FirstVoters::Unknown);
                [FirstVoters::Standalone].into_iter().chain(rest).collect()
            }
        }
    }
}

fn id(node: usize) -> NodeId {
    NodeId(i32::try_from(node + 1).expect("a few nodes"))
}

/// Takes voters out and adds them again until all is calm. Returns how many changes were carried out for certain.
pub async fn run(workload: Workload) -> usize {
    let mut random = Random::new(workload.seed ^ APART);
    let admin = Admin::new(workload.client("quorum", random.next_u64()));
    let mut calm = workload.calm.clone();
    let mut changes = 0;
    while !*workload.calm.borrow() {
        let voter = id(random.index(workload.nodes.len()));
        let pauses = [(); 2].map(|()| random.duration(Duration::ZERO, PAUSE_MAX));
        let removed = timeout(PATIENCE, remove(&workload, &admin, voter)).await;
        tracing::info!(%voter, ?removed, "a voter is taken out");
        sleep(pauses[0]).await;
        let added = timeout(PATIENCE, add(&workload, &admin, voter)).await;
        tracing::info!(%voter, ?added, "a voter is added");
        changes += usize::from(matches!(removed, Ok(Ok(true)))) + usize::from(matches!(added, Ok(Ok(()))));
        // Two of three vote meanwhile if the second change could not be made.
        let _ = timeout(pauses[1], calm.wait_for(|calm| *calm)).await;
    }
    changes
}

/// Takes a voter out, if all nodes vote. Returns whether they did.
async fn remove(workload: &Workload, admin: &Admin, voter: NodeId) -> Result<bool, ClientError> {
    let voters = voters(admin).await?;
    let (true, Some(&voter_directory_id)) = (voters.len() == workload.nodes.len(), voters.get(&voter)) else {
        return Ok(false);
    };
    let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: voter.0, voter_directory_id };
    admin.remove_raft_voter(&request).await?;
    Ok(true)
}

/// Adds a voter. That it is one already is an error.
async fn add(workload: &Workload, admin: &Admin, voter: NodeId) -> Result<(), ClientError> {
    let node = usize::try_from(voter.0 - 1).expect("nodes are counted from one");
    let listener =
        Listener { name: "CONTROLLER".to_owned(), host: workload.nodes[node].clone(), port: CONTROLLER_PORT };
    let directory_id = workload.directory_ids[node];
    admin.add_raft_voter(&add_voter_request(None, voter, directory_id, vec![listener], PATIENCE)).await
}

/// The voters, as the quorum's leader has them.
async fn voters(admin: &Admin) -> Result<BTreeMap<NodeId, Uuid>, ClientError> {
    let described = admin.describe_quorum().await?.partition;
    let voters = described.current_voters.iter();
    Ok(voters.map(|voter| (NodeId(voter.replica_id), voter.replica_directory_id)).collect())
}

/// Waits until every node votes; adds those that do not by themselves.
///
/// # Errors
/// When it takes too long.
pub async fn make_all_voters(workload: &Workload, admin: &Admin, deadline: Instant) -> Result<()> {
    loop {
        let voters = voters(admin).await;
        if let Ok(voters) = &voters {
            let missing = (0..workload.nodes.len()).map(id).find(|id| !voters.contains_key(id));
            match missing {
                None => return Ok(()),
                Some(_) if workload.voting.joins => {}
                Some(missing) => {
                    let added = timeout(PATIENCE, add(workload, admin, missing)).await;
                    tracing::info!(voter = %missing, ?added, "a voter is added");
                }
            }
        }
        ensure!(Instant::now() < deadline, "LIVE-1: not every node votes: {voters:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every voter has the metadata log as far as it is committed now; returns how far that is.
///
/// # Errors
/// When it takes too long.
pub async fn wait_until_level(admin: &Admin, deadline: Instant) -> Result<Offset> {
    let mut committed = None;
    loop {
        let described = admin.describe_quorum().await;
        if let Ok(described) = &described {
            let partition = &described.partition;
            let committed = *committed.get_or_insert(partition.high_watermark);
            if partition.current_voters.iter().all(|voter| voter.log_end_offset >= committed) {
                return Ok(Offset(committed));
            }
        }
        ensure!(Instant::now() < deadline, "LIVE-1: voters lag behind {committed:?}: {described:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_quorum_comes_up() {
        let all: Vec<Voting> = (0..100).map(Voting::of).collect();
        let some = |is: fn(&Voting) -> bool| assert!(all.iter().any(is));

        some(|voting| voting.beginning == Beginning::Configured);
        some(|voting| voting.beginning == Beginning::Listed && voting.wipes);
        some(|voting| voting.beginning == Beginning::Standalone && voting.wipes);
        some(|voting| voting.changes && voting.joins);
        some(|voting| voting.changes && !voting.joins);
        some(|voting| voting.snapshots && voting.wipes);
        for voting in all {
            let is_dynamic = voting.beginning != Beginning::Configured;
            assert!(is_dynamic || !(voting.joins || voting.changes || voting.wipes), "{voting:?}");
            assert!(!voting.wipes || (voting.joins && !voting.changes), "{voting:?}");
        }
    }
}
