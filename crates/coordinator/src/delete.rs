//! DeleteGroups: groups without members, and their offsets, go; those of open transactions too.

use crate::consumer_group::offsets::tombstones as consumer_group_tombstones;
use crate::coordinator::GroupCoordinator;
use crate::group::GroupState;
use crate::records;
use crate::reply::{GroupDecision, GroupReply, RequestContext};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use ottla_protocol::records::group::GroupRecord;
use std::collections::BTreeSet;

impl GroupCoordinator {
    /// Handles a DeleteGroups for groups of this partition; each succeeds or fails on its own.
    pub fn handle_delete_groups(
        &mut self,
        request: &DeleteGroupsRequest,
        context: &RequestContext,
    ) -> GroupDecision {
        let mut response = DeleteGroupsResponse::default();
        let group_ids: BTreeSet<&String> = request.groups_names.iter().collect();
        self.decide(|machine, decision| {
            for group_id in group_ids {
                let error = machine.validate_delete(group_id);
                if error == ErrorCode::None {
                    decision.records.extend(machine.group_tombstones(group_id));
                }
                response.results.push(DeletableGroupResult {
                    group_id: group_id.clone(),
                    error_code: error.code(),
                    error_message: None,
                });
            }
            decision.replies.push((context.token, GroupReply::DeleteGroups(response)));
        })
    }

    fn validate_delete(&self, group_id: &str) -> ErrorCode {
        if let Some(group) = self.consumer_groups.get(group_id) {
            let is_empty = group.members().len() == 0;
            return if is_empty { ErrorCode::None } else { ErrorCode::NonEmptyGroup };
        }
        match self.groups.get(group_id).map(|group| group.state) {
            None => ErrorCode::GroupIdNotFound,
            Some(GroupState::Empty) => ErrorCode::None,
            Some(_) => ErrorCode::NonEmptyGroup,
        }
    }

    fn group_tombstones(&self, group_id: &str) -> Vec<GroupRecord> {
        let mut offsets = self.pending.iter_group(group_id);
        offsets.extend(self.offsets.iter_group(group_id).map(|(topic, p, _)| (topic, p)));
        let tombstones = offsets.into_iter().map(|(topic, p)| records::offset_tombstone(group_id, topic, p));
        let group = match self.consumer_groups.get(group_id) {
            Some(group) => consumer_group_tombstones(group),
            None => vec![records::group_tombstone(group_id)],
        };
        tombstones.chain(group).collect()
    }
}
