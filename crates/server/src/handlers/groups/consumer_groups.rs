//! ConsumerGroupHeartbeat (key 68, versions 0–1), ConsumerGroupDescribe (69, 0–1), broker listener.
//!
//! The protocol of KIP-848: members send heartbeats alone, and the coordinator shares the partitions among them.
//!
//! - Served once `group.version` is 1; before, UNSUPPORTED_VERSION.
//! - Heartbeat v1: members make their ids themselves (KIP-1082), and may subscribe by a regular expression. Describe v1 tells
//!   the members' type.
//! - A group with members of the classic protocol becomes a consumer group when the first of this protocol joins, and a classic
//!   one again when the last of them is gone (`group.consumer.migration.policy`).
//! - Differs from Kafka: a dynamic member whose side has closed its connection is removed before its session is over
//!   (`group.member.disconnect.grace.ms`). A group is downgraded when a member that is left is heard of, not at once. Targets are computed at
//!   once, not at most once a second (`group.consumer.assignment.interval.ms`). Expressions are looked up at once, by the
//!   coordinator itself, and have no `\Q…\E`. What a group looks like does not depend on racks.

use super::membership::group_context;
use crate::broker::{Broker, OFFSETS_TOPIC};
use crate::groups::topics::ImageTopics;
use crate::handlers::authorized_operations;
use crate::request::{Answer, RequestContext};
use ottla_coordinator::GroupReply;
use ottla_metadata::{GROUP_VERSION, MetadataImage};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};
use std::sync::Arc;

/// A member lives, or joins, or leaves.
pub fn heartbeat(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Answer<ConsumerGroupHeartbeatResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let refused = GroupReply::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse::default());
        let image = broker.image_with(OFFSETS_TOPIC).await;
        let handled = match check_served(&image) {
            Ok(()) => {
                let handled = broker.groups.handle(&image, &request.group_id, |machine, token, now| {
                    let context = group_context(&context, token);
                    machine.handle_consumer_group_heartbeat(&request, &context, &ImageTopics(&image), now)
                });
                handled.await
            }
            Err(error) => Err(error),
        };
        let reply = handled.unwrap_or_else(|error| refused.into_error(error));
        let GroupReply::ConsumerGroupHeartbeat(response) = reply else { unreachable!("asked for") };
        response
    })
}

/// Describes groups.
pub fn describe(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Answer<ConsumerGroupDescribeResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let mut response = ConsumerGroupDescribeResponse::default();
        for group_id in request.group_ids {
            response.groups.extend(describe_one(&broker, &context, &image, group_id).await);
        }
        let is_asked = request.include_authorized_operations;
        for group in response.groups.iter_mut().filter(|group| is_asked && group.error_code == 0) {
            group.authorized_operations = authorized_operations::ON_GROUP;
        }
        response
    })
}

async fn describe_one(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    group_id: String,
) -> Vec<DescribedGroup> {
    let refused = GroupReply::ConsumerGroupDescribe(ConsumerGroupDescribeResponse {
        groups: vec![DescribedGroup { group_id: group_id.clone(), ..Default::default() }],
        ..Default::default()
    });
    let handled = match check_served(image) {
        Ok(()) => {
            let one =
                ConsumerGroupDescribeRequest { group_ids: vec![group_id.clone()], ..Default::default() };
            let handled = broker.groups.handle(image, &group_id, |machine, token, _| {
                machine.handle_consumer_group_describe(
                    &one,
                    &group_context(context, token),
                    &ImageTopics(image),
                )
            });
            handled.await
        }
        Err(error) => Err(error),
    };
    let reply = handled.unwrap_or_else(|error| refused.into_error(error));
    let GroupReply::ConsumerGroupDescribe(described) = reply else { unreachable!("asked for") };
    described.groups
}

fn check_served(image: &MetadataImage) -> Result<(), ErrorCode> {
    if image.features.level(GROUP_VERSION) >= 1 { Ok(()) } else { Err(ErrorCode::UnsupportedVersion) }
}
