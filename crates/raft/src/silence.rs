//! When a leader counts as dead although its connection stands.
//!
//! A leader that answers every few milliseconds is missed sooner than one that takes its time: the limit is
//! four times the longest gap of the last minutes, within bounds. Until a few gaps are known it is the upper
//! bound, or less where the same leader was silent before. Gaps during which this node waited for its own disk are not measured, see `replicate`.

use ottla_types::{Monotonic, NodeId};
use std::time::Duration;

const BUCKET: Duration = Duration::from_secs(60);
const BUCKETS: usize = 5;
const GAPS_MIN: u32 = 3;
const FACTOR: u32 = 4;

/// A leader that was given up because it had said nothing for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentLeader {
    /// Who it was.
    pub id: NodeId,
    /// Since when it owes an answer.
    pub since: Monotonic,
    /// How long it might have owed it.
    pub allowed: Duration,
}

/// The gaps between one leader's answers, remembered for [`BUCKETS`] minutes.
#[derive(Clone, Debug)]
pub(crate) struct Silence {
    limit_min: Duration,
    limit_max: Duration,
    limit_at_first: Duration,
    /// The longest gap of each of the last minutes, the current one first.
    longest: [Duration; BUCKETS],
    bucket_start: Monotonic,
    gaps: u32,
}

impl Silence {
    pub(crate) fn new(limit_min: Duration, limit_max: Duration, now: Monotonic) -> Silence {
        Silence {
            limit_min,
            limit_max,
            limit_at_first: limit_max,
            longest: [Duration::ZERO; BUCKETS],
            bucket_start: now,
            gaps: 0,
        }
    }

    /// The same, for a leader that was silent `times` times already: it has the lower bound to say something,
    /// then twice that, and so on.
    pub(crate) fn after_silences(mut self, times: u32) -> Silence {
        if let Some(doublings) = times.checked_sub(1) {
            self.limit_at_first = (self.limit_min * (1 << doublings.min(8))).min(self.limit_max);
        }
        self
    }

    /// Notes that the leader answered after `gap`.
    pub(crate) fn heard_after(&mut self, gap: Duration, now: Monotonic) {
        let elapsed = now - self.bucket_start;
        if elapsed >= BUCKET {
            let minutes = (elapsed.as_secs() / BUCKET.as_secs()).min(BUCKETS as u64) as usize;
            self.longest.rotate_right(minutes % BUCKETS);
            self.longest[..minutes].fill(Duration::ZERO);
            self.bucket_start = now;
        }
        self.longest[0] = self.longest[0].max(gap);
        self.gaps = self.gaps.saturating_add(1);
    }

    /// How long the leader may be silent.
    pub(crate) fn limit(&self) -> Duration {
        if self.gaps < GAPS_MIN {
            return self.limit_at_first;
        }
        let longest = self.longest.iter().max().copied().unwrap_or_default();
        (longest * FACTOR).clamp(self.limit_min.min(self.limit_max), self.limit_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(700);
    const MAX: Duration = Duration::from_millis(2000);

    fn heard(gaps_ms: &[u64]) -> Silence {
        let mut silence = Silence::new(MIN, MAX, Monotonic(0));
        for &gap in gaps_ms {
            silence.heard_after(Duration::from_millis(gap), Monotonic(1));
        }
        silence
    }

    #[test]
    fn the_limit_is_four_times_the_longest_gap_within_bounds() {
        let cases: [(&[u64], u64); 5] = [
            (&[], 2000),
            (&[1, 1], 2000),
            (&[1, 1, 1], 700),
            (&[150, 300, 150], 1200),
            (&[150, 900, 150], 2000),
        ];
        for (gaps, limit) in cases {
            assert_eq!(heard(gaps).limit(), Duration::from_millis(limit), "{gaps:?}");
        }
    }

    #[test]
    fn a_leader_that_was_silent_gets_less_time_at_first_and_then_more_again() {
        for (times, limit) in [(0, 2000), (1, 700), (2, 1400), (3, 2000), (u32::MAX, 2000)] {
            assert_eq!(
                heard(&[1]).after_silences(times).limit(),
                Duration::from_millis(limit),
                "{times} times"
            );
        }
    }

    #[test]
    fn a_long_gap_is_forgotten_after_five_minutes() {
        let mut silence = heard(&[400, 400, 400]);

        for (seconds, limit) in [(61, 1600), (122, 1600), (183, 1600), (244, 1600), (305, 700)] {
            silence.heard_after(Duration::from_millis(10), Monotonic(seconds * 1_000_000 + 1));
            assert_eq!(silence.limit(), Duration::from_millis(limit), "after {seconds} s");
        }
    }

    #[test]
    fn a_pause_of_an_hour_forgets_everything() {
        let mut silence = heard(&[400, 400, 400]);

        silence.heard_after(Duration::from_millis(10), Monotonic(3_600_000_000));

        assert_eq!(silence.limit(), MIN);
    }
}
