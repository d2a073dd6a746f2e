//! What a node is within its epoch, and what it does as such.

pub(crate) mod candidate;
pub(crate) mod follower;
pub(crate) mod leader;
pub(crate) mod resigned;
pub(crate) mod unattached;

use candidate::Election;
use follower::Follower;
use leader::Leader;
use ottla_types::Monotonic;
use resigned::Resigned;
use std::time::Duration;
use unattached::Unattached;

/// What a node is within its epoch.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Knows no leader; will campaign, or, not being a voter, asks around.
    Unattached(Unattached),
    /// Asks whether it would get votes.
    Prospective(Election),
    /// Asks for votes.
    Candidate(Election),
    /// Leads.
    Leader(Leader),
    /// Follows a leader.
    Follower(Follower),
    /// Led, and gave it up.
    Resigned(Resigned),
}

/// The name of a role, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Knows no leader.
    Unattached,
    /// Asks whether it would get votes (KIP-996).
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Follows a leader.
    Follower,
    /// Led, and gave it up.
    Resigned,
}

impl Role {
    pub(crate) fn name(&self) -> RoleName {
        match self {
            Role::Unattached(_) => RoleName::Unattached,
            Role::Prospective(_) => RoleName::Prospective,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
            Role::Follower(_) => RoleName::Follower,
            Role::Resigned(_) => RoleName::Resigned,
        }
    }

    pub(crate) fn deadline(&self, fetch_timeout: Duration, is_voter: bool) -> Option<Monotonic> {
        match self {
            Role::Unattached(unattached) => unattached.deadline(),
            Role::Prospective(election) | Role::Candidate(election) => Some(election.deadline),
            Role::Leader(leader) => leader.deadline_with(fetch_timeout, is_voter),
            Role::Follower(follower) => follower.deadline(),
            Role::Resigned(resigned) => resigned.deadline,
        }
    }
}
