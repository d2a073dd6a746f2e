//! AddRaftVoter (key 80, versions 0–1), RemoveRaftVoter (81, 0), UpdateRaftVoter (82, 0), controller listener.
//!
//! The quorum's voters come and go (KIP-853): translated, and handed to the machine.
//!
//! - As in Kafka, a change waits for `controller.quorum.request.timeout.ms`, whatever `TimeoutMs` says.
//! - Differs from Kafka: the last voter cannot be removed (INVALID_REQUEST). A leader that has removed itself and
//!   fails before that is committed may be elected once more; in Kafka nobody can be then.

use crate::quorum::QuorumHandle;
use crate::request::Answer;
use crate::request::answer::serve;
use ottla_net::Started;
use ottla_protocol::messages as m;
use ottla_protocol::{Decoder, ErrorCode, RequestHeader};
use ottla_raft::wire::{self, WireContext};
use ottla_raft::{Request, Response};
use std::sync::Arc;

/// The code of a node whose quorum has stopped.
const STOPPED: i16 = ErrorCode::BrokerNotAvailable.code();

/// Makes an observer a voter.
pub fn add(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::AddRaftVoterRequest| {
        match wire::add_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(m::AddRaftVoterResponse {
                error_code: refusal.error_code().code(),
                error_message: None,
                ..Default::default()
            }),
            Ok(request) => {
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::AddVoter(request)).await {
                        Some(Response::AddVoter(response)) => wire::add_voter_response_to_wire(&response),
                        _ => m::AddRaftVoterResponse { error_code: STOPPED, ..Default::default() },
                    }
                })
            }
        }
    })
}

/// Takes a voter out of the set.
pub fn remove(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::RemoveRaftVoterRequest| {
        match wire::remove_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(m::RemoveRaftVoterResponse {
                error_code: refusal.error_code().code(),
                error_message: None,
                ..Default::default()
            }),
            Ok(request) => {
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::RemoveVoter(request)).await {
                        Some(Response::RemoveVoter(response)) => {
                            wire::remove_voter_response_to_wire(&response)
                        }
                        _ => m::RemoveRaftVoterResponse { error_code: STOPPED, ..Default::default() },
                    }
                })
            }
        }
    })
}

/// Notes that a voter listens elsewhere, or is another software.
pub fn update(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::UpdateRaftVoterRequest| {
        match wire::update_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(m::UpdateRaftVoterResponse {
                error_code: refusal.error_code().code(),
                ..Default::default()
            }),
            Ok(request) => {
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::UpdateVoter(request)).await {
                        Some(Response::UpdateVoter(response)) => {
                            wire::update_voter_response_to_wire(&response)
                        }
                        _ => m::UpdateRaftVoterResponse { error_code: STOPPED, ..Default::default() },
                    }
                })
            }
        }
    })
}
