//! From time to time the active controller gives leaderships back to the preferred replicas
//! (`auto.leader.rebalance.enable`).

use super::QuorumHandle;
use super::failure_detection::FailureDetection;
use ottla_types::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// What the task needs.
pub struct LeaderBalance {
    /// Where balancing is decided.
    pub quorum: QuorumHandle,
    /// This node.
    pub node_id: NodeId,
    /// Knows who came back a moment ago.
    pub detection: Arc<FailureDetection>,
    /// `leader.imbalance.check.interval.seconds`.
    pub interval: Duration,
}

impl LeaderBalance {
    /// Balances, whenever this node is the active controller, until the quorum stops.
    pub async fn run(self) {
        let mut leadership = self.quorum.leadership();
        loop {
            let is_active = |leader: NodeId| leader == self.node_id;
            let active =
                leadership.wait_for(|known| known.leader.as_ref().is_some_and(|(id, _)| is_active(*id)));
            if active.await.is_err() {
                return;
            }
            tokio::time::sleep(self.interval).await;
            while self.balance().await {}
        }
    }

    /// Returns whether there is more to do.
    async fn balance(&self) -> bool {
        let newcomers = self.detection.newcomers();
        let balancing = self.quorum.decide(move |controller, _| {
            controller.set_newcomers(newcomers);
            controller.balance_leaders()
        });
        // Who is not the controller any more has nothing to balance.
        let Ok(balanced) = balancing.await else { return false };
        if balanced.moved > 0 {
            tracing::info!(partitions = balanced.moved, "led by their preferred replicas again");
        }
        balanced.has_more
    }
}
