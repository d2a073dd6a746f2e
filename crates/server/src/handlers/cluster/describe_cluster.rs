//! DescribeCluster (key 60), versions 0–2, broker listener.
//!
//! Names the cluster, its brokers and one of them to send administration to.
//!
//! - v1 endpoint type: controllers are described by controllers (MISMATCHED_ENDPOINT_TYPE here).
//! - v2 fenced brokers on request.
//! - Differs from Kafka: nothing known.

use crate::broker::Broker;
use crate::handlers::authorized_operations;
use crate::handlers::quorum::cluster::{BROKERS, CONTROLLERS};
use crate::request::{Answer, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

/// Answers from the image.
pub fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> Answer<DescribeClusterResponse> {
    if request.endpoint_type != BROKERS {
        let error = match request.endpoint_type {
            CONTROLLERS => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        return Answer::Now(DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(error.message().to_owned()),
            endpoint_type: BROKERS,
            ..Default::default()
        });
    }
    let image = broker.image();
    let brokers = image
        .cluster
        .brokers
        .values()
        .filter(|b| request.include_fenced_brokers || !b.fenced)
        .filter_map(|b| {
            let endpoint = b.endpoint(context.listener())?;
            Some(DescribeClusterBroker {
                broker_id: b.id.0,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: b.rack.clone(),
                is_fenced: b.fenced,
            })
        })
        .collect();
    Answer::Now(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id.clone(),
        controller_id: broker.administration_target(&image),
        brokers,
        cluster_authorized_operations: authorized_operations::told(
            request.include_cluster_authorized_operations,
            authorized_operations::ON_CLUSTER,
        ),
        ..Default::default()
    })
}
