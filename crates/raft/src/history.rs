//! Which voter set counts: the last one in the log, committed or not (KIP-853).
//!
//! A set counts from the moment its record is appended, and no more when the record is truncated. Where no
//! record names the voters, the configuration does.

use crate::voters::{ReplicaKey, VoterSet};
use ottla_types::Offset;
use std::collections::BTreeMap;

/// The voter sets of the log, by the offset of their records.
#[derive(Clone, Debug)]
pub(crate) struct VoterHistory {
    /// By configuration (kraft.version 0).
    configured: VoterSet,
    /// What the latest snapshot says, or what the node was formatted with, and where that snapshot ends.
    base: Option<(Offset, VoterSet)>,
    log: BTreeMap<Offset, VoterSet>,
}

impl VoterHistory {
    pub(crate) fn new(configured: VoterSet, base: Option<(Offset, VoterSet)>) -> VoterHistory {
        VoterHistory { configured, base, log: BTreeMap::new() }
    }

    /// The set that counts.
    pub(crate) fn latest(&self) -> &VoterSet {
        let base = || self.base.as_ref().map(|(_, set)| set);
        self.log.values().next_back().or_else(base).unwrap_or(&self.configured)
    }

    /// The set that counts in a log that ends at `end`, if it is in the log or a snapshot.
    pub(crate) fn before(&self, end: Offset) -> Option<&VoterSet> {
        let base = || self.base.as_ref().filter(|(at, _)| *at <= end).map(|(_, set)| set);
        self.log.range(..end).next_back().map(|(_, set)| set).or_else(base)
    }

    /// Whether the voters are named by the log or a snapshot (kraft.version 1).
    pub(crate) fn is_dynamic(&self) -> bool {
        self.base.is_some() || !self.log.is_empty()
    }

    /// The set that this node was formatted with, while nothing in the log says so.
    pub(crate) fn unrecorded(&self) -> Option<&VoterSet> {
        let (at, set) = self.base.as_ref()?;
        (*at == Offset::ZERO && self.log.is_empty()).then_some(set)
    }

    /// The offset of the latest set's record; where a snapshot names it, the last one in that.
    pub(crate) fn latest_offset(&self) -> Option<Offset> {
        let base = || self.base.as_ref().map(|(end, _)| Offset(end.0 - 1));
        self.log.keys().next_back().copied().or_else(base)
    }

    /// The offset of the record that made this replica a voter, unless that is forgotten. Whoever has not got
    /// that far may not know that it votes.
    pub(crate) fn member_since(&self, replica: ReplicaKey) -> Option<Offset> {
        self.log.iter().rev().take_while(|(_, set)| set.has(replica)).last().map(|(&offset, _)| offset)
    }

    pub(crate) fn push(&mut self, offset: Offset, set: VoterSet) {
        assert!(self.log.keys().next_back().is_none_or(|&last| last < offset), "sets come in order");
        self.log.insert(offset, set);
    }

    /// Whether a replica may be needed as a leader: it is in the latest set, or in the one before and this node
    /// does not know that the latest is committed (Raft, 4.2.2). Else nobody could lead when a leader fails that
    /// has just taken itself out: it alone may have the record, and those without it get no vote from it.
    pub(crate) fn may_lead(&self, replica: ReplicaKey, committed: Option<Offset>) -> bool {
        let before = || {
            let latest = self.latest_offset().filter(|&latest| committed.is_none_or(|end| end <= latest));
            latest.and_then(|latest| self.before(latest))
        };
        self.latest().has(replica) || before().is_some_and(|set| set.has(replica))
    }

    /// Forgets what is truncated. Returns whether that was something.
    pub(crate) fn truncate_to(&mut self, end: Offset) -> bool {
        !self.log.split_off(&end).is_empty()
    }

    /// Begins anew with what a snapshot says that took the log's place.
    pub(crate) fn restart(&mut self, base: Option<(Offset, VoterSet)>) {
        self.base = base;
        self.log.clear();
    }

    /// Forgets sets before the log's start, but for the one that counts there.
    pub(crate) fn forget_before(&mut self, start: Offset) {
        let kept = self.log.split_off(&start);
        let forgotten = std::mem::replace(&mut self.log, kept);
        if let Some((_, set)) = forgotten.into_iter().next_back() {
            self.base = Some((start, set));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fixture::{dynamic_voters, member};

    #[test]
    fn the_last_set_in_the_log_counts_and_no_more_when_it_is_truncated() {
        let mut history = VoterHistory::new(dynamic_voters(&[9]), None);
        assert!(!history.is_dynamic());

        history.push(Offset(5), dynamic_voters(&[1]));
        history.push(Offset(8), dynamic_voters(&[1, 2]));

        assert_eq!(history.latest(), &dynamic_voters(&[1, 2]));
        assert_eq!(history.before(Offset(8)), Some(&dynamic_voters(&[1])));
        assert_eq!(history.before(Offset(5)), None);
        assert!(!history.truncate_to(Offset(9)));
        assert!(history.truncate_to(Offset(8)));
        assert_eq!((history.latest(), history.latest_offset()), (&dynamic_voters(&[1]), Some(Offset(5))));
        assert!(history.truncate_to(Offset(0)));
        assert_eq!(history.latest(), &dynamic_voters(&[9]));
    }

    #[test]
    fn knows_since_when_a_replica_votes() {
        let mut history = VoterHistory::new(VoterSet::default(), Some((Offset(0), dynamic_voters(&[1]))));
        for (offset, ids) in [(2, &[1][..]), (5, &[1, 2]), (6, &[1]), (9, &[1, 2]), (12, &[1, 2, 3])] {
            history.push(Offset(offset), dynamic_voters(ids));
        }

        assert_eq!(history.member_since(member(1).key), Some(Offset(2)));
        assert_eq!(history.member_since(member(2).key), Some(Offset(9)));
        assert_eq!(history.member_since(member(3).key), Some(Offset(12)));
        assert_eq!(history.member_since(member(4).key), None);
        history.forget_before(Offset(10));
        assert_eq!(history.latest(), &dynamic_voters(&[1, 2, 3]));
        assert_eq!(history.before(Offset(12)), Some(&dynamic_voters(&[1, 2])));
    }

    #[test]
    fn who_is_taken_out_may_lead_until_that_is_committed() {
        let mut history = VoterHistory::new(VoterSet::default(), None);
        history.push(Offset(2), dynamic_voters(&[1, 2]));
        history.push(Offset(7), dynamic_voters(&[1]));

        for (committed, may_lead) in [(None, true), (Some(7), true), (Some(8), false)] {
            let may = |id| history.may_lead(member(id).key, committed.map(Offset));
            assert_eq!((may(1), may(2), may(3)), (true, may_lead, false), "{committed:?}");
        }
    }

    #[test]
    fn what_a_node_was_formatted_with_is_unrecorded_until_the_log_has_it() {
        let mut history = VoterHistory::new(VoterSet::default(), Some((Offset(0), dynamic_voters(&[1]))));

        assert_eq!(history.unrecorded(), Some(&dynamic_voters(&[1])));
        history.push(Offset(2), dynamic_voters(&[1]));
        assert_eq!(history.unrecorded(), None);
    }
}
