//! Dates and timestamps as text, as Spark's CAST to string prints them. The session's zone is UTC.

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in a day.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// Appends `2026-11-23`; years beyond 9999 with a plus.
pub fn push_date(days: i64, text: &mut String) {
    let (year, month, day) = civil(days);
    let sign = match year {
        ..0 => "-",
        10_000.. => "+",
        _ => "",
    };
    text.push_str(&format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs()));
}

/// Appends `2026-11-23 12:00:00.5`, without the zeros at the end of the fraction.
pub fn push_timestamp(micros: i64, text: &mut String) {
    push_date(micros.div_euclid(DAY_US), text);
    let time_us = micros.rem_euclid(DAY_US);
    let (second, fraction_us) = (time_us / SECOND_US, time_us % SECOND_US);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    text.push_str(&format!(" {hour:02}:{minute:02}:{second:02}"));
    if fraction_us > 0 {
        let fraction = format!("{fraction_us:06}");
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
}

/// Year, month and day of the proleptic Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use gristmill::json::{parse_date, parse_timestamp};

    use super::*;

    #[test]
    fn timestamps_print_as_in_spark() {
        let table = [
            ("2023-11-14T22:13:20Z", "2023-11-14 22:13:20"),
            ("2023-11-14 22:13:20.123456789", "2023-11-14 22:13:20.123456"),
            ("2023-11-14 22:13:20.5+01:00", "2023-11-14 21:13:20.5"),
            ("1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
            ("0001-01-01", "0001-01-01 00:00:00"),
            ("-0044-03-15", "-0044-03-15 00:00:00"),
            ("19000", "+19000-01-01 00:00:00"),
        ];
        for (read, printed) in table {
            let mut text = String::new();
            push_timestamp(parse_timestamp(read.as_bytes()).unwrap_or_default(), &mut text);
            assert_eq!(text, printed, "{read}");
        }
        let mut text = String::new();
        push_timestamp(i64::MIN, &mut text);
        assert_eq!(text, "-290308-12-21 19:59:05.224192");
    }

    #[test]
    fn every_day_reads_as_it_prints() {
        for days in (-3_000_000..3_000_000).step_by(97) {
            let mut text = String::new();
            push_date(days, &mut text);
            assert_eq!(parse_date(text.as_bytes()).map(i64::from), Some(days), "{text}");
        }
    }
}
