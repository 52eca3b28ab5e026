//! Days and microseconds since 1970-01-01 in UTC, to and from ISO 8601 text.
//!
//! The proleptic Gregorian calendar in whole numbers, with years that begin in March so that the
//! leap day is the last one (the method of "chrono-compatible low-level date algorithms", H.
//! Hinnant).

use std::fmt::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days of 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Appends `2026-11-01`; years beyond four digits get a sign, as ISO 8601 has it.
pub(super) fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = civil(days);
    // Writing to a string cannot fail.
    let _ = if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+05}-{month:02}-{day:02}")
    };
}

/// Appends `2026-11-01T12:30:00.000000Z`.
pub(super) fn write_timestamp(micros: i64, out: &mut String) {
    write_date(micros.div_euclid(MICROS_PER_DAY), out);
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, micros) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z");
}

/// Days of a text as [`write_date`] writes it.
pub(super) fn read_date(text: &str) -> Option<i64> {
    let (signed, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.splitn(3, '-');
    let year = signed * number(parts.next()?, 4, 7)?;
    let (month, day) = (number(parts.next()?, 2, 2)?, number(parts.next()?, 2, 2)?);
    let days = days(year, month, day);
    // A 31st of February comes back as another day.
    (civil(days) == (year, month, day)).then_some(days)
}

/// Microseconds of a text such as [`write_timestamp`] writes; a fraction of up to 6 digits or none,
/// and `Z` or an offset `±hh:mm`.
pub(super) fn read_timestamp(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let (time, offset_minutes) = zone(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.splitn(3, ':');
    let mut part = |max: i64| number(parts.next()?, 2, 2).filter(|part| *part <= max);
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(59)?);
    let micros = match fraction {
        "" => 0,
        digits => number(digits, 1, 6)? * 10_i64.pow(6 - digits.len() as u32),
    };
    let of_day = (hours * 3600 + (minutes - offset_minutes) * 60 + seconds) * MICROS_PER_SECOND;
    // Midnight of the first day that has a timestamp at all lies before the smallest one.
    let since_epoch = i128::from(read_date(date)?) * i128::from(MICROS_PER_DAY);
    i64::try_from(since_epoch + i128::from(of_day + micros)).ok()
}

/// Splits the zone from a time and answers its minutes east of UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let minutes = number(hours, 2, 2)? * 60 + number(minutes, 2, 2)?;
    Some((&time[..at], if time.as_bytes()[at] == b'-' { -minutes } else { minutes }))
}

/// A number of nothing but digits, from `digits_min` to `digits_max` of them (at most 18).
fn number(text: &str, digits_min: usize, digits_max: usize) -> Option<i64> {
    let fits = (digits_min..=digits_max).contains(&text.len());
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if fits && digits { text.parse().ok() } else { None }
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(DAYS_PER_ERA);
    let of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * DAYS_PER_ERA + of_era - EPOCH_DAYS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn date(days: i64) -> String {
        let mut text = String::new();
        write_date(days, &mut text);
        text
    }

    #[test]
    fn days_and_dates_agree_both_ways() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (20_758, "2026-11-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(date(days), text);
            assert_eq!(read_date(text), Some(days));
        }
        for days in (i64::from(i32::MIN)..=i64::from(i32::MAX)).step_by(99_991) {
            assert_eq!(read_date(&date(days)), Some(days));
        }
    }

    #[test]
    fn timestamps_agree_both_ways_to_the_microsecond() {
        for micros in [0, -1, 1_793_536_200_123_456, i64::MIN / 8, i64::MAX / 8, i64::MIN, i64::MAX]
        {
            let mut text = String::new();
            write_timestamp(micros, &mut text);
            assert_eq!(read_timestamp(&text), Some(micros), "{text}");
        }
        assert_eq!(read_timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(read_timestamp("1970-01-01T00:00:00.5Z"), Some(500_000));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "2026-02-31", "2026-13-01", "26-01-01", "2026-1-1", "2026-01-01x", "é-01-01"]
        {
            assert_eq!(read_date(text), None, "{text}");
        }
        for text in [
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "T",
            "2026-01-01T00:00:00.1234567Z",
        ] {
            assert_eq!(read_timestamp(text), None, "{text}");
        }
        assert_eq!(read_timestamp("9999999-01-01T00:00:00Z"), None);
    }
}
