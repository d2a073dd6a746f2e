//! How a node enters epochs and changes roles. Every change of role goes through here.

use crate::ErrorCode;
use crate::effects::{Effect, Effects};
use crate::error::QuorumError;
use crate::log::{LeaderChange, ReplicatedLog};
use crate::message::{LeaderAndEpoch, Response};
use crate::quorum::Quorum;
use crate::quorum_state::QuorumState;
use crate::role::Role;
use crate::role::follower::Follower;
use crate::role::leader::Leader;
use crate::role::unattached::Unattached;
use crate::silence::Silence;
use crate::voters::{ReplicaKey, VoterSet};
use ottla_types::{LeaderEpoch, NodeId, Now};
use std::time::Duration;

/// How far behind the record that opens an epoch that of the first voters is.
const FIRST_VOTERS_DELTA: i64 = 2;
/// Doublings of pauses and of patience are capped at this many.
const DOUBLINGS_MAX: u32 = 6;

/// Returns whether an epoch that a peer names can be entered and left again.
pub(crate) fn is_plausible(epoch: LeaderEpoch) -> bool {
    epoch.is_some() && epoch.0 < i32::MAX
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Records a change of what must be remembered; what follows waits until it is on disk.
    pub(crate) fn persist(&mut self, state: QuorumState, effects: &mut Effects) {
        assert!(state.epoch >= self.state.epoch, "epochs never decrease");
        if state != self.state {
            self.state = state.clone();
            effects.push(Effect::Persist(state));
        }
    }

    /// Enters a later epoch, in which this node has voted for nobody. A change of role must follow.
    pub(crate) fn enter_epoch(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, effects: &mut Effects) {
        assert!(epoch > self.state.epoch, "an epoch is entered once");
        self.gone = None;
        self.silences = 0;
        self.persist(QuorumState { leader, ..QuorumState::new(epoch) }, effects);
    }

    /// Believes a peer that names a later epoch, or the leader of this one. Returns whether that changed
    /// this node's role.
    pub(crate) fn adopt(
        &mut self,
        named: LeaderAndEpoch,
        now: Now,
        effects: &mut Effects,
    ) -> Result<bool, QuorumError> {
        if !is_plausible(named.epoch) || named.epoch < self.state.epoch {
            return Ok(false);
        }
        let leader = named.leader.filter(|&id| self.is_possible_leader(id) && id != self.identity.id);
        if named.epoch > self.state.epoch {
            self.enter_epoch(named.epoch, leader, effects);
            match leader {
                Some(leader) => self.become_follower(leader, now, effects),
                None => {
                    let pause = self.campaign_pause();
                    self.become_unattached(pause, now, effects);
                }
            }
            return Ok(true);
        }
        let Some(leader) = leader else { return Ok(false) };
        let is_gone = self.gone.is_some_and(|(gone, until)| gone == leader && now.monotonic < until);
        let is_news = self.leader().is_none() && !is_gone;
        if !is_news || self.state.leader.is_some_and(|known| known != leader) {
            return Ok(false);
        }
        self.become_follower(leader, now, effects);
        Ok(true)
    }

    /// Takes the leader of this epoch for one that leads no more. For as long as its silence would be borne nobody is believed
    /// who names it; then it is looked at again. What said so may have been late, and who does not vote is not called by it.
    pub(crate) fn take_for_gone(&mut self, leader: NodeId, now: Now) {
        self.gone = Some((leader, now.monotonic + self.config.fetch_timeout));
    }

    /// Knows no leader, and acts after `wait`: a voter campaigns, an observer asks around.
    pub(crate) fn become_unattached(&mut self, wait: Duration, now: Now, effects: &mut Effects) {
        let at = (now.monotonic + wait).max(self.hold_off_until);
        let act_at = (!self.shutting_down).then_some(at);
        self.replace_role(Role::Unattached(Unattached { act_at, probe: None }), effects);
    }

    pub(crate) fn become_prospective(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        assert!(self.may_campaign(), "only voters campaign");
        let election = self.ask_for_votes(true, now, effects);
        self.replace_role(Role::Prospective(election), effects);
        self.count_votes(now, effects)
    }

    pub(crate) fn become_candidate(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        let epoch = self.state.epoch.next();
        if !is_plausible(epoch) {
            // The last epoch was reached, which takes a peer that lies. There is no other to lead.
            self.replace_role(Role::Unattached(Unattached { act_at: None, probe: None }), effects);
            return Ok(());
        }
        self.gone = None;
        self.silences = 0;
        self.persist(QuorumState { epoch, leader: None, voted: Some(self.identity) }, effects);
        let election = self.ask_for_votes(false, now, effects);
        self.replace_role(Role::Candidate(election), effects);
        self.count_votes(now, effects)
    }

    pub(crate) fn become_leader(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        let (epoch, start) = (self.state.epoch, self.log.end().offset);
        assert_eq!(self.state.voted, Some(self.identity), "a leader has its own vote");
        let voters: Vec<ReplicaKey> = self.voters.iter().map(|voter| voter.key).collect();
        let granting_voters = self.granting_voters();
        let first_voters = self.first_voters();
        let leader = self.identity.id;
        let change = LeaderChange { epoch, leader, voters, granting_voters, first_voters };
        self.log.append_leader_change(&change, now)?;
        if let Some(first) = change.first_voters {
            self.history.push(start + FIRST_VOTERS_DELTA, first);
        }
        self.elections_lost = 0;
        self.replace_role(Role::Leader(Leader::new(epoch, start, now.monotonic)), effects);
        self.voters_changed(now);
        effects.push(Effect::BecameLeader { epoch, start });
        self.flush(effects);
        self.tell_voters_who_leads(now, effects);
        // Nothing that was said depends on this: the vote, which does matter, is on disk.
        self.persist(QuorumState { leader: Some(self.identity.id), ..self.state.clone() }, effects);
        self.advance_high_watermark(now, effects)
    }

    /// The set that the first leader writes into the log: the one that nodes were formatted with, and in it this
    /// node as it is.
    fn first_voters(&self) -> Option<VoterSet> {
        let set = self.history.unrecorded()?;
        Some(self.as_voter().and_then(|own| set.with_updated(own)).unwrap_or_else(|| set.clone()))
    }

    /// Follows the leader of the current epoch.
    pub(crate) fn become_follower(&mut self, leader: NodeId, now: Now, effects: &mut Effects) {
        assert!(leader != self.identity.id, "nobody follows itself");
        assert!(self.state.leader.is_none_or(|known| known == leader), "RAFT-1: one leader per epoch");
        let limit_min = self.config.silence_min;
        let silence =
            Silence::new(limit_min, self.config.fetch_timeout, now.monotonic).after_silences(self.silences);
        // Whoever has to introduce itself does so at once.
        let is_unknown = self.is_voter() && !self.history.is_dynamic();
        let change_after = if is_unknown { Duration::ZERO } else { self.config.fetch_timeout };
        let follower = Follower::new(leader, silence, now.monotonic, change_after);
        self.replace_role(Role::Follower(follower), effects);
        self.fetch_on(now, effects);
        // As in `become_leader`: a convenience for the next start, not a promise.
        self.persist(QuorumState { leader: Some(leader), ..self.state.clone() }, effects);
    }

    /// Changes the role. Who led until now says so, and sends those who wait for it elsewhere.
    pub(crate) fn replace_role(&mut self, role: Role, effects: &mut Effects) {
        let Role::Leader(leader) = std::mem::replace(&mut self.role, role) else { return };
        effects.push(Effect::Resigned { epoch: leader.epoch });
        if let Some(change) = leader.change {
            change.fail(ErrorCode::NotLeaderOrFollower, effects);
        }
        for parked in leader.parked {
            let response = self.fetch_response(ErrorCode::NotLeaderOrFollower);
            effects.push(Effect::Reply { id: parked.id, response: Response::Fetch(response) });
        }
    }

    /// How long to wait before the next round: 20-50 ms, longer after lost elections.
    pub(crate) fn campaign_pause(&mut self) -> Duration {
        let factor = 1 << self.elections_lost.min(DOUBLINGS_MAX);
        let limit = self.config.election_backoff_max;
        let (min, max) = (Duration::from_millis(20) * factor, Duration::from_millis(50) * factor);
        self.random.duration(min.min(limit / 2), max.min(limit))
    }

    /// How long a round of votes is waited for, by who asks and by who voted: once to twice the first
    /// election time-out, longer after lost elections, at most as in Kafka.
    pub(crate) fn election_patience(&mut self) -> Duration {
        let factor = 1 << self.elections_lost.min(DOUBLINGS_MAX);
        let patience = (self.config.first_election_timeout * factor).min(self.config.election_timeout);
        self.random.duration(patience, patience * 2)
    }
}
