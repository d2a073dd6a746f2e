//! A node that leads: it knows how far everyone is, and holds their fetches until there is news.

use crate::change::PendingChange;
use crate::effects::{Effect, Effects, RequestId};
use crate::error::{AppendError, ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{BeginQuorumEpochRequest, EpochResponse, FetchRequest, Request};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::transition::is_plausible;
use crate::voters::{ReplicaKey, Voter};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Now, Offset, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// An observer that has not fetched for this long is forgotten (Kafka's `OBSERVER_SESSION_TIMEOUT_MS`).
const OBSERVER_SESSION: Duration = Duration::from_secs(300);
/// The most observers remembered, and with the voters the most fetches held.
pub(crate) const OBSERVERS_MAX: usize = 10_000;
/// The first pause before a voter that has not answered is told again who leads; doubles each time.
const BEGIN_PAUSE_MIN: Duration = Duration::from_millis(100);

/// A node that leads.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) epoch: LeaderEpoch,
    /// The offset of the record that opens the epoch. Nothing is committed before a majority has it.
    pub(crate) epoch_start: Offset,
    /// The other voters.
    pub(crate) voters: BTreeMap<NodeId, Progress>,
    pub(crate) observers: BTreeMap<ReplicaKey, Progress>,
    /// Fetches that wait for news, at most one of a replica.
    pub(crate) parked: Vec<Parked>,
    /// The change of the voter set that somebody waits for.
    pub(crate) change: Option<PendingChange>,
    /// What other voters say of themselves, while the configuration names them.
    pub(crate) introduced: BTreeMap<NodeId, Voter>,
    /// Since when this node leads.
    since: Monotonic,
}

/// How far a replica is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The end of its log, once that is known to agree with the leader's. A voter has it on disk.
    pub(crate) end: Option<Offset>,
    /// Which replica this is. (Voters.)
    key: Option<ReplicaKey>,
    /// When it fetched last.
    pub(crate) fetched: Option<Now>,
    /// The leader's log end when it fetched last.
    leader_end: Offset,
    /// The latest moment of which it had everything.
    pub(crate) caught_up: Option<Timestamp>,
    /// A voter's end counts only beyond this offset, of the record that made it a voter: before that it may not
    /// know, and fetch on without a sync. (Voters.)
    counts_after: Offset,
    /// When to tell it again who leads, unless it fetches. (Voters.)
    begin_at: Monotonic,
    begin_pause: Duration,
}

/// A fetch that waits for news.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    pub(crate) id: RequestId,
    pub(crate) request: FetchRequest,
    pub(crate) deadline: Monotonic,
}

impl Leader {
    pub(crate) fn new(epoch: LeaderEpoch, epoch_start: Offset, now: Monotonic) -> Leader {
        Leader {
            epoch,
            epoch_start,
            voters: BTreeMap::new(),
            observers: BTreeMap::new(),
            parked: Vec::new(),
            change: None,
            introduced: BTreeMap::new(),
            since: now,
        }
    }

    /// Takes these for the other voters, each with the offset of the record that made it one. What is known of
    /// replicas that come and go stays known; so it does when the log names a directory that the configuration did not.
    pub(crate) fn set_voters(
        &mut self,
        voters: impl IntoIterator<Item = (ReplicaKey, Option<Offset>)>,
        now: Monotonic,
    ) {
        let mut before = std::mem::take(&mut self.voters);
        for (key, since) in voters {
            let is_same = |known: &Progress| known.key.is_some_and(|known| known.matches(key));
            let known = before.remove(&key.id).filter(is_same);
            let was_observer = || self.observers.remove(&key);
            let progress = known.or_else(was_observer).unwrap_or_default();
            let counts_after = since.unwrap_or(Offset::UNKNOWN);
            let is_told = progress.begin_pause > Duration::ZERO;
            let begin_at = if is_told { progress.begin_at } else { now };
            let begin_pause = progress.begin_pause.max(BEGIN_PAUSE_MIN);
            let voter = Progress { key: Some(key), counts_after, begin_at, begin_pause, ..progress };
            self.voters.insert(key.id, voter);
        }
        for progress in before.into_values() {
            if let Some(key) = progress.key {
                self.observers.insert(key, progress);
            }
        }
    }

    /// Whether this observer has had everything once, and fetched within this time.
    pub(crate) fn is_caught_up(&self, key: ReplicaKey, within: Duration, now: Monotonic) -> bool {
        self.observers.get(&key).is_some_and(|progress| {
            let is_recent = progress.fetched.is_some_and(|fetched| now - fetched.monotonic < within);
            progress.caught_up.is_some() && is_recent
        })
    }

    pub(crate) fn end_of(&self, voter: NodeId) -> Option<Offset> {
        self.voters.get(&voter).and_then(|progress| progress.end)
    }

