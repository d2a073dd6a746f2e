//! A broker, as far as one partition is concerned.

use ottla_metadata::PartitionRegistration;
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// A record: who wrote it, and what.
pub(super) type Entry = (LeaderEpoch, u64);

/// A machine with its disk, and the process on it.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) id: NodeId,
    pub(super) log: Vec<Entry>,
    /// How much of the log a loss of power leaves for certain.
    pub(super) synced: usize,
    /// The registration since which nothing was lost, as the disk says.
    pub(super) complete_since: BrokerEpoch,
    /// Whether power was lost since the last registration.
    pub(super) has_lost: bool,
    pub(super) process: Option<Process>,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) epoch: BrokerEpoch,
    /// Whether it is to end.
    pub(super) is_leaving: bool,
    /// What it has last heard of the partition.
    pub(super) known: Option<PartitionRegistration>,
    pub(super) leading: Option<Leading>,
}

/// A term of leadership, as its leader sees it.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) epoch: LeaderEpoch,
    /// Where the log ended when it began.
    start: usize,
    isr: Vec<NodeId>,
    partition_epoch: PartitionEpoch,
    /// The change that is asked for.
    pub(super) pending: Option<Change>,
    /// How far each follower is, and which incarnation said so.
    followers: BTreeMap<NodeId, (BrokerEpoch, usize)>,
    pub(super) high_watermark: usize,
}

/// A change of the in-sync set.
#[derive(Clone, Debug)]
pub(super) struct Change {
    isr: Vec<(NodeId, BrokerEpoch)>,
}

impl Broker {
    pub(super) fn new(id: NodeId) -> Broker {
        Broker {
            id,
            log: Vec::new(),
            synced: 0,
            complete_since: BrokerEpoch::NONE,
            has_lost: false,
            process: None,
        }
    }

    /// Hears of the partition. Returns whether it begins to lead.
    pub(super) fn learn(&mut self, partition: &PartitionRegistration) -> bool {
        let Some(process) = &mut self.process else { return false };
        process.known = Some(partition.clone());
        if partition.leader != Some(self.id) {
            process.leading = None;
            return false;
        }
        match &mut process.leading {
            Some(leading) if leading.epoch == partition.leader_epoch => {
                leading.settled(&partition.isr, partition.partition_epoch);
                false
            }
            leading => {
                *leading = Some(Leading {
                    epoch: partition.leader_epoch,
                    start: self.log.len(),
                    isr: partition.isr.clone(),
                    partition_epoch: partition.partition_epoch,
                    pending: None,
                    followers: BTreeMap::new(),
                    high_watermark: 0,
                });
                true
            }
        }
    }

    pub(super) fn leading(&mut self) -> Option<&mut Leading> {
        self.process.as_mut()?.leading.as_mut()
    }

    /// Writes a record as the leader.
    pub(super) fn append(&mut self, value: u64) {
        if let Some(epoch) = self.leading().map(|leading| leading.epoch) {
            self.log.push((epoch, value));
        }
    }

    /// Moves the high watermark as far as the maximal in-sync set allows. Returns what is committed.
    pub(super) fn commit(&mut self, min_insync_replicas: usize) -> &[Entry] {
        let (id, end) = (self.id, self.log.len());
        let Some(leading) = self.leading() else { return &[] };
        if leading.isr.len() >= min_insync_replicas {
            let reached = |node: &NodeId| match leading.followers.get(node) {
                _ if *node == id => end,
                Some((_, reached)) => *reached,
                None => 0,
            };
            let lowest = leading.maximal().iter().map(reached).min().unwrap_or(0);
            leading.high_watermark = leading.high_watermark.max(lowest);
        }
        let high_watermark = leading.high_watermark;
        &self.log[..high_watermark]
    }

    /// Cuts off what another log does not have. Returns where it ends then.
    pub(super) fn truncate(&mut self, leader: &[Entry]) -> usize {
        let common = self.log.iter().zip(leader).take_while(|(ours, theirs)| ours == theirs).count();
        self.log.truncate(common);
        self.synced = self.synced.min(common);
        common
    }
}

impl Leading {
    /// Every node that is in sync by any possible outcome (KIP-497).
    fn maximal(&self) -> BTreeSet<NodeId> {
        let pending = self.pending.iter().flat_map(|change| &change.isr).map(|(node, _)| *node);
        self.isr.iter().copied().chain(pending).collect()
    }

    /// The controller has this in-sync set, in this version.
    pub(super) fn settled(&mut self, isr: &[NodeId], partition_epoch: PartitionEpoch) {
        if partition_epoch > self.partition_epoch {
            self.isr = isr.to_vec();
            self.partition_epoch = partition_epoch;
            self.pending = None;
        }
    }

    /// The controller has refused the change to this version, and nothing has changed.
    pub(super) fn refused(&mut self, partition_epoch: PartitionEpoch) {
        if partition_epoch == self.partition_epoch {
            self.pending = None;
        }
    }

    /// A follower has asked for what comes after `reached`.
    pub(super) fn fetched(&mut self, follower: NodeId, epoch: BrokerEpoch, reached: usize) {
        self.followers.insert(follower, (epoch, reached));
    }

    /// Asks for another in-sync set: without this member, or with this replica if it has come far enough. A member is
    /// named by the incarnation that has fetched.
    pub(super) fn ask(&mut self, local: (NodeId, BrokerEpoch), node: NodeId) {
        if self.pending.is_some() || node == local.0 {
            return;
        }
        let mut isr = self.isr.clone();
        if isr.contains(&node) {
            isr.retain(|&member| member != node);
        } else {
            let far_enough =
                |(_, reached): &(_, usize)| *reached >= self.high_watermark && *reached >= self.start;
            if !self.followers.get(&node).is_some_and(far_enough) {
                return;
            }
            isr.push(node);
        }
        let epoch = |node: NodeId| match self.followers.get(&node) {
            _ if node == local.0 => local.1,
            Some((epoch, _)) => *epoch,
            None => BrokerEpoch::NONE,
        };
        self.pending = Some(Change { isr: isr.into_iter().map(|node| (node, epoch(node))).collect() });
    }

    /// The request that asks for the change under way.
    pub(super) fn request(
        &self,
        topic_id: Uuid,
        local: (NodeId, BrokerEpoch),
    ) -> Option<AlterPartitionRequest> {
        let change = self.pending.as_ref()?;
        let member =
            |&(node, epoch): &(NodeId, BrokerEpoch)| BrokerState { broker_id: node.0, broker_epoch: epoch.0 };
        let partition = PartitionData {
            partition_index: 0,
            leader_epoch: self.epoch.0,
            new_isr_with_epochs: change.isr.iter().map(member).collect(),
            partition_epoch: self.partition_epoch.0,
            ..Default::default()
        };
        let topics = vec![TopicData { topic_id, partitions: vec![partition] }];
        Some(AlterPartitionRequest { broker_id: local.0.0, broker_epoch: local.1.0, topics })
    }
}
