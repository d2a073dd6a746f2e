//! Brokers take producer ids from here in blocks, and hand them to idempotent producers (KIP-730).

use crate::controller::Controller;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::records::metadata::{MetadataRecord, ProducerIdsRecord};
use ottla_types::Decision;

/// How many ids a broker gets at a time.
pub const PRODUCER_IDS_PER_BLOCK: i32 = 1000;

impl Controller {
    /// Gives a broker a block of producer ids that nobody has had.
    pub fn handle_allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> Decision<MetadataRecord, AllocateProducerIdsResponse> {
        let refuse = |error: ErrorCode| {
            Decision::reply(AllocateProducerIdsResponse { error_code: error.code(), ..Default::default() })
        };
        if let Err(error) = self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            return refuse(error);
        }
        let start = self.image.next_producer_id;
        let Some(next) = start.checked_add(i64::from(PRODUCER_IDS_PER_BLOCK)) else {
            return refuse(ErrorCode::UnknownServerError);
        };
        let record = MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
        });
        let response = AllocateProducerIdsResponse {
            producer_id_start: start,
            producer_id_len: PRODUCER_IDS_PER_BLOCK,
            ..Default::default()
        };
        Decision::write(vec![record], response)
    }
}