    /// Notes that a replica fetched, and, when its log agrees with the leader's, how far it is.
    pub(crate) fn note_fetch(
        &mut self,
        replica: ReplicaKey,
        is_voter: bool,
        end: Option<Offset>,
        leader_end: Offset,
        now: Now,
    ) {
        let progress = if is_voter {
            self.voters.get_mut(&replica.id)
        } else {
            self.forget_silent_observers(now.monotonic);
            let has_room = self.observers.len() < OBSERVERS_MAX;
            (has_room || self.observers.contains_key(&replica))
                .then(|| self.observers.entry(replica).or_default())
        };
        if let Some(progress) = progress {
            progress.note_fetch(end, leader_end, now);
        }
    }

    fn forget_silent_observers(&mut self, now: Monotonic) {
        if self.observers.len() < 2 {
            return;
        }
        self.observers.retain(|_, progress| {
            progress.fetched.is_some_and(|fetched| now - fetched.monotonic < OBSERVER_SESSION)
        });
    }

    /// The offset that a majority of these voters has on disk; `own_end` is this node's, if it is one of them.
    /// `believes_observers`: counts also what was fetched by who may not know yet that it votes.
    pub(crate) fn majority_end(
        &self,
        voters: &[ReplicaKey],
        own_end: Option<Offset>,
        believes_observers: bool,
    ) -> Offset {
        let end = |voter: &ReplicaKey| {
            let progress = self.voters.get(&voter.id)?;
            progress.end.filter(|&end| end > progress.counts_after || believes_observers)
        };
        let mut ends: Vec<Offset> = voters.iter().map(|v| end(v).unwrap_or(Offset::UNKNOWN)).collect();
        ends.extend(own_end);
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(ends.len() / 2).copied().unwrap_or(Offset::UNKNOWN)
    }

    /// When a majority will have been silent for `timeout`; `None` when this node is one by itself.
    fn silent_majority_at(&self, timeout: Duration, is_voter: bool) -> Option<Monotonic> {
        let last = |progress: &Progress| progress.fetched.map_or(self.since, |now| now.monotonic);
        let mut contacts: Vec<Monotonic> = self.voters.values().map(last).collect();
        contacts.sort_unstable_by(|a, b| b.cmp(a));
        // A leader that has removed itself does not count.
        let others_needed =
            if is_voter { contacts.len().div_ceil(2) } else { contacts.len() / 2 + 1 }.min(contacts.len());
        others_needed.checked_sub(1).map(|index| contacts[index] + timeout)
    }

    fn resign_at(&self, fetch_timeout: Duration, is_voter: bool) -> Option<Monotonic> {
        self.silent_majority_at(fetch_timeout + fetch_timeout / 2, is_voter)
    }

    pub(crate) fn deadline_with(&self, fetch_timeout: Duration, is_voter: bool) -> Option<Monotonic> {
        let begin = self.voters.values().map(|progress| progress.begin_at);
        let parked = self.parked.iter().map(|parked| parked.deadline);
        let change = self.change.iter().map(|change| change.deadline);
        begin.chain(parked).chain(self.resign_at(fetch_timeout, is_voter)).chain(change).min()
    }
}

impl Progress {
    fn note_fetch(&mut self, end: Option<Offset>, leader_end: Offset, now: Now) {
        if let Some(end) = end {
            if end >= leader_end {
                self.caught_up = Some(now.wall);
            } else if end >= self.leader_end {
                self.caught_up = self.fetched.map(|fetched| fetched.wall).or(self.caught_up);
            }
            self.end = Some(end);
            self.leader_end = leader_end;
        }
        self.fetched = Some(now);
    }
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Appends encoded records as one atomic batch, and returns the log's end after it: they are committed
    /// once the high watermark has reached it.
    ///
    /// # Errors
    /// When this node does not lead in `epoch`; when the log fails, which is fatal.
    ///
    /// # Panics
    /// When there are no records.
    pub fn append(
        &mut self,
        epoch: LeaderEpoch,
        records: &[Bytes],
        now: Now,
        effects: &mut Effects,
    ) -> Result<Offset, AppendError> {
        assert!(!records.is_empty(), "a batch has records");
        if !matches!(&self.role, Role::Leader(leader) if leader.epoch == epoch) {
            return Err(AppendError::NotLeader(epoch));
        }
        let end = self.log.append_records(epoch, records, now)?;
        self.flush(effects);
        match self.answer_parked(effects) {
            Ok(()) => Ok(end),
            Err(QuorumError::Log(error)) => Err(AppendError::Log(error)),
            Err(QuorumError::TruncationBelowHighWatermark { .. }) => {
                unreachable!("a leader truncates nothing")
            }
        }
    }

    pub(crate) fn leader_timeout(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        self.expire_change(now, effects);
        let is_voter = self.is_voter();
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        if leader.resign_at(self.config.fetch_timeout, is_voter).is_some_and(|at| at <= now.monotonic) {
            self.become_resigned(now, effects);
            return Ok(());
        }
        self.tell_voters_who_leads(now, effects);
        self.answer_parked_in_vain(now, effects)
    }

