//! How long a broker may be silent, learnt from how it spoke.

use ottla_types::Monotonic;
use std::collections::VecDeque;
use std::time::Duration;

/// The silence allowed, in longest gaps.
const GAPS: u32 = 4;
/// No shorter silence counts: schedulers, disks and garbage collectors pause for fractions of a second.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(1);
/// So many contacts, that is two gaps, before anything is inferred from them.
const CONTACTS_MIN: u32 = 3;
/// How long a gap is remembered, at least.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// So many standstills within the window change nothing; each further one doubles the silence that is allowed.
const STANDSTILLS_FREE: u32 = 1;
/// More doublings than lead from the shortest silence to any session.
const DOUBLINGS_MAX: u32 = 16;
/// Gaps are remembered as the longest of each slice of the window, and forgotten with the slice.
const SLICE: Duration = Duration::from_secs(30);

/// When an incarnation was heard; a broker asks the same of its controller.
#[derive(Debug)]
pub struct Contacts {
    /// The last sign of life, moved forward by this node's own stalls.
    heard_at: Monotonic,
    first: Monotonic,
    count: u32,
    slices: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    start: Monotonic,
    longest: Option<Duration>,
    standstills: u32,
}

impl Contacts {
    /// No contact yet; silence counts from `heard_at`.
    pub fn since(heard_at: Monotonic) -> Contacts {
        Contacts { heard_at, first: heard_at, count: 0, slices: VecDeque::new() }
    }

    /// A sign of life.
    pub fn record(&mut self, now: Monotonic) {
        if self.count == 0 {
            self.first = now;
        } else {
            self.record_gap(now - self.heard_at, now);
        }
        self.count = self.count.saturating_add(1);
        self.heard_at = self.heard_at.max(now);
    }

    /// A sign of life of one that was found silent: its process stood still, or nothing reached it. That says nothing of
    /// its pace, so it is no gap. But one that stands still again and again is slow rather than broken: to fence it each
    /// time would help nobody.
    pub(super) fn record_standstill(&mut self, now: Monotonic) {
        let slice = self.slice(now);
        slice.standstills = slice.standstills.saturating_add(1);
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(1);
        self.heard_at = self.heard_at.max(now);
    }

    fn record_gap(&mut self, gap: Duration, now: Monotonic) {
        let slice = self.slice(now);
        slice.longest = slice.longest.max(Some(gap));
    }

    /// The present slice.
    fn slice(&mut self, now: Monotonic) -> &mut Slice {
        while self.slices.front().is_some_and(|slice| slice.start + SLICE + WINDOW <= now) {
            self.slices.pop_front();
        }
        if self.slices.back().is_none_or(|slice| slice.start + SLICE <= now) {
            self.slices.push_back(Slice { start: now, longest: None, standstills: 0 });
        }
        self.slices.back_mut().expect("there is one now")
    }

    /// Takes a stall of this node, which has ended `now`, out of the present silence.
    pub fn subtract_stall(&mut self, stall: Duration, now: Monotonic) {
        self.heard_at = (self.heard_at + stall).min(now.max(self.heard_at));
        // Nor was it watched meanwhile: what it sent arrives in one burst.
        self.first = (self.first + stall).min(self.heard_at);
    }

    /// Until `now` it was we who owed an answer: that is no silence, and no gap of its own.
    pub(super) fn owed_answer(&mut self, now: Monotonic) {
        self.heard_at = self.heard_at.max(now);
    }

    /// The last sign of life, moved forward by this node's own stalls.
    pub fn heard_at(&self) -> Monotonic {
        self.heard_at
    }

    pub(super) fn longest_gap(&self) -> Option<Duration> {
        self.slices.iter().filter_map(|slice| slice.longest).max()
    }

    /// How many times longer it may be silent, for having stood still.
    fn patience(&self) -> u32 {
        let standstills: u32 = self.slices.iter().map(|slice| slice.standstills).sum();
        1 << standstills.saturating_sub(STANDSTILLS_FREE).min(DOUBLINGS_MAX)
    }

