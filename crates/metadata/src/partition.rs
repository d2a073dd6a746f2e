//! One partition as the controller has decided it.

use ottla_protocol::records::metadata::{PartitionChangeRecord, PartitionRecord};
use ottla_types::{LeaderEpoch, NodeId, PartitionEpoch, Uuid};

/// `Leader` in a change record that leaves the leader, and its epoch, as they are.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Whether a leader may be missing records that were acknowledged: it was elected from outside the
/// in-sync set (KIP-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    /// Elected cleanly, or recovered since.
    Recovered,
    /// Elected uncleanly and not yet recovered.
    Recovering,
}

impl LeaderRecoveryState {
    /// The state with this wire value; unknown values count as recovered, as in Kafka.
    pub fn from_wire(value: i8) -> LeaderRecoveryState {
        if value == 1 { LeaderRecoveryState::Recovering } else { LeaderRecoveryState::Recovered }
    }

    /// The wire value: 0 or 1.
    pub fn to_wire(self) -> i8 {
        match self {
            LeaderRecoveryState::Recovered => 0,
            LeaderRecoveryState::Recovering => 1,
        }
    }
}

/// The committed state of a partition (`org.apache.kafka.metadata.PartitionRegistration`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// The brokers that hold it, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The in-sync set: a subset of the replicas, the leader among them (ISR-1).
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment takes away.
    pub removing_replicas: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<NodeId>,
    /// Replicas outside the in-sync set that may still lead (KIP-966).
    pub eligible_leader_replicas: Vec<NodeId>,
    /// The last leader of a partition that lost all others (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    /// Who takes writes; `None` while nobody may.
    pub leader: Option<NodeId>,
    /// Whether the leader was elected cleanly.
    pub leader_recovery_state: LeaderRecoveryState,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The version of this registration: the optimistic lock of AlterPartition.
    pub partition_epoch: PartitionEpoch,
}

impl PartitionRegistration {
    /// The registration that a record creates.
    pub fn from_record(record: &PartitionRecord) -> PartitionRegistration {
        PartitionRegistration {
            replicas: nodes(&record.replicas),
            directories: directories_or_default(&record.directories, record.replicas.len()),
            isr: nodes(&record.isr),
            removing_replicas: nodes(&record.removing_replicas),
            adding_replicas: nodes(&record.adding_replicas),
            eligible_leader_replicas: nodes(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or_default()),
            leader: NodeId(record.leader).some(),
            leader_recovery_state: LeaderRecoveryState::from_wire(record.leader_recovery_state),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
        }
    }

    /// The registration after a change: the partition epoch grows with every change, the leader epoch
    /// with every change that names a leader, even the same one.
    pub fn merge(&self, change: &PartitionChangeRecord) -> PartitionRegistration {
        let replicas = change.replicas.as_deref().map_or_else(|| self.replicas.clone(), nodes);
        let directories = match &change.directories {
            Some(directories) => directories_or_default(directories, replicas.len()),
            None if replicas == self.replicas => self.directories.clone(),
            None => replicas.iter().map(|&replica| self.directory(replica)).collect(),
        };
        let names_leader = change.leader != NO_LEADER_CHANGE;
        let or =
            |list: &Option<Vec<i32>>, old: &Vec<NodeId>| list.as_deref().map_or_else(|| old.clone(), nodes);
        PartitionRegistration {
            replicas,
            directories,
            isr: or(&change.isr, &self.isr),
            removing_replicas: or(&change.removing_replicas, &self.removing_replicas),
            adding_replicas: or(&change.adding_replicas, &self.adding_replicas),
            eligible_leader_replicas: or(&change.eligible_leader_replicas, &self.eligible_leader_replicas),
            last_known_elr: or(&change.last_known_elr, &self.last_known_elr),
            leader: if names_leader { NodeId(change.leader).some() } else { self.leader },
            leader_recovery_state: if change.leader_recovery_state < 0 {
                self.leader_recovery_state
            } else {
                LeaderRecoveryState::from_wire(change.leader_recovery_state)
            },
            leader_epoch: if names_leader { self.leader_epoch.next() } else { self.leader_epoch },
            partition_epoch: PartitionEpoch(self.partition_epoch.0 + 1),
        }
    }

    /// Returns whether `node` holds a replica.
    pub fn has_replica(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }

    /// The directory of `node`'s replica; unassigned when it holds none.
    pub fn directory(&self, node: NodeId) -> Uuid {
        let position = self.replicas.iter().position(|&replica| replica == node);
        position.map_or(Uuid::UNASSIGNED_DIR, |i| self.directories[i])
    }

    /// The record that creates this registration in a fresh image.
    pub fn to_record(&self, topic_id: Uuid, partition: i32) -> PartitionRecord {
        let optional = |list: &[NodeId]| (!list.is_empty()).then(|| ids(list));
        PartitionRecord {
            partition_id: partition,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            removing_replicas: ids(&self.removing_replicas),
            adding_replicas: ids(&self.adding_replicas),
            leader: self.leader.unwrap_or(NodeId::NONE).0,
            leader_recovery_state: self.leader_recovery_state.to_wire(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            directories: self.directories.clone(),
            eligible_leader_replicas: optional(&self.eligible_leader_replicas),
            last_known_elr: optional(&self.last_known_elr),
        }
    }
}

/// Wire ids as node ids.
pub fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Node ids as wire ids.
pub fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

/// Records below metadata.version 3.7-IV2 carry no directories.
fn directories_or_default(directories: &[Uuid], replica_count: usize) -> Vec<Uuid> {
    if directories.len() == replica_count {
        directories.to_vec()
    } else {
        vec![Uuid::MIGRATING_DIR; replica_count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_replicas() -> PartitionRegistration {
        PartitionRegistration::from_record(&PartitionRecord {
            partition_id: 0,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2, 3],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRecord::default()
        })
    }

    #[test]
    fn the_leader_epoch_grows_only_when_a_leader_is_named() {
        let shrunk = three_replicas()
            .merge(&PartitionChangeRecord { isr: Some(vec![1, 2]), ..PartitionChangeRecord::default() });
        assert_eq!((shrunk.leader_epoch, shrunk.partition_epoch), (LeaderEpoch(0), PartitionEpoch(1)));
        assert_eq!(shrunk.isr, nodes(&[1, 2]));

        let same_leader = shrunk.merge(&PartitionChangeRecord { leader: 1, ..Default::default() });
        assert_eq!((same_leader.leader_epoch, same_leader.leader), (LeaderEpoch(1), Some(NodeId(1))));

        let none = same_leader.merge(&PartitionChangeRecord { leader: -1, ..Default::default() });
        assert_eq!((none.leader_epoch, none.leader), (LeaderEpoch(2), None));
    }

    #[test]
    fn a_record_made_from_a_registration_creates_it_again() {
        let registration = three_replicas();
        let record = registration.to_record(Uuid::from_u128(7), 4);

        assert_eq!(record.partition_id, 4);
        assert_eq!(PartitionRegistration::from_record(&record), registration);
    }
}
