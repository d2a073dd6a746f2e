//! Who leads a partition.
//!
//! Never anyone outside the in-sync set: what was acknowledged is on every member, and only there.

use ottla_metadata::partition::{NO_LEADER_CHANGE, ids};
use ottla_metadata::{ClusterImage, PartitionRegistration};
use ottla_protocol::records::metadata::PartitionChangeRecord;
use ottla_types::{NodeId, TopicIdPartition, Uuid};

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

/// Chooses a leader among `isr`: who leads already, so that there is no needless move, else in the order of the
/// assignment.
fn elect(
    partition: &PartitionRegistration,
    isr: &[NodeId],
    acceptable: impl Fn(NodeId) -> bool,
) -> Option<NodeId> {
    let may_lead = |node: &NodeId| isr.contains(node) && acceptable(*node);
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
        .or_else(|| elect(partition, &isr, |node| may_lead(node) && settled(node)))
        .or_else(|| elect(partition, &isr, may_lead));
    change(at, partition, isr, leader)
}

/// The change to a leader for a partition that may have none, after a broker became active.
pub fn reelect(
    at: TopicIdPartition,
    partition: &PartitionRegistration,
    acceptable: impl Fn(NodeId) -> bool,
) -> Option<PartitionChangeRecord> {
    let leader = elect(partition, &partition.isr, acceptable);
    change(at, partition, partition.isr.clone(), leader)
}

/// The change that gives the lead to the first replica of the assignment, whoever has it; `None` when that one leads
/// already, or may not lead.
pub fn prefer(
    at: TopicIdPartition,
    partition: &PartitionRegistration,
    acceptable: impl Fn(NodeId) -> bool,
) -> Option<PartitionChangeRecord> {
    let preferred = *partition.replicas.first()?;
    let may_lead = partition.isr.contains(&preferred) && acceptable(preferred);
    may_lead.then(|| change(at, partition, partition.isr.clone(), Some(preferred))).flatten()
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
        assert_eq!(reelect(AT, &waiting, |node| node != NodeId(2)), None);
        let change = reelect(AT, &waiting, |_| true).unwrap();
        assert_eq!(change.leader, 2);
    }

    #[test]
    fn the_preferred_leader_is_the_first_replica_if_it_is_in_sync() {
        let preferred = |isr: &[i32], leader, acceptable: fn(NodeId) -> bool| {
            prefer(AT, &partition(isr, leader), acceptable).map(|change| (change.leader, change.isr))
        };

        assert_eq!(preferred(&[2, 3, 1], 3, |_| true), Some((1, None)));
        assert_eq!(preferred(&[1], -1, |_| true), Some((1, None)), "nobody leads");
        assert_eq!(preferred(&[1, 2, 3], 1, |_| true), None, "it leads");
        assert_eq!(preferred(&[2, 3], 3, |_| true), None, "it is not in sync");
        assert_eq!(preferred(&[1, 2, 3], 3, |node| node != NodeId(1)), None, "it may not lead");
    }

    #[test]
    fn who_leads_goes_on_if_it_may() {
        let elected = |isr: &[i32], leader, acceptable: fn(NodeId) -> bool| {
            let partition = partition(isr, leader);
            elect(&partition, &partition.isr, acceptable).map(|node| node.0)
        };

        assert_eq!(elected(&[1, 2, 3], 3, |_| true), Some(3));
        assert_eq!(elected(&[3, 2], 3, |node| node != NodeId(3)), Some(2));
        assert_eq!(elected(&[1], 1, |_| false), None);
    }
}
