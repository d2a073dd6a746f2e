//! One group's part in one event.

use crate::alarms::Alarms;
use crate::group::Group;
use crate::member::{Member, Parked, millis};
use crate::presence::ConnectionToken;
use crate::reply::{GroupDecision, GroupReply};
use crate::settings::Settings;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::{Now, Random};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The first version of JoinGroup's answer that may name no protocol.
const NULL_PROTOCOL_VERSION: i16 = 7;

/// The longest text that can be written, less a UUID and a hyphen: how long a member id's first part may be.
const MEMBER_ID_PREFIX_LEN_MAX: usize = i16::MAX as usize - 37;

/// What the handling of an event works with: the group, and the decision that is being made.
///
/// The files `join`, `sync`, `heartbeat`, `leave`, `disconnect`, `expiry`, `rebalance` and `static_member` add to it
/// what they are named for.
pub(crate) struct Turn<'a> {
    pub(crate) group: &'a mut Group,
    pub(crate) alarms: &'a mut Alarms,
    /// Who was heard of by which connection: see `GroupCoordinator`.
    pub(crate) connections: &'a mut BTreeSet<(ConnectionToken, Arc<str>)>,
    pub(crate) random: &'a mut Random,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Now,
    pub(crate) decision: &'a mut GroupDecision,
}

impl Turn<'_> {
    /// Answers a JoinGroup.
    pub(crate) fn reply_join(&mut self, to: Parked, response: JoinGroupResponse) {
        self.decision.replies.push((to.token, join_reply(response, to.version)));
    }

    /// Refuses a JoinGroup.
    pub(crate) fn refuse_join(&mut self, to: Parked, member_id: &str, error: ErrorCode) {
        let error_code = error.code();
        let response = JoinGroupResponse { error_code, member_id: member_id.to_owned(), ..no_generation() };
        self.reply_join(to, response);
    }

    /// Answers a SyncGroup.
    pub(crate) fn reply_sync(&mut self, to: Parked, response: SyncGroupResponse) {
        self.decision.replies.push((to.token, GroupReply::SyncGroup(response)));
    }

    /// Refuses a SyncGroup.
    pub(crate) fn refuse_sync(&mut self, to: Parked, error: ErrorCode) {
        let error_code = error.code();
        self.reply_sync(to, SyncGroupResponse { error_code, ..Default::default() });
    }

    /// Lets a JoinGroup wait for the other members. One of the same member that waits already has lost its
    /// client, which has sent this one instead.
    pub(crate) fn park_join(&mut self, member_id: &str, parked: Parked) {
        if let Some(replaced) = self.group.park_join(member_id, parked) {
            self.refuse_join(replaced, member_id, ErrorCode::RebalanceInProgress);
        }
    }

    /// Answers what a former member has parked.
    pub(crate) fn dismiss(&mut self, member: &Member, error: ErrorCode, member_id: &str) {
        if let Some(parked) = member.parked_join {
            self.refuse_join(parked, member_id, error);
        }
        if let Some(parked) = member.parked_sync {
            self.refuse_sync(parked, error);
        }
    }

    /// Removes a member that has left or is given up. If its client still waits for an answer, UNKNOWN_MEMBER_ID
    /// makes it join anew.
    pub(crate) fn remove_member(&mut self, member_id: &str) {
        if let Some(member) = self.group.remove(member_id) {
            self.dismiss(&member, ErrorCode::UnknownMemberId, "");
        }
    }

    /// Starts a member's session anew: it has been heard of, or has just been answered.
    pub(crate) fn renew_session(&mut self, member_id: &str) {
        let member = self.group.member_mut(member_id).expect("the caller looked it up");
        let deadline = self.now.monotonic + member.session_timeout();
        member.session_deadline = Some(deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    /// Expects a member that was told its id to join with it within its session timeout.
    pub(crate) fn add_pending_member(&mut self, member_id: String, session_timeout_ms: i32) {
        let deadline = self.now.monotonic + millis(session_timeout_ms);
        self.group.pending_members.insert(member_id, deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    /// An id for a new member: the client's or the instance's, and a random UUID as Java writes it.
    pub(crate) fn generate_member_id(&mut self, prefix: &str) -> String {
        let prefix = &prefix[..prefix.floor_char_boundary(MEMBER_ID_PREFIX_LEN_MAX)];
        let hex: String = self.random.uuid().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        format!("{prefix}-{a}-{b}-{c}-{d}-{e}")
    }
}

/// An answer to a JoinGroup of this version.
pub(crate) fn join_reply(mut response: JoinGroupResponse, version: i16) -> GroupReply {
    if version < NULL_PROTOCOL_VERSION {
        response.protocol_name.get_or_insert_default();
    }
    GroupReply::JoinGroup(response)
}

/// The answer to a JoinGroup that names no generation.
pub(crate) fn no_generation() -> JoinGroupResponse {
    JoinGroupResponse { protocol_name: None, ..Default::default() }
}
