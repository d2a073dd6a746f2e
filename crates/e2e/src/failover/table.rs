//! Figures in a table.

use super::Micros;
use super::client::Client;
use std::fmt;

/// So many samples make a p99.
const P99_SAMPLES_MIN: usize = 200;

/// What was measured of one thing.
#[derive(Debug)]
pub struct Row {
    /// By whom.
    pub client: Client,
    /// What.
    pub what: String,
    /// In microseconds.
    pub samples: Vec<Micros>,
}

/// Figures of a row, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// Only when there are enough samples for it to mean something.
    pub p99: Option<f64>,
    /// The longest.
    pub max: f64,
}

impl Row {
    /// The row's figures; `None` without samples.
    pub fn figures(&self) -> Option<Figures> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|&micros| micros as f64 / 1000.0)
        };
        let p99 = at(99).filter(|_| sorted.len() >= P99_SAMPLES_MIN);
        Some(Figures { p50: at(50)?, p99, max: at(100)? })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |millis: Option<f64>| millis.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        let figures = self.figures();
        write!(
            f,
            "{:<15} {:<34} {:>5} {:>7} {:>7} {:>7}",
            self.client,
            self.what,
            self.samples.len(),
            cell(figures.map(|f| f.p50)),
            cell(figures.and_then(|f| f.p99)),
            cell(figures.map(|f| f.max)),
        )
    }
}

/// What stands above the rows.
pub fn header() -> String {
    format!("{:<15} {:<34} {:>5} {:>7} {:>7} {:>7}", "client", "milliseconds", "n", "p50", "p99", "max")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(samples: Vec<Micros>) -> Row {
        Row { client: Client::Java, what: "leader".to_owned(), samples }
    }

    #[test]
    fn a_p99_takes_two_hundred_samples() {
        let few = row((1..=199).map(|n| n * 1000).collect()).figures().unwrap();
        let enough = row((1..=200).map(|n| n * 1000).collect()).figures().unwrap();

        assert_eq!(few, Figures { p50: 100.0, p99: None, max: 199.0 });
        assert_eq!(enough, Figures { p50: 100.0, p99: Some(198.0), max: 200.0 });
        assert_eq!(row(Vec::new()).figures(), None);
    }
}
