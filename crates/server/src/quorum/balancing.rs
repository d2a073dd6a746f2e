//! Has the active controller return leaderships, now and then.

use super::QuorumHandle;
use super::failure_detection::{FailureDetection, leads};
use ottla_controller::balancing::ELECTIONS_MAX;
use ottla_types::{Decision, NodeId};
use std::sync::Arc;
use std::time::Duration;

/// Runs until the node stops. `every` is `leader.imbalance.check.interval.seconds`.
pub async fn run(quorum: QuorumHandle, detection: Arc<FailureDetection>, node_id: NodeId, every: Duration) {
    let leadership = quorum.leadership();
    loop {
        tokio::time::sleep(every).await;
        while leads(&leadership.borrow(), node_id) {
            let newcomers = detection.newcomers();
            let balancing = quorum.decide(move |controller, _| {
                controller.set_newcomers(newcomers);
                let records = controller.balance_leaders();
                let elections = records.len();
                Decision::write(records, elections)
            });
            // An error means that this is not the controller any more.
            let elections = balancing.await.unwrap_or(0);
            if elections > 0 {
                tracing::info!(elections, "leaderships returned to preferred replicas");
            }
            if elections < ELECTIONS_MAX {
                break;
            }
        }
    }
}
