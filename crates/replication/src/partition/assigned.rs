//! What the controller says: who leads, who is in sync, what the topic's settings are; and what happens while it says nothing.

use super::{Assignment, Effects, Partition, Peer, Role, Settings};
use crate::bug::Bug;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::waiters::Outcome;
use ottla_storage::StorageError;
use ottla_types::{LeaderEpoch, Monotonic, NodeId, Now, PartitionEpoch};
use std::collections::BTreeMap;
use std::time::Duration;

impl Partition {
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

    pub(super) fn expand_by(&mut self, replica: NodeId, effects: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(isr) = leader.expansion(replica, self.high_watermark) {
            effects.isr_change = Some(leader.ask_for(self.id, self.local, isr));
        }
    }

    /// Looks whether a follower waited for a change under way, or for its broker, to join.
    pub(super) fn expand_by_all(&mut self, effects: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        let candidates: Vec<NodeId> = leader.peers.keys().copied().collect();
        for node in candidates {
            if effects.isr_change.is_none() {
                self.expand_by(node, effects);
            }
        }
    }

    pub(super) fn stop_leading(&mut self, effects: &mut Effects) {
        let producers = self.waiters.all_producers();
        let deposed = Outcome::NotLeader;
        let outcome = if self.has(Bug::DeposedLeaderAcknowledges) { Outcome::Committed } else { deposed };
        effects.produced.extend(producers.into_iter().map(|id| (id, outcome)));
        self.wake_fetches(effects);
    }
}
