//! A node that leads: it knows how far everyone is, and holds their fetches until there is news.

use crate::effects::{Effect, Effects, RequestId};
use crate::error::{AppendError, ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{BeginQuorumEpochRequest, EpochResponse, FetchRequest, Request};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::transition::is_plausible;
use crate::voters::ReplicaKey;
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
    /// Since when this node leads.
    since: Monotonic,
}

/// How far a replica is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The end of its log, once that is known to agree with the leader's. A voter has it on disk.
    pub(crate) end: Option<Offset>,
    /// When it fetched last.
    pub(crate) fetched: Option<Now>,
    /// The leader's log end when it fetched last.
    leader_end: Offset,
    /// The latest moment of which it had everything.
    pub(crate) caught_up: Option<Timestamp>,
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
    pub(crate) fn new(
        epoch: LeaderEpoch,
        epoch_start: Offset,
        voters: impl IntoIterator<Item = ReplicaKey>,
        now: Monotonic,
    ) -> Leader {
        let fresh = Progress { begin_at: now, begin_pause: BEGIN_PAUSE_MIN, ..Progress::default() };
        Leader {
            epoch,
            epoch_start,
            voters: voters.into_iter().map(|voter| (voter.id, fresh.clone())).collect(),
            observers: BTreeMap::new(),
            parked: Vec::new(),
            since: now,
        }
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

    /// The offset that a majority of `voters_count` voters has on disk, this node having `own_end`.
    pub(crate) fn majority_end(&self, own_end: Offset) -> Offset {
        let mut ends: Vec<Offset> =
            self.voters.values().map(|progress| progress.end.unwrap_or(Offset::UNKNOWN)).collect();
        ends.push(own_end);
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends[ends.len() / 2]
    }

    /// When a majority, this node included, will have been silent for `timeout`; `None` when this node is
    /// one by itself.
    fn silent_majority_at(&self, timeout: Duration) -> Option<Monotonic> {
        let last = |progress: &Progress| progress.fetched.map_or(self.since, |now| now.monotonic);
        let mut contacts: Vec<Monotonic> = self.voters.values().map(last).collect();
        contacts.sort_unstable_by(|a, b| b.cmp(a));
        let others_needed = contacts.len().div_ceil(2);
        others_needed.checked_sub(1).map(|index| contacts[index] + timeout)
    }

    fn resign_at(&self, fetch_timeout: Duration) -> Option<Monotonic> {
        self.silent_majority_at(fetch_timeout + fetch_timeout / 2)
    }

    pub(crate) fn deadline_with(&self, fetch_timeout: Duration) -> Option<Monotonic> {
        let begin = self.voters.values().map(|progress| progress.begin_at);
        let parked = self.parked.iter().map(|parked| parked.deadline);
        begin.chain(parked).chain(self.resign_at(fetch_timeout)).min()
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
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        if leader.resign_at(self.config.fetch_timeout).is_some_and(|at| at <= now.monotonic) {
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
                leader_endpoint: self.endpoint_of(Some(self.identity.id)),
            };
            self.send(id, Request::BeginQuorumEpoch(request), effects);
        }
    }

    /// Raises the high watermark to what a majority has on disk. An entry of an earlier epoch is never
    /// counted by itself: it could still be overwritten (Raft, 5.4.2).
    pub(crate) fn advance_high_watermark(&mut self, effects: &mut Effects) -> Result<(), QuorumError> {
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        let committed = leader.majority_end(self.flush.durable_end);
        let is_of_this_epoch = committed > leader.epoch_start;
        if !is_of_this_epoch && !self.has_bug(crate::bug::Bug::CommitOfEarlierEpoch) {
            return Ok(());
        }
        if self.raise_high_watermark(committed, effects) {
            self.answer_parked(effects)?;
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
        if !is_plausible(request.epoch) || !self.voters.has_node(leader) || leader == self.identity.id {
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
        if request.epoch > self.state.epoch {
            self.enter_epoch(request.epoch, Some(leader), effects);
        }
        if self.leader() != Some(leader) {
            self.gone = None;
            self.become_follower(leader, now, effects);
        }
        Ok(self.epoch_response(ErrorCode::None))
    }

    pub(crate) fn endpoint_of(&self, leader: Option<NodeId>) -> Option<crate::voters::Endpoint> {
        leader.and_then(|id| self.voters.voter(id)).map(|voter| voter.endpoint.clone())
    }

    pub(crate) fn epoch_response(&self, error: ErrorCode) -> EpochResponse {
        let leader = self.leader_and_epoch();
        EpochResponse { error, leader, leader_endpoint: self.endpoint_of(leader.leader) }
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
