//! InitProducerId (key 22), versions 0–5, broker listener.
//!
//! Gives a producer its id and epoch. With a transactional id: the id's own, of which every earlier owner is fenced.
//!
//! - v3 a producer that had an error may name its id and epoch (KIP-360). v4 PRODUCER_FENCED; before it
//!   INVALID_PRODUCER_EPOCH. v6 (two-phase commit, KIP-939) is unstable in Kafka, and not here.
//! - Differs from Kafka: nothing known.

use super::fenced::error_for;
use crate::broker::{Broker, TRANSACTIONS_TOPIC};
use crate::request::{Answer, RequestContext};
use crate::transactions::coordinators::provide_producer_ids;
use ottla_coordinator::transactions::{InitProducerId, Producer, TransactionReply};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use ottla_types::{ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION_MIN: i16 = 4;

/// Answers with an id that no producer has had and epoch 0, or with what its coordinator says of a transactional id.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> Answer<InitProducerIdResponse> {
    let expected =
        Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
    if (expected.id == ProducerId::NONE) != (expected.epoch == ProducerEpoch::NONE) {
        return Answer::Now(respond(Err(ErrorCode::InvalidRequest)));
    }
    let (broker, version) = (broker.clone(), context.version);
    Answer::later(async move {
        let initialised = match request.transactional_id {
            None => match broker.producer_ids.next().await {
                Ok(id) => Ok(Producer { id, epoch: ProducerEpoch(0) }),
                Err(error) => {
                    tracing::warn!(%error, "no producer id");
                    Err(ErrorCode::CoordinatorNotAvailable)
                }
            },
            Some(transactional_id) => {
                let timeout_ms = request.transaction_timeout_ms;
                initialise(&broker, InitProducerId { transactional_id, timeout_ms, expected }).await
            }
        };
        respond(error_for(version, FENCED_VERSION_MIN, initialised))
    })
}

async fn initialise(broker: &Broker, request: InitProducerId) -> Result<Producer, ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let image = broker.image_with(TRANSACTIONS_TOPIC).await;
    let shard = broker.transactions.loaded(&image, &request.transactional_id).await?;
    provide_producer_ids(&shard, &broker.producer_ids).await;
    let reply = shard
        .handle(|machine, token, now| machine.coordinator().handle_init_producer_id(&request, token, now))
        .await?;
    let TransactionReply::InitProducerId(initialised) = reply else { unreachable!("asked for") };
    initialised
}

fn respond(initialised: Result<Producer, ErrorCode>) -> InitProducerIdResponse {
    let (error, producer) = match initialised {
        Ok(producer) => (ErrorCode::None, producer),
        Err(error) => (error, Producer::NONE),
    };
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        ..Default::default()
    }
}
