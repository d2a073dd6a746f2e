//! What is wrong between files, told when all have been shown.

use crate::output;
use crate::tools::java_map::{in_hash_order, in_hash_order_computed};
use std::path::Path;

/// What was found in files, in the order of the finding.
type ByFile<T> = Vec<(String, Vec<T>)>;

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    indexes: ByFile<(i64, i64)>,
    times: ByFile<TimeFinding>,
    gaps: ByFile<(i64, i64)>,
}

/// What is wrong with an entry of an index of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeFinding {
    /// The batch at its offset has another time.
    Mismatch { timestamp: i64, found: i64 },
    /// It is not later than the one before.
    OutOfOrder { timestamp: i64, previous: i64 },
    /// No batch ends with its offset; the next one ends with that.
    NoSuchOffset { offset: i64, found: i64 },
}

impl Findings {
    /// An index names an offset; the batch there ends with another.
    pub(super) fn mismatch(&mut self, file: &str, offset: i64, found: i64) {
        add(&mut self.indexes, file, (offset, found));
    }

    /// An entry of an index of times is wrong.
    pub(super) fn time(&mut self, file: &str, finding: TimeFinding) {
        add(&mut self.times, file, finding);
    }

    /// A record does not follow the one before.
    pub(super) fn gap(&mut self, file: &str, last: i64, next: i64) {
        add(&mut self.gaps, file, (last, next));
    }

    /// Tells all of it on standard error, in Kafka's order.
    pub(super) fn report(self) {
        tell(&in_hash_order(self.indexes, |(file, _)| file), "Mismatches in :", |(offset, found)| {
            Some(format!("  Index offset: {offset}, log offset: {found}"))
        });
        let times = in_hash_order(self.times, |(file, _)| file);
        tell(&times, "Found timestamp mismatch in :", |finding| match finding {
            TimeFinding::Mismatch { timestamp, found } => {
                Some(format!("  Index timestamp: {timestamp}, log timestamp: {found}"))
            }
            _ => None,
        });
        tell(&times, "Found out of order timestamp in :", |finding| match finding {
            TimeFinding::OutOfOrder { timestamp, previous } => {
                Some(format!("  Index timestamp: {timestamp}, Previously indexed timestamp: {previous}"))
            }
            _ => None,
        });
        tell(&times, "The following indexed offsets are not found in :", |finding| match finding {
            TimeFinding::NoSuchOffset { offset, found } => {
                Some(format!("Indexed offset: {offset}, found log offset: {found}"))
            }
            _ => None,
        });
        tell(
            &in_hash_order_computed(self.gaps, |(file, _)| file),
            "Non-consecutive offsets in ",
            |(last, next)| Some(format!("  {last} is followed by {next}")),
        );
    }
}

/// Writes what `line` makes of what was found, below a title for each file of which it makes anything.
fn tell<T: Copy>(found: &ByFile<T>, title: &str, line: impl Fn(T) -> Option<String>) {
    for (file, found) in found {
        let lines: Vec<String> = found.iter().filter_map(|&finding| line(finding)).collect();
        if !lines.is_empty() {
            output::error_line(format_args!("{title}{file}"));
            lines.into_iter().for_each(output::error_line);
        }
    }
}

fn add<T>(all: &mut ByFile<T>, file: &str, finding: T) {
    let file =
        std::path::absolute(Path::new(file)).map_or(file.to_owned(), |path| path.display().to_string());
    match all.iter_mut().find(|(known, _)| *known == file) {
        Some((_, found)) => found.push(finding),
        None => all.push((file, vec![finding])),
    }
}
