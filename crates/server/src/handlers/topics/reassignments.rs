//! AlterPartitionReassignments (key 45, versions 0–1), ListPartitionReassignments (46, 0), broker listener.
//!
//! Moves replicas between brokers (KIP-455), takes moves back that are not over, and tells which are under way.
//!
//! - v1 the replication factor may be kept from changing (KIP-860).
//! - Answered when this broker has seen that a move has begun, so that what the client asks next is answered rightly.
//! - A move that takes the place of another still remembers where that one began: taken back, the partition is there
//!   again. Kafka's controller keeps what the first has added.
//! - A move is not taken back while fewer of the replicas that were there before are in sync than `min.insync.replicas`
//!   asks for, and those added are (INVALID_REPLICA_ASSIGNMENT): they hold what was acknowledged meanwhile. Kafka's
//!   controller takes it back, and one loss of power may take the rest.
//! - A partition that is named twice in a request is refused the second time (INVALID_REQUEST); Kafka's controller
//!   mixes both up.

use super::forwarded::{UNREACHABLE, VISIBLE_PATIENCE};
use crate::broker::Broker;
use crate::request::Answer;
use ottla_controller::assignment::Assignment;
use ottla_metadata::MetadataImage;
use ottla_protocol::messages::alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
use ottla_protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Begins moves, or takes them back.
pub fn alter(
    broker: &Arc<Broker>,
    request: AlterPartitionReassignmentsRequest,
) -> Answer<AlterPartitionReassignmentsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let response = broker.call_controller(&request).await.unwrap_or_else(|error| {
            AlterPartitionReassignmentsResponse {
                error_code: UNREACHABLE.code(),
                error_message: Some(error.to_string()),
                ..Default::default()
            }
        });
        if response.error_code == 0 {
            broker.wait_for_image(|image| is_seen(image, &request, &response), VISIBLE_PATIENCE).await;
        }
        response
    })
}

/// Returns whether the image has what was asked for, where it was not refused.
fn is_seen(
    image: &MetadataImage,
    request: &AlterPartitionReassignmentsRequest,
    response: &AlterPartitionReassignmentsResponse,
) -> bool {
    let refused: BTreeSet<(&str, i32)> = response
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.as_str(), partition)))
        .filter(|(_, partition)| partition.error_code != 0)
        .map(|(topic, partition)| (topic, partition.partition_index))
        .collect();
    request.topics.iter().all(|topic| {
        topic.partitions.iter().all(|asked| {
            let number = asked.partition_index;
            if refused.contains(&(topic.name.as_str(), number)) {
                return true;
            }
            let partition = image.topics.by_name(&topic.name).and_then(|topic| topic.partitions.get(&number));
            // Deleted meanwhile: there is nothing to wait for.
            let Some(assignment) = partition.map(Assignment::of) else { return true };
            match &asked.replicas {
                Some(target) => assignment.target().iter().map(|node| node.0).eq(target.iter().copied()),
                None => !assignment.is_moving(),
            }
        })
    })
}

/// Tells which moves are under way.
pub fn list(
    broker: &Arc<Broker>,
    request: ListPartitionReassignmentsRequest,
) -> Answer<ListPartitionReassignmentsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        broker.call_controller(&request).await.unwrap_or_else(|error| ListPartitionReassignmentsResponse {
            error_code: UNREACHABLE.code(),
            error_message: Some(error.to_string()),
            ..Default::default()
        })
    })
}
