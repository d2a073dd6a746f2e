//! Who votes, and where they listen.

use ottla_types::{NodeId, Uuid};
use std::collections::BTreeMap;
use std::fmt;

/// A replica of the metadata log: a node, and the directory that holds its copy (KIP-853).
///
/// The directory is [`Uuid::ZERO`] where it is not known: in a static voter set, and in messages of
/// versions that do not carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// The node.
    pub id: NodeId,
    /// The directory of its copy, or [`Uuid::ZERO`].
    pub directory_id: Uuid,
}

impl ReplicaKey {
    /// The replica of `id` in `directory_id`.
    pub fn new(id: NodeId, directory_id: Uuid) -> ReplicaKey {
        ReplicaKey { id, directory_id }
    }

    /// Returns whether both may be the same replica: the same node, and not two different directories.
    pub fn matches(self, other: ReplicaKey) -> bool {
        let unknown = self.directory_id.is_zero() || other.directory_id.is_zero();
        self.id == other.id && (unknown || self.directory_id == other.directory_id)
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.directory_id)
    }
}

/// Where a voter's controller listener is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its replica.
    pub key: ReplicaKey,
    /// Its controller listener.
    pub endpoint: Endpoint,
}

/// The voters of the quorum, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

/// A voter set names a node twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {0} is named twice among the voters")]
pub struct DuplicateVoter(pub NodeId);

impl VoterSet {
    /// The set of these voters.
    ///
    /// # Errors
    /// When two of them have one id.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Result<VoterSet, DuplicateVoter> {
        let mut set = BTreeMap::new();
        for voter in voters {
            let id = voter.key.id;
            if set.insert(id, voter).is_some() {
                return Err(DuplicateVoter(id));
            }
        }
        Ok(VoterSet { voters: set })
    }

    /// Returns whether this replica is a member.
    pub fn has(&self, replica: ReplicaKey) -> bool {
        self.voters.get(&replica.id).is_some_and(|voter| voter.key.matches(replica))
    }

    /// Returns whether a member has this node id.
    pub fn has_node(&self, id: NodeId) -> bool {
        self.voters.contains_key(&id)
    }

    /// Returns the member with this node id.
    pub fn voter(&self, id: NodeId) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// The members, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// The members other than `id`, by id.
    pub fn others(&self, id: NodeId) -> Vec<ReplicaKey> {
        self.iter().map(|voter| voter.key).filter(|key| key.id != id).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// How many of them decide: more than half.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32, directory: u128) -> Voter {
        let key = ReplicaKey::new(NodeId(id), Uuid::from_u128(directory));
        Voter { key, endpoint: Endpoint { host: format!("c{id}"), port: 9093 } }
    }

    #[test]
    fn a_majority_is_more_than_half() {
        for (count, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let set = VoterSet::new((0..count).map(|id| voter(id, 0))).unwrap();

            assert_eq!(set.majority(), majority, "{count} voters");
        }
    }

    #[test]
    fn a_replaced_disk_is_not_the_voter() {
        let set = VoterSet::new([voter(1, 100), voter(2, 0)]).unwrap();

        assert!(set.has(ReplicaKey::new(NodeId(1), Uuid::from_u128(100))));
        assert!(set.has(ReplicaKey::new(NodeId(1), Uuid::ZERO)));
        assert!(!set.has(ReplicaKey::new(NodeId(1), Uuid::from_u128(101))));
        assert!(set.has(ReplicaKey::new(NodeId(2), Uuid::from_u128(7))));
        assert!(!set.has(ReplicaKey::new(NodeId(3), Uuid::ZERO)));
    }

    #[test]
    fn refuses_a_node_named_twice() {
        assert_eq!(VoterSet::new([voter(1, 0), voter(1, 5)]), Err(DuplicateVoter(NodeId(1))));
    }
}