    /// Sends BeginQuorumEpoch to the voters that have not fetched for a while.
    pub(crate) fn tell_voters_who_leads(&mut self, now: Now, effects: &mut Effects) {
        let quiet = self.config.fetch_timeout / 2;
        let Role::Leader(leader) = &mut self.role else { return };
        let mut untold = Vec::new();
        for (&id, progress) in leader.voters.iter_mut().filter(|(_, p)| p.begin_at <= now.monotonic) {
            let heard = progress.fetched.map(|fetched| fetched.monotonic);
            if let Some(heard) = heard.filter(|&heard| now.monotonic - heard < quiet) {
                progress.begin_at = heard + quiet;
                continue;
            }
            progress.begin_at = now.monotonic + progress.begin_pause;
            progress.begin_pause = (progress.begin_pause * 2).min(quiet.max(BEGIN_PAUSE_MIN));
            untold.push(id);
        }
        for id in untold {
            let Some(voter) = self.voters.voter(id).map(|voter| voter.key) else { continue };
            let request = BeginQuorumEpochRequest {
                voter,
                leader: self.identity.id,
                epoch: self.state.epoch,
                leader_endpoint: self.leader_endpoint_of(Some(self.identity.id)),
            };
            self.send(id, Request::BeginQuorumEpoch(request), effects);
        }
    }

    /// Raises the high watermark to what a majority has on disk. An entry of an earlier epoch is never
    /// counted by itself: it could still be overwritten (Raft, 5.4.2).
    ///
    /// Whose disks count is what the last voter set in the log says. A leader that has removed itself from it
    /// does not count itself, and resigns once that is committed.
    pub(crate) fn advance_high_watermark(
        &mut self,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        let before = self.high_watermark.and_then(|mark| self.history.before(mark));
        let voters = match before {
            Some(old) if self.has_bug(crate::bug::Bug::OldSetCommits) => old,
            _ => &self.voters,
        };
        let own_end = voters.has(self.identity).then_some(self.flush.durable_end);
        let believes_observers = self.has_bug(crate::bug::Bug::ObserverAcknowledges);
        let others = voters.others(self.identity.id);
        let committed = leader.majority_end(&others, own_end, believes_observers);
        let is_of_this_epoch = committed > leader.epoch_start;
        if !is_of_this_epoch && !self.has_bug(crate::bug::Bug::CommitOfEarlierEpoch) {
            return Ok(());
        }
        if self.raise_high_watermark(committed, effects) {
            self.answer_parked(effects)?;
            self.finish_change(now, effects);
        }
        Ok(())
    }

    /// A leader announces itself.
    pub(crate) fn handle_begin_quorum_epoch(
        &mut self,
        request: &BeginQuorumEpochRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<EpochResponse, QuorumError> {
        let leader = request.leader;
        let said = self.leader_endpoint.clone();
        self.learn_endpoint(leader.some(), request.leader_endpoint.as_ref());
        if !is_plausible(request.epoch) || !self.is_possible_leader(leader) || leader == self.identity.id {
            self.leader_endpoint = said;
            return Ok(self.epoch_response(ErrorCode::InvalidRequest));
        }
        if !self.is_meant_for_us(request.voter) {
            return Ok(self.epoch_response(ErrorCode::InvalidVoterKey));
        }
        if request.epoch < self.state.epoch {
            return Ok(self.epoch_response(ErrorCode::FencedLeaderEpoch));
        }
        if request.epoch == self.state.epoch && self.state.leader.is_some_and(|known| known != leader) {
            return Ok(self.epoch_response(ErrorCode::InvalidRequest));
        }
        self.is_heard(leader);
        let is_later = request.epoch > self.state.epoch;
        if is_later {
            self.enter_epoch(request.epoch, Some(leader), effects);
        }
        // A leader that was elected again is followed anew: what was under way belongs to its epoch before.
        if is_later || self.leader() != Some(leader) {
            self.gone = None;
            self.become_follower(leader, now, effects);
        }
        Ok(self.epoch_response(ErrorCode::None))
    }

    pub(crate) fn leader_endpoint_of(&self, leader: Option<NodeId>) -> Option<crate::voters::Endpoint> {
        leader.and_then(|id| self.endpoint_of(id))
    }

    pub(crate) fn epoch_response(&self, error: ErrorCode) -> EpochResponse {
        let leader = self.leader_and_epoch();
        EpochResponse { error, leader, leader_endpoint: self.leader_endpoint_of(leader.leader) }
    }

    /// Answers a held fetch that is superseded by another of the same replica.
    pub(crate) fn release_superseded(&mut self, replica: ReplicaKey, effects: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        let superseded = leader.parked.iter().position(|parked| parked.request.replica == replica);
        if let Some(parked) = superseded.map(|index| leader.parked.swap_remove(index)) {
            let response = self.fetch_response(ErrorCode::None);
            effects.push(Effect::Reply { id: parked.id, response: crate::Response::Fetch(response) });
        }
    }
}
