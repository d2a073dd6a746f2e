//! An administrator who moves replicas while everything else goes on.

use super::workload::{PARTITIONS, TOPIC, Workload};
use ottla_client::Admin;
use ottla_types::{NodeId, Random, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// Apart from all other chance, so that runs without moves are what they were before there were moves.
const APART: u64 = 0x6d6f_7665;

/// The longest pause between two moves.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Returns whether replicas are moved in the run of this seed: in one of two.
pub fn are_wanted(seed: u64) -> bool {
    Random::new(seed ^ APART).chance(500)
}

/// Moves replicas of the workload's topic until all is calm: to two nodes or to all, in any order, and takes moves back that
/// are under way. In the end every node is to hold everything again.
pub async fn run(workload: Workload) {
    let mut random = Random::new(workload.seed ^ APART);
    let admin = Admin::new(workload.client("mover", random.next_u64()));
    let nodes = nodes(&workload);
    while !*workload.calm.borrow() {
        let at = TopicPartition::new(TOPIC, random.index(PARTITIONS as usize) as i32);
        let target = (!random.chance(200)).then(|| {
            let mut target = nodes.clone();
            random.shuffle(&mut target);
            target.truncate(2 + random.index(target.len() - 1));
            target
        });
        let asked = BTreeMap::from([(at.clone(), target.clone())]);
        let told = admin.reassign(&asked, true).await;
        tracing::info!(%at, ?target, ?told, "replicas are moved");
        tokio::time::sleep(random.duration(Duration::ZERO, PAUSE_MAX)).await;
    }
    spread(&workload, &admin).await;
}

/// Lets every node hold every partition again. Whoever asks for it looks afterwards: a request of before may have been given up,
/// asked again elsewhere and answered, and still be on its way, from a node that died meanwhile. It is carried out when it arrives,
/// in Kafka too.
pub async fn spread(workload: &Workload, admin: &Admin) {
    let nodes = nodes(workload);
    let whole = |partition| (TopicPartition::new(TOPIC, partition), Some(nodes.clone()));
    let whole: BTreeMap<_, _> = (0..PARTITIONS).map(whole).collect();
    while !admin.reassign(&whole, true).await.is_ok_and(|refused| refused.is_empty()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn nodes(workload: &Workload) -> Vec<NodeId> {
    (1..).map(NodeId).take(workload.nodes.len()).collect()
}
