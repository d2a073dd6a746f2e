//! What happens when nothing happens: members are given up, waits end.

use crate::group::GroupState;
use crate::turn::Turn;

impl Turn<'_> {
    /// Does what is due.
    pub(crate) fn expire(&mut self) {
        self.rejoin_if_come_down();
        self.expire_members();
        let now = self.now.monotonic;
        if self.group.join_deadline.is_some_and(|deadline| deadline <= now) {
            self.handle_join_deadline();
        }
        if self.group.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.handle_sync_deadline();
        }
        if let Some(deadline) = self.group.next_deadline() {
            self.alarms.arm(&self.group.id, deadline);
        }
    }

    /// Makes the members of what was a consumer group agree on who has what.
    pub(crate) fn rejoin_if_come_down(&mut self) {
        if std::mem::take(&mut self.group.has_come_down) {
            for member_id in self.group.member_ids() {
                self.renew_session(&member_id);
            }
            self.prepare_rebalance();
        }
    }

    /// Gives up members that have been silent for too long, or whose connections have closed for good, and those that never came with their id.
    fn expire_members(&mut self) {
        let now = self.now.monotonic;
        let mut expired = Vec::new();
        for member_id in self.group.member_ids() {
            let member = self.group.member_mut(&member_id).expect("it is one of the group's");
            if member.gone_deadline.is_some_and(|deadline| deadline <= now) {
                expired.push(member_id);
            } else if member.session_deadline.is_some_and(|deadline| deadline <= now) {
                // One that is excused gets a new session with its answer.
                member.session_deadline = None;
                if !member.is_excused() {
                    expired.push(member_id);
                }
            }
        }
        for member_id in &expired {
            self.remove_member(member_id);
        }
        self.group.pending_members.retain(|_, deadline| *deadline > now);
        if expired.is_empty() { self.maybe_complete_join() } else { self.rebalance_without_the_gone() }
    }

    /// The generation has waited long enough for SyncGroup: whoever did not send it is removed.
    fn handle_sync_deadline(&mut self) {
        self.group.sync_deadline = None;
        if !matches!(self.group.state, GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        for member_id in std::mem::take(&mut self.group.pending_syncs) {
            self.remove_member(&member_id);
        }
        self.prepare_rebalance();
    }
}
