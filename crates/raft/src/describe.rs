//! What the leader knows about everyone, for DescribeQuorum.

use crate::log::ReplicatedLog;
use crate::message::LeaderAndEpoch;
use crate::quorum::Quorum;
use crate::role::Role;
use crate::role::leader::Progress;
use crate::voters::{ReplicaKey, VoterSet};
use ottla_types::{Now, Offset, Timestamp};

/// How far one replica is (Kafka's `ReplicaState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Which one.
    pub key: ReplicaKey,
    /// The end of its log, as the leader knows it; −1 while it does not.
    pub log_end_offset: Offset,
    /// When it fetched last; the leader itself: now. [`Timestamp::NONE`] before its first fetch.
    pub last_fetch: Timestamp,
    /// The latest moment of which it had everything; as `last_fetch`.
    pub last_caught_up: Timestamp,
}

/// The quorum, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// This node, and its epoch.
    pub leader: LeaderAndEpoch,
    /// What is committed; −1 while the leader does not know.
    pub high_watermark: Offset,
    /// The voters, by id.
    pub voters: Vec<ReplicaStatus>,
    /// The same with their listeners, where the log names them.
    pub listed: Option<VoterSet>,
    /// Everyone else who fetched within the last five minutes.
    pub observers: Vec<ReplicaStatus>,
}

impl<L: ReplicatedLog> Quorum<L> {
    /// Describes the quorum; `None` where this node does not lead it.
    pub fn describe(&self, now: Now) -> Option<QuorumDescription> {
        let Role::Leader(leader) = &self.role else { return None };
        let own_end = self.log.end().offset;
        let own = ReplicaStatus {
            key: self.identity,
            log_end_offset: own_end,
            last_fetch: now.wall,
            last_caught_up: now.wall,
        };
        let voters = self.voters.iter().map(|voter| match leader.voters.get(&voter.key.id) {
            Some(progress) => status(voter.key, progress),
            None => own,
        });
        let observers = leader.observers.iter().map(|(&key, progress)| status(key, progress));
        Some(QuorumDescription {
            leader: self.leader_and_epoch(),
            high_watermark: self.high_watermark.unwrap_or(Offset::UNKNOWN),
            voters: voters.collect(),
            listed: self.history.is_dynamic().then(|| self.voters.clone()),
            observers: observers.collect(),
        })
    }
}

fn status(key: ReplicaKey, progress: &Progress) -> ReplicaStatus {
    ReplicaStatus {
        key,
        log_end_offset: progress.end.unwrap_or(Offset::UNKNOWN),
        last_fetch: progress.fetched.map_or(Timestamp::NONE, |fetched| fetched.wall),
        last_caught_up: progress.caught_up.unwrap_or(Timestamp::NONE),
    }
}
