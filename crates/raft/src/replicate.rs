//! The follower's side of replication: fetch, append, sync, fetch on.
//!
//! A voter's fetch acknowledges everything before its offset, so it is sent only when that is on disk. An
//! observer acknowledges nothing and fetches on at once.

use crate::bug::Bug;
use crate::effects::{CallId, Effect, Effects};
use crate::error::{ErrorCode, QuorumError};
use crate::log::{AppendFetchedError, ReplicatedLog};
use crate::message::{FetchRequest, FetchResponse, Request};
use crate::quorum::{Quorum, snapshot_voters};
use crate::role::Role;
use crate::role::follower::Fetching;
use crate::transition::is_plausible;
use ottla_types::{LeaderEpoch, Monotonic, Now, Offset, OffsetAndEpoch};
use std::time::Duration;

/// How much longer than the leader may hold it a fetch is waited for before it is sent again.
const ANSWER_TIME: Duration = Duration::from_millis(250);

impl<L: ReplicatedLog> Quorum<L> {
    /// Sends the next fetch, after a sync if this node's fetches acknowledge and something is not on disk.
    pub(crate) fn fetch_on(&mut self, now: Now, effects: &mut Effects) {
        let is_durable = self.flush.durable_end >= self.log.end().offset;
        let may_vote = self.is_voter() || self.membership.as_ref().is_some_and(|membership| membership.syncs);
        let acknowledges = may_vote && !self.has_bug(Bug::AcknowledgementBeforeSync);
        if acknowledges && !is_durable {
            if let Role::Follower(follower) = &mut self.role {
                follower.fetching = Fetching::Flushing;
                follower.waiting_since = None;
            }
            self.flush(effects);
            return;
        }
        let Role::Follower(follower) = &self.role else { return };
        let leader = follower.leader;
        let request = self.fetch_request();
        let call = self.send(leader, request, effects);
        let resend_at = now.monotonic + self.config.fetch_max_wait + ANSWER_TIME;
        if let Role::Follower(follower) = &mut self.role {
            follower.fetching = Fetching::InFlight { call, resend_at };
            follower.waiting_since.get_or_insert(now.monotonic);
        }
        self.flush(effects);
    }

    /// The fetch that continues this node's log.
    pub(crate) fn fetch_request(&self) -> Request {
        let end = self.log_end();
        Request::Fetch(FetchRequest {
            replica: self.identity,
            epoch: self.state.epoch,
            fetch_offset: end.offset,
            last_fetched_epoch: end.epoch,
            high_watermark: self.high_watermark.unwrap_or(Offset::UNKNOWN),
            max_wait: self.config.fetch_max_wait,
            bytes_max: self.config.fetch_bytes_max,
        })
    }

    pub(crate) fn handle_fetch_response(
        &mut self,
        call: CallId,
        response: FetchResponse,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), QuorumError> {
        let was_probe = matches!(&self.role, Role::Unattached(u) if u.probe.is_some_and(|(_, c)| c == call));
        self.learn_endpoint(response.leader.leader, response.leader_endpoint.as_ref());
        if self.adopt(response.leader, now, effects)? {
            return Ok(());
        }
        if was_probe {
            self.probe_failed(now);
            return Ok(());
        }
        let Role::Follower(follower) = &mut self.role else { return Ok(()) };
        if !follower.is_in_flight(call) {
            return Ok(());
        }
        if response.error != ErrorCode::None {
            self.handle_fetch_refused(&response, now, effects);
            return Ok(());
        }
        if let Some(since) = follower.waiting_since.take() {
            follower.silence.heard_after(now.monotonic - since, now.monotonic);
        }
        follower.has_fetched = true;
        follower.is_connected = true;
        follower.closes = 0;
        self.elections_lost = 0;
        self.silences = 0;
        // Whoever was silent before is the affair of the one that leads now.
        self.silent_leader = None;
        if let Some(diverging) = response.diverging {
            self.truncate_to_agree(diverging, now)?;
        } else if let Some(id) = response.snapshot {
            self.ask_for_snapshot(id, now, effects);
            return Ok(());
        } else if !self.append_fetched(&response, now, effects)? {
            self.pause_fetching(now);
            return Ok(());
        }
        self.fetch_on(now, effects);
        Ok(())
    }

