//! Latencies counted, as `ProducerPerformance` tells them.

use super::MEGABYTE;
use std::time::Duration;

/// Latencies kept for percentiles, at most: of more records, each stands for several.
const SAMPLES_MAX: u64 = 500_000;

/// Figures of the records acknowledged within a time.
#[derive(Debug, Default)]
struct Window {
    records: u64,
    bytes: u64,
    latency_sum_ms: f64,
    latency_max_ms: f64,
}

impl Window {
    fn add(&mut self, bytes: usize, latency_ms: f64) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.latency_sum_ms += latency_ms;
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
    }

    /// Records and megabytes a second.
    fn rates(&self, elapsed: Duration) -> (f64, f64) {
        let seconds = elapsed.as_secs_f64();
        (self.records as f64 / seconds, self.bytes as f64 / seconds / MEGABYTE)
    }

    fn latency_average_ms(&self) -> f64 {
        self.latency_sum_ms / self.records as f64
    }
}

/// Figures of all records, and of those since the last report.
#[derive(Debug)]
pub(super) struct Stats {
    all: Window,
    recent: Window,
    samples_ms: Vec<u64>,
    /// Each sample stands for so many records.
    step: u64,
}

impl Stats {
    /// Of so many records to come.
    pub(super) fn new(records: u64) -> Stats {
        let step = records.div_ceil(SAMPLES_MAX).max(1);
        Stats { all: Window::default(), recent: Window::default(), samples_ms: Vec::new(), step }
    }

    /// A record of so many bytes was acknowledged after so long.
    pub(super) fn add(&mut self, bytes: usize, latency: Duration) {
        let millis = latency.as_secs_f64() * 1000.0;
        if self.all.records.is_multiple_of(self.step) {
            self.samples_ms.push(latency.as_millis().try_into().unwrap_or(u64::MAX));
        }
        self.all.add(bytes, millis);
        self.recent.add(bytes, millis);
    }

    /// The figures since the last report, which took so long; `None` when there were no records.
    pub(super) fn report(&mut self, elapsed: Duration) -> Option<String> {
        let recent = std::mem::take(&mut self.recent);
        let (records, megabytes) = recent.rates(elapsed);
        (recent.records > 0).then(|| {
            format!(
                "{} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.",
                recent.records,
                recent.latency_average_ms(),
                recent.latency_max_ms
            )
        })
    }

    /// The figures of all, which took so long; `kind` stands behind their count.
    pub(super) fn total(&self, elapsed: Duration, kind: &str) -> String {
        let (records, megabytes) = self.all.rates(elapsed);
        let mut sorted = self.samples_ms.clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let index = (sorted.len() as f64 * share) as usize;
            sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        format!(
            "{}{kind} records sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {:.2} ms avg latency, \
             {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.all.records,
            if self.all.records == 0 { 0.0 } else { self.all.latency_average_ms() },
            self.all.latency_max_ms,
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_in_kafkas_words() {
        let mut stats = Stats::new(2);
        stats.add(1 << 19, Duration::from_millis(2));
        stats.add(1 << 19, Duration::from_millis(5));

        assert_eq!(
            stats.report(Duration::from_secs(2)).unwrap(),
            "2 records sent, 1.0 records/sec (0.50 MB/sec), 3.5 ms avg latency, 5.0 ms max latency."
        );
        assert_eq!(stats.report(Duration::from_secs(2)), None);
        assert_eq!(
            stats.total(Duration::from_secs(1), " steady state"),
            "2 steady state records sent, 2.000000 records/sec (1.00 MB/sec), 3.50 ms avg latency, 5.00 ms max \
             latency, 5 ms 50th, 5 ms 95th, 5 ms 99th, 5 ms 99.9th."
        );
    }
}
