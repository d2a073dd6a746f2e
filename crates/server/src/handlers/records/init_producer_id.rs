//! InitProducerId (key 22), versions 0–5, broker listener.
//!
//! Gives an idempotent producer its id.
//!
//! - Differs from Kafka: a transactional id is refused (TRANSACTIONAL_ID_AUTHORIZATION_FAILED would mislead;
//!   INVALID_REQUEST is what clients take as final): there are no transactions here yet.

use crate::broker::Broker;
use crate::request::Answer;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use std::sync::Arc;

/// Answers with an id that no producer has had, and epoch 0.
pub fn handle(broker: &Arc<Broker>, request: InitProducerIdRequest) -> Answer<InitProducerIdResponse> {
    let refuse = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if request.transactional_id.is_some() {
        return Answer::Now(refuse(ErrorCode::InvalidRequest));
    }
    let broker = broker.clone();
    Answer::later(async move {
        match broker.producer_ids.next().await {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(error) => {
                tracing::warn!(%error, "no producer id");
                refuse(ErrorCode::CoordinatorNotAvailable)
            }
        }
    })
}
