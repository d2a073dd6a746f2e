//! The leader changes the voter set (KIP-853): one replica at a time, and the next only when the one before is
//! committed. Any majority of the set before then meets any majority of the set after.
//!
//! The order of the checks is Kafka's (`AddVoterHandler`, `RemoveVoterHandler`, `UpdateVoterHandler`).

use crate::bug::Bug;
use crate::effects::{CallId, Effect, Effects, RequestId};
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{
    AddVoterRequest, EpochResponse, RemoveVoterRequest, Response, UpdateVoterRequest, VoterChangeResponse,
};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::voters::{Endpoint, KRaftVersions, ReplicaKey, Voter, VoterSet};
use ottla_types::{Monotonic, Now, Offset};
use std::time::Duration;

/// An observer may become a voter only if it fetched within this time, having had everything once.
const FETCHED_WITHIN: Duration = Duration::from_secs(3600);

/// A change that somebody waits for.
#[derive(Clone, Debug)]
pub(crate) struct PendingChange {
    reply_to: RequestId,
    kind: Kind,
    /// When the answer is that it took too long.
    pub(crate) deadline: Monotonic,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Remove,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The new voter was asked what it can work with.
    Asking { call: CallId, request: AddVoterRequest, endpoint: Endpoint },
    /// The new set's record is in the log, at this offset.
    Appended(Offset),
}

impl Kind {
    fn response(self, error: ErrorCode, message: Option<String>) -> Response {
        let response = VoterChangeResponse { error, message };
        match self {
            Kind::Add => Response::AddVoter(response),
            Kind::Remove => Response::RemoveVoter(response),
        }
    }
}

/// Why a change is not begun: the error, and the same in words.
pub(crate) type Refusal = (ErrorCode, Option<String>);

