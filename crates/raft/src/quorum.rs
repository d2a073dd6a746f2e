//! The machine: its events, its clock, and what it knows.

use crate::bug::Bug;
use crate::config::QuorumConfig;
use crate::effects::{CallId, Effect, Effects, RequestId};
use crate::error::QuorumError;
use crate::flush::FlushState;
use crate::history::VoterHistory;
use crate::log::{LogError, ReplicatedLog};
use crate::membership::Membership;
use crate::message::{LeaderAndEpoch, Request, Response};
use crate::quorum_state::QuorumState;
use crate::role::unattached::Unattached;
use crate::role::{Role, RoleName};
use crate::silence::SilentLeader;
use crate::voters::{Endpoint, ReplicaKey, VoterSet};
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Now, Offset, OffsetAndEpoch, Random};
use std::time::Duration;

/// One node's part in the quorum: as a voter if the voter set names it, otherwise as an observer.
///
/// Every `handle_*` may change what [`Quorum::deadline`] says. An error from any of them is final: the node
/// must stop, and none of the effects of that event may be carried out.
#[derive(Clone, Debug)]
pub struct Quorum<L> {
    pub(crate) config: QuorumConfig,
    pub(crate) identity: ReplicaKey,
    /// The set that counts: the latest of `history`.
    pub(crate) voters: VoterSet,
    pub(crate) history: VoterHistory,
    pub(crate) membership: Option<Membership>,
    /// Where the leader that was named last says that it listens.
    pub(crate) leader_endpoint: Option<(NodeId, Endpoint)>,
    pub(crate) log: L,
    pub(crate) random: Random,
    /// What is, or will be before anyone hears of it, on disk.
    pub(crate) state: QuorumState,
    pub(crate) role: Role,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) flush: FlushState,
    /// The leader of this epoch, when it was found to lead no more, and until when it is not followed again on hearsay.
    pub(crate) gone: Option<(NodeId, Monotonic)>,
    /// How often this epoch's leader was silent for too long, since it last answered.
    pub(crate) silences: u32,
    /// The leader that was given up for its silence, until it is heard again or another one has answered.
    pub(crate) silent_leader: Option<SilentLeader>,
    /// This node lets another campaign first until then.
    pub(crate) hold_off_until: Monotonic,
    /// How many candidacies this node lost since it last heard of a leader.
    pub(crate) elections_lost: u32,
    pub(crate) shutting_down: bool,
    announced: LeaderAndEpoch,
    last_call: u64,
    bug: Option<Bug>,
}

impl<L: ReplicatedLog> Quorum<L> {
    /// A node that starts with what it has on disk: `state` from the `quorum-state` file (the default when
    /// there is none), and its log, from which the driver has loaded the latest snapshot. `voters` are those of
    /// the configuration; they count as long as neither log nor snapshot names any.
    ///
    /// `seed` decides every matter of chance. Call [`Quorum::start`] next.
    pub fn new(
        config: QuorumConfig,
        identity: ReplicaKey,
        voters: VoterSet,
        state: QuorumState,
        log: L,
        seed: u64,
    ) -> Quorum<L> {
        let log_start = log.start_offset();
        let history = VoterHistory::new(voters, snapshot_voters(&log));
        Quorum {
            announced: LeaderAndEpoch { leader: None, epoch: state.epoch },
            config,
            identity,
            voters: history.latest().clone(),
            history,
            membership: None,
            leader_endpoint: None,
            random: Random::new(seed),
            state,
            role: Role::Unattached(Unattached { act_at: None, probe: None }),
            // What a snapshot contains is committed.
            high_watermark: log.latest_snapshot().map(|snapshot| snapshot.offset.min(log.end().offset)),
            flush: FlushState::new(log_start),
            log,
            gone: None,
            silences: 0,
            silent_leader: None,
            hold_off_until: Monotonic(0),
            elections_lost: 0,
            shutting_down: false,
            last_call: 0,
            bug: None,
        }
    }

    /// The same node, in a quorum whose log names the voters, or may do so one day.
    pub fn with_membership(mut self, membership: Membership) -> Quorum<L> {
        self.membership = Some(membership);
        self
    }

