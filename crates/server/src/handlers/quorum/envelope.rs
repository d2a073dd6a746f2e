//! Envelope (key 58, version 0), controller listener.
//!
//! Holds what a client asked of one of Apache Kafka's brokers, which sends it on (KIP-590). It is answered as if the client had
//! come here itself.
//!
//! - Whoever is not the active controller answers NOT_CONTROLLER for the whole, and the broker asks another.
//! - Differs from Kafka: the client's name and address are not looked at, since there are no principals. Ottla's own brokers
//!   send requests on as they are, which Kafka's controllers take too.

use crate::broker::controller_channel::TopLevelError;
use crate::request::answer::{Answer, open, serve};
use bytes::{Bytes, BytesMut};
use ottla_net::Started;
use ottla_protocol::messages as m;
use ottla_protocol::{ApiKey, Decoder, ErrorCode, Message, Request, RequestHeader, ResponseHeader, Segment};

/// What a frame begins with: its length.
const LENGTH_BYTES: usize = 4;

/// Answers an envelope; `start` answers what is in it.
pub fn envelope(header: &RequestHeader, input: Decoder, start: impl FnOnce(Bytes) -> Started) -> Started {
    serve(header, input, |request: m::EnvelopeRequest| {
        let Ok((inner, _)) = open(request.request_data.clone()) else {
            return Answer::Now(refused(ErrorCode::InvalidRequest));
        };
        let Some(refusal) = refusal(inner.api_key) else {
            return Answer::Now(refused(ErrorCode::InvalidRequest));
        };
        match start(request.request_data) {
            Started::Reply(segments) => Answer::Now(sealed(&inner, refusal, &segments)),
            Started::Later(answer) => Answer::later(async move {
                match answer.await {
                    Some(segments) => sealed(&inner, refusal, &segments),
                    None => refused(ErrorCode::UnknownServerError),
                }
            }),
            Started::Nothing | Started::Close(_) => Answer::Now(refused(ErrorCode::InvalidRequest)),
        }
    })
}

/// Finds out whether an answer says that it must be given by another node.
type Refusal = fn(&RequestHeader, Bytes) -> bool;

/// How an API says so; `None` for those that no broker sends on.
fn refusal(key: ApiKey) -> Option<Refusal> {
    Some(match key {
        ApiKey::CreateTopics => is_refusal::<m::CreateTopicsRequest>,
        ApiKey::DeleteTopics => is_refusal::<m::DeleteTopicsRequest>,
        ApiKey::CreatePartitions => is_refusal::<m::CreatePartitionsRequest>,
        ApiKey::AlterConfigs => is_refusal::<m::AlterConfigsRequest>,
        ApiKey::IncrementalAlterConfigs => is_refusal::<m::IncrementalAlterConfigsRequest>,
        ApiKey::ElectLeaders => is_refusal::<m::ElectLeadersRequest>,
        ApiKey::AlterPartitionReassignments => is_refusal::<m::AlterPartitionReassignmentsRequest>,
        ApiKey::ListPartitionReassignments => is_refusal::<m::ListPartitionReassignmentsRequest>,
        ApiKey::DescribeQuorum => is_refusal::<m::DescribeQuorumRequest>,
        ApiKey::UpdateFeatures => is_refusal::<m::UpdateFeaturesRequest>,
        ApiKey::UnregisterBroker => is_refusal::<m::UnregisterBrokerRequest>,
        ApiKey::AddRaftVoter => is_refusal::<m::AddRaftVoterRequest>,
        ApiKey::RemoveRaftVoter => is_refusal::<m::RemoveRaftVoterRequest>,
        _ => return None,
    })
}

fn is_refusal<R: Request>(request: &RequestHeader, answer: Bytes) -> bool
where
    R::Response: TopLevelError,
{
    let mut input = Decoder::new(answer);
    ResponseHeader::decode(&mut input, request.api_key, request.api_version)
        .and_then(|_| R::Response::decode(&mut input, request.api_version))
        .is_ok_and(|response| response.is_not_controller())
}

