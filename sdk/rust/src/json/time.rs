//! Dates and timestamps out of text, in the shapes that Spark's casts take.

/// Microseconds in a second and in a day.
const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// Days since 1970-01-01 of `yyyy[-[m]m[-[d]d]]`, with blanks around it, a sign, and anything
/// behind a `T` or a blank after the day. Years have four to seven digits. None: not a date.
pub fn parse_date(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii();
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'T')).unwrap_or(text.len());
    let (date, parts) = parse_day(&text[..end], 7)?;
    if end < text.len() && parts < 3 {
        return None;
    }
    i32::try_from(date).ok()
}

/// Microseconds since 1970-01-01T00:00:00Z of a date, or of a date, a `T` or blank, a time
/// `[h]h[:[m]m[:[s]s[.fraction]]]` and a zone (`Z`, `UTC`, `+hh:mm`, …). Without a zone it is UTC.
/// Digits of the fraction beyond the sixth are dropped. None: not a timestamp, or in a named zone
/// (`Europe/Paris`).
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'T')).unwrap_or(text.len());
    let (days, parts) = parse_day(&text[..end], 6)?;
    let day_us = days.checked_mul(DAY_US)?;
    let Some(time) = text.get(end + 1..).filter(|time| !time.is_empty()) else {
        return Some(day_us);
    };
    if parts < 3 {
        return None;
    }
    let (time_us, zone) = parse_time(time)?;
    let zone_us = parse_zone(zone)?;
    day_us.checked_add(time_us)?.checked_sub(zone_us)
}

/// Days and how many of year, month and day there were.
fn parse_day(text: &[u8], year_digits_max: usize) -> Option<(i64, usize)> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut parts = text.split(|&byte| byte == b'-');
    let year = number(parts.next()?, 4, year_digits_max)?;
    let month = parts.next().map(|text| number(text, 1, 2));
    let day = parts.next().map(|text| number(text, 1, 2));
    if parts.next().is_some() {
        return None;
    }
    let count = 1 + usize::from(month.is_some()) + usize::from(day.is_some());
    let year = if negative { -year } else { year };
    let (month, day) = (month.unwrap_or(Some(1))?, day.unwrap_or(Some(1))?);
    let valid = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
    valid.then(|| (days_from_civil(year, month, day), count))
}

/// Microseconds since midnight, and what follows: the zone.
fn parse_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = leading_number(text)?;
    let (minute, rest) = next_number(rest, b':')?;
    let (second, rest) = next_number(rest, b':')?;
    let (fraction_us, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest),
        rest => (0, rest),
    };
    let valid = hour < 24 && minute < 60 && second < 60;
    let seconds = hour * 3600 + minute * 60 + second;
    valid.then_some((seconds * SECOND_US + fraction_us, rest))
}

/// One or two digits.
fn leading_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((number(&text[..digits], 1, 2)?, &text[digits..]))
}

/// The number behind a separator; without a separator 0.
fn next_number(text: &[u8], separator: u8) -> Option<(i64, &[u8])> {
    match text {
        [first, rest @ ..] if *first == separator => leading_number(rest),
        text => Some((0, text)),
    }
}

/// Microseconds of any number of decimals.
fn fraction(text: &[u8]) -> (i64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digit = |place: usize| if place < digits { i64::from(text[place] - b'0') } else { 0 };
    ((0..6).fold(0, |value, place| value * 10 + digit(place)), &text[digits..])
}

/// The zone's distance to UTC in microseconds.
fn parse_zone(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let text = [&b"UTC"[..], b"GMT", b"UT"]
        .iter()
        .find_map(|name| text.strip_prefix(*name))
        .unwrap_or(text);
    let (sign, rest) = match text {
        [] | [b'Z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _, _, _] => (number(&rest[..2], 2, 2)?, number(&rest[2..], 2, 2)?),
        _ => {
            let (hours, rest) = leading_number(rest)?;
            let (minutes, rest) = next_number(rest, b':')?;
            if !rest.is_empty() {
                return None;
            }
            (hours, minutes)
        }
    };
    let valid = minutes < 60 && hours * 60 + minutes <= 18 * 60;
    valid.then_some(sign * (hours * 3600 + minutes * 60) * SECOND_US)
}

fn number(digits: &[u8], count_min: usize, count_max: usize) -> Option<i64> {
    let fits = (count_min..=count_max).contains(&digits.len());
    if !fits || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year; 400 years have 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("2024-1-2", Some(19_724)),
            ("2024-02-29", Some(19_782)),
            ("2023-02-29", None),
            ("2024", Some(19_723)),
            ("2024-03", Some(19_783)),
            ("19000", Some(6_220_080)),
            ("2024-01-02T10:00:00Z", Some(19_724)),
            ("2024-01-02 anything", Some(19_724)),
            (" 2024-01-02 ", Some(19_724)),
            ("-0001-01-01", Some(-719_893)),
            ("2024-13-01", None),
            ("2024-00-01", None),
            ("24-01-01", None),
            ("2024-01-02x", None),
            ("", None),
            ("today", None),
            ("2024T", None),
        ];
        for (text, days) in cases {
            assert_eq!(parse_date(text.as_bytes()), days, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        let base = 1_704_189_600_000_000; // 2024-01-02T10:00:00Z
        let cases = [
            ("2024-01-02T10:00:00Z", Some(base)),
            ("2024-01-02 10:00:00", Some(base)),
            ("2024-01-02 10:00", Some(base)),
            ("2024-1-2T10:0:0.5Z", Some(base + 500_000)),
            ("2024-01-02T10:00:00.123456789Z", Some(base + 123_456)),
            ("2024-01-02T10:00:00+02:00", Some(base - 7_200_000_000)),
            ("2024-01-02T10:00:00-0230", Some(base + 9_000_000_000)),
            ("2024-01-02T10:00:00 UTC+2", Some(base - 7_200_000_000)),
            ("2024-01-02T10:00:00.Z", Some(base)),
            ("2024-01-02", Some(base - 36_000_000_000)),
            ("2024", Some(1_704_067_200_000_000)),
            ("2024-01-02T24:00:00Z", None),
            ("2024-01-02T10:60:00Z", None),
            ("2024-01-02T10:00:00 Mars", None),
            ("2024-01-02T10:00:00+19:00", None),
            ("2024-01T10:00:00Z", None),
            ("10:00:00", None),
            ("", None),
            ("999999-12-31T00:00:00Z", None),
        ];
        for (text, time_us) in cases {
            assert_eq!(parse_timestamp(text.as_bytes()), time_us, "{text}");
        }
    }

    #[test]
    fn days_agree_with_counting() {
        let mut days = days_from_civil(1899, 12, 31);
        for year in 1900..2110 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    days += 1;
                    assert_eq!(days_from_civil(year, month, day), days, "{year}-{month}-{day}");
                }
            }
        }
    }
}
