//! AddRaftVoter (key 80, versions 0–1), RemoveRaftVoter (81, 0), broker listener.
//!
//! Sent on to the quorum's leader; its answer comes back as it is.
//!
//! - Differs from Kafka: sent as the request itself, not in an Envelope, since there are no principals.

use crate::broker::Broker;
use crate::handlers::topics::forwarded::UNREACHABLE;
use crate::request::Answer;
use ottla_protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use std::sync::Arc;

/// Makes an observer a voter.
pub fn add(broker: &Arc<Broker>, request: AddRaftVoterRequest) -> Answer<AddRaftVoterResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        broker.call_controller(&request).await.unwrap_or_else(|error| AddRaftVoterResponse {
            error_code: UNREACHABLE.code(),
            error_message: Some(error.to_string()),
            ..Default::default()
        })
    })
}

/// Takes a voter out of the set.
pub fn remove(broker: &Arc<Broker>, request: RemoveRaftVoterRequest) -> Answer<RemoveRaftVoterResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        broker.call_controller(&request).await.unwrap_or_else(|error| RemoveRaftVoterResponse {
            error_code: UNREACHABLE.code(),
            error_message: Some(error.to_string()),
            ..Default::default()
        })
    })
}
