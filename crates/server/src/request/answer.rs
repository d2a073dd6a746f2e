//! What a frame asks, and what a handler says.

use bytes::Bytes;
use ottla_net::Started;
use ottla_net::network::BoxFuture;
use ottla_protocol::{ApiKey, Decoder, Message, Request, RequestHeader, Segment, frame};
use std::future::Future;

/// A handler's answer.
pub enum Answer<T> {
    /// Ready.
    Now(T),
    /// Comes later; requests behind it on the connection are started meanwhile.
    Later(BoxFuture<'static, T>),
    /// There is none (acks=0).
    Nothing,
    /// The connection is closed: the client asked for no answers, and there is something it must learn.
    Close(String),
}

impl<T> Answer<T> {
    /// An answer that `future` gives.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Answer<T> {
        Answer::Later(Box::pin(future))
    }
}

/// Reads what a frame begins with: which API it asks, in which version. What follows is left in the decoder.
///
/// The version of ApiVersions is not looked at: in whichever a client asks, it is answered.
///
/// # Errors
/// Why the connection must be closed: there is no other answer to what is no request, or in no version.
pub(crate) fn open(frame: Bytes) -> Result<(RequestHeader, Decoder), String> {
    let mut input = Decoder::new(frame);
    let header =
        RequestHeader::decode(&mut input).map_err(|error| format!("malformed request header: {error}"))?;
    let (key, version) = (header.api_key, header.api_version);
    if key != ApiKey::ApiVersions && !key.is_valid(version) {
        return Err(format!("{} has no version {version}", key.name()));
    }
    Ok((header, input))
}

/// Decodes a request, hands it to `handler`, and frames the answer. What follows the body is not looked at, as in Kafka.
pub(crate) fn serve<R: Request>(
    header: &RequestHeader,
    mut input: Decoder,
    handler: impl FnOnce(R) -> Answer<R::Response>,
) -> Started
where
    R::Response: Send + 'static,
{
    let version = header.api_version;
    // librdkafka 2.16 sends three more bytes when it asks for all topics.
    let request = match R::decode(&mut input, version) {
        Ok(request) => request,
        Err(error) => return Started::Close(format!("malformed {} v{version}: {error}", R::NAME)),
    };
    let correlation_id = header.correlation_id;
    match handler(request) {
        Answer::Now(response) => match respond::<R>(correlation_id, version, &response) {
            Some(segments) => Started::Reply(segments),
            None => Started::Close(format!("no answer to {} can be written", R::NAME)),
        },
        Answer::Later(future) => Started::Later(Box::pin(async move {
            let response = future.await;
            respond::<R>(correlation_id, version, &response)
        })),
        Answer::Nothing => Started::Nothing,
        Answer::Close(why) => Started::Close(why),
    }
}

fn respond<R: Request>(correlation_id: i32, version: i16, response: &R::Response) -> Option<Vec<Segment>> {
    match frame::response(correlation_id, R::KEY, version, response) {
        Ok(segments) => Some(segments),
        Err(error) => {
            tracing::warn!(message = <R::Response as Message>::NAME, version, %error, "cannot write an answer");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::metadata_request::MetadataRequest;
    use ottla_protocol::messages::metadata_response::MetadataResponse;

    #[test]
    fn bytes_after_a_request_are_passed_over() {
        let header =
            RequestHeader { api_key: ApiKey::Metadata, api_version: 13, correlation_id: 1, client_id: None };
        // All topics; no creation, no operations, no tags. Then what librdkafka 2.16 adds.
        let body = Decoder::new(Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]));

        let started = serve(&header, body, |request: MetadataRequest| {
            assert_eq!(request.topics, None);
            Answer::Now(MetadataResponse::default())
        });

        assert!(matches!(started, Started::Reply(_)));
    }
}
