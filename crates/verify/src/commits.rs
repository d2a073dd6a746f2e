//! Whether committed offsets are what they may be.

use ottla_types::Offset;
use std::collections::BTreeMap;
use std::fmt;

/// A group's partition, by any name that tells it from others.
type Key = (String, i32);

/// Commits of one partition that may be the latest.
#[derive(Debug, Default)]
struct Latest {
    /// The last that was acknowledged.
    acknowledged: Option<Offset>,
    /// Those tried since, that may have been carried out or may yet be.
    unsettled: Vec<Offset>,
}

/// What groups committed, and what they were told later. One committer at a time for each group's partition: then what
/// it was told last is what must be found, or something that it tried since (GROUP-1).
#[derive(Debug, Default)]
pub struct Commits {
    latest: BTreeMap<Key, Latest>,
    violations: Vec<CommitViolation>,
}

/// A committed offset that may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitViolation {
    /// The group.
    pub group: String,
    /// The partition.
    pub partition: i32,
    /// What the group was told when it asked; `None`: that nothing is committed.
    pub told: Option<Offset>,
    /// What was acknowledged last.
    pub acknowledged: Option<Offset>,
}

impl fmt::Display for CommitViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |offset: Option<Offset>| offset.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
        let CommitViolation { group, partition, told, acknowledged } = self;
        let (told, acknowledged) = (show(*told), show(*acknowledged));
        write!(f, "group {group} partition {partition}: told {told}, committed {acknowledged}")
    }
}

impl Commits {
    /// A member is about to commit an offset.
    pub fn tries(&mut self, group: &str, partition: i32, offset: Offset) {
        self.latest.entry((group.to_owned(), partition)).or_default().unsettled.push(offset);
    }

    /// The offset that it tried to commit last is committed.
    pub fn acknowledged(&mut self, group: &str, partition: i32, offset: Offset) {
        let latest = self.latest.entry((group.to_owned(), partition)).or_default();
        latest.acknowledged = Some(offset);
        // Tries before this one cannot come after it: a member waits for each answer, or for its connection's end.
        latest.unsettled.clear();
    }

    /// A member has asked what is committed. What it was told is settled from now on.
    pub fn told(&mut self, group: &str, partition: i32, told: Option<Offset>) {
        let latest = self.latest.entry((group.to_owned(), partition)).or_default();
        let may_be = told == latest.acknowledged || told.is_some_and(|at| latest.unsettled.contains(&at));
        if !may_be {
            self.violations.push(CommitViolation {
                group: group.to_owned(),
                partition,
                told,
                acknowledged: latest.acknowledged,
            });
        }
    }

    /// What may not be.
    pub fn violations(&self) -> &[CommitViolation] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_or_tried_since_may_be_found() {
        let mut commits = Commits::default();
        commits.told("g", 0, None);
        commits.tries("g", 0, Offset(5));
        commits.told("g", 0, None);
        commits.told("g", 0, Some(Offset(5)));
        commits.acknowledged("g", 0, Offset(5));
        commits.tries("g", 0, Offset(9));
        commits.told("g", 0, Some(Offset(5)));
        commits.told("g", 0, Some(Offset(9)));

        assert_eq!(commits.violations(), []);
    }

    #[test]
    fn what_is_forgotten_goes_back_or_was_never_tried_is_noticed() {
        let mut commits = Commits::default();
        for offset in [5, 9] {
            commits.tries("g", 0, Offset(offset));
            commits.acknowledged("g", 0, Offset(offset));
        }
        for told in [None, Some(Offset(5)), Some(Offset(10))] {
            commits.told("g", 0, told);
        }

        let told: Vec<Option<Offset>> = commits.violations().iter().map(|found| found.told).collect();
        assert_eq!(told, [None, Some(Offset(5)), Some(Offset(10))]);
    }
}
