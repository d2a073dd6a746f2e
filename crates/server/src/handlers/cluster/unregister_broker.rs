//! UnregisterBroker (key 64), version 0, broker and controller listeners.
//!
//! Forgets a broker that will not come back. Its replicas stay assigned to it, out of every in-sync set.
//!
//! - A broker sends it on to the active controller, and answers when it has seen that itself.
//! - A broker that comes back registers anew, and counts as one that may have lost what it had.
//! - Differs from Kafka: one that runs comes back at once by itself; in Kafka it is out until it is started again.

use crate::broker::Broker;
use crate::handlers::topics::forwarded::{UNREACHABLE, VISIBLE_PATIENCE};
use crate::request::Answer;
use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use ottla_types::NodeId;
use std::sync::Arc;

/// Sends it on to the active controller.
pub fn handle(broker: &Arc<Broker>, request: UnregisterBrokerRequest) -> Answer<UnregisterBrokerResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let id = NodeId(request.broker_id);
        let was = broker.image().cluster.broker(id).map(|registered| registered.epoch);
        let response =
            broker.call_controller(&request).await.unwrap_or_else(|error| UnregisterBrokerResponse {
                error_code: UNREACHABLE.code(),
                error_message: Some(error.to_string()),
                ..Default::default()
            });
        if response.error_code == 0 {
            let is_gone = |image: &ottla_metadata::MetadataImage| {
                image.cluster.broker(id).map(|registered| registered.epoch) != was || was.is_none()
            };
            broker.wait_for_image(is_gone, VISIBLE_PATIENCE).await;
        }
        response
    })
}
