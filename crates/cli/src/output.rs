//! The one place that writes to the terminal.

use ottla_types::Timestamp;

/// Writes a line to standard output. A reader that has gone is no error: `ottla … | head` ends quietly.
pub(crate) fn line(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// The time of day in UTC, to the millisecond.
pub(crate) fn time_of_day() -> String {
    clock(ottla_net::clock::wall().0.rem_euclid(86_400_000))
}

/// A date and time of day in UTC, to the millisecond.
pub(crate) fn date_and_time(at: Timestamp) -> String {
    let (days, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {}", clock(millis))
}

/// The date so many days after 1970-01-01, in the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level
/// date algorithms": years begin in March, so that the day that comes and goes is the last).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn clock(millis_of_day: i64) -> String {
    let (seconds, millis) = (millis_of_day / 1000, millis_of_day % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Writes text to standard output as it is.
pub(crate) fn text(text: &str) {
    bytes(text.as_bytes());
}

/// Writes bytes to standard output as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a line to standard error.
pub(crate) fn error_line(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Writes an error, with what led to it, to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("ottla: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_date() {
        let cases = [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_400_001, "2000-02-29 00:00:00.001"),
            (1_709_251_199_999, "2024-02-29 23:59:59.999"),
            (1_763_842_502_120, "2025-11-22 20:15:02.120"),
            (-1, "1969-12-31 23:59:59.999"),
        ];
        for (millis, expected) in cases {
            assert_eq!(date_and_time(Timestamp(millis)), expected);
        }
    }
}
