//! Who leads a partition, and who may.
//!
//! Never anyone who may lack what was acknowledged, unless an administrator asks for it. The members of the in-sync set
//! have it. So do *eligible leader replicas* (KIP-966): while the set is smaller than `min.insync.replicas` nothing is
//! committed, so a member that leaves it then keeps all there is; until its broker may have lost what it had not synced.
//! Without the feature (`eligible.leader.replicas.version` 0) the last member of a set stays in it when it fails,
//! whatever it has lost.
//!
//! A partition whose members have all lost something waits for nobody: its last leader goes on with what it still has,
//! *recovering*. That is the one election of Kafka's that may lose records without having been asked for.

use crate::assignment::Assignment;
use crate::bug::Bug;
use ottla_metadata::partition::{NO_LEADER_CHANGE, ids};
use ottla_metadata::{ClusterImage, LeaderRecoveryState, PartitionRegistration};
use ottla_protocol::records::metadata::PartitionChangeRecord;
use ottla_types::{NodeId, TopicIdPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// Returns whether `node` may lead the partition or join its in-sync set: registered, unfenced, not
/// leaving, and its replica's directory works.
fn is_acceptable(cluster: &ClusterImage, partition: &PartitionRegistration, node: NodeId) -> bool {
    let broker = cluster.broker(node);
    broker.is_some_and(|broker| broker.is_active() && broker.has_online(partition.directory(node)))
}

/// Who may lead besides the members of the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// Nobody: `eligible.leader.replicas.version` is 0.
    Off,
    /// Who leaves the set while it has, or comes to have, fewer members than this: `min.insync.replicas` of the topic.
    Below(usize),
}

/// Who wants to lead. Of several that may, one that is settled is better, then the order of the assignment counts.
pub trait Candidates {
    /// See [`is_acceptable`].
    fn is_acceptable(&self, node: NodeId) -> bool;

    /// Whether it was not away a moment ago.
    fn is_settled(&self, node: NodeId) -> bool;
}

/// The brokers of a cluster, as the candidates for one partition.
#[derive(Clone, Copy, Debug)]
pub struct Brokers<'a> {
    /// As they are registered.
    pub cluster: &'a ClusterImage,
    /// Those that were away a moment ago.
    pub newcomers: &'a BTreeSet<NodeId>,
    /// The partition.
    pub partition: &'a PartitionRegistration,
}

impl Candidates for Brokers<'_> {
    fn is_acceptable(&self, node: NodeId) -> bool {
        is_acceptable(self.cluster, self.partition, node)
    }

    fn is_settled(&self, node: NodeId) -> bool {
        !self.newcomers.contains(&node)
    }
}

/// A change of a partition's in-sync set or replicas, and the leader that follows from it
/// (`PartitionChangeBuilder`). A reassignment is over with the change that brings its last replica into the set.
#[derive(Clone, Debug)]
pub struct Election<'a> {
    at: TopicIdPartition,
    partition: &'a PartitionRegistration,
    eligibility: Eligibility,
    isr: Vec<NodeId>,
    assignment: Assignment,
    /// The directories of replicas, where they change.
    directories: BTreeMap<NodeId, Uuid>,
    leaving: Option<NodeId>,
    lost: Option<NodeId>,
    /// Who has nothing any more of what it had.
    replaced: Option<NodeId>,
    #[cfg(test)]
    bug: Option<Bug>,
}

/// What a partition is to become.
struct Outcome {
    isr: Vec<NodeId>,
    eligible: Vec<NodeId>,
    leader: Option<NodeId>,
    is_unclean: bool,
}

impl<'a> Election<'a> {
    /// Nothing changes yet.
    pub fn new(
        at: TopicIdPartition,
        partition: &'a PartitionRegistration,
        eligibility: Eligibility,
    ) -> Election<'a> {
        Election {
            at,
            partition,
            eligibility,
            isr: partition.isr.clone(),
            assignment: Assignment::of(partition),
            directories: BTreeMap::new(),
            leaving: None,
            lost: None,
            replaced: None,
            #[cfg(test)]
            bug: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_bug(self, bug: Option<Bug>) -> Election<'a> {
        Election { bug, ..self }
    }

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

