//! Who gets this node's vote, in earnest and in advance.

use crate::bug::Bug;
use crate::effects::Effects;
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{VoteRequest, VoteResponse};
use crate::quorum::Quorum;
use crate::quorum_state::QuorumState;
use crate::role::Role;
use crate::transition::is_plausible;
use crate::voters::ReplicaKey;
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, OffsetAndEpoch};
use std::cmp::Reverse;
use std::time::Duration;

impl<L: ReplicatedLog> Quorum<L> {
    /// Answers a request for a vote. Nodes outside the voter set are answered too, and answer too: which
    /// set counts is the candidate's affair.
    pub(crate) fn handle_vote(
        &mut self,
        request: &VoteRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<VoteResponse, QuorumError> {
        let error = self.vote_error(request);
        if error != ErrorCode::None {
            return Ok(self.vote_response(error, false));
        }
        if request.epoch > self.state.epoch {
            self.enter_epoch(request.epoch, None, effects);
            let pause = self.campaign_pause();
            self.become_unattached(pause, now, effects);
        }
        let is_up_to_date = request.last >= self.log_end();
        let granted = is_up_to_date
            && if request.pre_vote {
                self.may_grant_pre_vote()
            } else {
                self.may_vote_for(request.candidate)
            };
        if granted && request.pre_vote {
            self.yield_to(request.candidate.id, request.last, now, effects);
        } else if granted {
            self.vote_for(request.candidate, now, effects);
        }
        Ok(self.vote_response(ErrorCode::None, granted))
    }

    fn vote_error(&self, request: &VoteRequest) -> ErrorCode {
        // A candidate's log cannot be of the epoch that it wants to lead, at most of the one it is in.
        let LeaderEpoch(epoch) = request.epoch;
        let last_epoch_max = LeaderEpoch(if request.pre_vote { epoch } else { epoch.saturating_sub(1) });
        let last = request.last;
        let is_sound = is_plausible(request.epoch)
            && request.candidate.id.is_some()
            && request.candidate.id != self.identity.id
            && last.offset >= Offset::ZERO
            && last.epoch.is_some()
            && last.epoch <= last_epoch_max;
        if !is_sound {
            ErrorCode::InvalidRequest
        } else if !self.is_meant_for_us(request.voter) {
            ErrorCode::InvalidVoterKey
        } else if request.epoch < self.state.epoch {
            ErrorCode::FencedLeaderEpoch
        } else {
            ErrorCode::None
        }
    }

    /// One vote in an epoch, and none once its leader is known.
    fn may_vote_for(&self, candidate: ReplicaKey) -> bool {
        let is_free = matches!(self.role, Role::Unattached(_) | Role::Prospective(_));
        let is_unbound = self.state.voted.is_none_or(|voted| voted.matches(candidate));
        is_free && is_unbound && self.state.leader.is_none()
    }

    /// KIP-996: who hears from a leader does not help to depose it. Unlike Kafka's voters, one whose
    /// connection to the leader was closed does.
    fn may_grant_pre_vote(&self) -> bool {
        match &self.role {
            Role::Leader(_) => false,
            Role::Follower(follower) => !follower.has_fetched || !follower.is_connected,
            Role::Unattached(_) | Role::Prospective(_) | Role::Candidate(_) | Role::Resigned(_) => true,
        }
    }

    fn vote_for(&mut self, candidate: ReplicaKey, now: Now, effects: &mut Effects) {
        let state = QuorumState { voted: Some(candidate), ..self.state.clone() };
        if self.has_bug(Bug::VoteNotPersisted) {
            self.state = state;
        } else {
            self.persist(state, effects);
        }
        let patience = self.election_patience();
        self.become_unattached(patience, now, effects);
    }

    /// Lets another go first, which this node has just encouraged: two campaigns at once split the vote. Of
    /// two that ask one another, the one with the longer log goes on, with equal logs the lower id.
    fn yield_to(&mut self, candidate: NodeId, last: OffsetAndEpoch, now: Now, effects: &mut Effects) {
        let theirs = (last, Reverse(candidate));
        let ours = (self.log_end(), Reverse(self.identity.id));
        let is_behind = ours < theirs;
        if matches!(self.role, Role::Prospective(_)) && !is_behind {
            return;
        }
        let pause = self.random.duration(Duration::from_millis(20), Duration::from_millis(50));
        self.hold_off_until = now.monotonic + pause;
        match &mut self.role {
            Role::Prospective(_) => self.become_unattached(pause, now, effects),
            Role::Unattached(unattached) => {
                unattached.act_at = unattached.act_at.map(|at| at.max(now.monotonic + pause));
            }
            _ => {}
        }
    }

    pub(crate) fn is_meant_for_us(&self, voter: ReplicaKey) -> bool {
        !voter.id.is_some() || voter.matches(self.identity)
    }

    fn vote_response(&self, error: ErrorCode, vote_granted: bool) -> VoteResponse {
        let leader = self.leader_and_epoch();
        VoteResponse { error, leader, leader_endpoint: self.endpoint_of(leader.leader), vote_granted }
    }
}
