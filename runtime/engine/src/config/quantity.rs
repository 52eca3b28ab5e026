//! Quantities as text: durations ("10s"), sizes ("64MiB"), points in time.
//!
//! One way to write each: a whole number and a unit, no blanks, no fractions.

use std::time::Duration;

use toml::value::{Datetime, Offset};

/// Units of a duration, in ms.
const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of a size, in bytes.
const SIZE_UNITS_BYTES: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Digits of a share after the point.
const SHARE_DIGITS_MAX: usize = 4;

/// "500ms", "10s", "5m", "1h", "7d".
///
/// # Errors
/// What is wrong with the text, to follow its name in a message.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let unit_ms = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
    match (unit, unit_ms) {
        (_, Some(unit_ms)) => {
            number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(too_large)
        }
        ("", None) => Err("has no unit".to_string()),
        (unit, None) => Err(format!("has an unknown unit `{unit}`")),
    }
}

/// "512B", "64KiB", "64MiB", "2GiB": powers of 1,024.
///
/// # Errors
/// What is wrong with the text, to follow its name in a message.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let unit_bytes = SIZE_UNITS_BYTES.iter().find(|(name, _)| *name == unit).map(|(_, n)| *n);
    match (unit, unit_bytes) {
        (_, Some(unit_bytes)) => number.checked_mul(unit_bytes).ok_or_else(too_large),
        ("", None) => Err("has no unit".to_string()),
        (unit, None) => Err(format!("has an unknown unit `{unit}`")),
    }
}

/// "1%", "0.05%": above 0 and at most 100, in parts of a million.
///
/// # Errors
/// What is wrong with the text, to follow its name in a message.
pub(super) fn parse_share(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').ok_or("has no `%` at its end")?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() > 3 {
        return Err("is no number of parts of a hundred".to_string());
    }
    if fraction.len() > SHARE_DIGITS_MAX {
        return Err(format!("has more than {SHARE_DIGITS_MAX} digits after the point"));
    }
    let millionths = format!("{whole}{fraction:0<SHARE_DIGITS_MAX$}").parse().unwrap_or(0);
    match millionths {
        0 => Err("is no share: nothing may fail".to_string()),
        1..=1_000_000 => Ok(millionths),
        _ => Err("is more than all".to_string()),
    }
}

/// The shortest way to write a duration.
pub(super) fn duration_text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = DURATION_UNITS_MS.iter().rev().find(|(_, unit_ms)| ms.is_multiple_of(*unit_ms));
    fits.map_or_else(String::new, |(name, unit_ms)| format!("{}{name}", ms / unit_ms))
}

/// The shortest way to write a size.
pub(super) fn size_text(bytes: u64) -> String {
    let fits = SIZE_UNITS_BYTES.iter().find(|(_, unit_bytes)| bytes.is_multiple_of(*unit_bytes));
    fits.map_or_else(String::new, |(name, unit_bytes)| format!("{}{name}", bytes / unit_bytes))
}

/// Two digits for each byte; `None`: something else.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Milliseconds since 1970 UTC; parts of a millisecond are dropped.
///
/// # Errors
/// What is missing: a point in time has a date, a time and a zone.
pub(super) fn timestamp_ms(written: &Datetime) -> Result<i64, &'static str> {
    written.date.ok_or("has no date")?;
    written.time.ok_or("has no time of day")?;
    written.offset.ok_or("has no time zone")?;
    Ok(timestamp_us(written).unwrap_or(0).div_euclid(1_000))
}

/// Microseconds since 1970 of a text such as `2026-11-01T00:00:00Z`; one without a zone is taken for UTC.
pub fn parse_timestamp_us(text: &str) -> Option<i64> {
    timestamp_us(&text.parse().ok()?)
}

/// `None`: no date, or no time of day.
fn timestamp_us(written: &Datetime) -> Option<i64> {
    let (date, time) = (written.date?, written.time?);
    let offset_minutes = match written.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        Some(Offset::Z) | None => 0,
    };
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute);
    let seconds = (minutes - offset_minutes) * 60 + i64::from(time.second.unwrap_or(0));
    Some(seconds * 1_000_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000))
}

/// Microseconds since 1970 as TOML writes a time: `2026-11-01T00:00:00Z`, with as many digits of a second as it has.
pub fn timestamp_text(time_us: i64, utc: bool) -> String {
    const DAY_US: i64 = 86_400_000_000;
    let (days, of_day) = (time_us.div_euclid(DAY_US), time_us.rem_euclid(DAY_US));
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        fraction if fraction % 1_000 == 0 => format!(".{:03}", fraction / 1_000),
        fraction => format!(".{fraction:06}"),
    };
    let zone = if utc { "Z" } else { "" };
    format!("{}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}", date_text(days))
}

/// Days since 1970-01-01 as a date of the proleptic Gregorian calendar, the inverse of [`days_since_1970`].
pub(crate) fn date_text(days: i64) -> String {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months_since_march + 2) / 5 + 1;
    let january_or_february = months_since_march >= 10;
    let month = months_since_march + if january_or_february { -9 } else { 3 };
    let year = year_of_era + era * 400 + i64::from(january_or_february);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// Of the proleptic Gregorian calendar. Counts years from March, so that a leap day ends its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, months_since_march) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_before_month = (153 * months_since_march + 2) / 5;
    year * 365 + leap_days + days_before_month + day - 1 - DAYS_TO_1970
}

fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match number {
        "" => Err("does not begin with a whole number".to_string()),
        number => Ok((number.parse().map_err(|_| too_large())?, unit)),
    }
}

fn too_large() -> String {
    "is too large".to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("7d", 604_800_000)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
            assert_eq!(duration_text(Duration::from_millis(ms)), text);
        }
        for text in ["", "s", "10", "10 s", "1.5s", "-1s", "10sec", "99999999999999999999s", "1e3s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("18446744073709551615d").is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65_536), ("64MiB", 64 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(size_text(bytes), text);
        }
        for text in ["64", "64MB", "64M", "MiB", "64 MiB", "18446744073709551615GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_parts_of_a_hundred() {
        for (text, millionths) in [
            ("1%", 10_000),
            ("0.5%", 5_000),
            ("12.34%", 123_400),
            ("0.0001%", 1),
            ("100%", 1_000_000),
        ] {
            assert_eq!(parse_share(text), Ok(millionths), "{text}");
        }
        for text in
            ["", "%", "1", "-1%", "+1%", "1.%", ".5%", "1e1%", "0%", "0.00001%", "100.1%", "1 %"]
        {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn points_in_time_are_milliseconds_since_1970() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-01T00:00:00Z", 1_793_491_200_000),
            ("2026-11-01T01:30:00.5+01:30", 1_793_491_200_500),
            ("2000-02-29T23:59:59.999999Z", 951_868_799_999),
            ("1969-12-31T23:59:59Z", -1_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ] {
            assert_eq!(timestamp_ms(&text.parse().unwrap()), Ok(ms), "{text}");
        }
        for text in
            ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59.001Z", "0001-03-01T12:00:00.000001Z"]
        {
            assert_eq!(timestamp_text(parse_timestamp_us(text).unwrap(), true), text);
        }
        assert!(timestamp_ms(&"2026-11-01T00:00:00".parse().unwrap()).is_err());
        assert!(timestamp_ms(&"2026-11-01".parse().unwrap()).is_err());
        assert!(timestamp_ms(&"10:00:00".parse().unwrap()).is_err());
    }
}
