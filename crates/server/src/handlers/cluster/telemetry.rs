//! GetTelemetrySubscriptions (key 71, version 0) and PushTelemetry (key 72, version 0), broker listeners (KIP-714).
//!
//! Clients ask what they are to measure, and tell what they have measured.
//!
//! - What they tell is shown with this broker's own metrics, for as long as they are connected.
//! - Differs from Kafka: the APIs are there always, and need no plug-in. Clients are asked for totals and not for what was added since the last
//!   time (`DeltaTemporality` is false): that is how metrics are shown here.

use crate::broker::Broker;
use crate::request::{Answer, RequestContext};
use crate::telemetry::samples::decode;
use crate::telemetry::{Profile, Push};
use ottla_net::Software;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};
use ottla_records::CorruptBatch;
use ottla_records::compression::{Compression, decompress};
use ottla_types::Uuid;

/// In Kafka's order, of which clients take the first that they have.
const COMPRESSIONS: [Compression; 4] =
    [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

/// Says what is wanted of a client.
pub fn subscriptions(
    broker: &Broker,
    context: &RequestContext,
    request: &GetTelemetrySubscriptionsRequest,
) -> Answer<GetTelemetrySubscriptionsResponse> {
    let telemetry = &broker.telemetry;
    let instance_id = match request.client_instance_id {
        Uuid::ZERO => telemetry.clients.lock().new_id(),
        known => known,
    };
    let profile = profile(context, instance_id);
    let offer = telemetry.offer(&broker.image().configs, &profile);
    let now = broker.clock.monotonic();
    let asked = telemetry.clients.lock().ask(profile, offer.clone(), context.connection.id, now);
    Answer::Now(match asked {
        Ok(()) => GetTelemetrySubscriptionsResponse {
            client_instance_id: instance_id,
            subscription_id: offer.subscription_id,
            accepted_compression_types: COMPRESSIONS.iter().map(|known| known.id() as i8).collect(),
            push_interval_ms: i32::try_from(offer.interval.as_millis()).unwrap_or(i32::MAX),
            telemetry_max_bytes: i32::try_from(telemetry.bytes_max).unwrap_or(i32::MAX),
            delta_temporality: false,
            requested_metrics: offer.metrics.into_iter().collect(),
            ..Default::default()
        },
        Err(error) => GetTelemetrySubscriptionsResponse { error_code: error.code(), ..Default::default() },
    })
}

/// Takes what a client has measured.
pub fn push(
    broker: &Broker,
    context: &RequestContext,
    request: &PushTelemetryRequest,
) -> Answer<PushTelemetryResponse> {
    let taken = take(broker, context, request);
    let error_code = taken.err().unwrap_or(ErrorCode::None).code();
    Answer::Now(PushTelemetryResponse { error_code, ..Default::default() })
}

fn take(broker: &Broker, context: &RequestContext, request: &PushTelemetryRequest) -> Result<(), ErrorCode> {
    let id = request.client_instance_id;
    if id.is_reserved() {
        return Err(ErrorCode::InvalidRequest);
    }
    let telemetry = &broker.telemetry;
    let compression = u8::try_from(request.compression_type).ok().and_then(Compression::from_id);
    let push = Push {
        subscription_id: request.subscription_id,
        is_last: request.terminating,
        is_readable: compression.is_some(),
        is_too_long: request.metrics.len() > telemetry.bytes_max,
    };
    let profile = profile(context, id);
    let offer = telemetry.offer(&broker.image().configs, &profile);
    let now = broker.clock.monotonic();
    telemetry.clients.lock().admit(profile, offer, push, context.connection.id, now)?;
    let compression = compression.ok_or(ErrorCode::UnsupportedCompressionType)?;
    if request.metrics.is_empty() {
        return Ok(());
    }
    let told = decompress(compression, &request.metrics, telemetry.bytes_max).map_err(|why| match why {
        CorruptBatch::TooLargeDecompressed(_) => ErrorCode::TelemetryTooLarge,
        _ => ErrorCode::InvalidRecord,
    })?;
    let samples = decode(told.into()).map_err(|why| {
        tracing::debug!(client = context.client_id, %why, "a client's metrics cannot be read");
        ErrorCode::InvalidRecord
    })?;
    telemetry.clients.lock().keep(id, samples);
    Ok(())
}

fn profile(context: &RequestContext, instance_id: Uuid) -> Profile {
    let software = context.connection.software();
    let word =
        |of: fn(&Software) -> &String| software.map_or_else(|| "unknown".to_owned(), |it| of(it).clone());
    let peer = context.connection.peer;
    Profile {
        instance_id,
        client_id: context.client_id.clone(),
        software_name: word(|software| &software.name),
        software_version: word(|software| &software.version),
        source_address: peer.ip().to_string(),
        source_port: peer.port(),
    }
}
