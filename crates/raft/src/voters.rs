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

/// One of a voter's listeners, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// The kraft.versions that a node can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KRaftVersions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl KRaftVersions {
    /// What this software can work with: 0, voters by configuration, and 1, voters by the log.
    pub const SUPPORTED: KRaftVersions = KRaftVersions { min: 0, max: 1 };
    /// What is assumed of a node that does not say.
    pub const UNKNOWN: KRaftVersions = KRaftVersions { min: 0, max: 0 };

    /// Returns whether this version is among them.
    pub fn has(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its replica.
    pub key: ReplicaKey,
    /// The listener that the quorum reaches it by.
    pub endpoint: Endpoint,
    /// All its listeners; none where the configuration names it, not the log.
    pub listeners: Vec<Listener>,
    /// What it can work with.
    pub kraft_versions: KRaftVersions,
}

impl Voter {
    /// A voter that the configuration names.
    pub fn configured(key: ReplicaKey, endpoint: Endpoint) -> Voter {
        Voter { key, endpoint, listeners: Vec::new(), kraft_versions: KRaftVersions::UNKNOWN }
    }
}

/// The voters of the quorum, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    /// Returns whether this replica is a member. Where the set names a directory, it must be this one: a replica
    /// that does not tell its directory may have another disk than the one that voted.
    pub fn has(&self, replica: ReplicaKey) -> bool {
        self.voters.get(&replica.id).is_some_and(|voter| {
            voter.key.directory_id.is_zero() || voter.key.directory_id == replica.directory_id
        })
    }

    /// The set with one more; `None` when its id is in it already.
    pub fn with(&self, voter: Voter) -> Option<VoterSet> {
        let mut set = self.clone();
        set.voters.insert(voter.key.id, voter).is_none().then_some(set)
    }

    /// The set without this very replica; `None` when it is no member.
    pub fn without(&self, replica: ReplicaKey) -> Option<VoterSet> {
        let mut set = self.clone();
        set.voters.remove(&replica.id).filter(|voter| voter.key == replica).map(|_| set)
    }

    /// The set with what is new about this very replica; `None` when it is no member.
    pub fn with_updated(&self, voter: Voter) -> Option<VoterSet> {
        let mut set = self.clone();
        let known = set.voters.get_mut(&voter.key.id).filter(|known| known.key == voter.key)?;
        *known = voter;
        Some(set)
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
        Voter::configured(key, Endpoint { host: format!("c{id}"), port: 9093 })
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
        assert!(!set.has(ReplicaKey::new(NodeId(1), Uuid::ZERO)));
        assert!(!set.has(ReplicaKey::new(NodeId(1), Uuid::from_u128(101))));
        assert!(set.has(ReplicaKey::new(NodeId(2), Uuid::from_u128(7))));
        assert!(!set.has(ReplicaKey::new(NodeId(3), Uuid::ZERO)));
    }

    #[test]
    fn members_come_go_and_change_one_at_a_time() {
        let set = VoterSet::new([voter(1, 100), voter(2, 200)]).unwrap();
        let moved = Voter { endpoint: Endpoint { host: "elsewhere".into(), port: 1 }, ..voter(1, 100) };

        assert_eq!(set.with(voter(3, 300)).unwrap().len(), 3);
        assert_eq!(set.with(voter(1, 101)), None, "the id is taken");
        assert_eq!(set.without(voter(2, 200).key), VoterSet::new([voter(1, 100)]).ok());
        assert_eq!(set.without(voter(2, 201).key), None, "another disk");
        assert_eq!(set.with_updated(moved.clone()).unwrap().voter(NodeId(1)), Some(&moved));
        assert_eq!(set.with_updated(voter(1, 101)), None, "another disk");
    }

    #[test]
    fn refuses_a_node_named_twice() {
        assert_eq!(VoterSet::new([voter(1, 0), voter(1, 5)]), Err(DuplicateVoter(NodeId(1))));
    }
}
