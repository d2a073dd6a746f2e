//! A leader that gave its epoch up.
//!
//! It tells the voters, so that they need not wait for its silence, and who of them should campaign first:
//! those who have most of its log.

use crate::effects::{CallId, Effects};
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{EndQuorumEpochRequest, EpochResponse, Request};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::transition::is_plausible;
use crate::voters::ReplicaKey;
use ottla_types::{Monotonic, NodeId, Now, Offset};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// The head start of each preferred candidate over the next one.
const HEAD_START: Duration = Duration::from_millis(50);

/// A leader that gave its epoch up.
#[derive(Clone, Debug)]
pub(crate) struct Resigned {
    /// When to take part in elections again; `None`: never, being shut down.
    pub(crate) deadline: Option<Monotonic>,
    /// The voters that have not acknowledged.
    pub(crate) waiting: BTreeMap<NodeId, CallId>,
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Gives leadership up, if this node leads in this very epoch, and tells the voters. It may campaign
    /// again after the election time-out.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn resign(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        if matches!(self.role, Role::Leader(_)) {
            self.become_resigned(now, effects);
        }
        self.announce(effects);
        Ok(())
    }

    /// Leaves for good: resigns if leading, and never campaigns again. Requests are still answered.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn shut_down(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        self.shutting_down = true;
        match &mut self.role {
            Role::Leader(_) => self.become_resigned(now, effects),
            Role::Prospective(_) | Role::Candidate(_) => {
                self.become_unattached(Duration::ZERO, now, effects);
            }
            Role::Unattached(unattached) => unattached.act_at = None,
            Role::Resigned(resigned) => resigned.deadline = None,
            Role::Follower(_) => {}
        }
        self.announce(effects);
        Ok(())
    }

    /// Returns whether, after [`Quorum::shut_down`], no voter is left to be told. A voter that cannot be
    /// reached is not waited for; one that does not answer is, and the driver must set a limit.
    pub fn has_shut_down(&self) -> bool {
        let told = match &self.role {
            Role::Resigned(resigned) => resigned.waiting.is_empty(),
            _ => true,
        };
        self.shutting_down && told
    }

    pub(crate) fn become_resigned(&mut self, now: Now, effects: &mut Effects) {
        let preferred_candidates = self.preferred_candidates();
        let epoch = self.state.epoch;
        let mut waiting = BTreeMap::new();
        for voter in self.voters.others(self.identity.id) {
            let request = EndQuorumEpochRequest {
                leader: self.identity.id,
                epoch,
                preferred_candidates: preferred_candidates.clone(),
                leader_endpoint: self.leader_endpoint_of(Some(self.identity.id)),
            };
            let call = self.send(voter.id, Request::EndQuorumEpoch(request), effects);
            waiting.insert(voter.id, call);
        }
        let pause = self.random.duration(self.config.election_timeout, self.config.election_timeout * 2);
        let deadline = (!self.shutting_down).then_some(now.monotonic + pause);
        self.replace_role(Role::Resigned(Resigned { deadline, waiting }), effects);
    }

    /// The other voters, those with the longest logs first.
    fn preferred_candidates(&self) -> Vec<ReplicaKey> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let mut voters = self.voters.others(self.identity.id);
        voters.sort_by_key(|voter| (Reverse(leader.end_of(voter.id).unwrap_or(Offset::UNKNOWN)), voter.id));
        voters
    }

    pub(crate) fn resigned_timeout(&mut self, now: Now, effects: &mut Effects) {
        let Role::Resigned(resigned) = &self.role else { return };
        if resigned.deadline.is_some_and(|deadline| deadline <= now.monotonic) {
            self.become_unattached(Duration::ZERO, now, effects);
        }
    }

    pub(crate) fn end_call_closed(&mut self, call: CallId) {
        if let Role::Resigned(resigned) = &mut self.role {
            resigned.waiting.retain(|_, &mut waiting| waiting != call);
        }
    }

    /// A leader says that it gives up: whoever it names first campaigns at once, the others a little later.
    pub(crate) fn handle_end_quorum_epoch(
        &mut self,
        request: &EndQuorumEpochRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<EpochResponse, QuorumError> {
        if !is_plausible(request.epoch) || !request.leader.is_some() {
            return Ok(self.epoch_response(ErrorCode::InvalidRequest));
        }
        if request.epoch < self.state.epoch {
            return Ok(self.epoch_response(ErrorCode::FencedLeaderEpoch));
        }
        let candidates = &request.preferred_candidates;
        let place = candidates.iter().position(|candidate| candidate.matches(self.identity));
        let place = u32::try_from(place.unwrap_or(candidates.len())).unwrap_or(u32::MAX).min(20);
        let wait = HEAD_START * place + self.random.duration(Duration::ZERO, Duration::from_millis(5));
        if request.epoch > self.state.epoch {
            self.enter_epoch(request.epoch, None, effects);
            self.become_unattached(wait, now, effects);
        } else if self.leader() == Some(request.leader) && matches!(self.role, Role::Follower(_)) {
            self.take_for_gone(request.leader, now);
            self.become_unattached(wait, now, effects);
        }
        Ok(self.epoch_response(ErrorCode::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Effect;
    use crate::message::{BeginQuorumEpochRequest, LeaderAndEpoch, Response};
    use crate::role::RoleName;
    use crate::testing::MemoryLog;
    use crate::testing::fixture::{Fixture, fetch_from, key};
    use ottla_types::LeaderEpoch;

    fn ends(effects: Vec<Effect>) -> Vec<(NodeId, CallId, Vec<i32>)> {
        let end = |effect| match effect {
            Effect::Send { to, call, request: Request::EndQuorumEpoch(end) } => {
                Some((to, call, end.preferred_candidates.iter().map(|candidate| candidate.id.0).collect()))
            }
            _ => None,
        };
        effects.into_iter().filter_map(end).collect()
    }

    #[test]
    fn who_has_most_of_the_log_is_preferred_and_everyone_is_told() {
        let mut leader = Fixture::leader();
        leader.append(1);
        leader.answer_to(fetch_from(2, Offset(1), LeaderEpoch(1)));
        leader.answer_to(fetch_from(3, Offset(2), LeaderEpoch(1)));
        leader.effects();
        let (now, mut effects) = (leader.now(), Effects::new());

        leader.quorum.shut_down(now, &mut effects).unwrap();
        leader.take_over(effects);
        let told = leader.effects();

        assert!(told.contains(&Effect::Resigned { epoch: LeaderEpoch(1) }));
        assert!(told.contains(&Effect::LeaderChanged { leader: None, epoch: LeaderEpoch(1) }));
        let ends = ends(told);
        let preferred: Vec<_> = ends.iter().map(|(to, _, preferred)| (to.0, preferred.clone())).collect();
        assert_eq!(preferred, [(2, vec![3, 2]), (3, vec![3, 2])]);
        assert_eq!(leader.quorum.deadline(), None, "it never campaigns again");

        assert!(!leader.quorum.has_shut_down());
        let response = EpochResponse {
            error: ErrorCode::None,
            leader: LeaderAndEpoch { leader: None, epoch: LeaderEpoch(1) },
            leader_endpoint: None,
        };
        leader.respond(ends[0].1, Response::EndQuorumEpoch(response));
        assert!(!leader.quorum.has_shut_down());
        leader.refused(3);
        assert!(leader.quorum.has_shut_down());
    }

    #[test]
    fn the_preferred_campaigns_first() {
        for (preferred, at_least, at_most) in [(vec![1, 3], 0, 5), (vec![3, 1], 50, 55), (vec![3], 50, 55)] {
            let mut node = Fixture::voter(MemoryLog::default());
            node.request(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                voter: key(1),
                leader: NodeId(2),
                epoch: LeaderEpoch(4),
                leader_endpoint: None,
            }));

            node.request(Request::EndQuorumEpoch(EndQuorumEpochRequest {
                leader: NodeId(2),
                epoch: LeaderEpoch(4),
                preferred_candidates: preferred.iter().map(|&id| key(id)).collect(),
                leader_endpoint: None,
            }));

            assert_eq!(node.quorum.role(), RoleName::Unattached);
            let wait = (node.quorum.deadline().expect("a campaign") - node.now().monotonic).as_millis();
            assert!((at_least..=at_most).contains(&wait), "{preferred:?}: {wait} ms");
        }
    }
}
