//! The replica itself: one log, one role, and the rules that hold between them.

use crate::bug::Bug;
use crate::error::{AppendError, DeleteError, FetchError};
use crate::follower::{FetchPosition, Follower};
use crate::high_watermark;
use crate::isr::IsrChange;
use crate::leader::{Leader, Range};
use crate::waiters::{Outcome, WaiterId, Waiters};
use ottla_records::{BatchHeader, LeaderEpochs, Truncation, ValidBatch};
use ottla_storage::{AppendInfo, AtLeast, FlushTarget, Log, ProducerError, StorageError};
use ottla_types::{
    BrokerEpoch, FileRegion, LeaderEpoch, Monotonic, NodeId, Now, Offset, OffsetAndEpoch, PartitionEpoch,
    TopicIdPartition, TopicPartition,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// A partition as the controller assigned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who holds it, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Its in-sync set.
    pub isr: Vec<NodeId>,
    /// Who leads; `None` while nobody may.
    pub leader: Option<NodeId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The version of the assignment.
    pub partition_epoch: PartitionEpoch,
}

/// A broker that holds another replica, as the image knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its registered incarnation.
    pub broker_epoch: BrokerEpoch,
    /// Whether it may join in-sync sets: unfenced and not leaving.
    pub eligible: bool,
}

/// What configuration says to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `min.insync.replicas` of the topic.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max: Duration,
    /// Whether consumers may be sent to followers (`replica.selector.class`): those are told at once how far they may
    /// let them read.
    pub has_readers_elsewhere: bool,
}

/// What the replica is.
#[derive(Clone, Debug)]
pub enum Role {
    /// It has not been told.
    Unassigned,
    /// It takes writes.
    Leader(Leader),
    /// It copies the leader's log.
    Follower(Follower),
}

/// What an event led to outside of the partition.
#[derive(Debug, Default)]
pub struct Effects {
    /// Producers and deletions that wait no longer, and why.
    pub produced: Vec<(WaiterId, Outcome)>,
    /// Fetches to look at again.
    pub fetches: Vec<WaiterId>,
    /// An in-sync set to ask the controller for.
    pub isr_change: Option<IsrChange>,
    /// This partition, when its log is to be synced: [`Partition::handle_flushed`] is told of the outcome.
    pub flush: Option<TopicIdPartition>,
}

impl Effects {
    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.produced.is_empty()
            && self.fetches.is_empty()
            && self.isr_change.is_none()
            && self.flush.is_none()
    }
}

/// What a fetch found.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Consecutive batches; `None` when there are none to be had.
    pub records: Option<FileRegion>,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The end of what read-committed consumers may see.
    pub last_stable_offset: Offset,
    /// The log's start.
    pub log_start_offset: Offset,
    /// The fetcher's log has parted from this one: where it must look for the last common record.
    pub diverging: Option<OffsetAndEpoch>,
    /// Whether there are records for this fetcher at the offset it asked for, be they in `records` or not.
    pub has_more: bool,
}

/// How far a reader may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything committed to the in-sync set.
    ReadUncommitted,
    /// Nothing of transactions that are not ended.
    ReadCommitted,
}

/// Which replicas may answer a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The leader alone.
    Leader,
    /// Whichever is asked (KIP-392).
    AnyReplica,
}

/// One replica of a partition.
#[derive(Debug)]
pub struct Partition {
    id: TopicIdPartition,
    name: TopicPartition,
    local: NodeId,
    settings: Settings,
    log: Log,
    high_watermark: Offset,
    role: Role,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// Whether this node is cut off from the controller: it may be deposed and not know it.
    is_cut_off: bool,
    waiters: Waiters,
    #[cfg(test)]
    bug: Option<Bug>,
}