    /// `node` leaves the in-sync set, and may not lead.
    pub fn without(mut self, node: NodeId) -> Election<'a> {
        self.isr.retain(|&member| member != node);
        self.leaving = Some(node);
        self
    }

    /// `node` leaves, and may have lost records that it had: it is not eligible either.
    pub fn without_lost(self, node: NodeId) -> Election<'a> {
        if self.has(Bug::LostReplicaStaysEligible) {
            return self.without(node);
        }
        Election { lost: Some(node), ..self.without(node) }
    }

    /// `node` begins anew in another directory: it has nothing of what it had, and is not to go on from it either.
    pub fn without_replaced(self, node: NodeId) -> Election<'a> {
        Election { replaced: Some(node), ..self.without_lost(node) }
    }

    /// The replica of `node` is in this directory.
    pub fn with_directory(mut self, node: NodeId, directory: Uuid) -> Election<'a> {
        self.directories.insert(node, directory);
        self
    }

    /// The leader asks for this in-sync set, itself among them.
    pub fn with_isr(self, isr: Vec<NodeId>) -> Election<'a> {
        Election { isr, ..self }
    }

    /// Others are to hold it; `directory` is where a broker that does not yet will.
    pub fn with_assignment(self, assignment: Assignment, directory: impl Fn(NodeId) -> Uuid) -> Election<'a> {
        let new = assignment.replicas.iter().filter(|node| !self.partition.has_replica(**node));
        let directories = new.map(|&node| (node, directory(node))).collect();
        Election { assignment, directories, ..self }
    }

    /// The change to a leader that may lead: the present one if it still may, so that there is no needless move. `None`
    /// when nothing changes.
    pub fn elect(mut self, candidates: &impl Candidates) -> Option<PartitionChangeRecord> {
        self.complete();
        let (isr, eligible) = self.sets();
        let may_lead = |node: NodeId| self.leaving != Some(node) && candidates.is_acceptable(node);
        let first = |among: &[NodeId], suits: &dyn Fn(NodeId) -> bool| {
            let mut replicas = self.assignment.replicas.iter().copied();
            replicas.find(|node| among.contains(node) && suits(*node))
        };
        let stays = self.partition.leader.filter(|leader| isr.contains(leader) && may_lead(*leader));
        let of = |among: &[NodeId]| {
            first(among, &|node| may_lead(node) && candidates.is_settled(node))
                .or_else(|| first(among, &may_lead))
        };
        if let Some(leader) = stays.or_else(|| of(&isr)) {
            return self.change(Outcome { isr, eligible, leader: Some(leader), is_unclean: false });
        }
        if let Some(leader) = of(&eligible) {
            // The others have as much, as far as anybody knows; they follow, and become members again.
            let others = self.assignment.replicas.iter().copied();
            let eligible =
                others.filter(|&node| node != leader && (isr.contains(&node) || eligible.contains(&node)));
            let eligible = eligible.collect();
            return self.change(Outcome {
                isr: vec![leader],
                eligible,
                leader: Some(leader),
                is_unclean: false,
            });
        }
        if self.has(Bug::LeaderOutsideInSync)
            && let Some(leader) = of(&self.partition.replicas)
        {
            let isr = vec![leader];
            return self.change(Outcome { isr, eligible, leader: Some(leader), is_unclean: false });
        }
        if let ([], [], &[last]) = (&isr[..], &eligible[..], &self.partition.last_known_elr[..])
            && may_lead(last)
        {
            let leader = Some(last);
            return self.change(Outcome { isr: vec![last], eligible, leader, is_unclean: true });
        }
        self.change(Outcome { isr, eligible, leader: None, is_unclean: false })
    }

    /// The change that gives the lead to the first replica of the assignment, whoever has it; `None` when that one leads
    /// already, or may not lead.
    pub fn prefer(mut self, candidates: &impl Candidates) -> Option<PartitionChangeRecord> {
        self.complete();
        let preferred = *self.assignment.replicas.first()?;
        if !self.isr.contains(&preferred) || !candidates.is_acceptable(preferred) {
            return None;
        }
        let (isr, eligible) = self.sets();
        self.change(Outcome { isr, eligible, leader: Some(preferred), is_unclean: false })
    }

    /// The change to a leader at any price: where nobody may lead, the first replica that works does, and what only
    /// others have is lost. `None` when no replica works, or nothing changes.
    pub fn elect_uncleanly(self, candidates: &impl Candidates) -> Option<PartitionChangeRecord> {
        let clean = self.clone().elect(candidates);
        let has_leader = match &clean {
            Some(change) if change.leader != NO_LEADER_CHANGE => change.leader != NodeId::NONE.0,
            _ => self.partition.leader.is_some(),
        };
        if has_leader {
            return clean;
        }
        let leader = self.assignment.replicas.iter().copied().find(|&node| candidates.is_acceptable(node))?;
        let outcome =
            Outcome { isr: vec![leader], eligible: Vec::new(), leader: Some(leader), is_unclean: true };
        self.change(outcome)
    }

    /// Ends the reassignment, if all that it is to lead to are in sync.
    fn complete(&mut self) {
        if let Some((assignment, isr)) = self.assignment.completed(&self.isr) {
            self.assignment = assignment;
            self.isr = isr;
        }
    }

    /// The in-sync set and who is eligible besides.
    fn sets(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let Eligibility::Below(min_isr) = self.eligibility else {
            // The last member alone is known to have every acknowledged record.
            let isr = if self.isr.is_empty() { &self.partition.isr } else { &self.isr };
            let mut eligible = self.partition.eligible_leader_replicas.clone();
            eligible.retain(|node| self.assignment.replicas.contains(node));
            return (isr.clone(), eligible);
        };
        if self.isr.len() >= min_isr.min(self.assignment.replicas.len()) {
            return (self.isr.clone(), Vec::new());
        }
        let was = |node: &NodeId| {
            self.partition.isr.contains(node) || self.partition.eligible_leader_replicas.contains(node)
        };
        let replicas = self.assignment.replicas.iter().copied();
        let eligible =
            replicas.filter(|node| was(node) && !self.isr.contains(node) && self.lost != Some(*node));
        (self.isr.clone(), eligible.collect())
    }

    /// The record that says so; `None` when the partition is there already.
    fn change(self, outcome: Outcome) -> Option<PartitionChangeRecord> {
        let Outcome { isr, eligible, leader, is_unclean } = outcome;
        let was = self.partition;
        let last_known = match (leader, was.leader) {
            // Somebody leads: nobody has to be remembered.
            (Some(_), _) => Vec::new(),
            (None, Some(last)) if isr.is_empty() => vec![last],
            (None, _) => was.last_known_elr.clone(),
        };
        let last_known: Vec<NodeId> =
            last_known.into_iter().filter(|node| self.replaced != Some(*node)).collect();
        let differs = |new: Vec<NodeId>, old: &[NodeId]| (new != old).then(|| ids(&new));
        let Assignment { replicas, adding, removing } = self.assignment;
        // Who is a replica no longer must not be taken for one by what it asked before: its fetches, and the leader's
        // memory of them, are of another term.
        let loses_replica = was.replicas.iter().any(|node| !replicas.contains(node));
        let directory =
            |node: &NodeId| self.directories.get(node).copied().unwrap_or_else(|| was.directory(*node));
        let directories: Vec<Uuid> = replicas.iter().map(directory).collect();
        let change = PartitionChangeRecord {
            partition_id: self.at.partition,
            topic_id: self.at.topic_id,
            isr: differs(isr, &was.isr),
            leader: if leader == was.leader && !loses_replica {
                NO_LEADER_CHANGE
            } else {
                leader.unwrap_or(NodeId::NONE).0
            },
            leader_recovery_state: if is_unclean
                && was.leader_recovery_state == LeaderRecoveryState::Recovered
            {
                LeaderRecoveryState::Recovering.to_wire()
            } else {
                NO_RECOVERY_CHANGE
            },
            replicas: differs(replicas, &was.replicas),
            adding_replicas: differs(adding, &was.adding_replicas),
            removing_replicas: differs(removing, &was.removing_replicas),
            directories: (directories != was.directories).then_some(directories),
            eligible_leader_replicas: differs(eligible, &was.eligible_leader_replicas),
            last_known_elr: differs(last_known, &was.last_known_elr),
        };
        let nothing = PartitionChangeRecord {
            partition_id: change.partition_id,
            topic_id: change.topic_id,
            leader: NO_LEADER_CHANGE,
            leader_recovery_state: change.leader_recovery_state,
            ..Default::default()
        };
        (change != nothing).then_some(change)
    }
}

