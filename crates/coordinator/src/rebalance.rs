//! From one generation to the next: all join, the leader assigns.

use crate::group::{GroupState, InitialDelay};
use crate::records;
use crate::turn::Turn;
use ottla_protocol::ErrorCode;
use std::time::Duration;

/// Nobody has joined in time, and the members there are may still come: how long to wait for them at least
/// before looking again. Only a rebalance timeout of next to nothing would be shorter.
const JOIN_RETRY_MIN: Duration = Duration::from_secs(1);

impl Turn<'_> {
    /// Something changed that the members must agree on: starts a rebalance, or goes on with the one under way.
    pub(crate) fn rebalance_or_complete_join(&mut self) {
        match self.group.state {
            GroupState::PreparingRebalance => self.maybe_complete_join(),
            _ => self.prepare_rebalance(),
        }
    }

    /// Starts a rebalance: all members must join again.
    pub(crate) fn prepare_rebalance(&mut self) {
        let is_initial = self.group.state == GroupState::Empty;
        self.send_parked_syncs_back();
        self.group.pending_syncs.clear();
        self.group.sync_deadline = None;
        self.group.transition(GroupState::PreparingRebalance, self.now.wall);
        if is_initial {
            self.begin_initial_delay();
        } else if self.group.has_all_members_joined() {
            self.complete_join();
        } else {
            self.set_join_deadline(self.group.rebalance_timeout());
        }
    }

    /// Ends the wait for members if there is nobody left to wait for.
    pub(crate) fn maybe_complete_join(&mut self) {
        if self.group.state == GroupState::PreparingRebalance
            && self.group.initial_delay.is_none()
            && self.group.has_all_members_joined()
        {
            self.complete_join();
        }
    }

    /// Whoever waits for an assignment of the generation that ends must join instead. Its session begins now,
    /// as it was excused from heartbeats while it waited.
    fn send_parked_syncs_back(&mut self) {
        for member_id in self.group.member_ids() {
            let member = self.group.member_mut(&member_id).expect("it is one of the group's");
            if let Some(parked) = member.parked_sync.take() {
                self.refuse_sync(parked, ErrorCode::RebalanceInProgress);
                self.renew_session(&member_id);
            }
        }
    }

    fn begin_initial_delay(&mut self) {
        let delay = self.settings.initial_rebalance_delay;
        if delay.is_zero() {
            return self.complete_join();
        }
        let remaining = self.group.rebalance_timeout().saturating_sub(delay);
        self.group.initial_delay = Some(InitialDelay { delay, remaining, new_member_added: false });
        self.set_join_deadline(delay);
    }

    /// Nobody new came since the delay began: go on. Else wait once more, as long as is allowed.
    fn end_initial_delay(&mut self, initial: InitialDelay) {
        if !initial.new_member_added || initial.remaining.is_zero() {
            return self.complete_join();
        }
        let delay = self.settings.initial_rebalance_delay.min(initial.remaining);
        let remaining = initial.remaining.saturating_sub(initial.delay);
        self.group.initial_delay = Some(InitialDelay { delay, remaining, new_member_added: false });
        self.set_join_deadline(delay);
    }

    fn set_join_deadline(&mut self, wait: Duration) {
        let deadline = self.now.monotonic + wait;
        self.group.join_deadline = Some(deadline);
        self.alarms.arm(&self.group.id, deadline);
    }

    /// The time to join is over.
    pub(crate) fn handle_join_deadline(&mut self) {
        match self.group.initial_delay {
            Some(initial) => self.end_initial_delay(initial),
            None => self.complete_join(),
        }
    }

    /// Begins the next generation with those who have joined. Dynamic members who have not are removed;
    /// static ones are kept, as their clients are expected back.
    fn complete_join(&mut self) {
        self.group.initial_delay = None;
        self.group.join_deadline = None;
        for late in self.group.late_members() {
            self.remove_member(&late);
        }
        if self.group.members().len() == 0 {
            self.become_empty();
        } else if self.group.elect_joined_leader() {
            self.begin_generation();
        } else {
            self.set_join_deadline(self.group.rebalance_timeout().max(JOIN_RETRY_MIN));
        }
    }

    fn become_empty(&mut self) {
        self.group.advance_generation();
        self.group.protocol = None;
        self.group.leader = None;
        self.group.transition(GroupState::Empty, self.now.wall);
        self.decision.records.push(records::group_metadata(self.group, |member| member.assignment.clone()));
    }

    fn begin_generation(&mut self) {
        self.group.advance_generation();
        self.group.protocol = Some(self.group.select_protocol());
        self.group.transition(GroupState::CompletingRebalance, self.now.wall);
        for member_id in self.group.member_ids() {
            if let Some(parked) = self.group.unpark_join(&member_id) {
                let response = self.joined(&member_id);
                self.reply_join(parked, response);
            }
            self.renew_session(&member_id);
            let member = self.group.member_mut(&member_id).expect("it is one of the group's");
            member.is_new = false;
            self.group.pending_syncs.insert(member_id);
        }
        let deadline = self.now.monotonic + self.group.rebalance_timeout();
        self.group.sync_deadline = Some(deadline);
        self.alarms.arm(&self.group.id, deadline);
    }
}
