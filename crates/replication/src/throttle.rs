//! How many bytes a second replicas are copied with (KIP-73).

use ottla_types::Monotonic;
use std::time::Duration;

/// For how long what was not used is kept.
const BURST: Duration = Duration::from_secs(1);

/// A rate that is kept by waiting: whoever has had more than a second's worth waits until it is made up for.
///
/// Differs from Kafka (`ReplicationQuotaManager`): that takes the mean of the last eleven seconds, so that copying stands still
/// and rushes on by turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Bytes a second; `None` for any.
    rate: Option<u64>,
    /// When everything that passed will have been made up for.
    free_at: Monotonic,
}

impl Throttle {
    /// Lets everything pass.
    pub const OPEN: Throttle = Throttle { rate: None, free_at: Monotonic(0) };

    /// Another rate in bytes a second, from now on; `None` for any. What passed before counts no more.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Monotonic) {
        if self.rate != rate {
            *self = Throttle { rate, free_at: now };
        }
    }

    /// How many bytes may pass now: no more than a second's worth at a time, so that one batch does not close the throttle for
    /// long, and none while it is closed. The caller may exceed it by one batch.
    pub fn admits(&self, now: Monotonic) -> u64 {
        match self.rate {
            None => u64::MAX,
            Some(_) if self.free_at > now => 0,
            Some(rate) => rate,
        }
    }

    /// When something may pass again; `None` when it may now.
    pub fn opens_at(&self, now: Monotonic) -> Option<Monotonic> {
        match self.rate {
            // With none a second, this is when to look whether there is another rate.
            Some(0) => Some(now + BURST),
            Some(_) => Some(self.free_at).filter(|free_at| *free_at > now),
            None => None,
        }
    }

    /// Takes note of what passed.
    pub fn record(&mut self, bytes: u64, now: Monotonic) {
        let Some(rate) = self.rate.filter(|rate| *rate > 0) else { return };
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let spent = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now.earlier_by(BURST)) + spent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic(100_000_000);

    /// Copies for so long by a throttle of this rate, in batches of this size, looking every 10 ms; tells how many bytes passed.
    fn copied(rate: u64, batch: u64, seconds: u64) -> u64 {
        let mut throttle = Throttle::OPEN;
        throttle.set_rate(Some(rate), START);
        let mut bytes = 0;
        for step in 0..seconds * 100 {
            let now = START + Duration::from_millis(10 * step);
            let admitted = throttle.admits(now);
            assert_eq!(admitted == 0, throttle.opens_at(now).is_some());
            if admitted > 0 {
                let taken = (admitted / batch).max(1) * batch;
                throttle.record(taken, now);
                bytes += taken;
            }
        }
        bytes
    }

    #[test]
    fn the_rate_is_kept_whatever_the_size_of_batches() {
        for (rate, batch) in [(1_000_000, 100), (1_000_000, 1_000_000), (100_000, 1_000_000), (10, 1_000)] {
            let (seconds, bytes) = (1000, copied(rate, batch, 1000));
            let (least, most) = (rate * (seconds - 2), rate * (seconds + 2) + batch);

            assert!(bytes <= most, "{rate} B/s, batches of {batch}: {bytes} B");
            assert!(bytes + batch >= least, "{rate} B/s, batches of {batch}: {bytes} B");
        }
    }

    #[test]
    fn what_was_not_used_for_long_is_not_kept() {
        let mut throttle = Throttle::OPEN;
        throttle.set_rate(Some(1000), START);
        let later = START + Duration::from_secs(3600);

        throttle.record(3000, later);

        assert_eq!(throttle.opens_at(later), Some(later + Duration::from_secs(2)));
    }

    #[test]
    fn another_rate_counts_from_now_on() {
        let mut throttle = Throttle::OPEN;
        assert_eq!((throttle.admits(START), throttle.opens_at(START)), (u64::MAX, None));
        throttle.set_rate(Some(1), START);
        throttle.record(1_000_000, START);
        assert_eq!(throttle.admits(START), 0);

        throttle.set_rate(Some(1), START);
        assert_eq!(throttle.admits(START), 0, "the same rate forgives nothing");
        throttle.set_rate(Some(2000), START);
        assert_eq!((throttle.admits(START), throttle.opens_at(START)), (2000, None));

        throttle.set_rate(Some(0), START);
        throttle.record(1, START);
        assert_eq!(throttle.admits(START + Duration::from_secs(9)), 0);
        throttle.set_rate(None, START);
        assert_eq!(throttle.admits(START), u64::MAX);
    }
}
