//! What a follower takes from its leader.

use super::{Effects, Partition, Role};
use crate::bug::Bug;
use crate::error::AppendError;
use crate::follower::{FetchPosition, Follower};
use ottla_records::Truncation;
use ottla_storage::{AppendInfo, StorageError};
use ottla_types::{LeaderEpoch, NodeId, Now, Offset, OffsetAndEpoch};

impl Partition {
    /// What to ask the leader for; `None` when there is none to follow. Asking says that everything before is here:
    /// with `flush.messages=1` it is `None` too until the log is on disk.
    pub fn fetch_position(&self) -> Option<(NodeId, FetchPosition)> {
        let Role::Follower(Follower { leader: Some(leader), epoch }) = &self.role else { return None };
        if self.own_end() < self.log.log_end_offset() && !self.has(Bug::FollowerFetchesBeforeSync) {
            return None;
        }
        let position = FetchPosition {
            leader_epoch: *epoch,
            fetch_offset: self.log.log_end_offset(),
            last_fetched_epoch: self.log.latest_epoch(),
            log_start_offset: self.log.log_start_offset(),
            high_watermark: self.high_watermark,
        };
        Some((*leader, position))
    }

    /// Appends what the leader sent, and takes over its high watermark and log start: consumers that read here learn of
    /// it.
    ///
    /// # Errors
    /// When the batches are corrupt or out of order (fetch again), or the disk fails.
    pub fn append_as_follower(
        &mut self,
        batches: &[u8],
        fetched_epoch: LeaderEpoch,
        leader_high_watermark: Offset,
        leader_log_start: Offset,
        now: Now,
        effects: &mut Effects,
    ) -> Result<AppendInfo, AppendError> {
        if !matches!(&self.role, Role::Follower(follower) if follower.epoch == fetched_epoch) {
            // The answer to a question of an earlier term.
            return Err(AppendError::NotLeader);
        }
        let info = self.log.append_as_follower(batches, fetched_epoch, now)?;
        let end = self.log.log_end_offset();
        let before = self.high_watermark;
        self.high_watermark = before.max(leader_high_watermark.min(end));
        if self.high_watermark > before {
            effects.fetches.extend(self.waiters.take_consumers());
        }
        self.log.advance_high_watermark(self.high_watermark);
        if leader_log_start > self.log.log_start_offset() && leader_log_start <= end {
            self.log
                .increment_log_start_offset(leader_log_start)
                .map_err(ottla_storage::AppendError::from)?;
            self.high_watermark = self.high_watermark.max(leader_log_start);
        }
        Ok(info)
    }

    /// The leader's log parted from this one: cuts off what the leader does not have (KIP-279). Returns
    /// the new end. Where they parted before the leader's log begins, what would be left is deleted there, and not the
    /// same: this log starts over.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn handle_diverging(
        &mut self,
        leader_end: OffsetAndEpoch,
        leader_start: Offset,
        asked_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Offset, StorageError> {
        if !matches!(&self.role, Role::Follower(follower) if follower.epoch == asked_epoch) {
            return Ok(self.log.log_end_offset());
        }
        let truncation: Truncation = self.log.epochs().truncation(leader_end, self.log.log_end_offset());
        if truncation.offset <= leader_start {
            return self.start_over_at(leader_start, now);
        }
        self.truncate_to(truncation.offset, now)
    }

    /// The leader's log does not reach to where this one ends, or begins after it: starts over from what
    /// the leader has.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn handle_out_of_range(
        &mut self,
        leader_start: Offset,
        leader_end: Offset,
        asked_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Offset, StorageError> {
        if !matches!(&self.role, Role::Follower(follower) if follower.epoch == asked_epoch) {
            return Ok(self.log.log_end_offset());
        }
        if leader_end < self.log.log_end_offset() {
            return self.truncate_to(leader_end, now);
        }
        self.start_over_at(leader_start, now)
    }

    fn start_over_at(&mut self, start: Offset, now: Now) -> Result<Offset, StorageError> {
        self.log.truncate_fully_and_start_at(start, now)?;
        self.high_watermark = start;
        Ok(start)
    }

    pub(super) fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<Offset, StorageError> {
        self.log.truncate_to(offset, now)?;
        self.high_watermark = self.high_watermark.min(self.log.log_end_offset());
        Ok(self.log.log_end_offset())
    }
}