    /// The node that this one follows says that it does not lead, or that one of the two is behind.
    fn handle_fetch_refused(&mut self, response: &FetchResponse, now: Now, effects: &mut Effects) {
        let same_epoch = response.leader.epoch == self.state.epoch;
        if response.error == ErrorCode::NotLeaderOrFollower && same_epoch {
            // It has restarted or resigned: its epoch is over.
            if let Some(leader) = self.leader() {
                self.take_for_gone(leader, now);
            }
            self.lose_leader(now, effects);
        } else {
            self.pause_fetching(now);
        }
    }

    /// Appends what came, and takes over the high watermark. False when the leader sent rubbish.
    fn append_fetched(
        &mut self,
        response: &FetchResponse,
        now: Now,
        effects: &mut Effects,
    ) -> Result<bool, QuorumError> {
        if !response.records.is_empty() {
            let Ok((sets, _)) = self.log.voter_sets_in(&response.records) else { return Ok(false) };
            let before = self.log.end().offset;
            let appended = self.log.append_fetched(response.records.clone(), self.state.epoch);
            // Some batches may have been appended before one that is rubbish.
            let after = self.log.end().offset;
            let news: Vec<_> = sets.into_iter().filter(|(at, _)| (before..after).contains(at)).collect();
            if !news.is_empty() {
                news.into_iter().for_each(|(offset, set)| self.history.push(offset, set));
                self.history.forget_before(self.log.start_offset());
                self.voters_changed(now);
            }
            match appended {
                Ok(_) => {}
                Err(AppendFetchedError::Corrupt(_)) => return Ok(false),
                Err(AppendFetchedError::Log(error)) => return Err(error.into()),
            }
        }
        // What this node has agrees with the leader's log, so what of it is committed there is so here.
        let committed = response.high_watermark.min(self.log.end().offset);
        self.raise_high_watermark(committed, effects);
        Ok(true)
    }

    /// Truncates to where this log and the leader's part, or, where this node's epochs are others, to an
    /// earlier place from which to ask again (KIP-320).
    fn truncate_to_agree(&mut self, leaders: OffsetAndEpoch, now: Now) -> Result<(), QuorumError> {
        let ours = self.log.end_offset_for_epoch(leaders.epoch);
        let mut offset =
            if ours.epoch == leaders.epoch { ours.offset.min(leaders.offset) } else { ours.offset };
        let has_bug = self.has_bug(Bug::TruncationBelowHighWatermark);
        if has_bug {
            offset = self.log.end_offset_for_epoch(LeaderEpoch(ours.epoch.0 - 1)).offset.min(offset);
        }
        offset = offset.max(self.log.start_offset());
        if let Some(high_watermark) = self.high_watermark.filter(|&mark| offset < mark && !has_bug) {
            let epoch = self.state.epoch;
            return Err(QuorumError::TruncationBelowHighWatermark { epoch, offset, high_watermark });
        }
        if offset < self.log.end().offset {
            self.log.truncate_to(offset)?;
            let end = self.log.end().offset;
            assert!(
                has_bug || self.high_watermark.is_none_or(|mark| mark <= end),
                "LOG-3: it stays in the log"
            );
            self.flush.truncated_to(end);
            if self.history.truncate_to(end) {
                self.voters_changed(now);
            }
        }
        Ok(())
    }

    fn ask_for_snapshot(&mut self, id: OffsetAndEpoch, now: Now, effects: &mut Effects) {
        let is_sound = is_plausible(id.epoch) && id.offset > self.high_watermark.unwrap_or(Offset::ZERO);
        let Role::Follower(follower) = &mut self.role else { return };
        if !is_sound {
            self.pause_fetching(now);
            return;
        }
        follower.fetching = Fetching::InstallingSnapshot;
        effects.push(Effect::InstallSnapshot { from: follower.leader, id });
    }

