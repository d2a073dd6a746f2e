//! From voters that the configuration names to voters that the log names: kraft.version 0 to 1, while the quorum runs.
//!
//! A set in the log says of each voter in which directory its copy is, where it listens and what it can work with, which
//! no configuration says. So every voter introduces itself to each new leader (UpdateRaftVoter, as in Kafka), which
//! keeps in mind what it hears. When an administrator asks for it, that becomes the first set of the log. It has the
//! members of the configuration's, so any majority of the one meets any majority of the other. There is no way back.

use crate::change::check_key;
use crate::effects::Effects;
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{EpochResponse, Request, UpdateVoterRequest};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::voters::{Voter, VoterSet};
use ottla_types::Now;

/// Why the log does not name the voters from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUpgraded {
    /// This node does not lead, or has committed nothing yet.
    #[error("this node does not lead the quorum")]
    NotLeader,
    /// A voter cannot work with it, or has not told this leader that it can.
    #[error("not all of the voters support it")]
    NotSupported,
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Whether the log could name the voters from now on; it may do so already.
    ///
    /// # Errors
    /// Says why not.
    pub fn check_upgrade(&self) -> Result<(), NotUpgraded> {
        self.upgraded_set().map(drop)
    }

    /// Has the log name the voters from now on: kraft.version 1. Nothing happens where it does already. It is
    /// committed when what is appended after it is.
    ///
    /// # Errors
    /// The inner one says why it is not done. The outer one is fatal, as of every event.
    pub fn upgrade(
        &mut self,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Result<(), NotUpgraded>, QuorumError> {
        let set = match self.upgraded_set() {
            Ok(Some(set)) => set,
            Ok(None) => return Ok(Ok(())),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let offset = self.log.end().offset;
        self.log.append_upgrade(self.state.epoch, &set, now)?;
        // The set is in the second record.
        self.history.push(offset + 1, set);
        self.voters_changed(now);
        self.flush(effects);
        self.after_change(now, effects)?;
        self.announce(effects);
        Ok(Ok(()))
    }

    /// The first set of the log; `None` where it names one already.
    fn upgraded_set(&self) -> Result<Option<VoterSet>, NotUpgraded> {
        let Role::Leader(leader) = &self.role else { return Err(NotUpgraded::NotLeader) };
        if self.high_watermark.is_none_or(|mark| mark <= leader.epoch_start) {
            return Err(NotUpgraded::NotLeader);
        }
        if self.history.is_dynamic() {
            return Ok(None);
        }
        let as_it_is = |voter: &Voter| {
            if voter.key.id == self.identity.id {
                return self.as_voter();
            }
            leader.introduced.get(&voter.key.id).cloned()
        };
        let able =
            |voter: Voter| (check_key(voter.key).is_ok() && voter.kraft_versions.has(1)).then_some(voter);
        let voters: Option<Vec<Voter>> = self.voters.iter().map(|v| as_it_is(v).and_then(able)).collect();
        let set = voters.and_then(|voters| VoterSet::new(voters).ok());
        set.map(Some).ok_or(NotUpgraded::NotSupported)
    }

    /// Notes what a voter of the configuration says of itself.
    pub(crate) fn introduce(&mut self, request: UpdateVoterRequest) -> ErrorCode {
        let error = self.epoch_error(request.epoch);
        if error != ErrorCode::None {
            return error;
        }
        let UpdateVoterRequest { voter: key, listeners, endpoint, kraft_versions, .. } = request;
        let (true, Some(endpoint)) = (check_key(key).is_ok() && kraft_versions.has(0), endpoint) else {
            return ErrorCode::InvalidRequest;
        };
        if !self.voters.has(key) {
            return ErrorCode::VoterNotFound;
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.introduced.insert(key.id, Voter { key, endpoint, listeners, kraft_versions });
        }
        ErrorCode::None
    }

    /// How a voter of the configuration introduces itself to its leader, unless it has.
    pub(crate) fn wanted_introduction(&self) -> Option<Request> {
        let Role::Follower(follower) = &self.role else { return None };
        let Voter { key, endpoint, listeners, kraft_versions } = self.as_voter()?;
        if follower.is_introduced || !self.is_voter() {
            return None;
        }
        let (epoch, endpoint) = (self.state.epoch, Some(endpoint));
        Some(Request::UpdateVoter(UpdateVoterRequest {
            epoch,
            voter: key,
            listeners,
            endpoint,
            kraft_versions,
        }))
    }

    /// Notes that the leader has heard, or that it is of a release that does not listen.
    pub(crate) fn note_introduced(&mut self, response: &EpochResponse) {
        let is_heard = matches!(response.error, ErrorCode::None | ErrorCode::UnsupportedVersion);
        let is_of_now = response.leader.epoch == self.state.epoch;
        if let (Role::Follower(follower), true) = (&mut self.role, is_heard && is_of_now) {
            follower.is_introduced = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Response;
    use crate::testing::fixture::{Fixture, dynamic_voters, fetch_from, key, member};
    use crate::voters::KRaftVersions;
    use ottla_types::{LeaderEpoch, Offset};

    fn introduction(id: i32, kraft_versions: KRaftVersions) -> Request {
        Request::UpdateVoter(UpdateVoterRequest {
            epoch: LeaderEpoch(1),
            voter: member(id).key,
            listeners: Vec::new(),
            endpoint: Some(member(id).endpoint),
            kraft_versions,
        })
    }

    fn introduce(node: &mut Fixture, id: i32, kraft_versions: KRaftVersions) -> ErrorCode {
        node.request(introduction(id, kraft_versions));
        node.answers().first().map(Response::error).expect("it is answered at once")
    }

    fn upgrade(node: &mut Fixture) -> Result<(), NotUpgraded> {
        let (now, mut effects) = (node.now(), Effects::new());
        let done = node.quorum.upgrade(now, &mut effects).unwrap();
        node.take_over(effects);
        done
    }

    /// Node 1 leads voters of the configuration, and has committed its first record.
    fn leader() -> Fixture {
        let mut node = Fixture::configured_leader();
        node.flush();
        node.answer_to(fetch_from(2, Offset(1), LeaderEpoch(1)));
        node.effects();
        assert_eq!(node.quorum.kraft_version(), 0);
        node
    }

    #[test]
    fn the_log_names_the_voters_once_all_have_introduced_themselves() {
        let mut node = leader();

        assert_eq!(upgrade(&mut node), Err(NotUpgraded::NotSupported));
        assert_eq!(introduce(&mut node, 2, KRaftVersions::SUPPORTED), ErrorCode::None);
        assert_eq!(introduce(&mut node, 3, KRaftVersions::UNKNOWN), ErrorCode::None);
        assert_eq!(upgrade(&mut node), Err(NotUpgraded::NotSupported), "3 can not work with it");
        assert_eq!(introduce(&mut node, 3, KRaftVersions::SUPPORTED), ErrorCode::None);
        let end = node.quorum.log().end().offset;
        assert_eq!(node.quorum.check_upgrade(), Ok(()));
        assert_eq!(node.quorum.log().end().offset, end, "that was a question");
        assert_eq!(upgrade(&mut node), Ok(()));

        assert_eq!(node.quorum.kraft_version(), 1);
        assert_eq!(node.quorum.voters(), &dynamic_voters(&[1, 2, 3]));
        assert_eq!(node.quorum.history.latest_offset(), Some(end + 1));
        assert_eq!(node.quorum.log().end().offset, end + 2);
        assert_eq!(upgrade(&mut node), Ok(()), "it is there already");
        assert_eq!(node.quorum.log().end().offset, end + 2);
    }

    #[test]
    fn what_was_known_of_the_voters_stays_known() {
        let mut node = leader();
        for id in [2, 3] {
            introduce(&mut node, id, KRaftVersions::SUPPORTED);
        }
        let Role::Leader(before) = &node.quorum.role else { panic!("it leads") };
        let end = before.end_of(key(2).id);

        upgrade(&mut node).unwrap();

        let Role::Leader(after) = &node.quorum.role else { panic!("it leads") };
        assert_eq!((after.end_of(key(2).id), end), (Some(Offset(1)), Some(Offset(1))));
        assert!(after.observers.is_empty(), "{:?}", after.observers);
    }

    #[test]
    fn only_voters_of_this_epoch_are_heard() {
        let mut node = leader();
        let Request::UpdateVoter(good) = introduction(2, KRaftVersions::SUPPORTED) else { unreachable!() };
        let mut ask = |request: UpdateVoterRequest| {
            node.request(Request::UpdateVoter(request));
            node.answers().first().map(Response::error).expect("it is answered at once")
        };

        let old = UpdateVoterRequest { epoch: LeaderEpoch(0), ..good.clone() };
        assert_eq!(ask(old), ErrorCode::FencedLeaderEpoch);
        assert_eq!(ask(UpdateVoterRequest { voter: key(2), ..good.clone() }), ErrorCode::InvalidRequest);
        assert_eq!(ask(UpdateVoterRequest { endpoint: None, ..good.clone() }), ErrorCode::InvalidRequest);
        assert_eq!(ask(UpdateVoterRequest { voter: member(7).key, ..good }), ErrorCode::VoterNotFound);
    }

    #[test]
    fn a_truncated_upgrade_leaves_the_voters_to_the_configuration() {
        let mut node = leader();
        let end = node.quorum.log().end().offset;
        for id in [2, 3] {
            introduce(&mut node, id, KRaftVersions::SUPPORTED);
        }
        upgrade(&mut node).unwrap();

        assert!(node.quorum.history.truncate_to(end));

        assert_eq!(node.quorum.kraft_version(), 0);
    }
}
