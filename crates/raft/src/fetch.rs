//! The leader's side of replication: what a fetch is answered.

use crate::effects::{Effect, Effects, RequestId};
use crate::error::{ErrorCode, QuorumError};
use crate::log::ReplicatedLog;
use crate::message::{FetchRequest, FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, Response};
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
        self.is_heard(request.replica.id);
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
        let has_sound_epoch = (LeaderEpoch(0)..=request.epoch).contains(&request.last_fetched_epoch);
        if request.fetch_offset < Offset::ZERO || !has_sound_epoch {
            return ErrorCode::InvalidRequest;
        }
        self.epoch_error(request.epoch)
    }

    /// What is wrong with a request that only the leader of `epoch` answers.
    pub(crate) fn epoch_error(&self, epoch: LeaderEpoch) -> ErrorCode {
        if epoch < self.state.epoch {
            return ErrorCode::FencedLeaderEpoch;
        }
        if epoch > self.state.epoch {
            return ErrorCode::UnknownLeaderEpoch;
        }
        if !matches!(self.role, Role::Leader(_)) {
            return ErrorCode::NotLeaderOrFollower;
        }
        ErrorCode::None
    }

    /// Hands in that a replica asks for a piece of a snapshot, which is a sign of life of it. Returns the answer
    /// without the piece: with an error where this node does not lead in that epoch. Who leads and where it
    /// listens is in it either way.
    pub fn handle_fetch_snapshot(
        &mut self,
        request: &FetchSnapshotRequest,
        now: Now,
    ) -> FetchSnapshotResponse {
        let error = self.epoch_error(request.epoch);
        let leader = self.leader_and_epoch();
        let endpoint = self.leader_endpoint_of(leader.leader);
        let replica = request.replica;
        let leader_end = self.log.end().offset;
        let is_voter = self.voters.has(replica);
        if error == ErrorCode::None
            && replica.id.is_some()
            && replica.id != self.identity.id
            && let Role::Leader(leader) = &mut self.role
        {
            leader.note_fetch(replica, is_voter, None, leader_end, now);
        }
        let id = request.id;
        FetchSnapshotResponse { id, ..FetchSnapshotResponse::failed(error, leader, endpoint) }
    }

    fn standing(&self, offset: Offset, epoch: LeaderEpoch) -> Standing {
        let start = self.log.start_offset();
        if let Some(snapshot) = self.log.latest_snapshot() {
            let is_new = offset == Offset::ZERO && snapshot.offset > Offset::ZERO;
            // At the very start the epoch before it is known only if that is where the snapshot ends.
            let is_unsure =
                offset == start && start > Offset::ZERO && snapshot != OffsetAndEpoch { epoch, offset };
            if is_new || offset < start || is_unsure {
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
        if is_voter { self.advance_high_watermark(now, effects) } else { Ok(()) }
    }

    /// At most one fetch of each replica waits, and of readers that are no replicas as many as there is room for.
    fn may_park(&self, request: &FetchRequest) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        !request.max_wait.is_zero() && leader.parked.len() < OBSERVERS_MAX
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
            leader_endpoint: self.leader_endpoint_of(leader.leader),
            high_watermark: known.unwrap_or(Offset::UNKNOWN),
            log_start_offset: self.log.start_offset(),
            diverging: None,
            snapshot: None,
            records: Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ReplicatedLog;
    use crate::testing::MemoryLog;
    use crate::testing::fixture::{self, Fixture, fetch_from};
    use ottla_types::NodeId;
    use std::time::Duration;

    const E1: LeaderEpoch = LeaderEpoch(1);

    #[test]
    fn a_fetch_with_nothing_new_waits_for_records_or_its_time() {
        let mut leader = Fixture::leader();
        let end = leader.quorum.log().end().offset;
        leader.answer_to(fetch_from(2, end, E1));

        let waiting = leader.answers();
        leader.append(2);
        let woken = leader.answers();

        assert_eq!(waiting, []);
        let [Response::Fetch(response)] = woken.as_slice() else { panic!("{woken:?}") };
        assert_eq!(response.error, ErrorCode::None);
        assert!(!response.records.is_empty());

        let end = leader.quorum.log().end().offset;
        leader.answer_to(fetch_from(101, end, E1));
        leader.answer_to(fetch_from(102, end, E1));
        assert_eq!(leader.answers(), []);
        leader.pass(Duration::from_millis(150));
        assert_eq!(leader.answers().len(), 2, "both have waited long enough");
    }

    /// People's tools follow the log so; answered at once they would ask again at once.
    #[test]
    fn readers_that_are_no_replicas_wait_too_each_for_itself() {
        let mut leader = Fixture::leader();
        let end = leader.quorum.log().end().offset;
        let reader = || FetchRequest { high_watermark: Offset::MAX, ..fetch_from(-1, end, E1) };
        leader.answer_to(reader());
        leader.answer_to(reader());
        assert_eq!(leader.answers(), []);

        leader.append(1);

        assert_eq!(leader.answers().len(), 2);
    }

    #[test]
    fn a_raised_high_watermark_wakes_who_does_not_know_it_and_no_one_else() {
        let mut leader = Fixture::leader();
        leader.append(1);
        leader.flush();
        let end = leader.quorum.log().end().offset;
        let old_client = FetchRequest { high_watermark: Offset::MAX, ..fetch_from(101, end, E1) };
        leader.answer_to(old_client);
        leader.answer_to(fetch_from(102, end, E1));
        assert_eq!(leader.answers(), []);

        leader.answer_to(fetch_from(2, end, E1));

        let answers = leader.answers();
        let marks: Vec<Offset> = answers.iter().map(fixture::high_watermark).collect();
        assert_eq!(marks, [end, end], "102, and 2 itself");
    }

    #[test]
    fn a_second_fetch_of_a_replica_releases_its_first() {
        let mut leader = Fixture::leader();
        let end = leader.quorum.log().end().offset;
        leader.answer_to(fetch_from(2, end, E1));
        assert_eq!(leader.answers(), []);

        leader.answer_to(fetch_from(2, end, E1));

        assert_eq!(leader.answers().len(), 1);
    }

    #[test]
    fn nothing_of_an_earlier_epoch_is_committed_before_the_epochs_first_record() {
        let mut log = MemoryLog::default();
        fixture::fill(&mut log, &[(0, 5)]);
        let mut leader = Fixture::leader_with(log);
        leader.flush();

        leader.answer_to(fetch_from(2, Offset(5), LeaderEpoch(0)));
        let before = leader.quorum.high_watermark();
        leader.answer_to(fetch_from(2, Offset(6), E1));

        assert_eq!(before, None);
        assert_eq!(leader.quorum.high_watermark(), Some(Offset(6)));
    }

    #[test]
    fn the_leader_counts_itself_only_as_far_as_it_has_synced() {
        let mut leader = Fixture::leader();
        leader.flush();
        leader.append(3);
        let end = leader.quorum.log().end().offset;

        leader.answer_to(fetch_from(2, end, E1));
        let before = leader.quorum.high_watermark();
        leader.flush();

        assert!(before < Some(end), "{before:?}");
        assert_eq!(leader.quorum.high_watermark(), Some(end));
    }

    #[test]
    fn says_where_logs_part_and_which_snapshot_helps() {
        let snapshot = OffsetAndEpoch { epoch: LeaderEpoch(0), offset: Offset(10) };
        // After the snapshot: the record that opens epoch 1, at 10, and one more.
        let cases = [
            (0, 0, "snapshot"),
            (9, 0, "snapshot"),
            (10, 0, "agrees"),
            (10, 1, "snapshot"),
            (11, 1, "agrees"),
            (12, 1, "agrees"),
            (13, 1, "diverges (1, 12)"),
            (12, 0, "diverges (0, 10)"),
        ];
        for (offset, epoch, expected) in cases {
            let mut leader = Fixture::leader_with(MemoryLog::after_snapshot(snapshot));
            leader.append(1);
            let request = FetchRequest {
                max_wait: Duration::ZERO,
                ..fetch_from(2, Offset(offset), LeaderEpoch(epoch))
            };
            leader.answer_to(request);

            let answers = leader.answers();

            let [Response::Fetch(response)] = answers.as_slice() else { panic!("{answers:?}") };
            let found = match (response.diverging, response.snapshot) {
                (Some(end), None) => format!("diverges ({}, {})", end.epoch, end.offset),
                (None, Some(id)) if id == snapshot => "snapshot".to_owned(),
                (None, None) if response.error == ErrorCode::None => "agrees".to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "fetch from {offset} in epoch {epoch}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_answer() {
        let leader = Fixture::leader;
        let voter = || Fixture::voter(MemoryLog::default());
        let cases = [
            (
                leader(),
                fetch_from(2, Offset(1), LeaderEpoch(0)),
                LeaderEpoch(0),
                ErrorCode::FencedLeaderEpoch,
            ),
            (leader(), fetch_from(2, Offset(1), E1), LeaderEpoch(2), ErrorCode::UnknownLeaderEpoch),
            (leader(), fetch_from(2, Offset(-1), E1), E1, ErrorCode::InvalidRequest),
            (leader(), fetch_from(2, Offset(1), LeaderEpoch::NONE), E1, ErrorCode::InvalidRequest),
            (leader(), fetch_from(2, Offset(1), LeaderEpoch(2)), E1, ErrorCode::InvalidRequest),
            (
                voter(),
                fetch_from(2, Offset(0), LeaderEpoch(0)),
                LeaderEpoch(0),
                ErrorCode::NotLeaderOrFollower,
            ),
        ];
        for (mut node, request, epoch, error) in cases {
            node.answer_to(FetchRequest { epoch, ..request.clone() });

            let answers = node.answers();

            let [Response::Fetch(response)] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!(response.error, error, "{request:?} in {epoch}");
        }
    }

    #[test]
    fn a_piece_of_a_snapshot_is_for_those_of_the_leaders_epoch() {
        let snapshot = OffsetAndEpoch { epoch: LeaderEpoch(0), offset: Offset(10) };
        let cases = [
            (LeaderEpoch(0), ErrorCode::FencedLeaderEpoch),
            (E1, ErrorCode::None),
            (LeaderEpoch(2), ErrorCode::UnknownLeaderEpoch),
        ];
        for (epoch, error) in cases {
            let mut leader = Fixture::leader_with(MemoryLog::after_snapshot(snapshot));
            let request = FetchSnapshotRequest {
                replica: fixture::key(2),
                epoch,
                id: snapshot,
                position: 0,
                bytes_max: 100,
            };
            let now = leader.now();

            let answer = leader.quorum.handle_fetch_snapshot(&request, now);

            assert_eq!((answer.error, answer.id), (error, snapshot), "in {epoch}");
            assert_eq!(answer.leader, leader.quorum.leader_and_epoch());
            let description = leader.quorum.describe(now).unwrap();
            assert_eq!(description.voters[1].last_fetch.0 >= 0, error == ErrorCode::None, "in {epoch}");
        }
    }

    #[test]
    fn describes_who_is_how_far() {
        let mut leader = Fixture::leader();
        leader.flush();
        leader.append(1);
        leader.answer_to(fetch_from(2, Offset(2), E1));
        leader.answer_to(fetch_from(101, Offset(1), E1));

        let description = leader.quorum.describe(leader.now()).unwrap();

        let ends: Vec<i64> = description.voters.iter().map(|voter| voter.log_end_offset.0).collect();
        assert_eq!(ends, [2, 2, -1], "of 1, which leads, of 2 and of 3");
        assert_eq!(description.observers.len(), 1);
        assert_eq!(description.observers[0].key.id, NodeId(101));
        assert_eq!(description.observers[0].log_end_offset, Offset(1));
        assert_eq!(description.voters[1].last_caught_up, leader.now().wall);
    }
}
