//! What followers and consumers are given.

use super::{Effects, Partition, Role};
use crate::error::FetchError;
use crate::follower::FetchPosition;
use crate::leader::Range;
use crate::waiters::WaiterId;
use ottla_records::LeaderEpochs;
use ottla_storage::{AbortedTransaction, AtLeast, ReadResult};
use ottla_types::{BrokerEpoch, FileRegion, LeaderEpoch, Monotonic, NodeId, Offset, OffsetAndEpoch};

/// What a fetch found.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Consecutive batches; `None` when there are none to be had.
    pub records: Option<FileRegion>,
    /// The aborted transactions that have records among these, which the fetcher is to leave out (TXN-1); `None` for who reads
    /// them all.
    pub aborted: Option<Vec<AbortedTransaction>>,
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
    /// Whether `records` are not all of them: they end where no more were asked for, or where a segment does.
    pub is_cut: bool,
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

impl Partition {
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
        Ok(self.fetched(Some(self.log.read(fetch_offset, end, bytes_max, at_least)?)))
    }

    /// A consumer asks for records from `offset` on. `asked_epoch` is what it believes, and `last_fetched_epoch` that
    /// of the record before `offset`; either may be [`LeaderEpoch::NONE`]. A follower answers up to its own high
    /// watermark, which is never above the leader's.
    ///
    /// Without what was aborted a reader would take it for committed: where that cannot be read, neither can the records.
    ///
    /// # Errors
    /// As [`FetchError`] says.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one request")]
    pub fn fetch_as_consumer(
        &self,
        offset: Offset,
        asked_epoch: LeaderEpoch,
        last_fetched_epoch: LeaderEpoch,
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
        let out_of_range = FetchError::OffsetOutOfRange { offset, start, end };
        if offset < start {
            return Err(out_of_range);
        }
        match self.log.epochs().divergence(offset, last_fetched_epoch, end) {
            Some(LeaderEpochs::UNDEFINED) => return Err(out_of_range),
            Some(diverging) => return Ok(Fetched { diverging: Some(diverging), ..self.fetched(None) }),
            None if offset > end => return Err(out_of_range),
            None => {}
        }
        let upper = match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        let is_committed = isolation == Isolation::ReadCommitted;
        if offset >= upper {
            return Ok(Fetched { aborted: is_committed.then(Vec::new), ..self.fetched(None) });
        }
        let read = self.log.read(offset, upper, bytes_max, at_least)?;
        let aborted = is_committed.then(|| self.log.aborted_transactions(offset, read.end_offset));
        Ok(Fetched { aborted: aborted.transpose()?, ..self.fetched(Some(read)) })
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

    /// What a fetch is told whose records are to be had elsewhere: how far the log goes, and none of it.
    pub fn without_records(&self) -> Fetched {
        self.fetched(None)
    }

    /// Returns whether this replica may answer a consumer. A follower that is cut off does not: its readers would wait
    /// for records that it does not get.
    pub(super) fn may_answer(&self, from: ReadFrom) -> bool {
        match (&self.role, from) {
            _ if self.is_cut_off => false,
            (Role::Leader(_), _) | (Role::Follower(_), ReadFrom::AnyReplica) => true,
            (Role::Unassigned | Role::Follower(_), _) => false,
        }
    }

    /// What a fetch is told; `read` is what was read for it, if there is anything to read.
    pub(super) fn fetched(&self, read: Option<ReadResult>) -> Fetched {
        Fetched {
            has_more: read.is_some(),
            is_cut: read.as_ref().is_some_and(|read| read.is_cut),
            records: read.and_then(|read| read.region),
            aborted: None,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            log_start_offset: self.log.log_start_offset(),
            diverging: None,
        }
    }

    pub(super) fn wake_fetches(&mut self, effects: &mut Effects) {
        effects.fetches.extend(self.waiters.take_consumers());
        effects.fetches.extend(self.waiters.take_followers());
    }
}