/// Events.
impl Partition {
    /// A replica around its log. `high_watermark` is the checkpointed one; what the log does not hold is cut off.
    pub fn new(
        id: TopicIdPartition,
        name: TopicPartition,
        local: NodeId,
        settings: Settings,
        log: Log,
        high_watermark: Offset,
    ) -> Partition {
        let high_watermark = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        Partition {
            id,
            name,
            local,
            settings,
            log,
            high_watermark,
            role: Role::Unassigned,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch(-1),
            is_cut_off: false,
            waiters: Waiters::default(),
            #[cfg(test)]
            bug: None,
        }
    }

    /// The controller has assigned the partition anew. Older news than what is known is ignored.
    ///
    /// # Errors
    /// When the log cannot note the new epoch.
    pub fn handle_assignment(
        &mut self,
        assignment: &Assignment,
        brokers: BTreeMap<NodeId, Peer>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), StorageError> {
        let known = (self.leader_epoch, self.partition_epoch);
        if (assignment.leader_epoch, assignment.partition_epoch) < known {
            return Ok(());
        }
        let new_term = assignment.leader_epoch > self.leader_epoch;
        let new_state = assignment.partition_epoch > self.partition_epoch;
        self.leader_epoch = assignment.leader_epoch;
        self.partition_epoch = assignment.partition_epoch;
        if assignment.leader == Some(self.local) {
            match &mut self.role {
                Role::Leader(leader) if !new_term => {
                    // What is known already says nothing of the change that is under way: were it forgotten, the
                    // controller could commit it all the same, and elect a member that was not counted (HW-2).
                    if new_state {
                        leader.update(self.local, assignment);
                    }
                    leader.set_brokers(brokers);
                }
                _ => {
                    self.log.assign_epoch(assignment.leader_epoch)?;
                    let end = self.log.log_end_offset();
                    let leader = Leader::new(self.local, assignment, brokers, end, now.monotonic);
                    self.role = Role::Leader(leader);
                    if self.has(Bug::ProducersForgottenByNewLeader) {
                        self.log.remove_expired_producers(now.after(Duration::from_secs(1 << 30)));
                    }
                    self.wake_fetches(effects);
                }
            }
            self.ask_to_flush(effects);
            self.release_deleted(effects);
            self.advance_high_watermark(now.monotonic, effects);
        } else {
            let was_leader = matches!(self.role, Role::Leader(_));
            self.role =
                Role::Follower(Follower { leader: assignment.leader, epoch: assignment.leader_epoch });
            if was_leader || new_term {
                self.stop_leading(effects);
            }
            if new_term && self.has(Bug::TruncationToHighWatermark) {
                self.truncate_to(self.high_watermark, now)?;
            }
        }
        Ok(())
    }

    /// What the image says of the other replicas' brokers has changed.
    pub fn handle_brokers(&mut self, brokers: BTreeMap<NodeId, Peer>, now: Monotonic, effects: &mut Effects) {
        if let Role::Leader(leader) = &mut self.role {
            leader.set_brokers(brokers);
            self.expand_by_all(effects);
            self.release_deleted(effects);
            self.advance_high_watermark(now, effects);
        }
    }

    /// The topic's configuration has changed.
    pub fn handle_settings(
        &mut self,
        settings: Settings,
        log: ottla_storage::LogConfig,
        now: Monotonic,
        effects: &mut Effects,
    ) {
        self.settings = settings;
        self.log.set_config(log);
        self.release_written(effects);
        self.ask_to_flush(effects);
        self.advance_high_watermark(now, effects);
    }

    /// What `target` names is on the disk: with `flush.messages=1` it counts from now on.
    pub fn handle_flushed(&mut self, target: &FlushTarget, now: Monotonic, effects: &mut Effects) {
        self.log.mark_durable(target);
        self.release_written(effects);
        if self.serving().is_some() {
            self.advance_high_watermark(now, effects);
        }
        // What was appended meanwhile is for the next sync.
        self.ask_to_flush(effects);
    }

    /// This node was cut off from the controller, or is about to stop: it answers no more as a leader.
    ///
    /// What it knows as the leader it keeps, a change of the in-sync set above all that was asked for and may
    /// yet be committed: were that forgotten, it would go on with too small a set (HW-2).
    pub fn handle_cut_off(&mut self, effects: &mut Effects) {
        self.is_cut_off = true;
        self.stop_leading(effects);
    }

