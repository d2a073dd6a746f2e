//! SyncGroup: the leader hands in the assignment, the others fetch their part of it.

use crate::group::GroupState;
use crate::member::Parked;
use crate::records;
use crate::reply::RequestContext;
use crate::turn::Turn;
use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::sync_group_request::SyncGroupRequest;
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use std::collections::BTreeMap;

impl Turn<'_> {
    /// Handles a SyncGroup.
    pub(crate) fn sync(&mut self, request: &SyncGroupRequest, context: &RequestContext) {
        let to = Parked::from(context);
        let member_id = &request.member_id;
        if let Err(error) = self.validate_sync(request) {
            return self.refuse_sync(to, error);
        }
        self.hear_before_a_wait(member_id, context.connection);
        match self.group.state {
            GroupState::Empty | GroupState::Dead => self.refuse_sync(to, ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => self.refuse_sync(to, ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.count_sync(member_id);
                self.park_sync(member_id, to);
                if self.group.is_leader(member_id) {
                    self.store_assignment(request);
                }
            }
            GroupState::Stable => {
                self.count_sync(member_id);
                let member = self.group.member(member_id).expect("it was validated");
                let response = self.synced(member.assignment.clone());
                self.reply_sync(to, response);
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let group = &self.group;
        group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        let differs = |asked: &Option<String>, actual: &Option<String>| matches!((asked, actual), (Some(asked), Some(actual)) if asked != actual);
        if request.generation_id != group.generation {
            Err(ErrorCode::IllegalGeneration)
        } else if differs(&request.protocol_type, &group.protocol_type)
            || differs(&request.protocol_name, &group.protocol)
        {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else {
            Ok(())
        }
    }

    fn count_sync(&mut self, member_id: &str) {
        self.group.pending_syncs.remove(member_id);
        if self.group.pending_syncs.is_empty() {
            self.group.sync_deadline = None;
        }
    }

    fn park_sync(&mut self, member_id: &str, parked: Parked) {
        let member = self.group.member_mut(member_id).expect("it was validated");
        if let Some(replaced) = member.parked_sync.replace(parked) {
            self.refuse_sync(replaced, ErrorCode::RebalanceInProgress);
        }
    }

    /// Writes the leader's assignment, and answers everybody who waits for it. Replaying the record makes the
    /// group stable. Whom the leader forgot gets nothing; whom it invented is ignored.
    fn store_assignment(&mut self, request: &SyncGroupRequest) {
        let assigned = |one: &ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment| {
            // A copy, as a slice would keep the whole request in memory.
            (one.member_id.clone(), Bytes::copy_from_slice(&one.assignment))
        };
        let assignments: BTreeMap<String, Bytes> = request.assignments.iter().map(assigned).collect();
        let assignment_of = |member_id: &str| assignments.get(member_id).cloned().unwrap_or_default();
        let record = records::group_metadata(self.group, |member| assignment_of(&member.id));
        self.decision.records.push(record);
        for member_id in self.group.member_ids() {
            let member = self.group.member_mut(&member_id).expect("it is one of the group's");
            if let Some(parked) = member.parked_sync.take() {
                let response = self.synced(assignment_of(&member_id));
                self.reply_sync(parked, response);
                self.renew_session(&member_id);
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            assignment,
            ..Default::default()
        }
    }
}
