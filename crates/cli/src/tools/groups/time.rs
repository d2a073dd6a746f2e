//! Points in time and lengths of time, as `--to-datetime` and `--by-duration` have them.

use ottla_types::Timestamp;
use regex::{Captures, Regex};

/// The numbers of a date and time, and its zone. Numbers may have fewer digits than usual, and stand for themselves:
/// `.5` is five milliseconds (Java's `SimpleDateFormat`).
const DATE_TIME: &str =
    r"^(\d{1,4})-(\d{1,2})-(\d{1,2})T(\d{1,2}):(\d{1,2}):(\d{1,2})\.(\d{1,3})(Z|[+-]\d{2}(?::?\d{2})?)";

/// As Java's `Duration.parse` has it.
const DURATION: &str =
    r"(?i)^([-+]?)P(?:([-+]?\d+)D)?(T(?:([-+]?\d+)H)?(?:([-+]?\d+)M)?(?:([-+]?\d+)(?:[.,](\d{0,9}))?S)?)?$";

const MILLIS_PER_MINUTE: i64 = 60_000;
const MILLIS_PER_DAY: i64 = 24 * 60 * MILLIS_PER_MINUTE;

/// The point in time that a text means: in UTC, unless it names another zone.
///
/// # Errors
/// What Kafka says of a text that means none.
pub(crate) fn date_time(text: &str) -> Result<Timestamp, String> {
    let mut parts = text.split('T').skip(1);
    let Some(time) = parts.next().filter(|time| !time.is_empty() || parts.next().is_some()) else {
        return Err(
            "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned()
        );
    };
    let zoned = if time.contains(['+', '-', 'Z']) { text.to_owned() } else { format!("{text}Z") };
    let found = expression(DATE_TIME).captures(&zoned);
    found.and_then(|found| instant(&found)).ok_or_else(|| format!("Unparseable date: \"{zoned}\""))
}

fn instant(found: &Captures<'_>) -> Option<Timestamp> {
    let number = |group: usize| found[group].parse::<i64>().ok();
    let [year, month, day] = [number(1)?, number(2)?, number(3)?];
    let [hours, minutes, seconds, millis] = [number(4)?, number(5)?, number(6)?, number(7)?];
    if hours > 23 || minutes > 59 || seconds > 59 || year == 0 {
        return None;
    }
    let day = days_since_epoch(year, month, day)?;
    let millis = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
    Some(Timestamp(day * MILLIS_PER_DAY + millis - offset_minutes(&found[8])? * MILLIS_PER_MINUTE))
}

/// How many minutes a zone is ahead of UTC.
fn offset_minutes(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, digits) = zone.split_at(1);
    let digits = digits.replace(':', "");
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 =
        digits.get(2..).filter(|digits| !digits.is_empty()).map_or(Some(0), |d| d.parse().ok())?;
    let minutes = (hours <= 23 && minutes <= 59).then_some(hours * 60 + minutes)?;
    Some(if sign == "-" { -minutes } else { minutes })
}

/// The number of a day of the Gregorian calendar, 1970-01-01 being 0; `None` when there is no such day.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month - 1).ok().filter(|&index| index < lengths.len())?;
    if !(1..=lengths[index]).contains(&day) {
        return None;
    }
    let years = year - 1;
    let before_year = years * 365 + years / 4 - years / 100 + years / 400;
    // That of 1970-01-01, counted in the same way.
    const EPOCH: i64 = 719_162;
    Some(before_year - EPOCH + lengths[..index].iter().sum::<i64>() + day - 1)
}

/// The milliseconds that a length of time such as `P1DT12H` means, rounded down.
///
/// # Errors
/// What Kafka says of a text that means none.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn parse_duration(text: &str) -> Option<i64> {
    let found = expression(DURATION).captures(text)?;
    let has_time = found.get(3).map(|time| time.len());
    if has_time == Some(1) || (has_time.is_none() && found.get(2).is_none()) {
        return None;
    }
    let number = |group, unit: i64| match found.get(group) {
        None => Some(0),
        Some(number) => number.as_str().parse::<i64>().ok()?.checked_mul(unit),
    };
    let fraction = found.get(7).map_or("", |digits| digits.as_str());
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let is_negative = found.get(6).is_some_and(|seconds| seconds.as_str().starts_with('-'));
    let whole = number(2, MILLIS_PER_DAY)?
        .checked_add(number(4, 60 * MILLIS_PER_MINUTE)?)?
        .checked_add(number(5, MILLIS_PER_MINUTE)?)?
        .checked_add(number(6, 1000)?)?;
    let nanos = if is_negative { -nanos } else { nanos };
    let (millis, sign) = (i128::from(whole) * 1_000_000 + i128::from(nanos), &found[1]);
    let signed = if sign == "-" { -millis } else { millis };
    i64::try_from(signed.div_euclid(1_000_000)).ok()
}

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("the tests use it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_and_time_is_a_number_of_milliseconds() {
        let cases = [
            ("1970-01-01T00:00:00.000", 0),
            ("1970-01-01T00:00:00.5", 5),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2026-11-22T00:00:00.000+02:00", 1_795_298_400_000),
            ("2026-11-22T00:00:00.000+0200", 1_795_298_400_000),
            ("2026-11-21T20:00:00.000-02", 1_795_298_400_000),
            ("1969-12-31T23:59:59.999", -1),
            ("2001-1-1T0:0:0.0", 978_307_200_000),
        ];
        for (text, expected) in cases {
            assert_eq!(date_time(text), Ok(Timestamp(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_and_time_is_refused_in_kafkas_words() {
        let no_t = "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format";
        for text in ["", "yesterday", "2001-01-01", "2001-01-01T"] {
            assert_eq!(date_time(text).unwrap_err(), no_t, "{text}");
        }
        for text in [
            "2001-02-29T00:00:00.000Z",
            "1900-02-29T00:00:00.000Z",
            "2001-13-01T00:00:00.000Z",
            "2001-00-01T00:00:00.000Z",
            "2001-01-00T00:00:00.000Z",
            "2001-01-01T24:00:00.000Z",
            "2001-01-01T00:60:00.000Z",
            "2001-01-01T00:00:00Z",
            "2001-01-01T00:00Z",
            "2001-01-01T00:00:00.000+99",
        ] {
            assert_eq!(date_time(text).unwrap_err(), format!("Unparseable date: \"{text}\""));
        }
    }

    #[test]
    fn a_duration_is_a_number_of_milliseconds() {
        let cases = [
            ("P1D", 86_400_000),
            ("PT12H", 43_200_000),
            ("pt12h", 43_200_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("PT0S", 0),
            ("PT-1H", -3_600_000),
            ("-PT1H", -3_600_000),
            ("PT1M-30S", 30_000),
            ("PT-0.5S", -500),
            ("PT0.0005S", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(duration_ms(text), Ok(expected), "{text}");
        }
        for text in ["", "P", "PT", "P1DT", "1h", "P1Y", "P1W", "PT1D", "PT1H ", "P99999999999999999999D"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }
}
