//! The leader's side of replication: what a fetch is answered.

use crate::effects::{Effect, Effects, RequestId};
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{FetchRequest, FetchResponse, Response};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::role::leader::{OBSERVERS_MAX, Parked};
use bytes::Bytes;
use ottla_types::{LeaderEpoch, Now, Offset, OffsetAndEpoch};

/// How a follower's log stands to the leader's.
enum Standing {
    /// What the follower has, the leader has too.
    Agrees,
    /// They part, at this end of an epoch at the latest.
    Diverges(OffsetAndEpoch),
    /// The leader no longer has what comes next; this snapshot contains it.
    NeedsSnapshot(OffsetAndEpoch),
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Answers a fetch, now or, when there is nothing to say, later.
    pub(crate) fn handle_fetch(
        &mut self,
        id: RequestId,
        request: FetchRequest,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let error = self.fetch_error(&request);
        if error != ErrorCode::None {
            self.reply_fetch(id, self.fetch_response(error), effects);
            return Ok(());
        }
        let standing = self.standing(request.fetch_offset, request.last_fetched_epoch);
        let end = matches!(standing, Standing::Agrees).then_some(request.fetch_offset);
        self.note_fetch(&request, end, now, effects)?;
        let response = self.fetch_response(ErrorCode::None);
        match standing {
            Standing::Diverges(end) => {
                self.reply_fetch(id, FetchResponse { diverging: Some(end), ..response }, effects);
                Ok(())
            }
            Standing::NeedsSnapshot(snapshot) => {
                self.reply_fetch(id, FetchResponse { snapshot: Some(snapshot), ..response }, effects);
                Ok(())
            }
            Standing::Agrees => {
                if self.has_news_for(&request) || !self.may_park(&request) {
                    return self.answer_fetch(id, &request, effects);
                }
                self.park(id, request, now);
                Ok(())
            }
        }
    }

    fn fetch_error(&self, request: &FetchRequest) -> ErrorCode {
        if request.fetch_offset < Offset::ZERO || request.last_fetched_epoch < LeaderEpoch(0) {
            return ErrorCode::InvalidRequest;
        }
        if request.epoch < self.state.epoch {
            return ErrorCode::FencedLeaderEpoch;
        }
        if request.epoch > self.state.epoch {
            return ErrorCode::UnknownLeaderEpoch;
        }
        if !matches!(self.role, Role::Leader(_)) {
            return ErrorCode::NotLeaderOrFollower;
        }
        ErrorCode::None
    }

    fn standing(&self, offset: Offset, epoch: LeaderEpoch) -> Standing {
        let start = self.log.start_offset();
        if let Some(snapshot) = self.log.latest_snapshot() {
            let needs_it = offset < start || (offset == Offset::ZERO && snapshot.offset > Offset::ZERO);
            if needs_it {
                return Standing::NeedsSnapshot(snapshot);
            }
        }
        let end = self.log.end_offset_for_epoch(epoch);
        if end.epoch != epoch || end.offset < offset { Standing::Diverges(end) } else { Standing::Agrees }
    }

    /// Notes how far the fetching replica is: for a voter that is a vote on what is committed.
    fn note_fetch(
        &mut self,
        request: &FetchRequest,
        end: Option<Offset>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        if !request.replica.id.is_some() || request.replica.id == self.identity.id {
            return Ok(());
        }
        self.release_superseded(request.replica, effects);
        let is_voter = self.voters.has(request.replica);
        let leader_end = self.log.end().offset;
        if let Role::Leader(leader) = &mut self.role {
            leader.note_fetch(request.replica, is_voter, end, leader_end, now);
        }
        if is_voter { self.advance_high_watermark(effects) } else { Ok(()) }
    }

    /// At most one fetch of each replica waits, of a reader that is no replica none.
    fn may_park(&self, request: &FetchRequest) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        !request.max_wait.is_zero() && request.replica.id.is_some() && leader.parked.len() < OBSERVERS_MAX
    }

    fn park(&mut self, id: RequestId, request: FetchRequest, now: Now) {
        let deadline = now.monotonic + request.max_wait.min(self.config.fetch_timeout);
        if let Role::Leader(leader) = &mut self.role {
            leader.parked.push(Parked { id, request, deadline });
        }
    }

    fn has_news_for(&self, request: &FetchRequest) -> bool {
        let has_records = request.fetch_offset < self.log.end().offset;
        has_records || self.high_watermark.is_some_and(|known| request.high_watermark < known)
    }

    /// Answers the held fetches for which there is news.
    pub(crate) fn answer_parked(&mut self, effects: &mut Effects) -> Result<(), QuorumError> {
        self.answer_parked_if(|quorum, parked| quorum.has_news_for(&parked.request), effects)
    }

    /// Answers the held fetches whose time is up.
    pub(crate) fn answer_parked_in_vain(
        &mut self,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        self.answer_parked_if(|_, parked| parked.deadline <= now.monotonic, effects)
    }

    fn answer_parked_if(
        &mut self,
        is_due: impl Fn(&Self, &Parked) -> bool,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let Role::Leader(leader) = &mut self.role else { return Ok(()) };
        let parked = std::mem::take(&mut leader.parked);
        let (due, waiting) = parked.into_iter().partition::<Vec<_>, _>(|parked| is_due(self, parked));
        if let Role::Leader(leader) = &mut self.role {
            leader.parked = waiting;
        }
        due.iter().try_for_each(|parked| self.answer_fetch(parked.id, &parked.request, effects))
    }

    fn answer_fetch(
        &self,
        id: RequestId,
        request: &FetchRequest,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let bytes_max = request.bytes_max.min(self.config.fetch_bytes_max);
        let records = if request.fetch_offset < self.log.end().offset {
            self.log.read(request.fetch_offset, bytes_max)?
        } else {
            Bytes::new()
        };
        self.reply_fetch(id, FetchResponse { records, ..self.fetch_response(ErrorCode::None) }, effects);
        Ok(())
    }

    fn reply_fetch(&self, id: RequestId, response: FetchResponse, effects: &mut Effects) {
        effects.push(Effect::Reply { id, response: Response::Fetch(response) });
    }

    /// A response that brings nothing.
    pub(crate) fn fetch_response(&self, error: ErrorCode) -> FetchResponse {
        let leader = self.leader_and_epoch();
        let known = self.high_watermark.filter(|_| error == ErrorCode::None);
        FetchResponse {
            error,
            leader,
            leader_endpoint: self.endpoint_of(leader.leader),
            high_watermark: known.unwrap_or(Offset::UNKNOWN),
            log_start_offset: self.log.start_offset(),
            diverging: None,
            snapshot: None,
            records: Bytes::new(),
        }
    }
}
