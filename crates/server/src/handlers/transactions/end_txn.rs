//! EndTxn (key 26), versions 0–5, broker listener.
//!
//! Commits or aborts a transaction. Answered when the decision is replicated; its partitions are told after that.
//!
//! - v2 PRODUCER_FENCED; before it INVALID_PRODUCER_EPOCH. v5 the producer goes on under the epoch that the answer names
//!   (KIP-890).
//! - Differs from Kafka: nothing known.

use super::fenced::error_for;
use crate::broker::Broker;
use crate::request::{Answer, RequestContext};
use crate::transactions::coordinators::provide_producer_ids;
use ottla_coordinator::transactions::{ClientVersion, EndTransaction, Producer, TransactionReply};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::end_txn_response::EndTxnResponse;
use ottla_types::{ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION_MIN: i16 = 2;

/// The first version whose clients go on under another epoch.
const BUMP_VERSION_MIN: i16 = 5;

/// Ends a transaction.
pub fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: EndTxnRequest,
) -> Answer<EndTxnResponse> {
    let client_version = match context.version {
        BUMP_VERSION_MIN.. => ClientVersion::EpochBumps,
        _ => ClientVersion::EpochStays,
    };
    let (broker, version) = (broker.clone(), context.version);
    Answer::later(async move {
        let request = EndTransaction {
            transactional_id: request.transactional_id,
            producer: Producer {
                id: ProducerId(request.producer_id),
                epoch: ProducerEpoch(request.producer_epoch),
            },
            committed: request.committed,
            client_version,
        };
        let ended = error_for(version, FENCED_VERSION_MIN, end(&broker, &request).await);
        let (error, producer) = match ended {
            Ok(producer) => (ErrorCode::None, producer),
            Err(error) => (error, Producer::NONE),
        };
        EndTxnResponse {
            error_code: error.code(),
            producer_id: producer.id.0,
            producer_epoch: producer.epoch.0,
            ..Default::default()
        }
    })
}

async fn end(broker: &Broker, request: &EndTransaction) -> Result<Producer, ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let shard = broker.transactions.loaded(&broker.image(), &request.transactional_id).await?;
    if request.client_version == ClientVersion::EpochBumps {
        // Its epochs may be used up.
        provide_producer_ids(&shard, &broker.producer_ids).await;
    }
    let reply =
        shard.handle(|machine, token, now| machine.coordinator().handle_end_txn(request, token, now)).await?;
    let TransactionReply::EndTxn(ended) = reply else { unreachable!("asked for") };
    ended
}
