//! Whether committed offsets are what they may be, and whether a partition has one owner at a time.

use ottla_types::Offset;
use std::collections::BTreeMap;
use std::fmt;

/// A group's partition, by any name that tells it from others.
type Key = (String, i32);

/// Commits of one partition that may be the latest.
#[derive(Debug, Default)]
struct Latest {
    /// What is committed for certain, unless something that is unsettled came after it.
    settled: Option<Offset>,
    /// The generation in which that was settled.
    generation: i32,
    /// Those tried since, by generation, that may have been carried out or may yet be.
    unsettled: Vec<(i32, Offset)>,
}

/// What groups committed, and what they were told later.
///
/// A generation of a group gives each partition one owner, and nobody of an earlier generation commits any more: so what
/// was acknowledged in the latest one is what must be found, or something that was tried since (GROUP-1). News of an
/// earlier generation may come late, and count for nothing then. Within a generation an owner waits for each answer; one
/// that has got none joins anew before it tries again, for nobody knows when what it tried is carried out.
#[derive(Debug, Default)]
pub struct Commits {
    latest: BTreeMap<Key, Latest>,
    owners: BTreeMap<(String, i32, i32), u32>,
    told: usize,
    /// Whether nothing is judged any more.
    is_over: bool,
    violations: Vec<CommitViolation>,
}

/// What a group may not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitViolation {
    /// A committed offset is another one than may be.
    Changed {
        /// The group.
        group: String,
        /// The partition.
        partition: i32,
        /// What the group was told when it asked; `None`: that nothing is committed.
        told: Option<Offset>,
        /// What was settled last.
        settled: Option<Offset>,
    },
    /// Two members own a partition in one generation.
    TwoOwners {
        /// The group.
        group: String,
        /// The partition.
        partition: i32,
        /// The generation.
        generation: i32,
        /// The members.
        members: [u32; 2],
    },
}

impl fmt::Display for CommitViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |offset: &Option<Offset>| offset.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
        match self {
            CommitViolation::Changed { group, partition, told, settled } => {
                let (told, settled) = (show(told), show(settled));
                write!(f, "GROUP-1: group {group} partition {partition}: told {told}, committed {settled}")
            }
            CommitViolation::TwoOwners { group, partition, generation, members: [one, other] } => {
                write!(
                    f,
                    "GROUP-1: group {group} partition {partition}: members {one} and {other} own it in \
                     generation {generation}"
                )
            }
        }
    }
}

impl Commits {
    /// A member was given a partition in a generation. Members have any numbers that tell them apart.
    pub fn owns(&mut self, group: &str, partition: i32, generation: i32, member: u32) {
        let key = (group.to_owned(), partition, generation);
        let owner = *self.owners.entry(key).or_insert(member);
        if owner != member && !self.is_over {
            let (group, members) = (group.to_owned(), [owner, member]);
            self.violations.push(CommitViolation::TwoOwners { group, partition, generation, members });
        }
    }

    /// A member is about to commit an offset.
    pub fn tries(&mut self, group: &str, partition: i32, generation: i32, offset: Offset) {
        self.latest(group, partition).unsettled.push((generation, offset));
    }

    /// The offset that it tried to commit last is committed.
    pub fn acknowledged(&mut self, group: &str, partition: i32, generation: i32, offset: Offset) {
        self.latest(group, partition).settle(generation, Some(offset), true);
    }

    /// A member has asked what is committed, in a generation in which it owns the partition. What it was told is settled
    /// from now on.
    pub fn told(&mut self, group: &str, partition: i32, generation: i32, told: Option<Offset>) {
        self.told += 1;
        let is_over = self.is_over;
        let latest = self.latest(group, partition);
        if generation < latest.generation || is_over {
            return;
        }
        let is_tried = |&(_, at): &(i32, Offset)| told == Some(at);
        if told != latest.settled && !latest.unsettled.iter().any(is_tried) {
            let settled = latest.settled;
            let group = group.to_owned();
            self.violations.push(CommitViolation::Changed { group, partition, told, settled });
            return;
        }
        latest.settle(generation, told, false);
    }

