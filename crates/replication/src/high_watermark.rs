//! How far every in-sync replica has come.

use crate::leader::Leader;
use ottla_types::{Monotonic, NodeId, Offset};
use std::time::Duration;

/// The offset below which every record is on all replicas that count; `None` while too few are in sync
/// for anything to be called committed.
///
/// The maximal in-sync set counts (HW-2), and so does a replica outside it that has caught up and may
/// join at any moment: otherwise it would join behind the mark. `own_end` is how far the leader's own log counts.
pub(crate) fn candidate(
    leader: &Leader,
    local: NodeId,
    log_end: Offset,
    own_end: Offset,
    min_in_sync: usize,
    lag_max: Duration,
    now: Monotonic,
) -> Option<Offset> {
    let effective_min = min_in_sync.min(leader.replicas.len());
    if leader.isr.committed.len() < effective_min {
        return None;
    }
    let maximal = leader.isr.maximal();
    let mut lowest = own_end;
    for (&node, state) in &leader.peers {
        assert_ne!(node, local, "the leader is not its own follower");
        let counts =
            maximal.contains(&node) || (state.is_caught_up(log_end, lag_max, now) && leader.may_join(node));
        if counts {
            lowest = lowest.min(state.log_end);
        }
    }
    Some(lowest)
}
