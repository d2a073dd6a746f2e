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
        self.is_heard(request.candidate.id);
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
        VoteResponse { error, leader, leader_endpoint: self.leader_endpoint_of(leader.leader), vote_granted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Effect;
    use crate::message::{BeginQuorumEpochRequest, FetchResponse, LeaderAndEpoch, Request, Response};
    use crate::testing::MemoryLog;
    use crate::testing::fixture::{self, Fixture, key};
    use bytes::Bytes;

    fn vote(candidate: i32, epoch: i32, last: (i32, i64), pre_vote: bool) -> Request {
        Request::Vote(VoteRequest {
            voter: key(1),
            candidate: key(candidate),
            epoch: LeaderEpoch(epoch),
            last: OffsetAndEpoch { epoch: LeaderEpoch(last.0), offset: Offset(last.1) },
            pre_vote,
        })
    }

    /// Asks a node, and returns whether it grants, or its error.
    fn ask(node: &mut Fixture, request: Request) -> Result<bool, ErrorCode> {
        node.request(request);
        match node.answers().as_slice() {
            [Response::Vote(response)] if response.error == ErrorCode::None => Ok(response.vote_granted),
            [Response::Vote(response)] => Err(response.error),
            answers => panic!("{answers:?}"),
        }
    }

    /// A voter in epoch 3 whose log ends at 5 in epoch 2.
    fn voter() -> Fixture {
        let mut log = MemoryLog::default();
        fixture::fill(&mut log, &[(2, 5)]);
        Fixture::voter_in(LeaderEpoch(3), log)
    }

    #[test]
    fn a_vote_needs_a_log_at_least_as_good() {
        let cases = [((2, 5), true), ((2, 6), true), ((3, 1), true), ((2, 4), false), ((1, 100), false)];
        for (last, granted) in cases {
            for pre_vote in [false, true] {
                assert_eq!(ask(&mut voter(), vote(2, 4, last, pre_vote)), Ok(granted), "{last:?} {pre_vote}");
            }
        }
    }

    #[test]
    fn one_vote_in_an_epoch_which_is_written_down_before_it_is_given() {
        let mut node = voter();

        node.request(vote(2, 4, (2, 5), false));
        let effects = node.effects();

        let written = effects.iter().position(|effect| matches!(effect, Effect::Persist(state) if state.voted == Some(key(2)) && state.epoch == LeaderEpoch(4)));
        let given = effects.iter().position(|effect| matches!(effect, Effect::Reply { .. }));
        assert!(written.unwrap() < given.unwrap(), "{effects:?}");
        assert_eq!(ask(&mut node, vote(3, 4, (2, 5), false)), Ok(false), "to another");
        assert_eq!(ask(&mut node, vote(2, 4, (2, 5), false)), Ok(true), "again to the same");
        assert_eq!(ask(&mut node, vote(3, 5, (2, 5), false)), Ok(true), "in a later epoch");
    }

    #[test]
    fn a_pre_vote_changes_nothing_that_must_be_remembered() {
        let mut node = voter();

        assert_eq!(ask(&mut node, vote(2, 3, (2, 5), true)), Ok(true));
        assert_eq!(ask(&mut node, vote(3, 3, (2, 5), true)), Ok(true));

        assert_eq!(node.quorum.state(), &QuorumState::new(LeaderEpoch(3)));
    }

    #[test]
    fn refuses_what_contradicts_itself() {
        let other_voter = |id| {
            let Request::Vote(request) = vote(2, 4, (2, 5), false) else { unreachable!() };
            Request::Vote(VoteRequest { voter: key(id), ..request })
        };
        let cases = [
            (vote(2, 2, (1, 5), false), ErrorCode::FencedLeaderEpoch),
            (vote(2, 4, (4, 5), false), ErrorCode::InvalidRequest),
            (vote(2, 4, (5, 5), true), ErrorCode::InvalidRequest),
            (vote(2, 4, (2, -1), false), ErrorCode::InvalidRequest),
            (vote(2, 4, (-1, 5), false), ErrorCode::InvalidRequest),
            (vote(-1, 4, (2, 5), false), ErrorCode::InvalidRequest),
            (vote(1, 4, (2, 5), false), ErrorCode::InvalidRequest),
            (vote(2, i32::MAX, (2, 5), false), ErrorCode::InvalidRequest),
            (vote(2, -1, (-1, 5), false), ErrorCode::InvalidRequest),
            (other_voter(3), ErrorCode::InvalidVoterKey),
        ];
        for (request, error) in cases {
            assert_eq!(ask(&mut voter(), request.clone()), Err(error), "{request:?}");
        }
        assert_eq!(ask(&mut voter(), other_voter(-1)), Ok(true), "of a version that does not say");
    }

    /// A voter that follows node 2 in epoch 4, and has fetched from it.
    fn follower() -> Fixture {
        let mut node = voter();
        node.flush();
        node.request(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            voter: key(1),
            leader: NodeId(2),
            epoch: LeaderEpoch(4),
            leader_endpoint: None,
        }));
        let call = node.last_call().expect("a fetch");
        let response = FetchResponse {
            error: ErrorCode::None,
            leader: LeaderAndEpoch { leader: Some(NodeId(2)), epoch: LeaderEpoch(4) },
            leader_endpoint: None,
            high_watermark: Offset(3),
            log_start_offset: Offset(0),
            diverging: None,
            snapshot: None,
            records: Bytes::new(),
        };
        node.respond(call, Response::Fetch(response));
        node.effects();
        node
    }

    #[test]
    fn who_hears_from_a_leader_helps_to_depose_it_only_once_their_connection_is_closed() {
        let mut node = follower();
        assert_eq!(ask(&mut node, vote(3, 4, (4, 9), true)), Ok(false), "it hears from the leader");

        node.closed(2);
        assert_eq!(ask(&mut node, vote(3, 4, (4, 9), true)), Ok(true), "the connection is closed");

        node.connected(2);
        assert_eq!(ask(&mut node, vote(3, 4, (4, 9), true)), Ok(false), "the leader accepted another");
    }

    #[test]
    fn no_vote_in_an_epoch_whose_leader_was_known_even_after_it_is_gone() {
        let mut node = follower();

        node.refused(2);

        assert_eq!(node.quorum.leader(), None);
        assert_eq!(ask(&mut node, vote(3, 4, (3, 9), false)), Ok(false));
        assert_eq!(ask(&mut node, vote(3, 5, (4, 9), false)), Ok(true));
    }
}
