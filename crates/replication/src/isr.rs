//! The in-sync set, and the one change to it that may be under way.

use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition};
use std::collections::BTreeSet;

/// A member of an in-sync set that is asked for, as the controller checks it (KIP-903).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsrMember {
    /// The broker.
    pub node: NodeId,
    /// Its incarnation as the leader knows it.
    pub epoch: BrokerEpoch,
}

/// A change that the leader asks the controller for (`AlterPartition`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// The partition.
    pub partition: TopicIdPartition,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition's state that this is a change of.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync set asked for.
    pub isr: Vec<IsrMember>,
}

/// What the leader knows of the in-sync set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrState {
    /// What the controller has committed.
    pub committed: Vec<NodeId>,
    /// What the leader has asked for and not been answered on.
    pub pending: Option<Vec<NodeId>>,
    /// The version of `committed`.
    pub partition_epoch: PartitionEpoch,
}

impl IsrState {
    /// The set that the controller has committed, and no change under way.
    pub fn committed(isr: Vec<NodeId>, partition_epoch: PartitionEpoch) -> IsrState {
        IsrState { committed: isr, pending: None, partition_epoch }
    }

    /// Every node that is in sync by any possible outcome: until the controller has answered, a joining
    /// member counts already and a leaving one counts still (KIP-497). What all of these have is safe
    /// whichever set the next leader is elected from.
    pub fn maximal(&self) -> BTreeSet<NodeId> {
        self.committed.iter().chain(self.pending.iter().flatten()).copied().collect()
    }

    /// Returns whether another change may be asked for.
    pub fn is_settled(&self) -> bool {
        self.pending.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximal_set_has_who_joins_and_who_leaves() {
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let mut state = IsrState::committed(nodes(&[1, 2]), PartitionEpoch(3));
        assert_eq!(state.maximal(), BTreeSet::from([NodeId(1), NodeId(2)]));

        state.pending = Some(nodes(&[1, 3]));
        assert_eq!(state.maximal(), BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]));
        assert!(!state.is_settled());
    }
}
