//! What producers and administrators write at the leader.

use super::{Effects, Partition, Role};
use crate::bug::Bug;
use crate::error::{AppendError, DeleteError};
use crate::waiters::{Outcome, WaiterId};
use ottla_records::{BatchHeader, ValidBatch};
use ottla_storage::{AppendInfo, Log, ProducerError, Terms, VerificationGuard};
use ottla_types::{Now, Offset, ProducerEpoch, ProducerId};

impl Partition {
    /// Appends a batch as the leader. `all` is whether the producer waits for the whole in-sync set.
    ///
    /// The offset that `acks=all` waits for is the log's end afterwards; register it with
    /// [`Partition::wait_for_commit`].
    ///
    /// # Errors
    /// As [`AppendError`] says; nothing is written then.
    pub fn append(
        &mut self,
        batch: ValidBatch<'_>,
        all: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<AppendInfo, AppendError> {
        self.append_on(batch, all, &Terms::default(), now, effects)
    }

    /// The same, of a batch that begins a transaction, or a marker that ends one: what is known of it is in `terms`.
    ///
    /// # Errors
    /// As [`Partition::append`].
    pub fn append_on(
        &mut self,
        batch: ValidBatch<'_>,
        all: bool,
        terms: &Terms,
        now: Now,
        effects: &mut Effects,
    ) -> Result<AppendInfo, AppendError> {
        let Role::Leader(leader) = &mut self.role else { return Err(AppendError::NotLeader) };
        if self.is_cut_off {
            return Err(AppendError::NotLeader);
        }
        let required = self.settings.min_insync_replicas.min(leader.replicas.len());
        let in_sync = leader.isr.committed.len();
        if all && in_sync < required {
            leader.expect_gaps(now.monotonic);
            return Err(AppendError::NotEnoughReplicas { in_sync, required });
        }
        let expects_gaps = leader.expects_gaps(now.monotonic);
        if expects_gaps && is_ahead_of_its_producer(&self.log, batch.header()) {
            return Err(AppendError::Early);
        }
        let info = self.log.append_on(batch, leader.epoch, now, terms).map_err(|error| match error {
            ottla_storage::AppendError::Producer(ProducerError::OutOfOrderSequence { .. })
                if expects_gaps =>
            {
                AppendError::Early
            }
            error => error.into(),
        })?;
        effects.fetches.extend(self.waiters.take_followers());
        self.ask_to_flush(effects);
        self.advance_high_watermark(now.monotonic, effects);
        Ok(info)
    }

    /// What a transactional batch needs before this leader appends it (KIP-890); see [`Log::start_verification`].
    ///
    /// # Errors
    /// When this replica does not lead.
    pub fn start_verification(
        &mut self,
        producer: (ProducerId, ProducerEpoch),
        sequence: i32,
        supports_epoch_bump: bool,
        now: Now,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        if self.serving().is_none() {
            return Err(AppendError::NotLeader);
        }
        let (id, epoch) = producer;
        Ok(self.log.start_verification(id, epoch, sequence, supports_epoch_bump, now))
    }

    /// Lets `waiter` wait until everything before `required` is committed; `Some` when it need not.
    pub fn wait_for_commit(&mut self, required: Offset, waiter: WaiterId) -> Option<Outcome> {
        if self.serving().is_none() {
            return Some(Outcome::NotLeader);
        }
        if self.high_watermark >= required || self.has(Bug::AcknowledgementBeforeInSync) {
            return Some(self.commit_outcome());
        }
        self.waiters.produced(required, waiter);
        None
    }

    /// Lets `waiter` wait until this replica has what is before `required` as far as its topic asks for: on disk with
    /// `flush.messages=1`. `Some` when it need not.
    pub fn wait_for_disk(&mut self, required: Offset, waiter: WaiterId) -> Option<Outcome> {
        if self.serving().is_none() {
            return Some(Outcome::NotLeader);
        }
        if self.own_end() >= required {
            return Some(Outcome::Written);
        }
        self.waiters.written(required, waiter);
        None
    }

    /// A client deletes the records before `offset`; `None` is everything that is committed. Returns the offset, before
    /// which they are gone here. The followers hear of it when they fetch; see [`Partition::wait_for_deletion`].
    ///
    /// # Errors
    /// As [`DeleteError`] says; nothing is deleted then.
    pub fn delete_records(
        &mut self,
        offset: Option<Offset>,
        effects: &mut Effects,
    ) -> Result<Offset, DeleteError> {
        if self.serving().is_none() {
            return Err(DeleteError::NotLeader);
        }
        let policy = self.log.config().cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(DeleteError::Policy);
        }
        let high_watermark = self.high_watermark;
        let offset = offset.unwrap_or(high_watermark);
        if !offset.is_some() || offset > high_watermark {
            return Err(DeleteError::OffsetOutOfRange { offset, high_watermark });
        }
        if self.log.increment_log_start_offset(offset)? {
            effects.fetches.extend(self.waiters.take_followers());
        }
        Ok(offset)
    }

    /// Lets `waiter` wait until no live replica has records before `required`; `Some` when it need not.
    pub fn wait_for_deletion(&mut self, required: Offset, waiter: WaiterId) -> Option<Outcome> {
        match self.low_watermark() {
            None => Some(Outcome::NotLeader),
            Some(low_watermark) if low_watermark >= required => Some(Outcome::Deleted),
            Some(_) => {
                self.waiters.deleted(required, waiter);
                None
            }
        }
    }

    pub(super) fn commit_outcome(&self) -> Outcome {
        match &self.role {
            Role::Leader(leader) => {
                let required = self.settings.min_insync_replicas.min(leader.replicas.len());
                if leader.isr.committed.len() < required {
                    Outcome::NotEnoughReplicas
                } else {
                    Outcome::Committed
                }
            }
            _ => Outcome::NotLeader,
        }
    }

    /// Releases the producers that waited for this replica's disk.
    pub(super) fn release_written(&mut self, effects: &mut Effects) {
        let written = self.waiters.reached_on_disk(self.own_end());
        effects.produced.extend(written.into_iter().map(|id| (id, Outcome::Written)));
    }

    /// Releases the deletions that all live replicas have followed.
    pub(super) fn release_deleted(&mut self, effects: &mut Effects) {
        if !self.waiters.has_deleters() {
            return;
        }
        if let Some(low_watermark) = self.low_watermark() {
            let deleted = self.waiters.reached_by_all(low_watermark);
            effects.produced.extend(deleted.into_iter().map(|id| (id, Outcome::Deleted)));
        }
    }
}

/// Returns whether a producer's sequence has begun, and not in this log.
fn is_ahead_of_its_producer(log: &Log, batch: &BatchHeader) -> bool {
    batch.producer_id.is_some() && batch.base_sequence > 0 && log.producer(batch.producer_id).is_none()
}
