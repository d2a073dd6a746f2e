//! Who leads a partition.
//!
//! Never anyone outside the in-sync set: what was acknowledged is on every member, and only there.

use ottla_metadata::partition::{NO_LEADER_CHANGE, ids};
use ottla_metadata::{ClusterImage, PartitionRegistration};
use ottla_protocol::records::metadata::PartitionChangeRecord;
use ottla_types::{NodeId, TopicIdPartition, Uuid};

/// Which replica is looked at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The one that leads already: no needless move.
    Current,
    /// The first of the assignment, whatever leads.
    Preferred,
}

/// Returns whether `node` may lead the partition or join its in-sync set: registered, unfenced, not
/// leaving, and its replica's directory works.
pub fn is_acceptable(cluster: &ClusterImage, partition: &PartitionRegistration, node: NodeId) -> bool {
    let Some(broker) = cluster.broker(node) else { return false };
    let directory = partition.directory(node);
    broker.is_active()
        && directory != Uuid::LOST_DIR
        && (directory.is_reserved()
            || broker.directories.is_empty()
            || broker.directories.contains(&directory))
}

/// Chooses a leader among `isr`, in the order of the assignment.
pub fn elect(
    partition: &PartitionRegistration,
    isr: &[NodeId],
    preference: Preference,
    acceptable: impl Fn(NodeId) -> bool,
) -> Option<NodeId> {
    let may_lead = |node: &NodeId| isr.contains(node) && acceptable(*node);
    if preference == Preference::Preferred
        && let Some(first) = partition.replicas.first().filter(|node| may_lead(node))
    {
        return Some(*first);
    }
    partition.leader.filter(may_lead).or_else(|| partition.replicas.iter().copied().find(may_lead))
}

/// The change that takes `leaving` out of a partition's in-sync set and leadership; `None` when it was in
/// neither.
///
/// The last member of an in-sync set stays in it when it fails: it alone is known to have every
/// acknowledged record.
///
/// Among those that may follow in the lead, one that is `settled` goes first, then the order of the assignment counts.
pub fn without(
    at: TopicIdPartition,
    partition: &PartitionRegistration,
    leaving: NodeId,
    acceptable: impl Fn(NodeId) -> bool,
    settled: impl Fn(NodeId) -> bool,
) -> Option<PartitionChangeRecord> {
    let led = partition.leader == Some(leaving);
    if !led && !partition.isr.contains(&leaving) {
        return None;
    }
    let mut isr: Vec<NodeId> = partition.isr.iter().copied().filter(|&node| node != leaving).collect();
    if isr.is_empty() {
        isr.clone_from(&partition.isr);
    }
    let may_lead = |node: NodeId| node != leaving && acceptable(node);
    let stays = partition.leader.filter(|&leader| isr.contains(&leader) && may_lead(leader));
    let leader = stays
        .or_else(|| elect(partition, &isr, Preference::Current, |node| may_lead(node) && settled(node)))
        .or_else(|| elect(partition, &isr, Preference::Current, may_lead));
    change(at, partition, isr, leader)
}

/// The change to a leader for a partition that may have none, after a broker became active.
pub fn reelect(
    at: TopicIdPartition,
    partition: &PartitionRegistration,
    preference: Preference,
    acceptable: impl Fn(NodeId) -> bool,
) -> Option<PartitionChangeRecord> {
    let leader = elect(partition, &partition.isr, preference, acceptable);
    change(at, partition, partition.isr.clone(), leader)
}

/// The record that moves a partition to this in-sync set and leader; `None` when it is there already.
fn change(
    at: TopicIdPartition,
    partition: &PartitionRegistration,
    isr: Vec<NodeId>,
    leader: Option<NodeId>,
) -> Option<PartitionChangeRecord> {
    let isr_changes = isr != partition.isr;
    let leader_changes = leader != partition.leader;
    if !isr_changes && !leader_changes {
        return None;
    }
    Some(PartitionChangeRecord {
        partition_id: at.partition,
        topic_id: at.topic_id,
        isr: isr_changes.then(|| ids(&isr)),
        leader: if leader_changes { leader.unwrap_or(NodeId::NONE).0 } else { NO_LEADER_CHANGE },
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::partition::nodes;
    use ottla_protocol::records::metadata::PartitionRecord;

    const AT: TopicIdPartition = TopicIdPartition { topic_id: Uuid::ZERO, partition: 0 };

    fn partition(isr: &[i32], leader: i32) -> PartitionRegistration {
        PartitionRegistration::from_record(&PartitionRecord {
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            leader,
            ..Default::default()
        })
    }

    #[test]
    fn a_leader_is_followed_by_the_next_in_sync_replica_of_the_assignment() {
        let change = without(AT, &partition(&[1, 2, 3], 1), NodeId(1), |_| true, |_| true).unwrap();
        assert_eq!((change.leader, change.isr), (2, Some(vec![2, 3])));

        let change = without(AT, &partition(&[1, 3], 1), NodeId(1), |_| true, |_| true).unwrap();
        assert_eq!((change.leader, change.isr), (3, Some(vec![3])));
    }

    #[test]
    fn a_settled_replica_goes_before_the_order_of_the_assignment() {
        let leader = |isr: &[i32], settled: fn(NodeId) -> bool| {
            without(AT, &partition(isr, 1), NodeId(1), |_| true, settled).unwrap().leader
        };

        assert_eq!(leader(&[1, 2, 3], |node| node != NodeId(2)), 3);
        assert_eq!(leader(&[1, 2], |node| node != NodeId(2)), 2, "nobody else is in sync");
        assert_eq!(leader(&[1, 2, 3], |_| false), 2);
        let follower = without(AT, &partition(&[1, 2, 3], 1), NodeId(3), |_| true, |_| false).unwrap();
        assert_eq!(follower.leader, NO_LEADER_CHANGE, "who leads stays");
    }

    #[test]
    fn a_follower_leaves_without_an_election() {
        let change = without(AT, &partition(&[1, 2, 3], 1), NodeId(3), |_| true, |_| true).unwrap();
        assert_eq!((change.leader, change.isr), (NO_LEADER_CHANGE, Some(vec![1, 2])));
    }

    /// ISR-1, ACK-1: the last member holds the acknowledged records; nobody else may lead.
    #[test]
    fn the_last_member_keeps_its_place_and_the_partition_waits_for_it() {
        let change = without(AT, &partition(&[2], 2), NodeId(2), |_| true, |_| true).unwrap();
        assert_eq!((change.leader, change.isr), (-1, None));

        let waiting = partition(&[2], -1);
        assert_eq!(reelect(AT, &waiting, Preference::Current, |node| node != NodeId(2)), None);
        let change = reelect(AT, &waiting, Preference::Current, |_| true).unwrap();
        assert_eq!(change.leader, 2);
    }

    #[test]
    fn the_preferred_leader_is_the_first_replica_if_it_is_in_sync() {
        let acceptable = |_| true;
        let current = partition(&[1, 2, 3], 3);
        assert_eq!(elect(&current, &nodes(&[1, 2, 3]), Preference::Preferred, acceptable), Some(NodeId(1)));
        assert_eq!(elect(&current, &nodes(&[2, 3]), Preference::Preferred, acceptable), Some(NodeId(3)));
        assert_eq!(elect(&current, &nodes(&[1, 2, 3]), Preference::Current, acceptable), Some(NodeId(3)));
    }
}
