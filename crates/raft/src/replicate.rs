//! The follower's side of replication: fetch, append, sync, fetch on.
//!
//! A voter's fetch acknowledges everything before its offset, so it is sent only when that is on disk. An
//! observer acknowledges nothing and fetches on at once.

use crate::bug::Bug;
use crate::effects::{CallId, Effect, Effects};
use crate::error::{ErrorCode, QuorumError};
use crate::log::{AppendFetchedError, ReplicatedLog};
use crate::message::{FetchRequest, FetchResponse, Request};
use crate::quorum::Quorum;
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
        let acknowledges = self.is_voter() && !self.has_bug(Bug::AcknowledgementBeforeSync);
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
        if let Some(diverging) = response.diverging {
            self.truncate_to_agree(diverging)?;
        } else if let Some(id) = response.snapshot {
            self.ask_for_snapshot(id, now, effects);
            return Ok(());
        } else if !self.append_fetched(&response, effects)? {
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
            self.gone = self.leader();
            self.lose_leader(now, effects);
        } else {
            self.pause_fetching(now);
        }
    }

    /// Appends what came, and takes over the high watermark. False when the leader sent rubbish.
    fn append_fetched(
        &mut self,
        response: &FetchResponse,
        effects: &mut Effects,
    ) -> Result<bool, QuorumError> {
        if !response.records.is_empty() {
            match self.log.append_fetched(response.records.clone(), self.state.epoch) {
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
    fn truncate_to_agree(&mut self, leaders: OffsetAndEpoch) -> Result<(), QuorumError> {
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
