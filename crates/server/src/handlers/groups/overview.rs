//! DescribeGroups (key 15, versions 0–6), ListGroups (16, 0–5), DeleteGroups (42, 0–3), broker listener.
//!
//! What groups there are, how they stand, and their end.
//!
//! - ListGroups tells of the groups that this broker coordinates; clients ask every broker.
//! - Differs from Kafka: nothing known.

use super::membership::group_context;
use crate::broker::Broker;
use crate::coordination::coordinators::wait_until_loaded;
use crate::handlers::authorized_operations;
use crate::request::{Answer, RequestContext};
use ottla_coordinator::GroupReply;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Describes groups.
pub fn describe_groups(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> Answer<DescribeGroupsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let mut response = DescribeGroupsResponse::default();
        for group_id in request.groups {
            let shape = DescribeGroupsResponse {
                groups: vec![DescribedGroup { group_id: group_id.clone(), ..Default::default() }],
                ..Default::default()
            };
            let one = DescribeGroupsRequest {
                groups: vec![group_id.clone()],
                include_authorized_operations: request.include_authorized_operations,
            };
            let handled = broker.groups.handle(&image, &group_id, |machine, token, _| {
                machine.handle_describe_groups(&one, &group_context(&context, token))
            });
            let reply = match handled.await {
                Ok(reply) => reply,
                Err(error) => GroupReply::DescribeGroups(shape).into_error(error),
            };
            let GroupReply::DescribeGroups(described) = reply else { unreachable!("asked for") };
            response.groups.extend(described.groups);
        }
        let is_asked = request.include_authorized_operations;
        for group in response.groups.iter_mut().filter(|group| is_asked && group.error_code == 0) {
            group.authorized_operations = authorized_operations::ON_GROUP;
        }
        response
    })
}

/// Lists the groups coordinated here.
pub fn list_groups(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: ListGroupsRequest,
) -> Answer<ListGroupsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let mut response = ListGroupsResponse::default();
        for shard in broker.groups.all() {
            wait_until_loaded(&shard).await;
            let handled = shard.handle(|machine, token, _| {
                machine.handle_list_groups(&request, &group_context(&context, token))
            });
            match handled.await {
                Ok(GroupReply::ListGroups(listed)) => response.groups.extend(listed.groups),
                Ok(_) => unreachable!("asked for"),
                // It has moved: another broker tells of its groups.
                Err(ottla_protocol::ErrorCode::NotCoordinator) => {}
                Err(error) => response.error_code = error.code(),
            }
        }
        response
    })
}

/// Deletes groups.
pub fn delete_groups(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: DeleteGroupsRequest,
) -> Answer<DeleteGroupsResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let mut response = DeleteGroupsResponse::default();
        let groups: BTreeSet<String> = request.groups_names.into_iter().collect();
        for group_id in groups {
            let shape = DeleteGroupsResponse {
                results: vec![DeletableGroupResult { group_id: group_id.clone(), ..Default::default() }],
                ..Default::default()
            };
            let one = DeleteGroupsRequest { groups_names: vec![group_id.clone()] };
            let handled = broker.groups.handle(&image, &group_id, |machine, token, _| {
                machine.handle_delete_groups(&one, &group_context(&context, token))
            });
            let reply = match handled.await {
                Ok(reply) => reply,
                Err(error) => GroupReply::DeleteGroups(shape).into_error(error),
            };
            let GroupReply::DeleteGroups(deleted) = reply else { unreachable!("asked for") };
            response.results.extend(deleted.results);
        }
        response
    })
}
