//! What the transactions of this broker have that groups have not.

use super::machine::{MachineSettings, TransactionMachine};
use super::markers::MarkerQueue;
use crate::broker::producer_ids::ProducerIds;
use crate::config::Properties;
use crate::coordination::{Coordinators, Shard};
use crate::replicas::ReplicaManager;
use ottla_coordinator::transactions::TransactionSettings;
use ottla_metadata::{MetadataImage, TRANSACTION_VERSION};
use ottla_types::NodeId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The transactions that this broker coordinates.
pub type TransactionCoordinators = Coordinators<TransactionMachine>;

/// How long an answer waits for its record to be committed: as that of an offset.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

impl TransactionCoordinators {
    /// As configuration says. Markers go into `queue`.
    pub fn of_transactions(
        node_id: NodeId,
        replicas: Arc<ReplicaManager>,
        properties: &Properties,
        queue: Arc<MarkerQueue>,
    ) -> TransactionCoordinators {
        let settings = TransactionSettings {
            timeout_max: properties.millis("transaction.max.timeout.ms"),
            abort_interval: properties.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            id_expiration: properties.millis("transactional.id.expiration.ms"),
            id_expiration_interval: properties
                .millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
        };
        let settings = MachineSettings { settings, ..Default::default() };
        let worker = Arc::new(move |shard: &Arc<Shard<TransactionMachine>>, markers| {
            queue.write(shard, markers);
        });
        Coordinators::new(node_id, replicas, settings, COMMIT_TIMEOUT, worker, 0)
    }

    /// The level of `transaction.version` may have changed.
    pub fn follow_transaction_version(&self, image: &MetadataImage) {
        let level = image.features.level(TRANSACTION_VERSION);
        self.settings().transaction_version.store(level, Ordering::Relaxed);
    }
}

/// Gives a coordinator the producer ids that it would like to have at hand. When there are none to be had, it says so itself to
/// whoever needs one.
pub async fn provide_producer_ids(shard: &Shard<TransactionMachine>, ids: &ProducerIds) {
    let wanted = shard.with(|machine| machine.coordinator().wanted_producer_ids()).unwrap_or(0);
    for _ in 0..wanted {
        match ids.next().await {
            Ok(id) => {
                shard.with(|machine| machine.coordinator().handle_producer_ids([id]));
            }
            Err(error) => {
                tracing::warn!(%error, "no producer id");
                return;
            }
        }
    }
}
