//! When to look at which group.

use ottla_types::Monotonic;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For each group with deadlines, a time not later than the first of them.
///
/// An alarm may ring too early: a heartbeat moves its member's deadline and leaves the alarm where it is, so
/// that the most frequent request costs one look-up. Whoever answers an alarm arms it again.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    by_group: BTreeMap<Arc<str>, Monotonic>,
    by_time: BTreeSet<(Monotonic, Arc<str>)>,
}

impl Alarms {
    /// Sees to it that the alarm rings at `at` or earlier.
    pub(crate) fn arm(&mut self, group: &Arc<str>, at: Monotonic) {
        match self.by_group.get_mut(group) {
            Some(armed) if *armed <= at => return,
            Some(armed) => {
                self.by_time.remove(&(*armed, group.clone()));
                *armed = at;
            }
            None => {
                self.by_group.insert(group.clone(), at);
            }
        }
        self.by_time.insert((at, group.clone()));
    }

    /// Forgets the alarm of a group.
    pub(crate) fn disarm(&mut self, group: &str) {
        if let Some((group, at)) = self.by_group.remove_entry(group) {
            self.by_time.remove(&(at, group));
        }
    }

    /// Takes the alarms that have rung, the earliest first.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.by_time.first()
            && *at <= now
        {
            let (_, group) = self.by_time.pop_first().expect("there is a first");
            self.by_group.remove(&group);
            due.push(group);
        }
        due
    }

    /// The first alarm.
    pub(crate) fn first(&self) -> Option<Monotonic> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_only_moves_forward_until_it_rings() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut alarms = Alarms::default();

        alarms.arm(&a, Monotonic(50));
        alarms.arm(&b, Monotonic(40));
        alarms.arm(&a, Monotonic(30));
        alarms.arm(&a, Monotonic(90));

        assert_eq!(alarms.first(), Some(Monotonic(30)));
        assert_eq!(alarms.take_due(Monotonic(29)), Vec::<Arc<str>>::new());
        assert_eq!(alarms.take_due(Monotonic(40)), vec![a.clone(), b.clone()]);
        assert_eq!(alarms.first(), None);

        alarms.arm(&a, Monotonic(90));
        alarms.disarm("a");
        assert_eq!(alarms.first(), None);
    }
}
