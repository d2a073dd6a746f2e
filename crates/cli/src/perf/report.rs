//! What a measurement found: named figures, for people and for programs.

use std::fmt::Write;

/// Figures in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    /// For programs; ends with the unit.
    key: &'static str,
    /// For people.
    label: &'static str,
    value: f64,
    unit: &'static str,
}

impl Report {
    /// Adds a figure. One that is not a number (nothing was counted) is left out.
    pub(crate) fn add(&mut self, key: &'static str, label: &'static str, value: f64, unit: &'static str) {
        if value.is_finite() {
            self.figures.push(Figure { key, label, value, unit });
        }
    }

    /// Adds the middle, the tail and the end of a set of durations, in milliseconds. `keys` are theirs.
    pub(crate) fn add_latencies(&mut self, keys: [&'static str; 3], mut micros: Vec<u64>) {
        micros.sort_unstable();
        let at = |share: f64| {
            let index = ((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1));
            micros.get(index).map_or(f64::NAN, |&micros| micros as f64 / 1000.0)
        };
        self.add("samples", "samples", micros.len() as f64, "");
        self.add(keys[0], "p50", at(0.5), "ms");
        self.add(keys[1], "p99", at(0.99), "ms");
        self.add(keys[2], "max", at(1.0), "ms");
    }

    /// A line for each figure.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for Figure { label, value, unit, .. } in &self.figures {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{label:<34} {:>14} {unit}", rounded(*value));
        }
        table
    }

    /// One JSON object: keys end with the unit.
    pub(crate) fn json(&self) -> String {
        let fields: Vec<String> =
            self.figures.iter().map(|Figure { key, value, .. }| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Three significant digits, and no digit before the point lost.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_by_rank() {
        let mut report = Report::default();
        report.add_latencies(["p50_ms", "p99_ms", "max_ms"], (1..=1000).rev().collect());

        assert_eq!(report.json(), r#"{"samples":1000,"p50_ms":0.501,"p99_ms":0.991,"max_ms":1}"#);
    }

    #[test]
    fn nothing_counted_is_no_figure() {
        let mut report = Report::default();
        report.add("a_s", "a", f64::NAN, "s");
        report.add_latencies(["p50_ms", "p99_ms", "max_ms"], Vec::new());
        report.add("b_s", "what b took", 12.345, "s");

        assert_eq!(report.json(), r#"{"samples":0,"b_s":12.345}"#);
        let last = report.table().lines().last().unwrap().to_owned();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["what", "b", "took", "12.3", "s"]);
    }
}
