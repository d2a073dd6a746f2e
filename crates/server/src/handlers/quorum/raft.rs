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
const STOPPED: i16 = ErrorCode::BrokerNotAvailable.code();

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
            let quorum = quorum.clone();
            Answer::later(async move {
                match quorum.request(Request::Vote(request)).await {
                    Some(Response::Vote(response)) => wire::vote_response_to_wire(&response),
                    _ => m::VoteResponse { error_code: STOPPED, ..Default::default() },
                }
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
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::BeginQuorumEpoch(request)).await {
                        Some(Response::BeginQuorumEpoch(response)) => wire::begin_response_to_wire(&response),
                        _ => m::BeginQuorumEpochResponse { error_code: STOPPED, ..Default::default() },
                    }
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
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::EndQuorumEpoch(request)).await {
                        Some(Response::EndQuorumEpoch(response)) => wire::end_response_to_wire(&response),
                        _ => m::EndQuorumEpochResponse { error_code: STOPPED, ..Default::default() },
                    }
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
                let quorum = quorum.clone();
                Answer::later(async move {
                    match quorum.request(Request::Fetch(request)).await {
                        Some(Response::Fetch(response)) => wire::fetch_response_to_wire(&response),
                        _ => m::FetchResponse { error_code: STOPPED, ..Default::default() },
                    }
                })
            }
        }
    })
}
