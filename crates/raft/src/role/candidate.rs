//! A node that asks for votes: in earnest (candidate), or whether it would get them (prospective, KIP-996).
//!
//! Both are one round of questions to all other voters. A round that cannot be won any more, or is not
//! answered in time, is over, and the node waits a moment, unattached, before the next: 20-50 ms, growing
//! while nobody wins.

use crate::effects::{CallId, Effects};
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{Request, VoteRequest, VoteResponse};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::voters::ReplicaKey;
use ottla_types::{Monotonic, NodeId, Now};
use std::collections::{BTreeMap, BTreeSet};

/// One round of questions.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    /// When to give up waiting.
    pub(crate) deadline: Monotonic,
    /// Who said yes, the asking node included if it is a voter.
    pub(crate) granted: BTreeSet<NodeId>,
    /// Who has not answered.
    pub(crate) waiting: BTreeMap<NodeId, CallId>,
}

impl Election {
    pub(crate) fn is_won(&self, majority: usize) -> bool {
        self.granted.len() >= majority
    }

    pub(crate) fn is_lost(&self, majority: usize) -> bool {
        self.granted.len() + self.waiting.len() < majority
    }
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Puts the question to all other voters.
    pub(crate) fn ask_for_votes(&mut self, pre_vote: bool, now: Now, effects: &mut Effects) -> Election {
        let last = self.log_end();
        let mut waiting = BTreeMap::new();
        for voter in self.voters.others(self.identity.id) {
            let request =
                VoteRequest { voter, candidate: self.identity, epoch: self.state.epoch, last, pre_vote };
            let call = self.send(voter.id, Request::Vote(request), effects);
            waiting.insert(voter.id, call);
        }
        let deadline = now.monotonic + self.election_patience();
        // Who has taken itself out does not count itself.
        let own = Some(self.identity.id).filter(|_| self.is_voter());
        Election { deadline, granted: own.into_iter().collect(), waiting }
    }

    pub(crate) fn handle_vote_response(
        &mut self,
        call: CallId,
        response: &VoteResponse,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        // Who says yes in advance may name, in the same breath, the leader that it doubts too.
        let granted = response.error == ErrorCode::None && response.vote_granted;
        self.learn_endpoint(response.leader.leader, response.leader_endpoint.as_ref());
        let names_doubted_leader = granted && response.leader.epoch <= self.state.epoch;
        if !names_doubted_leader && self.adopt(response.leader, now, effects)? {
            return Ok(());
        }
        let Some(voter) = self.close_vote_call(call) else { return Ok(()) };
        self.is_heard(voter);
        let unsupported = response.error == ErrorCode::UnsupportedVersion;
        if unsupported && matches!(self.role, Role::Prospective(_)) {
            // A voter from before KIP-996: it can be asked in earnest only.
            return self.become_candidate(now, effects);
        }
        if let (true, Role::Prospective(election) | Role::Candidate(election)) = (granted, &mut self.role) {
            election.granted.insert(voter);
        }
        self.count_votes(now, effects)
    }

    /// Takes a voter that did not answer out of the count.
    pub(crate) fn vote_call_failed(
        &mut self,
        call: CallId,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        match self.close_vote_call(call) {
            Some(_) => self.count_votes(now, effects),
            None => Ok(()),
        }
    }

    pub(crate) fn count_votes(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        let majority = self.voters.majority();
        match &self.role {
            Role::Prospective(election) if election.is_won(majority) => self.become_candidate(now, effects),
            Role::Candidate(election) if election.is_won(majority) => self.become_leader(now, effects),
            Role::Prospective(election) | Role::Candidate(election) if election.is_lost(majority) => {
                self.end_lost_round(now, effects);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn election_timeout(&mut self, now: Now, effects: &mut Effects) {
        let (Role::Prospective(election) | Role::Candidate(election)) = &self.role else { return };
        if election.deadline <= now.monotonic {
            self.end_lost_round(now, effects);
        }
    }

    /// Gives the round up. Only a lost candidacy makes the next pauses longer: it cost everyone an epoch.
    fn end_lost_round(&mut self, now: Now, effects: &mut Effects) {
        if matches!(self.role, Role::Candidate(_)) {
            self.elections_lost = self.elections_lost.saturating_add(1);
        }
        let pause = self.campaign_pause();
        self.become_unattached(pause, now, effects);
    }

    fn close_vote_call(&mut self, call: CallId) -> Option<NodeId> {
        let (Role::Prospective(election) | Role::Candidate(election)) = &mut self.role else { return None };
        let voter =
            election.waiting.iter().find(|&(_, &waiting)| waiting == call).map(|(&voter, _)| voter)?;
        election.waiting.remove(&voter);
        Some(voter)
    }

    /// Who voted for this node, itself included.
    pub(crate) fn granting_voters(&self) -> Vec<ReplicaKey> {
        let Role::Candidate(election) = &self.role else { return Vec::new() };
        election.granted.iter().filter_map(|&id| self.voters.voter(id)).map(|voter| voter.key).collect()
    }
}
