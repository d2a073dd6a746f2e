//! What clients saw, and when: how long each partition, and the group, was silent after each fault.

use ottla_types::Monotonic;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;

/// How finely acknowledgements are counted over time.
pub(super) const BUCKET: Duration = Duration::from_millis(100);

/// Everything that was seen so far.
pub(super) struct Watch {
    seen: Mutex<Seen>,
    /// Tells that something was seen that somebody may wait for.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    faults: Vec<Silences>,
    last_acknowledged: BTreeMap<i32, Monotonic>,
    acknowledged: BTreeMap<u64, u32>,
    generation: i32,
}

/// What a fault did to the clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Silences {
    /// When it happened.
    pub(super) at: Monotonic,
    /// From the fault to the first acknowledgement of a record sent after it, by partition.
    pub(super) partitions: BTreeMap<i32, Duration>,
    /// The longest time between two acknowledgements of which the later is after the fault, by partition.
    pub(super) gaps: BTreeMap<i32, Duration>,
    /// From the fault to the first commit that was begun after it and carried out, by member of the group.
    pub(super) members: BTreeMap<usize, Duration>,
    /// The group's generation at the fault.
    pub(super) generation: i32,
    /// Nothing more is added.
    pub(super) is_closed: bool,
}

impl Silences {
    /// How long the group was silent; `None` while one of so many members is.
    pub(super) fn group(&self, members: usize) -> Option<Duration> {
        let all = (0..members).map(|member| self.members.get(&member).copied());
        all.collect::<Option<Vec<Duration>>>()?.into_iter().max()
    }

    /// Whether each of these partitions has acknowledged what was sent after the fault.
    pub(super) fn are_over(&self, partitions: &BTreeSet<i32>) -> bool {
        partitions.iter().all(|partition| self.partitions.contains_key(partition))
    }
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { seen: Mutex::default(), news: watch::Sender::new(0) }
    }

    /// A fault happens at this moment; returns its index.
    pub(super) fn open(&self, at: Monotonic) -> usize {
        let mut seen = self.seen.lock();
        let generation = seen.generation;
        seen.faults.push(Silences { at, generation, ..Silences::default() });
        seen.faults.len() - 1
    }

    /// Nothing that comes later is a matter of this fault any more.
    pub(super) fn close(&self, fault: usize) {
        self.seen.lock().faults[fault].is_closed = true;
    }

    /// A record was acknowledged.
    pub(super) fn acknowledged(&self, partition: i32, sent: Monotonic, now: Monotonic) {
        let mut seen = self.seen.lock();
        let before = seen.last_acknowledged.insert(partition, now);
        *seen.acknowledged.entry(bucket(now)).or_default() += 1;
        let mut is_news = false;
        for fault in seen.faults.iter_mut().filter(|fault| !fault.is_closed) {
            if let Some(before) = before.filter(|_| now > fault.at) {
                let gap = fault.gaps.entry(partition).or_default();
                *gap = (*gap).max(now - before);
            }
            if sent > fault.at && !fault.partitions.contains_key(&partition) {
                fault.partitions.insert(partition, now - fault.at);
                is_news = true;
            }
        }
        drop(seen);
        if is_news {
            self.tell();
        }
    }

    /// A member of the group has committed.
    pub(super) fn committed(&self, member: usize, begun: Monotonic, now: Monotonic) {
        let mut seen = self.seen.lock();
        let mut is_news = false;
        for fault in seen.faults.iter_mut().filter(|fault| !fault.is_closed) {
            if begun > fault.at && !fault.members.contains_key(&member) {
                fault.members.insert(member, now - fault.at);
                is_news = true;
            }
        }
        drop(seen);
        if is_news {
            self.tell();
        }
    }

    /// A member has joined this generation of the group.
    pub(super) fn joined(&self, generation: i32) {
        let mut seen = self.seen.lock();
        seen.generation = seen.generation.max(generation);
    }

    /// The latest generation of the group that a member has joined.
    pub(super) fn generation(&self) -> i32 {
        self.seen.lock().generation
    }

    /// Something has happened that somebody may wait for.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Tells of news.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What a fault has done so far.
    pub(super) fn silences(&self, fault: usize) -> Silences {
        self.seen.lock().faults[fault].clone()
    }

    /// Acknowledgements, counted by tenths of a second.
    pub(super) fn counts(&self) -> BTreeMap<u64, u32> {
        self.seen.lock().acknowledged.clone()
    }
}

fn bucket(at: Monotonic) -> u64 {
    at.0 / BUCKET.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Monotonic {
        Monotonic(millis * 1000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn silence_lasts_until_what_was_sent_after_the_fault_is_acknowledged() {
        let watch = Watch::new();
        watch.acknowledged(3, at(80), at(90));
        let fault = watch.open(at(100));

        watch.acknowledged(3, at(95), at(350));
        assert!(!watch.silences(fault).are_over(&[3].into()));
        watch.acknowledged(3, at(101), at(360));
        watch.acknowledged(3, at(106), at(900));
        watch.acknowledged(4, at(101), at(120));

        let silences = watch.silences(fault);
        assert_eq!(silences.partitions, [(3, ms(260)), (4, ms(20))].into());
        assert_eq!(silences.gaps[&3], ms(540), "the longest of 260, 10 and 540");
        assert!(silences.are_over(&[3, 4].into()) && !silences.are_over(&[5].into()));
    }

    #[test]
    fn the_group_is_silent_until_its_last_member_commits_again() {
        let watch = Watch::new();
        let fault = watch.open(at(100));

        watch.committed(0, at(90), at(400));
        watch.committed(0, at(410), at(430));
        assert_eq!(watch.silences(fault).group(2), None);
        watch.committed(1, at(110), at(120));

        assert_eq!(watch.silences(fault).group(2), Some(ms(330)));
    }

    #[test]
    fn what_comes_after_a_fault_is_closed_is_not_its_matter() {
        let watch = Watch::new();
        let first = watch.open(at(100));
        watch.close(first);
        let second = watch.open(at(200));

        watch.acknowledged(0, at(201), at(210));

        assert_eq!(watch.silences(first).partitions, BTreeMap::new());
        assert_eq!(watch.silences(second).partitions, [(0, ms(10))].into());
        assert_eq!(watch.counts(), [(2, 1)].into());
    }
}