/// The recovery state stays as it is.
const NO_RECOVERY_CHANGE: i8 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::records::metadata::PartitionRecord;

    const AT: TopicIdPartition = TopicIdPartition { topic_id: Uuid::ZERO, partition: 0 };
    const OFF: Eligibility = Eligibility::Off;
    const TWO: Eligibility = Eligibility::Below(2);

    /// Which nodes work, and which were away a moment ago.
    #[derive(Clone, Copy, Default)]
    struct Nodes {
        down: &'static [i32],
        new: &'static [i32],
    }

    impl Candidates for Nodes {
        fn is_acceptable(&self, node: NodeId) -> bool {
            !self.down.contains(&node.0)
        }

        fn is_settled(&self, node: NodeId) -> bool {
            !self.new.contains(&node.0)
        }
    }

    const ALL: Nodes = Nodes { down: &[], new: &[] };

    const fn down(down: &'static [i32]) -> Nodes {
        Nodes { down, new: &[] }
    }

    fn partition(isr: &[i32], leader: i32) -> PartitionRegistration {
        with_eligible(isr, leader, &[])
    }

    fn with_eligible(isr: &[i32], leader: i32, eligible: &[i32]) -> PartitionRegistration {
        PartitionRegistration::from_record(&PartitionRecord {
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            leader,
            eligible_leader_replicas: Some(eligible.to_vec()),
            ..Default::default()
        })
    }

    fn election(partition: &PartitionRegistration, eligibility: Eligibility) -> Election<'_> {
        Election::new(AT, partition, eligibility)
    }

    /// What becomes of a partition.
    fn after(
        partition: &PartitionRegistration,
        change: Option<PartitionChangeRecord>,
    ) -> PartitionRegistration {
        change.map_or_else(|| partition.clone(), |change| partition.merge(&change))
    }

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_leader_is_followed_by_the_next_in_sync_replica_of_the_assignment() {
        let without_first = |isr: &[i32]| {
            let partition = partition(isr, 1);
            let change = election(&partition, OFF).without(NodeId(1)).elect(&ALL).unwrap();
            (change.leader, change.isr)
        };

        assert_eq!(without_first(&[1, 2, 3]), (2, Some(vec![2, 3])));
        assert_eq!(without_first(&[1, 3]), (3, Some(vec![3])));
    }

    #[test]
    fn a_settled_replica_goes_before_the_order_of_the_assignment() {
        let leader = |isr: &[i32], new| {
            let partition = partition(isr, 1);
            election(&partition, OFF).without(NodeId(1)).elect(&Nodes { down: &[], new }).unwrap().leader
        };

        assert_eq!(leader(&[1, 2, 3], &[2]), 3);
        assert_eq!(leader(&[1, 2], &[2]), 2, "nobody else is in sync");
        assert_eq!(leader(&[1, 2, 3], &[1, 2, 3]), 2);
        let led = partition(&[1, 2, 3], 1);
        let none_settled = Nodes { down: &[], new: &[1, 2, 3] };
        let follower = election(&led, OFF).without(NodeId(3)).elect(&none_settled).unwrap();
        assert_eq!(follower.leader, NO_LEADER_CHANGE, "who leads stays");
    }

    #[test]
    fn a_follower_leaves_without_an_election() {
        let partition = partition(&[1, 2, 3], 1);
        let change = election(&partition, OFF).without(NodeId(3)).elect(&ALL).unwrap();
        assert_eq!((change.leader, change.isr), (NO_LEADER_CHANGE, Some(vec![1, 2])));
    }

    /// ISR-1, ACK-1: the last member holds the acknowledged records; nobody else may lead.
    #[test]
    fn without_the_feature_the_last_member_keeps_its_place_and_the_partition_waits_for_it() {
        let last = partition(&[2], 2);
        let change = election(&last, OFF).without_lost(NodeId(2)).elect(&ALL).unwrap();
        assert_eq!((change.leader, change.isr), (-1, None));

        let waiting = partition(&[2], -1);
        assert_eq!(election(&waiting, OFF).elect(&down(&[2])), None);
        assert_eq!(election(&waiting, OFF).elect(&ALL).unwrap().leader, 2);
    }

    #[test]
    fn who_leaves_a_set_that_is_too_small_stays_eligible_until_it_is_large_enough() {
        let three = partition(&[1, 2, 3], 1);
        let two = after(&three, election(&three, TWO).without(NodeId(3)).elect(&down(&[3])));
        assert_eq!((&two.isr, &two.eligible_leader_replicas), (&nodes(&[1, 2]), &nodes(&[])));

        let one = after(&two, election(&two, TWO).without(NodeId(1)).elect(&down(&[1, 3])));
        assert_eq!((one.leader, &one.isr), (Some(NodeId(2)), &nodes(&[2])));
        assert_eq!(
            one.eligible_leader_replicas,
            nodes(&[1]),
            "3 left while there were enough: it may lack some"
        );

        let none = after(&one, election(&one, TWO).without(NodeId(2)).elect(&down(&[1, 2, 3])));
        assert_eq!((none.leader, &none.isr), (None, &nodes(&[])));
        assert_eq!((&none.eligible_leader_replicas, &none.last_known_elr), (&nodes(&[1, 2]), &nodes(&[2])));

        assert_eq!(election(&none, TWO).elect(&down(&[1, 2])), None, "3 may not lead");
        let back = after(&none, election(&none, TWO).elect(&down(&[2, 3])));
        assert_eq!((back.leader, &back.isr), (Some(NodeId(1)), &nodes(&[1])));
        assert_eq!((&back.eligible_leader_replicas, &back.last_known_elr), (&nodes(&[2]), &nodes(&[])));
        assert_eq!(back.leader_recovery_state, LeaderRecoveryState::Recovered);

        let whole = after(&back, election(&back, TWO).with_isr(nodes(&[1, 3])).elect(&ALL));
        assert_eq!((&whole.isr, &whole.eligible_leader_replicas), (&nodes(&[1, 3]), &nodes(&[])));
    }

    /// ACK-1: one member loses what it had not synced, while the others are down and keep theirs.
    #[test]
    fn who_may_have_lost_something_is_not_eligible() {
        let last = with_eligible(&[3], 3, &[1]);
        let change = election(&last, TWO).without_lost(NodeId(3)).elect(&down(&[2]));
        let led = after(&last, change);
        assert_eq!((led.leader, &led.isr), (Some(NodeId(1)), &nodes(&[1])));
        assert_eq!(led.eligible_leader_replicas, nodes(&[]));

        let waiting = after(&last, election(&last, TWO).without_lost(NodeId(3)).elect(&down(&[1, 2])));
        assert_eq!((waiting.leader, &waiting.isr), (None, &nodes(&[])));
        assert_eq!(waiting.eligible_leader_replicas, nodes(&[1]));
        assert_eq!(election(&waiting, TWO).elect(&down(&[1])), None, "1 has it all, and is waited for");
    }

    #[test]
    fn when_all_have_lost_something_the_last_leader_goes_on_and_says_so() {
        let last = partition(&[3], 3);
        let lost = after(&last, election(&last, TWO).without_lost(NodeId(3)).elect(&ALL));
        assert_eq!((lost.leader, &lost.isr, &lost.last_known_elr), (None, &nodes(&[]), &nodes(&[3])));

        assert_eq!(election(&lost, TWO).elect(&down(&[3])), None, "nobody else does");
        let back = after(&lost, election(&lost, TWO).elect(&ALL));
        assert_eq!(
            (back.leader, &back.isr, &back.last_known_elr),
            (Some(NodeId(3)), &nodes(&[3]), &nodes(&[]))
        );
        assert_eq!(back.leader_recovery_state, LeaderRecoveryState::Recovering);
    }

    #[test]
    fn an_unclean_election_takes_the_first_that_works_where_nobody_may_lead() {
        let uncleanly = |partition: &PartitionRegistration, nodes| {
            let change = election(partition, TWO).elect_uncleanly(&nodes);
            change.map(|change| after(partition, Some(change)))
        };

        let offline = with_eligible(&[], -1, &[1]);
        let led = uncleanly(&offline, down(&[1])).unwrap();
        assert_eq!((led.leader, &led.isr), (Some(NodeId(2)), &nodes(&[2])));
        assert_eq!(led.leader_recovery_state, LeaderRecoveryState::Recovering);
        assert_eq!(led.eligible_leader_replicas, nodes(&[]), "it is another history now");
        let clean = uncleanly(&offline, ALL).unwrap();
        assert_eq!(
            (clean.leader, clean.leader_recovery_state),
            (Some(NodeId(1)), LeaderRecoveryState::Recovered)
        );
        assert_eq!(uncleanly(&offline, down(&[1, 2, 3])), None);
        assert_eq!(uncleanly(&partition(&[2], 2), ALL), None, "it has a leader");
    }

    #[test]
    fn the_preferred_leader_is_the_first_replica_if_it_is_in_sync() {
        let preferred = |isr: &[i32], leader, nodes: Nodes| {
            let partition = partition(isr, leader);
            election(&partition, OFF).prefer(&nodes).map(|change| (change.leader, change.isr))
        };

        assert_eq!(preferred(&[2, 3, 1], 3, ALL), Some((1, None)));
        assert_eq!(preferred(&[1], -1, ALL), Some((1, None)), "nobody leads");
        assert_eq!(preferred(&[1, 2, 3], 1, ALL), None, "it leads");
        assert_eq!(preferred(&[2, 3], 3, ALL), None, "it is not in sync");
        assert_eq!(preferred(&[1, 2, 3], 3, down(&[1])), None, "it may not lead");
    }

    #[test]
    fn who_leads_goes_on_if_it_may() {
        let elected = |isr: &[i32], leader, nodes: Nodes| {
            let partition = partition(isr, leader);
            let change = election(&partition, OFF).elect(&nodes);
            after(&partition, change).leader.map(|node| node.0)
        };

        assert_eq!(elected(&[1, 2, 3], 3, ALL), Some(3));
        assert_eq!(elected(&[3, 2], 3, down(&[3])), Some(2));
        assert_eq!(elected(&[1], 1, down(&[1, 2, 3])), None);
    }
}