    /// How long it may be silent, at most `session_timeout`. `is_ottla` is whether it is known to speak regularly.
    pub fn silence_allowed(&self, session_timeout: Duration, is_ottla: bool) -> Duration {
        let Some(longest) = self.longest_gap().filter(|_| self.count >= CONTACTS_MIN) else {
            return session_timeout;
        };
        // Apache Kafka's brokers heartbeat every two seconds, but in bursts while they start: three quick
        // contacts do not tell them from ours.
        let watched = self.heard_at - self.first;
        if !is_ottla && (watched < session_timeout / 2 || longest >= SILENCE_MIN) {
            return session_timeout;
        }
        (longest * GAPS).max(SILENCE_MIN).saturating_mul(self.patience()).min(session_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(9);

    fn at(millis: u64) -> Monotonic {
        Monotonic(millis * 1000)
    }

    fn heard(millis: impl IntoIterator<Item = u64>) -> Contacts {
        let mut contacts = Contacts::since(at(0));
        millis.into_iter().for_each(|millis| contacts.record(at(millis)));
        contacts
    }

    #[test]
    fn the_allowed_silence_follows_the_longest_gap() {
        let ours = true;
        let unknown = false;
        let cases: [(&str, Vec<u64>, bool, u64); 12] = [
            ("never heard", vec![], ours, 9000),
            ("two contacts", vec![0, 200], ours, 9000),
            ("three contacts", vec![0, 200, 400], ours, 1000),
            ("no less than a second", vec![0, 1, 2], ours, 1000),
            ("four times the longest", vec![0, 200, 700, 900], ours, 2000),
            ("a long pause of ours", vec![0, 200, 1700, 1900], ours, 6000),
            ("no more than the session", vec![0, 200, 8000, 8200], ours, 9000),
            ("a burst of an unknown broker", vec![0, 10, 20], unknown, 9000),
            ("an unknown broker, watched too short", (0..=4400).step_by(200).collect(), unknown, 9000),
            ("an unknown broker, watched enough", (0..=4600).step_by(200).collect(), unknown, 1000),
            ("every two seconds", (0..=60_000).step_by(2000).collect(), unknown, 9000),
            ("every second, once faster", vec![0, 1, 1001, 2001, 3001, 4001, 5001], unknown, 9000),
        ];
        for (name, contacts, is_ottla, expected) in cases {
            let allowed = heard(contacts).silence_allowed(SESSION, is_ottla);
            assert_eq!(allowed, Duration::from_millis(expected), "{name}");
        }
    }

    #[test]
    fn a_gap_is_forgotten_after_five_minutes_and_a_slice() {
        let mut contacts = heard([0, 200, 2200]);
        let mut allowed_at = |millis: u64| {
            let from = contacts.heard_at().0 / 1000 + 200;
            (from..=millis).step_by(200).for_each(|millis| contacts.record(at(millis)));
            contacts.silence_allowed(SESSION, true)
        };

        assert_eq!(allowed_at(2200 + 300_000), Duration::from_secs(8));
        assert_eq!(allowed_at(2200 + 330_400), Duration::from_secs(1));
    }

    #[test]
    fn who_stands_still_again_and_again_is_given_more_and_more_time() {
        let mut contacts = heard([0, 200, 400]);
        let mut now = 400;
        for (standstills, allowed) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 9), (60, 9)] {
            let before = contacts.slices.iter().map(|slice| slice.standstills).sum::<u32>();
            for _ in before..standstills {
                now += 3000;
                contacts.record_standstill(at(now));
                now += 200;
                contacts.record(at(now));
            }

            assert_eq!(contacts.longest_gap(), Some(Duration::from_millis(200)), "no gap of its own");
            let seen = contacts.silence_allowed(SESSION, true);
            assert_eq!(seen, Duration::from_secs(allowed), "{standstills} standstills");
        }

        (now..now + 331_000).step_by(200).for_each(|millis| contacts.record(at(millis)));
        assert_eq!(contacts.silence_allowed(SESSION, true), Duration::from_secs(1), "they are forgotten");
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let contacts = heard((0..7_200_000).step_by(200));

        assert!(contacts.slices.len() <= 12, "{}", contacts.slices.len());
    }

    #[test]
    fn a_stall_of_ours_is_no_silence_of_theirs() {
        let mut contacts = heard([0, 200, 400]);

        contacts.subtract_stall(Duration::from_secs(3), at(3500));
        assert_eq!(contacts.heard_at(), at(3400));

        contacts.record(at(3600));
        assert_eq!(contacts.longest_gap(), Some(Duration::from_millis(200)));

        contacts.subtract_stall(Duration::from_secs(60), at(4000));
        assert_eq!(contacts.heard_at(), at(4000), "never in the future");
    }

    #[test]
    fn a_stall_of_ours_is_no_time_of_watching() {
        let mut contacts = heard([0, 10]);

        contacts.subtract_stall(Duration::from_secs(5), at(5010));
        contacts.record(at(5011));
        contacts.record(at(5012));

        assert_eq!(contacts.silence_allowed(SESSION, false), SESSION);
    }

    #[test]
    fn an_answer_that_we_owe_is_no_gap_of_theirs() {
        let mut contacts = heard([0, 200, 400]);

        contacts.owed_answer(at(2000));
        contacts.record(at(2200));

        assert_eq!(contacts.longest_gap(), Some(Duration::from_millis(200)));
    }

    #[test]
    fn a_session_shorter_than_a_second_is_kept() {
        let contacts = heard([0, 10, 20]);

        assert_eq!(contacts.silence_allowed(Duration::from_millis(500), true), Duration::from_millis(500));
    }
}
