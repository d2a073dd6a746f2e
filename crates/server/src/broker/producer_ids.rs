//! Ids for idempotent producers, from blocks that the controller hands out.

use super::controller_channel::{ControllerChannel, ControllerUnreachable};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_types::{BrokerEpoch, NodeId, ProducerId};
use std::ops::Range;
use thiserror::Error;
use tokio::sync::{Mutex, watch};

/// Why there is no id.
#[derive(Debug, Error)]
pub enum NoProducerId {
    /// The controller cannot be asked.
    #[error(transparent)]
    Unreachable(#[from] ControllerUnreachable),
    /// The controller refuses.
    #[error("the controller gives no producer ids: error {0}")]
    Refused(i16),
}

/// What is left of this broker's block.
pub struct ProducerIds {
    controller: ControllerChannel,
    node_id: NodeId,
    epoch: watch::Receiver<BrokerEpoch>,
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// No block yet.
    pub fn new(
        controller: ControllerChannel,
        node_id: NodeId,
        epoch: watch::Receiver<BrokerEpoch>,
    ) -> ProducerIds {
        ProducerIds { controller, node_id, epoch, block: Mutex::new(0..0) }
    }

    /// An id that no producer has had.
    ///
    /// # Errors
    /// When a new block is needed and cannot be had.
    pub async fn next(&self) -> Result<ProducerId, NoProducerId> {
        let mut block = self.block.lock().await;
        if let Some(id) = block.next() {
            return Ok(ProducerId(id));
        }
        let request =
            AllocateProducerIdsRequest { broker_id: self.node_id.0, broker_epoch: self.epoch.borrow().0 };
        let response = self.controller.call(&request).await?;
        if response.error_code != ErrorCode::None.code() {
            return Err(NoProducerId::Refused(response.error_code));
        }
        let start = response.producer_id_start;
        *block = start..start + i64::from(response.producer_id_len);
        block.next().map(ProducerId).ok_or(NoProducerId::Refused(0))
    }
}
