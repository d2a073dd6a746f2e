//! AddRaftVoter (key 80, versions 0–1), RemoveRaftVoter (81, 0), UpdateRaftVoter (82, 0), controller listener.
//!
//! The quorum's voters come and go (KIP-853): translated, and handed to the machine.
//!
//! - As in Kafka, a change waits for `controller.quorum.request.timeout.ms`, whatever `TimeoutMs` says.
//! - Differs from Kafka: the last voter cannot be removed (INVALID_REQUEST). A leader that has removed itself and
//!   fails before that is committed may be elected once more; in Kafka nobody can be then.

use super::raft::{STOPPED, hand_in};
use crate::quorum::QuorumHandle;
use crate::request::Answer;
use crate::request::answer::serve;
use ottla_net::Started;
use ottla_protocol::messages as m;
use ottla_protocol::{Decoder, RequestHeader};
use ottla_raft::wire::{self, WireContext};
use ottla_raft::{Request, Response};
use std::sync::Arc;

/// Makes an observer a voter.
pub fn add(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    let failed = |error_code| m::AddRaftVoterResponse { error_code, ..Default::default() };
    serve(header, input, |request: m::AddRaftVoterRequest| {
        match wire::add_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(failed(refusal.error_code().code())),
            Ok(request) => {
                hand_in(quorum, Request::AddVoter(request), failed(STOPPED), |response| match response {
                    Response::AddVoter(response) => Some(wire::add_voter_response_to_wire(&response)),
                    _ => None,
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
    let failed = |error_code| m::RemoveRaftVoterResponse { error_code, ..Default::default() };
    serve(header, input, |request: m::RemoveRaftVoterRequest| {
        match wire::remove_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(failed(refusal.error_code().code())),
            Ok(request) => {
                hand_in(quorum, Request::RemoveVoter(request), failed(STOPPED), |response| match response {
                    Response::RemoveVoter(response) => Some(wire::remove_voter_response_to_wire(&response)),
                    _ => None,
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
    let failed = |error_code| m::UpdateRaftVoterResponse { error_code, ..Default::default() };
    serve(header, input, |request: m::UpdateRaftVoterRequest| {
        match wire::update_voter_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(failed(refusal.error_code().code())),
            Ok(request) => {
                hand_in(quorum, Request::UpdateVoter(request), failed(STOPPED), |response| match response {
                    Response::UpdateVoter(response) => Some(wire::update_voter_response_to_wire(&response)),
                    _ => None,
                })
            }
        }
    })
}