    /// The same node, with a mistake that it makes on purpose.
    #[cfg(any(test, feature = "testing"))]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Quorum<L> {
        self.bug = bug;
        self
    }

    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        cfg!(any(test, feature = "testing")) && self.bug == Some(bug)
    }

    /// Begins: a single voter leads at once; who remembers the leader follows it; a voter campaigns soon, an
    /// observer asks around.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn start(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        self.find_voter_sets(now)?;
        let log_epoch = self.log_end().epoch;
        if log_epoch > self.state.epoch {
            // Only the log survived: its epoch was entered all the same.
            self.enter_epoch(log_epoch, None, effects);
        }
        self.flush(effects);
        let remembered = self.state.leader.filter(|&id| id != self.identity.id && self.voters.has_node(id));
        if let Some(leader) = remembered {
            self.become_follower(leader, now, effects);
        } else if self.is_voter() && self.voters.len() == 1 {
            self.become_prospective(now, effects)?;
        } else {
            self.lose_leader(now, effects);
        }
        self.announce(effects);
        Ok(())
    }

    /// Reads the voter sets that are in the log.
    fn find_voter_sets(&mut self, now: Now) -> Result<(), QuorumError> {
        let (mut from, end) = (self.log.start_offset(), self.log.end().offset);
        while from < end {
            let batches = self.log.read(from, self.config.fetch_bytes_max)?;
            let (sets, next) = self.log.voter_sets_in(&batches).map_err(LogError::new)?;
            if next <= from {
                return Err(LogError::new(format!("no batch at {from}")).into());
            }
            for (offset, set) in sets.into_iter().filter(|(offset, _)| *offset >= from) {
                self.history.push(offset, set);
            }
            from = next;
        }
        self.voters_changed(now);
        Ok(())
    }

    /// When to call [`Quorum::handle_timeout`]; `None` while nothing depends on time.
    pub fn deadline(&self) -> Option<Monotonic> {
        let role = self.role.deadline(self.config.fetch_timeout, self.is_voter());
        let change = match &self.role {
            Role::Follower(follower) => self.wanted_change().map(|_| follower.change_at),
            _ => None,
        };
        role.into_iter().chain(change).min()
    }

    /// Hands in that the deadline has come. Harmless when it has not.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_timeout(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        match &self.role {
            Role::Unattached(_) => self.unattached_timeout(now, effects)?,
            Role::Prospective(_) | Role::Candidate(_) => self.election_timeout(now, effects),
            Role::Leader(_) => self.leader_timeout(now, effects)?,
            Role::Follower(_) => self.follower_timeout(now, effects)?,
            Role::Resigned(_) => self.resigned_timeout(now, effects),
        }
        self.announce(effects);
        Ok(())
    }

    /// Hands in a request of a peer, whose cluster and topic the driver has checked. The answer is an
    /// [`Effect::Reply`] with the same id: of this event, or for a fetch of a later one.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_request(
        &mut self,
        id: RequestId,
        request: Request,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let response = match request {
            Request::Vote(request) => Some(Response::Vote(self.handle_vote(&request, now, effects)?)),
            Request::BeginQuorumEpoch(request) => {
                Some(Response::BeginQuorumEpoch(self.handle_begin_quorum_epoch(&request, now, effects)?))
            }
            Request::EndQuorumEpoch(request) => {
                Some(Response::EndQuorumEpoch(self.handle_end_quorum_epoch(&request, now, effects)?))
            }
            Request::Fetch(request) => {
                self.handle_fetch(id, request, now, effects)?;
                None
            }
            Request::AddVoter(request) => {
                self.handle_add_voter(id, request, now, effects);
                None
            }
            Request::RemoveVoter(request) => {
                self.handle_remove_voter(id, &request, now, effects)?;
                None
            }
            Request::UpdateVoter(request) => {
                Some(Response::UpdateVoter(self.handle_update_voter(request, now, effects)?))
            }
        };
        if let Some(response) = response {
            effects.push(Effect::Reply { id, response });
        }
        self.announce(effects);
        Ok(())
    }

    /// Hands in the response to an [`Effect::Send`]. One that comes too late, or a second time, changes
    /// nothing but what is known about epochs.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_response(
        &mut self,
        call: CallId,
        response: Response,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        match response {
            Response::Vote(response) => self.handle_vote_response(call, &response, now, effects)?,
            Response::Fetch(response) => self.handle_fetch_response(call, response, now, effects)?,
            Response::UpdateVoter(response) => {
                self.note_introduced(&response);
                self.learn_endpoint(response.leader.leader, response.leader_endpoint.as_ref());
                self.adopt(response.leader, now, effects)?;
            }
            Response::BeginQuorumEpoch(response) => {
                self.learn_endpoint(response.leader.leader, response.leader_endpoint.as_ref());
                self.adopt(response.leader, now, effects)?;
            }
            Response::EndQuorumEpoch(response) => {
                self.end_call_closed(call);
                self.learn_endpoint(response.leader.leader, response.leader_endpoint.as_ref());
                self.adopt(response.leader, now, effects)?;
            }
            // What it led to will be in the log; what was refused is asked again after a while.
            Response::AddVoter(_) | Response::RemoveVoter(_) => {}
        }
        self.announce(effects);
        Ok(())
    }

    /// Hands in that there will be no response, and that this says nothing about the peer: it cannot be
    /// reached, or the driver gave up waiting.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_call_failed(
        &mut self,
        call: CallId,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        match &self.role {
            Role::Unattached(unattached) if unattached.probe.is_some_and(|(_, probe)| probe == call) => {
                self.probe_failed(now);
            }
            Role::Follower(follower) if follower.is_in_flight(call) => self.pause_fetching(now),
            Role::Prospective(_) | Role::Candidate(_) => self.vote_call_failed(call, now, effects)?,
            Role::Resigned(_) => self.end_call_closed(call),
            Role::Unattached(_) | Role::Follower(_) | Role::Leader(_) => {}
        }
        self.announce(effects);
        Ok(())
    }

    /// Hands in that this node's connection to `peer` stands. One that was taken for gone may be asked again.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_connected(&mut self, peer: NodeId, _: Now, _: &mut Effects) -> Result<(), QuorumError> {
        if self.gone.is_some_and(|(gone, _)| gone == peer) {
            self.gone = None;
        }
        if let Role::Follower(follower) = &mut self.role
            && follower.leader == peer
        {
            follower.is_connected = true;
        }
        Ok(())
    }

    /// Hands in that this node's connection to `peer` was closed by the other side; calls that were
    /// outstanding on it are lost. A follower dials its leader again, at once, and 5 ms later each time.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_connection_closed(
        &mut self,
        peer: NodeId,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        match &mut self.role {
            Role::Follower(follower) if follower.leader == peer => {
                follower.is_connected = false;
                let pause = Duration::from_millis(5) * follower.closes.min(10);
                follower.closes = follower.closes.saturating_add(1);
                if matches!(follower.fetching, crate::role::follower::Fetching::InFlight { .. }) {
                    self.pause_fetching_until(now.monotonic + pause, now.monotonic);
                    self.follower_timeout(now, effects)?;
                }
            }
            _ => self.peer_failed(peer, now, effects)?,
        }
        self.announce(effects);
        Ok(())
    }

    /// Hands in that `peer`'s endpoint refuses connections: nobody listens there. A follower whose leader
    /// this is forgets it and campaigns within 10 ms.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_connection_refused(
        &mut self,
        peer: NodeId,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        if self.leader() == Some(peer) {
            self.take_for_gone(peer, now);
            self.lose_leader(now, effects);
        } else {
            self.peer_failed(peer, now, effects)?;
        }
        self.announce(effects);
        Ok(())
    }

    /// Whatever was asked of `peer`, other than a fetch of the leader, is not answered.
    fn peer_failed(&mut self, peer: NodeId, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        match &mut self.role {
            Role::Unattached(unattached) if unattached.probe.is_some_and(|(asked, _)| asked == peer) => {
                self.probe_failed(now);
            }
            Role::Prospective(election) | Role::Candidate(election) => {
                election.waiting.remove(&peer);
                self.count_votes(now, effects)?;
            }
            Role::Resigned(resigned) => {
                resigned.waiting.remove(&peer);
            }
            Role::Unattached(_) | Role::Follower(_) | Role::Leader(_) => {}
        }
        Ok(())
    }

    /// Says once when the leader or the epoch is another than was said last.
    pub(crate) fn announce(&mut self, effects: &mut Effects) {
        let known = self.leader_and_epoch();
        if known != self.announced {
            self.announced = known;
            effects.push(Effect::LeaderChanged { leader: known.leader, epoch: known.epoch });
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, request: Request, effects: &mut Effects) -> CallId {
        let call = self.next_call();
        effects.push(Effect::Send { to, call, request });
        call
    }

    pub(crate) fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    /// Raises the high watermark, if that is a rise, and says so. HW-1 holds by construction.
    pub(crate) fn raise_high_watermark(&mut self, committed: Offset, effects: &mut Effects) -> bool {
        assert!(committed <= self.log.end().offset, "LOG-3: what is committed is in the log");
        let is_rise = committed.is_some() && self.high_watermark.is_none_or(|known| known < committed);
        if is_rise {
            self.high_watermark = Some(committed);
            effects.push(Effect::HighWatermark(committed));
        }
        is_rise
    }

    /// The log's end, as candidates compare it: the epoch of an empty log is 0.
    pub(crate) fn log_end(&self) -> OffsetAndEpoch {
        let end = self.log.end();
        OffsetAndEpoch { epoch: end.epoch.max(LeaderEpoch(0)), offset: end.offset }
    }

    /// The leader, as far as this node knows and believes in it.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.identity.id),
            Role::Follower(follower) => Some(follower.leader),
            _ => None,
        }
    }

    /// The epoch, and its leader as [`Quorum::leader`] says.
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        LeaderAndEpoch { leader: self.leader(), epoch: self.state.epoch }
    }

    /// The leader that this node gave up for its silence, if nothing was heard of it or of another leader since: whoever leads
    /// next knows from it whom to look after.
    pub fn silent_leader(&self) -> Option<SilentLeader> {
        self.silent_leader
    }

    /// A message of a peer has come.
    pub(crate) fn is_heard(&mut self, peer: NodeId) {
        self.silent_leader.take_if(|silent| silent.id == peer);
    }

    /// The epoch that this node is in.
    pub fn epoch(&self) -> LeaderEpoch {
        self.state.epoch
    }

    /// What this node is within its epoch.
    pub fn role(&self) -> RoleName {
        self.role.name()
    }

    /// This node.
    pub fn identity(&self) -> ReplicaKey {
        self.identity
    }

    /// The voters: the last set in the log, committed or not; those of the configuration where it has none.
    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// The voters that a snapshot names which ends at `end`; `None` where the configuration names them.
    pub fn voters_before(&self, end: Offset) -> Option<&VoterSet> {
        self.history.before(end)
    }

    /// The kraft.version: 1 when the log names the voters, otherwise 0.
    pub fn kraft_version(&self) -> i16 {
        i16::from(self.history.is_dynamic())
    }

    /// Returns whether this node is one of them.
    pub fn is_voter(&self) -> bool {
        self.voters.has(self.identity)
    }

    /// Returns whether this node campaigns when there is no leader.
    pub(crate) fn may_campaign(&self) -> bool {
        self.is_voter() || self.history.may_lead(self.identity, self.high_watermark)
    }

    /// The offset before which everything is committed; `None` until this node has learned one.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The offset before which everything is on this node's disk.
    pub fn durable_end(&self) -> Offset {
        self.flush.durable_end
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The log, for what does not concern the quorum: reading, snapshots, removing what a snapshot contains.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// What is, or is about to be, in the `quorum-state` file.
    pub fn state(&self) -> &QuorumState {
        &self.state
    }
}

/// The voters that the latest snapshot names, or that the node was formatted with, and where that ends.
pub(crate) fn snapshot_voters(log: &impl ReplicatedLog) -> Option<(Offset, VoterSet)> {
    let end = log.latest_snapshot().map_or(Offset::ZERO, |snapshot| snapshot.offset);
    log.snapshot_voters().map(|set| (end, set))
}
