//! What must hold, whatever happens.

use super::broker::{Broker, Entry};
use ottla_metadata::{ClusterImage, PartitionRegistration};
use ottla_types::NodeId;

/// What leaders have committed, to hold the present against.
#[derive(Debug, Default)]
pub(super) struct Judge {
    committed: Vec<Entry>,
    leaders: usize,
}

impl Judge {
    /// A leader has committed everything in this part of its log, and acknowledged it.
    pub(super) fn committed(&mut self, node: NodeId, log: &[Entry]) -> Result<(), String> {
        let common = log.len().min(self.committed.len());
        if log[..common] != self.committed[..common] {
            return Err(format!("HW-2: {node} commits something else than was committed"));
        }
        self.committed.extend_from_slice(&log[common..]);
        Ok(())
    }

    /// A broker begins to lead.
    pub(super) fn leads(&mut self, broker: &Broker) -> Result<(), String> {
        self.leaders += 1;
        self.has_all(broker).map_err(|lacks| format!("ACK-1: {lacks} and leads"))
    }

    /// The controller has this in its image.
    pub(super) fn registration(
        &self,
        partition: &PartitionRegistration,
        cluster: &ClusterImage,
        brokers: &[Broker],
    ) -> Result<(), String> {
        let PartitionRegistration { replicas, isr, eligible_leader_replicas: eligible, leader, .. } =
            partition;
        let is_set = |set: &[NodeId]| {
            set.iter().enumerate().all(|(at, node)| replicas.contains(node) && !set[..at].contains(node))
        };
        if !is_set(isr) || !is_set(eligible) || isr.iter().any(|node| eligible.contains(node)) {
            return Err(format!("ISR-1: {isr:?} in sync, {eligible:?} eligible, of {replicas:?}"));
        }
        if let Some(leader) = leader
            && !(isr.contains(leader) && cluster.is_active(*leader))
        {
            return Err(format!("ISR-1: {leader} leads, {isr:?} are in sync"));
        }
        let may_lead =
            brokers.iter().filter(|broker| isr.contains(&broker.id) || eligible.contains(&broker.id));
        // Who has lost power is believed to have everything until it says so itself, by registering.
        for broker in may_lead.filter(|broker| !broker.has_lost) {
            self.has_all(broker).map_err(|lacks| format!("HW-2: {lacks} and may lead"))?;
        }
        Ok(())
    }

    fn has_all(&self, broker: &Broker) -> Result<(), String> {
        match broker.log.starts_with(&self.committed) {
            true => Ok(()),
            false => {
                let (has, all) = (broker.log.len(), self.committed.len());
                Err(format!("{} has {has} records that are not the {all} committed ones", broker.id))
            }
        }
    }

    pub(super) fn committed_count(&self) -> usize {
        self.committed.len()
    }

    pub(super) fn leaders_count(&self) -> usize {
        self.leaders
    }
}
