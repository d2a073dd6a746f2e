//! A term of following.

use ottla_types::{LeaderEpoch, NodeId, Offset};

/// Whom a replica follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The leader; `None` while there is none.
    pub leader: Option<NodeId>,
    /// The leader's term.
    pub epoch: LeaderEpoch,
}

/// What a follower's fetcher asks its leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// The leader's term, as this follower knows it.
    pub leader_epoch: LeaderEpoch,
    /// The end of the follower's log.
    pub fetch_offset: Offset,
    /// The epoch of the record before it, by which the leader sees whether the two logs have parted.
    pub last_fetched_epoch: LeaderEpoch,
    /// The start of the follower's log.
    pub log_start_offset: Offset,
    /// The follower's high watermark.
    pub high_watermark: Offset,
}
