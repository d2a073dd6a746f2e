//! JoinGroup (key 11, versions 0–9), SyncGroup (14, 0–5), Heartbeat (12, 0–4), LeaveGroup (13, 0–5), broker
//! listener.
//!
//! Hands a member's requests to its group's coordinator.
//!
//! - In a consumer group (KIP-848) a member's JoinGroup is answered at once, and the coordinator assigns.
//! - A coordinator that is still loading answers when it is loaded, up to a second later.
//! - Differs from Kafka: a dynamic member whose side has closed its connection is removed before its session is over
//!   (`group.member.disconnect.grace.ms`).

use crate::broker::{Broker, OFFSETS_TOPIC};
use crate::groups::topics::ImageTopics;
use crate::request::{Answer, RequestContext};
use ottla_coordinator::{ConnectionToken, GroupReply, ReplyToken};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use std::sync::Arc;

/// The first version of SyncGroup that names the protocol which the member believes in (KIP-559).
const SYNC_PROTOCOL_VERSION_MIN: i16 = 5;

/// A request's surroundings as the coordinator wants them.
pub(super) fn group_context(
    context: &RequestContext,
    token: ReplyToken,
) -> ottla_coordinator::RequestContext {
    ottla_coordinator::RequestContext {
        client_id: context.client_id.clone(),
        client_host: context.client_host(),
        version: context.version,
        connection: ConnectionToken(context.connection.id.0),
        token,
    }
}

/// A member joins.
pub fn join_group(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: JoinGroupRequest,
) -> Answer<JoinGroupResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let refused = JoinGroupResponse { member_id: request.member_id.clone(), ..Default::default() };
        let image = broker.image_with(OFFSETS_TOPIC).await;
        let handled = broker.groups.handle_named(&image, &request.group_id, |machine, token, now| {
            machine.handle_join_group(&request, &group_context(&context, token), &ImageTopics(&image), now)
        });
        let reply = match handled.await {
            Ok(reply) => reply,
            Err(error) => GroupReply::JoinGroup(refused).into_error(error),
        };
        let GroupReply::JoinGroup(response) = reply else { unreachable!("asked for") };
        response
    })
}

/// A member asks for its assignment, or brings everybody's.
pub fn sync_group(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: SyncGroupRequest,
) -> Answer<SyncGroupResponse> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.version >= SYNC_PROTOCOL_VERSION_MIN && !named {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        return Answer::Now(SyncGroupResponse { error_code, ..Default::default() });
    }
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let handled = broker.groups.handle_named(&image, &request.group_id, |machine, token, now| {
            machine.handle_sync_group(&request, &group_context(&context, token), &ImageTopics(&image), now)
        });
        let reply = match handled.await {
            Ok(reply) => reply,
            Err(error) => GroupReply::SyncGroup(SyncGroupResponse::default()).into_error(error),
        };
        let GroupReply::SyncGroup(response) = reply else { unreachable!("asked for") };
        response
    })
}

/// A member says that it lives.
pub fn heartbeat(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: HeartbeatRequest,
) -> Answer<HeartbeatResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let handled = broker.groups.handle_named(&image, &request.group_id, |machine, token, now| {
            machine.handle_heartbeat(&request, &group_context(&context, token), &ImageTopics(&image), now)
        });
        let reply = match handled.await {
            Ok(reply) => reply,
            Err(error) => GroupReply::Heartbeat(HeartbeatResponse::default()).into_error(error),
        };
        let GroupReply::Heartbeat(response) = reply else { unreachable!("asked for") };
        response
    })
}

/// Members leave.
pub fn leave_group(
    broker: &Arc<Broker>,
    context: RequestContext,
    request: LeaveGroupRequest,
) -> Answer<LeaveGroupResponse> {
    let broker = broker.clone();
    Answer::later(async move {
        let image = broker.image();
        let handled = broker.groups.handle_named(&image, &request.group_id, |machine, token, now| {
            machine.handle_leave_group(&request, &group_context(&context, token), now)
        });
        let reply = match handled.await {
            Ok(reply) => reply,
            Err(error) => GroupReply::LeaveGroup(LeaveGroupResponse::default()).into_error(error),
        };
        let GroupReply::LeaveGroup(response) = reply else { unreachable!("asked for") };
        response
    })
}
