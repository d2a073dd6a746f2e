//! Vote (key 52, versions 0–2), BeginQuorumEpoch (53, 0–1), EndQuorumEpoch (54, 0–1), Fetch (1, 4–18),
//! controller listener.
//!
//! The quorum's protocol (KIP-595, KIP-996): translated, and handed to the machine.
//!
//! - Differs from Kafka: nothing known.

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
pub(super) const STOPPED: i16 = ErrorCode::BrokerNotAvailable.code();

/// Hands a request to the machine. `translate` takes the machine's answer, where it is one to such a request; without
/// one the answer is `stopped`.
pub(super) fn hand_in<T: Send + 'static>(
    quorum: &QuorumHandle,
    request: Request,
    stopped: T,
    translate: impl FnOnce(Response) -> Option<T> + Send + 'static,
) -> Answer<T> {
    let quorum = quorum.clone();
    Answer::later(async move { quorum.request(request).await.and_then(translate).unwrap_or(stopped) })
}

/// A candidate asks for a vote.
pub fn vote(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::VoteRequest| match wire::vote_request_from_wire(request, context) {
        Err(refusal) => Answer::Now(wire::vote_response_to_wire_refused(refusal)),
        Ok(request) => {
            let stopped = m::VoteResponse { error_code: STOPPED, ..Default::default() };
            hand_in(quorum, Request::Vote(request), stopped, |response| match response {
                Response::Vote(response) => Some(wire::vote_response_to_wire(&response)),
                _ => None,
            })
        }
    })
}

/// A leader announces itself.
pub fn begin_quorum_epoch(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::BeginQuorumEpochRequest| {
        match wire::begin_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(wire::begin_response_to_wire_refused(refusal)),
            Ok(request) => {
                let stopped = m::BeginQuorumEpochResponse { error_code: STOPPED, ..Default::default() };
                hand_in(quorum, Request::BeginQuorumEpoch(request), stopped, |response| match response {
                    Response::BeginQuorumEpoch(response) => Some(wire::begin_response_to_wire(&response)),
                    _ => None,
                })
            }
        }
    })
}

/// A leader gives up its epoch.
pub fn end_quorum_epoch(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    serve(header, input, |request: m::EndQuorumEpochRequest| {
        match wire::end_request_from_wire(request, context) {
            Err(refusal) => Answer::Now(wire::end_response_to_wire_refused(refusal)),
            Ok(request) => {
                let stopped = m::EndQuorumEpochResponse { error_code: STOPPED, ..Default::default() };
                hand_in(quorum, Request::EndQuorumEpoch(request), stopped, |response| match response {
                    Response::EndQuorumEpoch(response) => Some(wire::end_response_to_wire(&response)),
                    _ => None,
                })
            }
        }
    })
}

/// A voter or observer asks for the metadata log.
pub fn fetch(
    quorum: &QuorumHandle,
    context: &Arc<WireContext>,
    header: &RequestHeader,
    input: Decoder,
) -> Started {
    let version = header.api_version;
    serve(header, input, |request: m::FetchRequest| {
        match wire::fetch_request_from_wire(request, version, context) {
            Err(refusal) => Answer::Now(wire::fetch_response_to_wire_refused(refusal)),
            Ok(request) => {
                let stopped = m::FetchResponse { error_code: STOPPED, ..Default::default() };
                hand_in(quorum, Request::Fetch(request), stopped, |response| match response {
                    Response::Fetch(response) => Some(wire::fetch_response_to_wire(&response)),
                    _ => None,
                })
            }
        }
    })
}
