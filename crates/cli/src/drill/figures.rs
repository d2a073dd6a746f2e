//! Silences in figures: how many, the median, the longest, and the 99th percentile where it means something.

use std::time::Duration;

/// So many samples make a p99.
pub(super) const P99_SAMPLES_MIN: usize = 200;

/// What a set of samples says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    /// How many samples there are.
    pub(super) count: usize,
    /// The median.
    pub(super) p50: Duration,
    /// The 99th percentile, from [`P99_SAMPLES_MIN`] samples on.
    pub(super) p99: Option<Duration>,
    /// The longest.
    pub(super) max: Duration,
}

impl Figures {
    /// What these samples say; `None` without any.
    pub(super) fn of(samples: impl IntoIterator<Item = Duration>) -> Option<Figures> {
        let mut sorted: Vec<Duration> = samples.into_iter().collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Figures {
            count: sorted.len(),
            p50: at(50)?,
            p99: at(99).filter(|_| sorted.len() >= P99_SAMPLES_MIN),
            max: at(100)?,
        })
    }

    /// As programs read it, in milliseconds.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "n": self.count,
            "p50_ms": millis(self.p50),
            "p99_ms": self.p99.map(millis),
            "max_ms": millis(self.max),
        })
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// As people read milliseconds: whole, with thousands set apart.
pub(super) fn whole_millis(duration: Duration) -> String {
    thousands(usize::try_from(duration.as_millis()).unwrap_or(usize::MAX))
}

/// A number with its thousands set apart.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p99_takes_two_hundred_samples() {
        let of = |count: u64| Figures::of((1..=count).map(Duration::from_millis));

        assert_eq!(of(0), None);
        let few = of(199).unwrap();
        assert_eq!((few.count, few.p50, few.p99), (199, Duration::from_millis(100), None));
        assert_eq!(few.max, Duration::from_millis(199));
        assert_eq!(of(200).unwrap().p99, Some(Duration::from_millis(198)));
        assert_eq!(of(1).unwrap().p50, Duration::from_millis(1));
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