    /// All machines that keep commits have lost power: any of what they had may be gone, generations may begin anew, and
    /// what members say may be of before. Nothing is judged from here on.
    pub fn lost_power_everywhere(&mut self) {
        self.is_over = true;
    }

    /// How often somebody was told what is committed: a run in which nobody was proves nothing.
    pub fn told_count(&self) -> usize {
        self.told
    }

    /// What may not be.
    pub fn violations(&self) -> &[CommitViolation] {
        &self.violations
    }

    fn latest(&mut self, group: &str, partition: i32) -> &mut Latest {
        self.latest.entry((group.to_owned(), partition)).or_default()
    }
}

impl Latest {
    /// An offset stands in a generation. What was tried before it, in the same generation if `in_order`, comes no more.
    fn settle(&mut self, generation: i32, offset: Option<Offset>, in_order: bool) {
        if generation < self.generation {
            return;
        }
        self.generation = generation;
        self.settled = offset;
        self.unsettled
            .retain(|(tried_in, _)| *tried_in > generation || (*tried_in == generation && !in_order));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_or_tried_since_may_be_found() {
        let mut commits = Commits::default();
        commits.told("g", 0, 1, None);
        commits.tries("g", 0, 1, Offset(5));
        commits.told("g", 0, 2, Some(Offset(5)));
        commits.tries("g", 0, 2, Offset(7));
        commits.acknowledged("g", 0, 2, Offset(7));
        commits.tries("g", 0, 2, Offset(9));
        commits.told("g", 0, 3, Some(Offset(7)));

        assert_eq!(commits.violations(), []);
        assert_eq!(commits.told_count(), 3);
    }

    #[test]
    fn late_news_of_an_earlier_generation_counts_for_nothing() {
        let mut commits = Commits::default();
        commits.tries("g", 0, 1, Offset(5));
        commits.told("g", 0, 2, Some(Offset(5)));
        commits.tries("g", 0, 2, Offset(9));
        commits.acknowledged("g", 0, 2, Offset(9));
        commits.acknowledged("g", 0, 1, Offset(5));
        commits.told("g", 0, 1, Some(Offset(5)));
        commits.told("g", 0, 3, Some(Offset(9)));

        assert_eq!(commits.violations(), []);
    }

    #[test]
    fn what_is_forgotten_goes_back_or_was_never_tried_is_noticed() {
        for told in [None, Some(Offset(5)), Some(Offset(10))] {
            let mut commits = Commits::default();
            for offset in [5, 9] {
                commits.tries("g", 0, 1, Offset(offset));
                commits.acknowledged("g", 0, 1, Offset(offset));
            }

            commits.told("g", 0, 2, told);

            let (group, settled) = ("g".to_owned(), Some(Offset(9)));
            let expected = CommitViolation::Changed { group, partition: 0, told, settled };
            assert_eq!(commits.violations(), [expected]);
        }
    }

    #[test]
    fn what_comes_after_it_was_said_not_to_be_there_is_noticed() {
        let mut commits = Commits::default();
        commits.tries("g", 0, 1, Offset(5));
        commits.told("g", 0, 2, None);
        commits.told("g", 0, 3, Some(Offset(5)));

        assert_eq!(commits.violations().len(), 1, "who was fenced committed");
    }

    #[test]
    fn two_owners_in_a_generation_are_noticed() {
        let mut commits = Commits::default();
        commits.owns("g", 0, 1, 7);
        commits.owns("g", 0, 1, 7);
        commits.owns("g", 0, 2, 8);
        assert_eq!(commits.violations(), []);

        commits.owns("g", 0, 2, 7);
        assert_eq!(commits.violations().len(), 1);
    }
}
