//! Since when: so long ago, or a moment.

use ottla_types::Timestamp;
use std::str::FromStr;

const SECOND_MS: i64 = 1000;
const DAY_MS: i64 = 24 * 3600 * SECOND_MS;

/// A point in time as people type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// So many milliseconds ago.
    Ago(i64),
    /// This moment.
    Moment(Timestamp),
}

impl Since {
    /// The moment that is meant when it is `now`.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Since::Ago(millis) => Timestamp(now.0.saturating_sub(millis)),
            Since::Moment(at) => at,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        let known = millis(text).map(Since::Ago).or_else(|| moment(text).map(Since::Moment));
        known.ok_or_else(|| {
            format!("`{text}` is neither a time such as 90s, 10m, 2h or 3d nor a moment such as 2026-11-29 20:15:02")
        })
    }
}

/// A length of time: a number, and one of `ms`, `s`, `m`, `h`, `d`.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => 60 * SECOND_MS,
        "h" => 3600 * SECOND_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// `YYYY-MM-DD`, and after a space or a `T` `hh:mm`, `hh:mm:ss` or `hh:mm:ss.mmm`, in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let (time, millis) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), "0"));
    let (hours, minutes, seconds) = match numbers(time, ':')?[..] {
        [hours, minutes] => (hours, minutes, 0),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || hours > 23 || minutes > 59 || seconds > 59 || millis.len() > 3 {
        return None;
    }
    let millis = format!("{millis:0<3}").parse::<i64>().ok()?;
    let seconds = (hours * 60 + minutes) * 60 + seconds;
    Some(Timestamp(days(year, month, day)? * DAY_MS + seconds * SECOND_MS + millis))
}

fn numbers(text: &str, separator: char) -> Option<Vec<i64>> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(separator).map(|part| Some(part).filter(is_number)?.parse().ok()).collect()
}

/// The days from 1970-01-01 to a day; `None` when there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |month: i64| match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=days_of(month)).contains(&day) {
        return None;
    }
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    Some(years + (1..month).map(days_of).sum::<i64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_moments_are_read_as_people_type_them() {
        let cases = [
            ("90s", Since::Ago(90_000)),
            ("10m", Since::Ago(600_000)),
            ("250ms", Since::Ago(250)),
            ("3d", Since::Ago(259_200_000)),
            ("1970-01-02", Since::Moment(Timestamp(86_400_000))),
            ("2025-11-22 20:15:02.120", Since::Moment(Timestamp(1_763_842_502_120))),
            ("2025-11-22T20:15:02.12Z", Since::Moment(Timestamp(1_763_842_502_120))),
            ("2024-02-29 23:59", Since::Moment(Timestamp(1_709_251_140_000))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Since>(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "2025-02-29",
            "2025-11-22 24:00",
            "2025-11-22 1",
            "yesterday",
            "9999999999999999d",
        ] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
        assert_eq!(Since::Ago(5).moment(Timestamp(7)), Timestamp(2));
    }
}