    /// Hands in that the snapshot of [`Effect::InstallSnapshot`] is in the log, durably: it starts and ends
    /// where the snapshot does. What the snapshot contains is committed.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_snapshot_installed(&mut self, now: Now, effects: &mut Effects) -> Result<(), QuorumError> {
        self.flush = crate::flush::FlushState::new(self.log.end().offset);
        self.history.restart(snapshot_voters(&self.log));
        self.voters_changed(now);
        self.raise_high_watermark(self.log.start_offset(), effects);
        self.resume_after_snapshot(now, effects);
        Ok(())
    }

    /// Hands in that the snapshot could not be fetched: this node asks the leader again.
    ///
    /// # Errors
    /// As every event: fatal, see [`QuorumError`].
    pub fn handle_snapshot_failed(&mut self, now: Now, _: &mut Effects) -> Result<(), QuorumError> {
        if matches!(&self.role, Role::Follower(f) if f.fetching == Fetching::InstallingSnapshot) {
            self.pause_fetching(now);
        }
        Ok(())
    }

    fn resume_after_snapshot(&mut self, now: Now, effects: &mut Effects) {
        if matches!(&self.role, Role::Follower(f) if f.fetching == Fetching::InstallingSnapshot) {
            self.fetch_on(now, effects);
        }
    }

    /// Fetches again in 10-30 ms. The leader's silence, if it is silent, goes on.
    pub(crate) fn pause_fetching(&mut self, now: Now) {
        let pause = self.random.duration(Duration::from_millis(10), Duration::from_millis(30));
        self.pause_fetching_until(now.monotonic + pause, now.monotonic);
    }

    pub(crate) fn pause_fetching_until(&mut self, until: Monotonic, now: Monotonic) {
        if let Role::Follower(follower) = &mut self.role {
            follower.fetching = Fetching::Paused { until };
            follower.waiting_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QuorumError;
    use crate::message::{BeginQuorumEpochRequest, LeaderAndEpoch, Response, VoteRequest};
    use crate::testing::MemoryLog;
    use crate::testing::fixture::{self, Fixture, key};
    use bytes::Bytes;
    use ottla_types::NodeId;

    const E3: LeaderEpoch = LeaderEpoch(3);

    /// A voter that follows node 2 in epoch 3, its log synced, its first fetch sent.
    fn follower(log: MemoryLog) -> Fixture {
        let mut node = Fixture::voter_in(LeaderEpoch(2), log);
        node.flush();
        node.request(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            voter: key(1),
            leader: NodeId(2),
            epoch: E3,
            leader_endpoint: None,
        }));
        node
    }

    fn response() -> FetchResponse {
        FetchResponse {
            error: ErrorCode::None,
            leader: LeaderAndEpoch { leader: Some(NodeId(2)), epoch: E3 },
            leader_endpoint: None,
            high_watermark: Offset::UNKNOWN,
            log_start_offset: Offset(0),
            diverging: None,
            snapshot: None,
            records: Bytes::new(),
        }
    }

    fn filled(epochs: &[(i32, usize)]) -> MemoryLog {
        let mut log = MemoryLog::default();
        fixture::fill(&mut log, epochs);
        log
    }

    fn answer(node: &mut Fixture, response: FetchResponse) {
        let call = node.last_call().expect("a fetch");
        node.respond(call, Response::Fetch(response));
    }

    fn fetches(effects: &[Effect]) -> Vec<(Offset, LeaderEpoch)> {
        let fetch = |effect: &Effect| match effect {
            Effect::Send { request: Request::Fetch(fetch), .. } => {
                Some((fetch.fetch_offset, fetch.last_fetched_epoch))
            }
            _ => None,
        };
        effects.iter().filter_map(fetch).collect()
    }

    #[test]
    fn a_voter_acknowledges_only_what_it_has_synced() {
        let source = filled(&[(3, 2)]);
        let mut node = follower(MemoryLog::default());

        answer(&mut node, FetchResponse { records: source.read(Offset(0), 1000).unwrap(), ..response() });
        let before = node.effects();
        node.flush();
        let after = node.effects();

        assert!(before.contains(&Effect::Flush { end: Offset(2) }), "{before:?}");
        assert_eq!(fetches(&before), []);
        assert_eq!(fetches(&after), [(Offset(2), E3)]);
    }

    #[test]
    fn truncates_to_where_the_logs_part() {
        // Its own log, where the leader says they part, what is left.
        let cases = [
            (vec![(1, 5)], (1, 3), 3),
            (vec![(1, 3), (2, 4)], (1, 3), 3),
            (vec![(1, 3), (2, 4)], (1, 9), 3),
            (vec![(0, 2), (2, 4)], (1, 5), 2),
            (vec![(2, 4)], (1, 5), 0),
        ];
        for (own, (epoch, offset), left) in cases {
            let mut node = follower(filled(&own));
            let diverging = OffsetAndEpoch { epoch: LeaderEpoch(epoch), offset: Offset(offset) };

            answer(&mut node, FetchResponse { diverging: Some(diverging), ..response() });

            assert_eq!(node.quorum.log().end().offset, Offset(left), "{own:?} and {diverging}");
            assert_eq!(node.quorum.durable_end(), Offset(left));
            let offsets: Vec<Offset> = fetches(&node.effects()).iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, [Offset(left)]);
        }
    }

    #[test]
    fn stops_rather_than_truncate_what_is_committed() {
        let mut node = follower(filled(&[(1, 5)]));
        answer(&mut node, FetchResponse { high_watermark: Offset(4), ..response() });
        let call = node.last_call().unwrap();
        let diverging = Some(OffsetAndEpoch { epoch: LeaderEpoch(1), offset: Offset(3) });

        let mut effects = Effects::new();
        let result = node.quorum.handle_response(
            call,
            Response::Fetch(FetchResponse { diverging, ..response() }),
            node.now(),
            &mut effects,
        );

        assert!(matches!(result, Err(QuorumError::TruncationBelowHighWatermark { .. })), "{result:?}");
        assert_eq!(node.quorum.log().end().offset, Offset(5));
    }

    #[test]
    fn believes_the_high_watermark_only_as_far_as_its_log_reaches() {
        let mut node = follower(filled(&[(1, 5)]));

        answer(&mut node, FetchResponse { high_watermark: Offset(900), ..response() });

        assert_eq!(node.quorum.high_watermark(), Some(Offset(5)));
    }

    #[test]
    fn asks_again_when_the_leader_sends_rubbish() {
        let mut node = follower(MemoryLog::default());

        answer(&mut node, FetchResponse { records: Bytes::from_static(b"rubbish"), ..response() });
        assert_eq!(fetches(&node.effects()), [], "not at once");
        node.pass(Duration::from_millis(30));

        assert_eq!(fetches(&node.effects()), [(Offset(0), LeaderEpoch(0))]);
    }

    #[test]
    fn leaves_out_batches_of_a_later_epoch_than_the_one_it_fetches_in() {
        let source = filled(&[(3, 1), (4, 1)]);
        let mut node = follower(MemoryLog::default());

        answer(&mut node, FetchResponse { records: source.read(Offset(0), 1000).unwrap(), ..response() });

        assert_eq!(node.quorum.log().end(), OffsetAndEpoch { epoch: E3, offset: Offset(1) });
    }

    #[test]
    fn asks_for_a_snapshot_and_goes_on_from_its_end() {
        let id = OffsetAndEpoch { epoch: LeaderEpoch(2), offset: Offset(100) };
        let mut node = follower(MemoryLog::default());

        answer(&mut node, FetchResponse { snapshot: Some(id), ..response() });
        let asked = node.effects();
        *node.quorum.log_mut() = MemoryLog::after_snapshot(id);
        let (now, mut effects) = (node.now(), Effects::new());
        node.quorum.handle_snapshot_installed(now, &mut effects).unwrap();

        assert_eq!(asked, [Effect::InstallSnapshot { from: NodeId(2), id }]);
        assert_eq!(node.quorum.high_watermark(), Some(Offset(100)));
        assert_eq!(fetches(effects.as_slice()), [(Offset(100), LeaderEpoch(2))]);
    }

    #[test]
    fn a_leader_that_is_elected_again_is_asked_anew() {
        let id = OffsetAndEpoch { epoch: LeaderEpoch(2), offset: Offset(100) };
        let mut node = follower(MemoryLog::default());
        answer(&mut node, FetchResponse { snapshot: Some(id), ..response() });
        node.effects();

        node.request(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            voter: key(1),
            leader: NodeId(2),
            epoch: E3.next(),
            leader_endpoint: None,
        }));

        // The driver drops the snapshot that is on its way when an epoch begins.
        assert_eq!(fetches(&node.effects()), [(Offset(0), LeaderEpoch(0))]);
    }

    #[test]
    fn does_not_mistake_its_own_slow_disk_or_its_own_stall_for_the_leaders_silence() {
        let source = filled(&[(3, 2)]);
        let mut node = follower(MemoryLog::default());
        answer(&mut node, FetchResponse { records: source.read(Offset(0), 1000).unwrap(), ..response() });

        node.pass(Duration::from_secs(10));
        assert_eq!(node.quorum.leader(), Some(NodeId(2)), "the disk was slow");

        node.flush();
        node.pass(Duration::from_secs(10));
        assert_eq!(node.quorum.leader(), Some(NodeId(2)), "this process was");

        let silent_at = node.quorum.deadline().expect("a deadline") - node.now().monotonic;
        node.pass(silent_at);
        let rest = node.quorum.deadline().expect("a deadline") - node.now().monotonic;
        node.pass(rest);
        assert_eq!(node.quorum.leader(), None, "the leader had its moment");
    }

    /// Follows node 2 until that is silent for too long.
    fn forsaken() -> Fixture {
        let mut node = follower(MemoryLog::default());
        answer(&mut node, response());
        for _ in 0..20 {
            if node.quorum.leader().is_none() {
                break;
            }
            let rest = node.quorum.deadline().expect("a deadline") - node.now().monotonic;
            node.pass(rest);
        }
        assert_eq!(node.quorum.leader(), None);
        node
    }

    #[test]
    fn a_leader_given_up_for_its_silence_is_remembered_until_it_or_another_one_is_heard() {
        let mut node = follower(MemoryLog::default());
        answer(&mut node, response());
        node.refused(2);
        assert_eq!(node.quorum.silent_leader(), None, "it is gone, which is no silence");

        let node = forsaken();
        let silent = node.quorum.silent_leader().expect("it was silent");
        assert_eq!(silent.id, NodeId(2));
        assert!(node.now().monotonic - silent.since >= silent.allowed, "{silent:?}");

        let hears = |of: i32| {
            let mut node = forsaken();
            node.request(Request::Vote(VoteRequest {
                voter: key(1),
                candidate: key(of),
                epoch: LeaderEpoch(4),
                last: OffsetAndEpoch { epoch: E3, offset: Offset(0) },
                pre_vote: false,
            }));
            node.quorum.silent_leader()
        };
        assert_eq!(hears(2), None, "it asks for votes: it lives");
        assert_eq!(hears(3), Some(silent), "another candidate says nothing about it");

        let mut node = forsaken();
        let epoch = LeaderEpoch(4);
        node.request(Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
            voter: key(1),
            leader: NodeId(3),
            epoch,
            leader_endpoint: None,
        }));
        assert_eq!(node.quorum.silent_leader(), Some(silent), "the next one may never answer");
        let leader = LeaderAndEpoch { leader: Some(NodeId(3)), epoch };
        answer(&mut node, FetchResponse { leader, ..response() });
        assert_eq!(node.quorum.silent_leader(), None);
    }

    #[test]
    fn a_leader_whose_connection_closed_is_dialled_again_and_refusing_is_given_up() {
        let mut node = follower(MemoryLog::default());
        node.effects();

        node.closed(2);
        assert_eq!(fetches(&node.effects()).len(), 1, "dials at once");
        node.closed(2);
        assert_eq!(fetches(&node.effects()).len(), 0, "and then a moment later");
        node.pass(Duration::from_millis(5));
        assert_eq!(fetches(&node.effects()).len(), 1);

        node.refused(2);
        assert_eq!(node.quorum.leader(), None);
        let wait = node.quorum.deadline().expect("a campaign") - node.now().monotonic;
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
    }
}