/// The envelope of an answer, which is a frame without its length.
fn sealed(request: &RequestHeader, refusal: Refusal, segments: &[Segment]) -> m::EnvelopeResponse {
    let mut frame = BytesMut::new();
    for segment in segments {
        // Only records lie in files, and nobody sends fetches on.
        let Segment::Bytes(bytes) = segment else { return refused(ErrorCode::UnknownServerError) };
        frame.extend_from_slice(bytes);
    }
    let answer = frame.freeze().slice(LENGTH_BYTES..);
    if refusal(request, answer.clone()) {
        return refused(ErrorCode::NotController);
    }
    m::EnvelopeResponse { response_data: Some(answer), error_code: ErrorCode::None.code() }
}

fn refused(error: ErrorCode) -> m::EnvelopeResponse {
    m::EnvelopeResponse { response_data: None, error_code: error.code() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::frame;

    /// The envelope that answers one with this request in it, which `answer` answers.
    fn ask<R: Request>(request: &R, version: i16, answer: &R::Response) -> m::EnvelopeResponse {
        let segments = frame::request(7, Some("client"), version, request).unwrap();
        let frame: Vec<u8> = segments.iter().flat_map(bytes_of).collect();
        let data = Bytes::from(frame).slice(LENGTH_BYTES..);
        let body = m::EnvelopeRequest { request_data: data, ..Default::default() };
        let body = ottla_protocol::encode_to_vec(&body, 0).unwrap();
        let header =
            RequestHeader { api_key: ApiKey::Envelope, api_version: 0, correlation_id: 1, client_id: None };

        let started = envelope(&header, Decoder::new(body), |_| {
            Started::Reply(frame::response(7, R::KEY, version, answer).unwrap())
        });

        let Started::Reply(segments) = started else { panic!("an answer at once") };
        let frame: Vec<u8> = segments.iter().flat_map(bytes_of).collect();
        let mut input = Decoder::new(Bytes::from(frame).slice(LENGTH_BYTES..));
        ResponseHeader::decode(&mut input, ApiKey::Envelope, 0).unwrap();
        m::EnvelopeResponse::decode(&mut input, 0).unwrap()
    }

    fn bytes_of(segment: &Segment) -> Bytes {
        let Segment::Bytes(bytes) = segment else { panic!("{segment:?}") };
        bytes.clone()
    }

    #[test]
    fn an_answer_comes_back_as_it_was_given() {
        let answer = m::UpdateFeaturesResponse { error_code: 42, ..Default::default() };

        let sealed = ask(&m::UpdateFeaturesRequest::default(), 2, &answer);

        assert_eq!(sealed.error_code, 0);
        let mut input = Decoder::new(sealed.response_data.unwrap());
        let header = ResponseHeader::decode(&mut input, ApiKey::UpdateFeatures, 2).unwrap();
        assert_eq!(header.correlation_id, 7);
        assert_eq!(m::UpdateFeaturesResponse::decode(&mut input, 2).unwrap(), answer);
    }

    #[test]
    fn a_node_that_is_not_the_controller_says_so_for_the_whole() {
        let error_code = ErrorCode::NotController.code();
        let topic = m::create_topics_response::CreatableTopicResult { error_code, ..Default::default() };
        let answer = m::CreateTopicsResponse { topics: vec![topic], ..Default::default() };

        let sealed = ask(&m::CreateTopicsRequest::default(), 7, &answer);

        assert_eq!(sealed, refused(ErrorCode::NotController));
    }

    #[test]
    fn what_no_broker_sends_on_is_refused() {
        let sealed = ask(&m::VoteRequest::default(), 2, &m::VoteResponse::default());

        assert_eq!(sealed, refused(ErrorCode::InvalidRequest));
    }
}