    /// The controller answers again: if this replica still leads by the latest image, it goes on.
    pub fn handle_reconnected(&mut self, now: Monotonic, effects: &mut Effects) {
        self.is_cut_off = false;
        if let Role::Leader(leader) = &mut self.role {
            leader.forgive_lag(now);
            leader.expect_gaps(now);
        }
        self.wake_fetches(effects);
        self.advance_high_watermark(now, effects);
    }

    /// This node is to hold the partition no longer: whoever still has the replica at hand, an answer from
    /// the leader say, changes nothing any more.
    pub fn handle_removed(&mut self, effects: &mut Effects) {
        self.role = Role::Unassigned;
        self.stop_leading(effects);
    }

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
        let info = self.log.append_valid(batch, leader.epoch, now).map_err(|error| match error {
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

    /// Lets a consumer's fetch wait until the high watermark moves.
    pub fn wait_as_consumer(&mut self, waiter: WaiterId) {
        self.waiters.consumer(waiter);
    }

    /// Lets a follower's fetch wait until there is something to tell it.
    pub fn wait_as_follower(&mut self, waiter: WaiterId) {
        self.waiters.follower(waiter);
    }

    /// Forgets a fetch that waits no longer.
    pub fn forget_fetch(&mut self, waiter: WaiterId) {
        self.waiters.forget_fetch(waiter);
    }

    /// A follower asks for what comes after its log's end. That it asks says that it has all before. Its own log begins
    /// at `log_start_offset`.
    ///
    /// # Errors
    /// As [`FetchError`] says. A fetch whose log has parted from this one is no error, and counts for
    /// nothing.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one request")]
    pub fn fetch_as_follower(
        &mut self,
        replica: NodeId,
        broker_epoch: BrokerEpoch,
        position: FetchPosition,
        bytes_max: usize,
        at_least: AtLeast,
        now: Monotonic,
        effects: &mut Effects,
    ) -> Result<Fetched, FetchError> {
        let FetchPosition { fetch_offset, last_fetched_epoch, log_start_offset, .. } = position;
        self.check_epoch(position.leader_epoch)?;
        if self.is_cut_off {
            return Err(FetchError::NotLeader);
        }
        let Role::Leader(leader) = &mut self.role else { return Err(FetchError::NotLeader) };
        if !leader.peers.contains_key(&replica) {
            return Err(FetchError::NotReplica);
        }
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        if fetch_offset < start {
            return Err(FetchError::OffsetOutOfRange { offset: fetch_offset, start, end });
        }
        if last_fetched_epoch.is_some()
            && let Some(diverging) = self.log.epochs().divergence(fetch_offset, last_fetched_epoch, end)
        {
            if diverging == LeaderEpochs::UNDEFINED {
                // Its records are of a term that this leader has not heard of: somebody else leads.
                let asked = last_fetched_epoch;
                return Err(FetchError::UnknownLeaderEpoch { asked, ours: self.leader_epoch });
            }
            return Ok(Fetched { diverging: Some(diverging), ..self.fetched(None) });
        }
        if fetch_offset > end {
            return Err(FetchError::OffsetOutOfRange { offset: fetch_offset, start, end });
        }
        let holds = Range { start: log_start_offset, end: fetch_offset };
        leader.fetched(replica, broker_epoch, holds, end, now);
        self.release_deleted(effects);
        self.expand_by(replica, effects);
        self.advance_high_watermark(now, effects);
        if fetch_offset == end {
            return Ok(self.fetched(None));
        }
        let read = self.log.read(fetch_offset, end, bytes_max, at_least)?;
        Ok(Fetched { has_more: true, ..self.fetched(read.region) })
    }

    /// A consumer asks for records from `offset` on. `asked_epoch` is what it believes, or
    /// [`LeaderEpoch::NONE`]. A follower answers up to its own high watermark, which is never above the leader's.
    ///
    /// # Errors
    /// As [`FetchError`] says.
    pub fn fetch_as_consumer(
        &self,
        offset: Offset,
        asked_epoch: LeaderEpoch,
        from: ReadFrom,
        isolation: Isolation,
        bytes_max: usize,
        at_least: AtLeast,
    ) -> Result<Fetched, FetchError> {
        self.check_epoch(asked_epoch)?;
        if !self.may_answer(from) {
            return Err(FetchError::NotLeader);
        }
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        if offset < start || offset > end {
            return Err(FetchError::OffsetOutOfRange { offset, start, end });
        }
        let upper = match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        if offset >= upper {
            return Ok(self.fetched(None));
        }
        let read = self.log.read(offset, upper, bytes_max, at_least)?;
        Ok(Fetched { has_more: true, ..self.fetched(read.region) })
    }

    /// The controller has committed an in-sync set that this leader asked for, or another in its place.
    pub fn handle_isr_committed(
        &mut self,
        isr: Vec<NodeId>,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        now: Monotonic,
        effects: &mut Effects,
    ) {
        // The image may have said it before the controller's answer came: by now another change may be under way.
        if leader_epoch != self.leader_epoch || partition_epoch <= self.partition_epoch {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        self.partition_epoch = partition_epoch;
        leader.committed(isr, partition_epoch);
        self.advance_high_watermark(now, effects);
        self.expand_by_all(effects);
    }

    /// The controller has refused an in-sync set, and said that nothing changed: what was committed holds.
    ///
    /// Refusals that leave open what is committed (an unknown or newer epoch) must not come here: until the
    /// image says more, the maximal set stays.
    pub fn handle_isr_refused(&mut self, partition_epoch: PartitionEpoch) {
        if let Role::Leader(leader) = &mut self.role
            && leader.isr.partition_epoch == partition_epoch
        {
            leader.isr.pending = None;
        }
    }

    /// The deadline has come: who has lagged for too long leaves the in-sync set.
    pub fn handle_timeout(&mut self, now: Monotonic, effects: &mut Effects) {
        let end = self.log.log_end_offset();
        // Nobody fetches from a leader that is cut off: that followers seem to lag says nothing of them.
        let Role::Leader(leader) = &mut self.role else { return };
        if self.is_cut_off {
            return;
        }
        let lag_max = self.settings.replica_lag_time_max;
        if let Some(isr) = leader.shrinkage(self.local, end, lag_max, now) {
            effects.isr_change = Some(leader.ask_for(self.id, self.local, isr));
        }
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
    /// the new end.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn handle_diverging(
        &mut self,
        leader_end: OffsetAndEpoch,
        asked_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Offset, StorageError> {
        if !matches!(&self.role, Role::Follower(follower) if follower.epoch == asked_epoch) {
            return Ok(self.log.log_end_offset());
        }
        let truncation: Truncation = self.log.epochs().truncation(leader_end, self.log.log_end_offset());
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
        self.log.truncate_fully_and_start_at(leader_start, now)?;
        self.high_watermark = leader_start;
        Ok(leader_start)
    }
}

/// Returns whether a producer's sequence has begun, and not in this log.
fn is_ahead_of_its_producer(log: &Log, batch: &BatchHeader) -> bool {
    batch.producer_id.is_some() && batch.base_sequence > 0 && log.producer(batch.producer_id).is_none()
}

/// Questions.
impl Partition {
    /// The partition, by the topic's id.
    pub fn id(&self) -> TopicIdPartition {
        self.id
    }

    /// The partition, by the topic's name.
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// What the replica is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// What the leader knows, where this replica leads and may say so.
    pub fn serving(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) if !self.is_cut_off => Some(leader),
            _ => None,
        }
    }

    /// Returns whether this replica may answer a consumer. A follower that is cut off does not: its readers would wait
    /// for records that it does not get.
    fn may_answer(&self, from: ReadFrom) -> bool {
        match (&self.role, from) {
            _ if self.is_cut_off => false,
            (Role::Leader(_), _) | (Role::Follower(_), ReadFrom::AnyReplica) => true,
            (Role::Unassigned | Role::Follower(_), _) => false,
        }
    }

    /// What a fetch is told whose records are to be had elsewhere: how far the log goes, and none of it.
    pub fn without_records(&self) -> Fetched {
        self.fetched(None)
    }

    /// The leader's term, as the controller last said.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The version of the assignment.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// The offset below which everything is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Where the logs of all live replicas have begun, as far as this leader knows; `None` when this replica does not
    /// lead.
    pub fn low_watermark(&self) -> Option<Offset> {
        self.serving().map(|leader| leader.low_watermark(self.log.log_start_offset()))
    }

    /// The end of what read-committed consumers may see.
    pub fn last_stable_offset(&self) -> Offset {
        self.log.last_stable_offset(self.high_watermark)
    }

    /// `min.insync.replicas`, however many replicas there are.
    pub fn min_insync_replicas(&self) -> usize {
        self.settings.min_insync_replicas
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The log, for retention and flushing.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Gives the log back, to close or delete it.
    pub fn into_log(self) -> Log {
        self.log
    }

    /// When [`Partition::handle_timeout`] must be called; `None` while nothing depends on time.
    pub fn deadline(&self) -> Option<Monotonic> {
        match &self.role {
            Role::Leader(leader) if leader.isr.is_settled() && !self.is_cut_off => {
                leader.shrink_deadline(self.log.log_end_offset(), self.settings.replica_lag_time_max)
            }
            _ => None,
        }
    }

    /// Whether a record of this topic counts only once it is on disk (`flush.messages=1`).
    pub fn counts_on_disk(&self) -> bool {
        self.log.config().flush_messages <= 1
    }

    /// Whether `flush.messages` records or more are not on disk.
    pub fn is_flush_due(&self) -> bool {
        let unflushed = self.log.log_end_offset() - self.log.durable_end();
        unflushed > 0 && unflushed >= self.log.config().flush_messages && !self.log.is_failed()
    }

    /// Up to where this replica's own log counts.
    fn own_end(&self) -> Offset {
        if self.counts_on_disk() { self.log.durable_end() } else { self.log.log_end_offset() }
    }

    /// Whom this replica follows; `None` when it follows nobody.
    pub fn followed(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            _ => None,
        }
    }

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

    /// Checks the epoch that a client or follower believes in; [`LeaderEpoch::NONE`] believes nothing
    /// (KIP-320).
    ///
    /// # Errors
    /// When it is older or newer than this replica's.
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), FetchError> {
        let ours = self.leader_epoch;
        if !asked.is_some() || asked == ours {
            Ok(())
        } else if asked < ours {
            Err(FetchError::FencedLeaderEpoch { asked, ours })
        } else {
            Err(FetchError::UnknownLeaderEpoch { asked, ours })
        }
    }

    fn fetched(&self, records: Option<FileRegion>) -> Fetched {
        Fetched {
            records,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            log_start_offset: self.log.log_start_offset(),
            diverging: None,
            has_more: false,
        }
    }

    fn commit_outcome(&self) -> Outcome {
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
}

/// Inner moves.
impl Partition {
    /// Returns whether a test asked for this mistake.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests make mistakes on purpose"))]
    fn has(&self, bug: Bug) -> bool {
        #[cfg(test)]
        return self.bug == Some(bug);
        #[cfg(not(test))]
        {
            let _ = bug;
            false
        }
    }

    #[cfg(test)]
    pub(crate) fn make_mistakes(&mut self, bug: Option<Bug>) {
        self.bug = bug;
    }

    /// Asks for a sync when one is due. A follower's fetcher sees to it itself, before it fetches on.
    fn ask_to_flush(&self, effects: &mut Effects) {
        if matches!(self.role, Role::Leader(_)) && self.is_flush_due() {
            effects.flush = Some(self.id);
        }
    }

    /// Releases the producers that waited for this replica's disk.
    fn release_written(&mut self, effects: &mut Effects) {
        let written = self.waiters.reached_on_disk(self.own_end());
        effects.produced.extend(written.into_iter().map(|id| (id, Outcome::Written)));
    }

    /// Releases the deletions that all live replicas have followed.
    fn release_deleted(&mut self, effects: &mut Effects) {
        if !self.waiters.has_deleters() {
            return;
        }
        if let Some(low_watermark) = self.low_watermark() {
            let deleted = self.waiters.reached_by_all(low_watermark);
            effects.produced.extend(deleted.into_iter().map(|id| (id, Outcome::Deleted)));
        }
    }

    /// Moves the high watermark as far as the in-sync set allows, and releases who waited for it.
    fn advance_high_watermark(&mut self, now: Monotonic, effects: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        let end = self.log.log_end_offset();
        let Settings { min_insync_replicas, replica_lag_time_max, has_readers_elsewhere } = self.settings;
        let mut forgetful = None;
        if self.has(Bug::JoiningMemberNotCounted) {
            let leader = forgetful.insert(leader.clone());
            leader.isr.pending = None;
        }
        if self.has(Bug::LeavingMemberNotCounted)
            && let Some(pending) = leader.isr.pending.clone()
        {
            let leader = forgetful.insert(leader.clone());
            leader.isr.committed.retain(|member| pending.contains(member));
        }
        let leader = forgetful.as_ref().unwrap_or(leader);
        let own_end = if self.has(Bug::LeaderCountsBeforeSync) { end } else { self.own_end() };
        let candidate = high_watermark::candidate(
            leader,
            self.local,
            end,
            own_end,
            min_insync_replicas,
            replica_lag_time_max,
            now,
        );
        let candidate = if self.has(Bug::HighWatermarkPastInSync) { Some(end) } else { candidate };
        let may_go_back = self.has(Bug::HighWatermarkGoesBack);
        let moves = |&candidate: &Offset| {
            candidate > self.high_watermark || (may_go_back && candidate >= self.log.log_start_offset())
        };
        let Some(candidate) = candidate.filter(moves) else { return };
        assert!(candidate <= end, "LOG-3: the high watermark lies within the log");
        self.high_watermark = candidate;
        self.log.advance_high_watermark(candidate);
        let outcome = self.commit_outcome();
        effects.produced.extend(self.waiters.reached(candidate).into_iter().map(|id| (id, outcome)));
        effects.fetches.extend(self.waiters.take_consumers());
        // Followers are told of the high watermark with what comes next: for it alone they are not woken, unless
        // somebody may read there.
        if has_readers_elsewhere {
            effects.fetches.extend(self.waiters.take_followers());
        }
    }

    fn expand_by(&mut self, replica: NodeId, effects: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(isr) = leader.expansion(replica, self.high_watermark) {
            effects.isr_change = Some(leader.ask_for(self.id, self.local, isr));
        }
    }

    /// Looks whether a follower waited for a change under way, or for its broker, to join.
    fn expand_by_all(&mut self, effects: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        let candidates: Vec<NodeId> = leader.peers.keys().copied().collect();
        for node in candidates {
            if effects.isr_change.is_none() {
                self.expand_by(node, effects);
            }
        }
    }

    fn stop_leading(&mut self, effects: &mut Effects) {
        let producers = self.waiters.all_producers();
        let deposed = Outcome::NotLeader;
        let outcome = if self.has(Bug::DeposedLeaderAcknowledges) { Outcome::Committed } else { deposed };
        effects.produced.extend(producers.into_iter().map(|id| (id, outcome)));
        self.wake_fetches(effects);
    }

    fn wake_fetches(&mut self, effects: &mut Effects) {
        effects.fetches.extend(self.waiters.take_consumers());
        effects.fetches.extend(self.waiters.take_followers());
    }

    fn truncate_to(&mut self, offset: Offset, now: Now) -> Result<Offset, StorageError> {
        self.log.truncate_to(offset, now)?;
        self.high_watermark = self.high_watermark.min(self.log.log_end_offset());
        Ok(self.log.log_end_offset())
    }
}
