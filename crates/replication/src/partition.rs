//! The replica itself: one log, one role, and the rules that hold between them.
//!
//! Its events are in `assigned`, `writes`, `reads` and `following`; how far the high watermark moves is here.

mod assigned;
mod following;
mod reads;
mod writes;

pub use reads::{Fetched, Isolation, ReadFrom};

use crate::bug::Bug;
use crate::error::FetchError;
use crate::follower::Follower;
use crate::high_watermark;
use crate::isr::IsrChange;
use crate::leader::Leader;
use crate::waiters::{Outcome, WaiterId, Waiters};
use ottla_storage::{FlushTarget, Log};
use ottla_types::{
    BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch, TopicIdPartition, TopicPartition,
};
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
        self.log.config().counts_on_disk()
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

    /// Checks the epoch that a client or follower believes in; [`LeaderEpoch::NONE`] believes nothing
    /// (KIP-320).
    ///
    /// # Errors
    /// When it is older or newer than this replica's.
    pub fn check_epoch(&self, asked: LeaderEpoch) -> Result<(), FetchError> {
        let ours = self.leader_epoch;
        if asked == LeaderEpoch::NONE || asked == ours {
            Ok(())
        } else if asked < ours {
            Err(FetchError::FencedLeaderEpoch { asked, ours })
        } else {
            Err(FetchError::UnknownLeaderEpoch { asked, ours })
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
}