fn refusal(error: ErrorCode, message: impl Into<String>) -> Refusal {
    (error, Some(message.into()))
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Begins to add a voter. The answer comes now if that is refused, otherwise later.
    pub(crate) fn handle_add_voter(
        &mut self,
        id: RequestId,
        request: AddVoterRequest,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Err((error, message)) = self.begin_to_add(id, request, now, effects) {
            effects.push(Effect::Reply { id, response: Kind::Add.response(error, message) });
        }
    }

    fn begin_to_add(
        &mut self,
        id: RequestId,
        request: AddVoterRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_leads()?;
        check_key(request.voter)?;
        let Some(endpoint) = request.endpoint.clone() else {
            return Err(refusal(ErrorCode::InvalidRequest, "the new voter has no listener for the quorum"));
        };
        self.check_may_change()?;
        if self.voters.has_node(request.voter.id) {
            let message = format!("node {} is a voter already", request.voter.id);
            return Err(refusal(ErrorCode::DuplicateVoter, message));
        }
        let call = self.next_call();
        effects.push(Effect::AskKRaftVersions { to: request.voter.id, endpoint: endpoint.clone(), call });
        self.set_pending(id, Kind::Add, Stage::Asking { call, request, endpoint }, now);
        Ok(())
    }

    /// Hands in what the node of [`Effect::AskKRaftVersions`] can work with; `None` when it did not answer.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_kraft_versions(
        &mut self,
        call: CallId,
        versions: Option<KRaftVersions>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        self.finish_asking(call, versions, now, effects)?;
        self.announce(effects);
        Ok(())
    }

    fn finish_asking(
        &mut self,
        call: CallId,
        versions: Option<KRaftVersions>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        let asked = leader
            .change
            .take_if(|change| matches!(&change.stage, Stage::Asking { call: asked, .. } if *asked == call));
        let Some(PendingChange { reply_to, stage: Stage::Asking { request, endpoint, .. }, .. }) = asked
        else {
            return Ok(());
        };
        let key = request.voter;
        let refused = match versions {
            None => Some(refusal(ErrorCode::RequestTimedOut, format!("node {} does not answer", key.id))),
            Some(versions) if !versions.has(1) => {
                let message = format!("node {} cannot work with kraft.version 1", key.id);
                Some(refusal(ErrorCode::InvalidRequest, message))
            }
            Some(_) if !leader.is_caught_up(key, FETCHED_WITHIN, now.monotonic) => {
                Some(refusal(ErrorCode::RequestTimedOut, format!("replica {key} has not caught up")))
            }
            Some(_) => None,
        };
        let reply = |error, message, effects: &mut Effects| {
            effects.push(Effect::Reply { id: reply_to, response: Kind::Add.response(error, message) });
        };
        if let Some((error, message)) = refused {
            reply(error, message, effects);
            return Ok(());
        }
        let kraft_versions = versions.unwrap_or(KRaftVersions::UNKNOWN);
        let voter = Voter { key, endpoint, listeners: request.listeners, kraft_versions };
        let Some(set) = self.voters.with(voter) else {
            reply(ErrorCode::DuplicateVoter, None, effects);
            return Ok(());
        };
        let offset = self.append_voters(set, now, effects)?;
        if request.ack_when_committed {
            self.set_pending(reply_to, Kind::Add, Stage::Appended(offset), now);
        } else {
            reply(ErrorCode::None, None, effects);
        }
        self.after_change(now, effects)
    }

    /// Removes a voter. The answer comes now if that is refused, otherwise when it is committed.
    pub(crate) fn handle_remove_voter(
        &mut self,
        id: RequestId,
        request: &RemoveVoterRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let set = match self.set_without(request.voter) {
            Ok(set) => set,
            Err((error, message)) => {
                effects.push(Effect::Reply { id, response: Kind::Remove.response(error, message) });
                return Ok(());
            }
        };
        let offset = self.append_voters(set, now, effects)?;
        self.set_pending(id, Kind::Remove, Stage::Appended(offset), now);
        self.after_change(now, effects)
    }

    fn set_without(&self, voter: ReplicaKey) -> Result<VoterSet, Refusal> {
        self.check_leads()?;
        check_key(voter)?;
        self.check_may_change()?;
        let Some(set) = self.voters.without(voter) else {
            return Err(refusal(ErrorCode::VoterNotFound, format!("replica {voter} is no voter")));
        };
        if set.is_empty() {
            return Err(refusal(ErrorCode::InvalidRequest, "the last voter cannot be removed"));
        }
        Ok(set)
    }

    /// A voter says that it is another than the set has it. The answer does not wait for the new set. Where the
    /// configuration names the voters it is only noted, for the day when the log does ([`crate::upgrade`]).
    pub(crate) fn handle_update_voter(
        &mut self,
        request: UpdateVoterRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<EpochResponse, QuorumError> {
        if !self.history.is_dynamic() {
            let error = self.introduce(request);
            return Ok(self.epoch_response(error));
        }
        match self.set_with_updated(request) {
            // Said twice, or said before the log named the voters and heard after.
            Ok(set) if set == self.voters => Ok(self.epoch_response(ErrorCode::None)),
            Ok(set) => {
                self.append_voters(set, now, effects)?;
                self.after_change(now, effects)?;
                Ok(self.epoch_response(ErrorCode::None))
            }
            Err((error, _)) => Ok(self.epoch_response(error)),
        }
    }

    fn set_with_updated(&self, request: UpdateVoterRequest) -> Result<VoterSet, Refusal> {
        let error = self.epoch_error(request.epoch);
        if error != ErrorCode::None {
            return Err((error, None));
        }
        check_key(request.voter)?;
        self.check_may_change()?;
        let (true, Some(endpoint)) = (request.kraft_versions.has(1), request.endpoint) else {
            return Err((ErrorCode::InvalidRequest, None));
        };
        let UpdateVoterRequest { voter: key, listeners, kraft_versions, .. } = request;
        self.voters
            .with_updated(Voter { key, endpoint, listeners, kraft_versions })
            .ok_or((ErrorCode::VoterNotFound, None))
    }

    fn check_leads(&self) -> Result<(), Refusal> {
        match self.role {
            Role::Leader(_) => Ok(()),
            _ => Err((ErrorCode::NotLeaderOrFollower, None)),
        }
    }

    /// Whether the voter set may change now. That this epoch has committed something shuts out a change of an
    /// earlier leader: two that do not know of each other could have majorities that do not meet.
    fn check_may_change(&self) -> Result<(), Refusal> {
        let Role::Leader(leader) = &self.role else { return Err((ErrorCode::NotLeaderOrFollower, None)) };
        let wait = |message: &str| Err(refusal(ErrorCode::RequestTimedOut, message));
        let may_overlap = self.has_bug(Bug::TwoChangesAtOnce);
        if leader.change.is_some() && !may_overlap {
            return wait("another change of the voters is under way");
        }
        let committed = self.high_watermark.filter(|&mark| mark > leader.epoch_start);
        if committed.is_none() && !self.has_bug(Bug::ChangeBeforeFirstCommit) {
            return wait("the leader has committed nothing yet");
        }
        if !self.history.is_dynamic() {
            let message = "the voters are those of the configuration: kraft.version is 0";
            return Err(refusal(ErrorCode::UnsupportedVersion, message));
        }
        let is_committed = |offset| self.high_watermark.is_some_and(|mark| offset < mark);
        let may_overlap = may_overlap || self.has_bug(Bug::ChangeBeforeFirstCommit);
        if !self.history.latest_offset().is_some_and(is_committed) && !may_overlap {
            return wait("the last change of the voters is not committed");
        }
        Ok(())
    }

    fn set_pending(&mut self, reply_to: RequestId, kind: Kind, stage: Stage, now: Now) {
        let deadline = now.monotonic + self.config.request_timeout;
        if let Role::Leader(leader) = &mut self.role {
            leader.change = Some(PendingChange { reply_to, kind, deadline, stage });
        }
    }

    /// Appends the set's record; from now on it counts.
    fn append_voters(
        &mut self,
        set: VoterSet,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Offset, QuorumError> {
        let offset = self.log.end().offset;
        self.log.append_voters(self.state.epoch, &set, now)?;
        self.history.push(offset, set);
        self.history.forget_before(self.log.start_offset());
        self.voters_changed(now);
        self.flush(effects);
        Ok(offset)
    }

    pub(crate) fn after_change(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        self.tell_voters_who_leads(now, effects);
        self.answer_parked(effects)?;
        self.advance_high_watermark(now, effects)
    }

    /// Takes the latest set of the log for the one that counts.
    pub(crate) fn voters_changed(&mut self, now: Now) {
        self.voters = self.history.latest().clone();
        let (identity, history) = (self.identity, &self.history);
        let others = self.voters.others(identity.id);
        if let Role::Leader(leader) = &mut self.role {
            let members = others.into_iter().map(|voter| (voter, history.member_since(voter)));
            leader.set_voters(members, now.monotonic);
        }
    }

    /// Answers who waits for a change that is committed, and resigns when this node is no voter any more.
    pub(crate) fn finish_change(&mut self, now: Now, effects: &mut Effects) {
        let Some(mark) = self.high_watermark else { return };
        let Role::Leader(leader) = &mut self.role else { return };
        let is_done =
            |change: &mut PendingChange| matches!(change.stage, Stage::Appended(offset) if offset < mark);
        if let Some(change) = leader.change.take_if(is_done) {
            let response = change.kind.response(ErrorCode::None, None);
            effects.push(Effect::Reply { id: change.reply_to, response });
        }
        let is_committed = self.history.latest_offset().is_some_and(|offset| offset < mark);
        if is_committed && !self.is_voter() {
            self.become_resigned(now, effects);
        }
    }

    /// Gives up waiting for a change. The record, if it is in the log, stays there.
    pub(crate) fn expire_change(&mut self, now: Now, effects: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(change) = leader.change.take_if(|change| change.deadline <= now.monotonic) {
            change.fail(ErrorCode::RequestTimedOut, effects);
        }
    }
}

impl PendingChange {
    /// Tells who waits that it was in vain.
    pub(crate) fn fail(self, error: ErrorCode, effects: &mut Effects) {
        let message = (error == ErrorCode::RequestTimedOut).then(|| "it is not committed yet".to_owned());
        effects.push(Effect::Reply { id: self.reply_to, response: self.kind.response(error, message) });
    }
}

pub(crate) fn check_key(voter: ReplicaKey) -> Result<(), Refusal> {
    if voter.id.is_some() && !voter.directory_id.is_zero() {
        return Ok(());
    }
    Err(refusal(ErrorCode::InvalidRequest, "a voter has an id and a directory id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FetchRequest, Request};
    use crate::role::RoleName;
    use crate::testing::fixture::{Fixture, dynamic_voters, fetch_from, key, member};
    use ottla_types::LeaderEpoch;

    fn add(id: i32) -> Request {
        Request::AddVoter(AddVoterRequest {
            voter: member(id).key,
            listeners: Vec::new(),
            endpoint: Some(member(id).endpoint),
            ack_when_committed: true,
        })
    }

    fn remove(id: i32) -> Request {
        Request::RemoveVoter(RemoveVoterRequest { voter: member(id).key })
    }

    fn update(id: i32, versions: KRaftVersions) -> Request {
        Request::UpdateVoter(UpdateVoterRequest {
            epoch: LeaderEpoch(1),
            voter: member(id).key,
            listeners: Vec::new(),
            endpoint: Some(Endpoint { host: "elsewhere".into(), port: 1 }),
            kraft_versions: versions,
        })
    }

    /// What a node answers at once; nothing when it has to wait.
    fn ask(node: &mut Fixture, request: Request) -> Option<ErrorCode> {
        node.request(request);
        node.answers().first().map(Response::error)
    }

    /// The member of this id fetches everything that the leader has.
    fn fetch_all(node: &mut Fixture, id: i32) {
        let end = node.quorum.log().end();
        node.answer_to(FetchRequest {
            replica: member(id).key,
            max_wait: Duration::ZERO,
            ..fetch_from(id, end.offset, end.epoch)
        });
    }

    /// Hands in what the node says that was asked for its versions.
    fn say_versions(node: &mut Fixture, versions: Option<KRaftVersions>) -> Vec<Effect> {
        let asked = node.effects().into_iter().find_map(|effect| match effect {
            Effect::AskKRaftVersions { call, .. } => Some(call),
            _ => None,
        });
        let (now, mut effects) = (node.now(), Effects::new());
        node.quorum.handle_kraft_versions(asked.expect("it was asked"), versions, now, &mut effects).unwrap();
        effects.drain().collect()
    }

    fn errors(effects: &[Effect]) -> Vec<ErrorCode> {
        let error = |effect: &Effect| match effect {
            Effect::Reply {
                response: response @ (Response::AddVoter(_) | Response::RemoveVoter(_)), ..
            } => Some(response.error()),
            _ => None,
        };
        effects.iter().filter_map(error).collect()
    }

    /// A leader whose voters are 1 and 2, the second added.
    fn with_second() -> Fixture {
        let mut node = Fixture::alone();
        fetch_all(&mut node, 2);
        node.answers();
        node.request(add(2));
        let effects = say_versions(&mut node, Some(KRaftVersions::SUPPORTED));
        node.take_over(Effects::of(effects));
        node.flush();
        fetch_all(&mut node, 2);
        let added = node.effects();
        assert_eq!(errors(&added), [ErrorCode::None], "{added:?}");
        node
    }

    #[test]
    fn the_first_leader_writes_the_voters_into_the_log() {
        let node = Fixture::alone();

        assert_eq!(node.quorum.log().latest_voters(), Some(dynamic_voters(&[1])));
        assert_eq!(node.quorum.history.latest_offset(), Some(Offset(2)));
        assert_eq!(node.quorum.high_watermark(), Some(Offset(3)));
        assert_eq!(node.quorum.kraft_version(), 1);
    }

    #[test]
    fn a_new_voter_counts_at_once_and_the_answer_waits_for_it() {
        let mut node = Fixture::alone();
        fetch_all(&mut node, 2);
        node.answers();

        assert_eq!(ask(&mut node, add(3)), None, "it is asked what it can work with");
        node.pass(Duration::from_secs(2));
        assert_eq!(errors(&node.effects()), [ErrorCode::RequestTimedOut], "which it did not say");

        node.request(add(2));
        let effects = say_versions(&mut node, Some(KRaftVersions::SUPPORTED));
        assert_eq!(errors(&effects), [], "not committed");
        assert_eq!(node.quorum.voters(), &dynamic_voters(&[1, 2]));
        let before = node.quorum.high_watermark();
        node.flush();
        assert_eq!(node.quorum.high_watermark(), before, "the leader alone is no majority any more");

        fetch_all(&mut node, 2);
        assert_eq!(errors(&node.effects()), [ErrorCode::None]);
        assert_eq!(node.quorum.high_watermark(), Some(node.quorum.log().end().offset));
    }

    #[test]
    fn a_voter_that_may_not_know_that_it_votes_does_not_count() {
        let mut node = Fixture::alone();
        node.append(1);
        node.flush();
        fetch_all(&mut node, 2);
        node.request(add(2));
        say_versions(&mut node, Some(KRaftVersions::SUPPORTED));
        node.flush();
        let record = node.quorum.history.latest_offset().unwrap();
        node.answer_to(FetchRequest { replica: member(2).key, ..fetch_from(2, record, LeaderEpoch(1)) });

        assert_eq!(node.quorum.high_watermark(), Some(record), "what was committed before");
        let Role::Leader(leader) = &node.quorum.role else { panic!("it leads") };
        let others = [member(2).key];
        assert_eq!(leader.majority_end(&others, Some(record + 1), false), Offset::UNKNOWN);
        assert_eq!(leader.majority_end(&others, Some(record + 1), true), record);
    }

    #[test]
    fn refuses_in_kafkas_order() {
        let mut node = Fixture::alone();
        let no_directory = Request::RemoveVoter(RemoveVoterRequest { voter: key(1) });
        let Request::AddVoter(good) = add(2) else { unreachable!() };
        let no_listener = Request::AddVoter(AddVoterRequest { endpoint: None, ..good });

        assert_eq!(ask(&mut node, no_directory), Some(ErrorCode::InvalidRequest));
        assert_eq!(ask(&mut node, no_listener), Some(ErrorCode::InvalidRequest));
        assert_eq!(ask(&mut node, add(1)), Some(ErrorCode::DuplicateVoter));
        assert_eq!(ask(&mut node, remove(7)), Some(ErrorCode::VoterNotFound));
        assert_eq!(ask(&mut node, remove(1)), Some(ErrorCode::InvalidRequest), "the last one");

        assert_eq!(ask(&mut node, add(2)), None);
        assert_eq!(ask(&mut node, remove(1)), Some(ErrorCode::RequestTimedOut), "one at a time");
        node.pass(Duration::from_secs(2));
        node.effects();
        for (versions, error) in [
            (None, ErrorCode::RequestTimedOut),
            (Some(KRaftVersions::UNKNOWN), ErrorCode::InvalidRequest),
            (Some(KRaftVersions::SUPPORTED), ErrorCode::RequestTimedOut),
        ] {
            node.request(add(2));
            let effects = say_versions(&mut node, versions);
            assert_eq!(errors(&effects), [error], "{versions:?}; it has never fetched");
        }

        let mut fixed = Fixture::leader();
        fixed.flush();
        fixed.answer_to(fetch_from(2, Offset(1), LeaderEpoch(1)));
        fixed.answers();
        assert_eq!(ask(&mut fixed, remove(2)), Some(ErrorCode::UnsupportedVersion));
        let mut follower = Fixture::dynamic(&[1, 2]);
        assert_eq!(ask(&mut follower, remove(2)), Some(ErrorCode::NotLeaderOrFollower));
    }

    #[test]
    fn the_next_change_waits_until_the_one_before_is_committed() {
        let mut node = with_second();

        assert_eq!(ask(&mut node, update(2, KRaftVersions::SUPPORTED)), Some(ErrorCode::None));
        assert_eq!(node.quorum.endpoint_of(member(2).key.id).unwrap().host, "elsewhere");
        assert_eq!(ask(&mut node, remove(2)), Some(ErrorCode::RequestTimedOut));
        node.flush();
        fetch_all(&mut node, 2);
        node.answers();
        assert_eq!(ask(&mut node, update(2, KRaftVersions::UNKNOWN)), Some(ErrorCode::InvalidRequest));
        assert_eq!(ask(&mut node, update(3, KRaftVersions::SUPPORTED)), Some(ErrorCode::VoterNotFound));
        assert_eq!(ask(&mut node, remove(2)), None);
        node.flush();
        assert_eq!(errors(&node.effects()), [ErrorCode::None], "the leader alone is a majority again");
    }

    #[test]
    fn a_leader_that_takes_itself_out_resigns_when_that_is_committed() {
        let mut node = with_second();

        assert_eq!(ask(&mut node, remove(1)), None);
        node.flush();
        assert_eq!(node.quorum.role(), RoleName::Leader, "the other has not got it");
        fetch_all(&mut node, 2);

        let effects = node.effects();
        assert_eq!(errors(&effects), [ErrorCode::None]);
        assert!(effects.contains(&Effect::Resigned { epoch: LeaderEpoch(1) }), "{effects:?}");
        assert_eq!(node.quorum.role(), RoleName::Resigned);
        assert!(!node.quorum.may_campaign());
    }
}
