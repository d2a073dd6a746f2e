//! What a node does by itself to be in the voter set as it is (KIP-853): a voter tells the leader when the set
//! has its listeners wrong, and an observer that may joins.

use crate::effects::Effects;
use crate::log::ReplicatedLog;
use crate::message::{AddVoterRequest, RemoveVoterRequest, Request, UpdateVoterRequest};
use crate::quorum::Quorum;
use crate::role::Role;
use crate::voters::{Endpoint, KRaftVersions, Listener, ReplicaKey, Voter};
use ottla_types::{NodeId, Now};

/// What a node is in a quorum whose log names the voters.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The listener that the quorum reaches this node by; `None` for a node that is no controller.
    pub endpoint: Option<Endpoint>,
    /// All its listeners for controllers.
    pub listeners: Vec<Listener>,
    /// Names for the addresses to ask while no voter is known (`controller.quorum.bootstrap.servers`); the driver
    /// knows which is which.
    pub bootstrap: Vec<NodeId>,
    /// Whether to become a voter by itself (`controller.quorum.auto.join.enable`).
    pub joins: bool,
    /// Whether what this node fetches is on disk before it fetches on, though it does not vote: it may be made
    /// a voter at any time.
    pub syncs: bool,
}

impl<L: ReplicatedLog> Quorum<L> {
    /// This node as a voter; `None` when it can be none.
    pub(crate) fn as_voter(&self) -> Option<Voter> {
        let membership = self.membership.as_ref()?;
        Some(Voter {
            key: self.identity,
            endpoint: membership.endpoint.clone()?,
            listeners: membership.listeners.clone(),
            kraft_versions: KRaftVersions::SUPPORTED,
        })
    }

    /// What a follower has to ask of its leader to be in the voter set as it should be.
    pub(crate) fn wanted_change(&self) -> Option<Request> {
        if !self.history.is_dynamic() {
            return self.wanted_introduction();
        }
        let voter = self.as_voter()?;
        let Voter { key, endpoint, listeners, kraft_versions } = voter.clone();
        if self.is_voter() {
            let is_right = self.voters.voter(key.id).is_some_and(|known| {
                known.listeners == voter.listeners && known.kraft_versions == voter.kraft_versions
            });
            let update = UpdateVoterRequest {
                epoch: self.state.epoch,
                voter: key,
                listeners,
                endpoint: Some(endpoint),
                kraft_versions,
            };
            return (!is_right).then_some(Request::UpdateVoter(update));
        }
        if !self.membership.as_ref().is_some_and(|membership| membership.joins) {
            return None;
        }
        // A voter of this id is what this node was before its disk was replaced.
        Some(match self.voters.voter(key.id) {
            Some(former) => Request::RemoveVoter(RemoveVoterRequest { voter: former.key }),
            None => Request::AddVoter(AddVoterRequest {
                voter: key,
                listeners,
                endpoint: Some(endpoint),
                ack_when_committed: false,
            }),
        })
    }

    /// Asks the leader for what is wanted, once every `fetch_timeout`.
    pub(crate) fn ask_for_change(&mut self, now: Now, effects: &mut Effects) {
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.change_at > now.monotonic {
            return;
        }
        follower.change_at = now.monotonic + self.config.fetch_timeout;
        let leader = follower.leader;
        if let Some(request) = self.wanted_change() {
            self.send(leader, request, effects);
        }
    }

    /// Where a node listens that this one calls, as far as that is known: the leader as it says itself, others as
    /// the voter set says.
    pub fn endpoint_of(&self, id: NodeId) -> Option<Endpoint> {
        let own = (id == self.identity.id).then(|| self.as_voter().map(|voter| voter.endpoint)).flatten();
        let said = || match &self.leader_endpoint {
            Some((leader, endpoint)) if *leader == id && self.may_follow_strangers() => {
                Some(endpoint.clone())
            }
            _ => None,
        };
        let known = || self.voters.voter(id).map(|voter| voter.endpoint.clone());
        own.or_else(said).or_else(known)
    }

    /// Whether this node could follow that leader: it is a voter, or has said where it listens.
    pub(crate) fn is_possible_leader(&self, id: NodeId) -> bool {
        let is_known = self.voters.has_node(id);
        let has_said = self.leader_endpoint.as_ref().is_some_and(|(leader, _)| *leader == id);
        is_known || (has_said && self.may_follow_strangers())
    }

    /// Whether a leader need not be a voter of the set that this node knows: that may be an old one.
    fn may_follow_strangers(&self) -> bool {
        self.membership.is_some() && (self.history.is_dynamic() || self.voters.is_empty())
    }

    /// Notes where a leader listens.
    pub(crate) fn learn_endpoint(&mut self, leader: Option<NodeId>, endpoint: Option<&Endpoint>) {
        if let (Some(leader), Some(endpoint)) = (leader, endpoint) {
            self.leader_endpoint = Some((leader, endpoint.clone()));
        }
    }

    /// Whom to ask who leads: the other voters, and the addresses to begin with.
    pub(crate) fn whom_to_ask(&self) -> Vec<NodeId> {
        let voters = self.voters.others(self.identity.id).into_iter().map(|voter: ReplicaKey| voter.id);
        let bootstrap = self.membership.iter().flat_map(|membership| membership.bootstrap.iter().copied());
        voters.chain(bootstrap.filter(|&id| id != self.identity.id)).collect()
    }
}
