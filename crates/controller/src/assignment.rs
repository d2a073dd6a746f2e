//! Who holds a partition, on the way from some brokers to others (KIP-455).
//!
//! While a reassignment is under way the replicas are those to be, and after them those to go. It is over as soon as
//! every one of those to be is in sync; until then it can be taken back.

use ottla_metadata::PartitionRegistration;
use ottla_types::NodeId;

/// The replicas of a partition, and which of them come and go (`PartitionReassignmentReplicas`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// All that hold it, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those that were not there when the reassignment began.
    pub adding: Vec<NodeId>,
    /// Those that go when it is over.
    pub removing: Vec<NodeId>,
}

impl Assignment {
    /// The assignment as it was decided last.
    pub fn of(partition: &PartitionRegistration) -> Assignment {
        Assignment {
            replicas: partition.replicas.clone(),
            adding: partition.adding_replicas.clone(),
            removing: partition.removing_replicas.clone(),
        }
    }

    /// Returns whether a reassignment is under way.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Where the reassignment began.
    pub fn original(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.adding)
    }

    /// Where it leads to.
    pub fn target(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.removing)
    }

    /// On the way to `target` instead.
    ///
    /// Whom an unfinished reassignment has added and this one has no use for is both: to go at the end, and to go
    /// when this one is taken back, since it was not there in the beginning. Kafka's controller forgets the second.
    pub fn towards(&self, target: &[NodeId]) -> Assignment {
        let original = self.original();
        let mut removing = without(&self.replicas, target);
        removing.sort_unstable();
        let replicas: Vec<NodeId> = target.iter().chain(&removing).copied().collect();
        let mut adding = without(&replicas, &original);
        adding.sort_unstable();
        Assignment { replicas, adding, removing }
    }

    /// The assignment and the in-sync set after the reassignment, if every replica to be is in `isr`.
    pub fn completed(&self, isr: &[NodeId]) -> Option<(Assignment, Vec<NodeId>)> {
        let replicas = self.target();
        let is_over =
            self.is_moving() && !replicas.is_empty() && replicas.iter().all(|node| isr.contains(node));
        let isr = without(isr, &self.removing);
        is_over.then(|| (Assignment { replicas, adding: Vec::new(), removing: Vec::new() }, isr))
    }

    /// The assignment after the reassignment was taken back.
    pub fn reverted(&self) -> Assignment {
        Assignment { replicas: self.original(), adding: Vec::new(), removing: Vec::new() }
    }
}

/// `nodes` but for those in `others`.
pub(crate) fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !others.contains(node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::partition::nodes;

    fn assignment(replicas: &[i32], adding: &[i32], removing: &[i32]) -> Assignment {
        Assignment { replicas: nodes(replicas), adding: nodes(adding), removing: nodes(removing) }
    }

    #[test]
    fn those_to_be_come_first_and_those_to_go_last() {
        let cases: [(&[i32], Assignment); 5] = [
            (&[4, 5, 3], assignment(&[4, 5, 3, 1, 2], &[4, 5], &[1, 2])),
            (&[3, 1, 2], assignment(&[3, 1, 2], &[], &[])),
            (&[1, 2, 3, 5, 4], assignment(&[1, 2, 3, 5, 4], &[4, 5], &[])),
            (&[3], assignment(&[3, 1, 2], &[], &[1, 2])),
            (&[6, 5, 4], assignment(&[6, 5, 4, 1, 2, 3], &[4, 5, 6], &[1, 2, 3])),
        ];
        for (target, expected) in cases {
            assert_eq!(assignment(&[1, 2, 3], &[], &[]).towards(&nodes(target)), expected, "{target:?}");
        }
    }

    #[test]
    fn it_is_over_when_all_to_be_are_in_sync_and_not_before() {
        let moving = assignment(&[4, 3, 1, 2], &[4], &[1, 2]);
        for isr in [&[1, 2, 3][..], &[4], &[4, 1, 2], &[3, 2], &[]] {
            assert_eq!(moving.completed(&nodes(isr)), None, "{isr:?}");
        }

        let (over, isr) = moving.completed(&nodes(&[1, 3, 4])).unwrap();

        assert_eq!((over, isr), (assignment(&[4, 3], &[], &[]), nodes(&[3, 4])));
        assert_eq!(assignment(&[1, 2], &[], &[]).completed(&nodes(&[1, 2])), None, "nothing is under way");
    }

    #[test]
    fn one_that_replaces_another_still_knows_where_the_first_began() {
        let first = assignment(&[1, 2, 3], &[], &[]).towards(&nodes(&[2, 3, 4]));

        let second = first.towards(&nodes(&[2, 3, 5]));
        assert_eq!(second, assignment(&[2, 3, 5, 1, 4], &[4, 5], &[1, 4]));
        assert_eq!(second.target(), nodes(&[2, 3, 5]));
        assert_eq!(second.reverted(), assignment(&[2, 3, 1], &[], &[]));

        let kept = first.towards(&nodes(&[2, 3, 4, 1]));
        assert_eq!(kept, assignment(&[2, 3, 4, 1], &[4], &[]), "nobody goes, 4 still has to come");
        let back = first.towards(&nodes(&[1, 2, 3]));
        assert_eq!(back, assignment(&[1, 2, 3, 4], &[4], &[4]));
        assert_eq!(back.completed(&nodes(&[1, 2, 3])).unwrap().0, assignment(&[1, 2, 3], &[], &[]));
    }
}
