//! Points in time as flags take them.

use gristmill_engine::config::parse_timestamp_us;

/// Milliseconds since 1970 UTC of `2026-11-01T09:30:00Z` (UTC without a zone), or of a number of milliseconds.
pub fn parse_ms(text: &str) -> Result<i64, String> {
    let number = || text.parse().ok().filter(|time_ms| *time_ms >= 0);
    let time_ms = parse_timestamp_us(text).map(|time_us| time_us.div_euclid(1_000)).or_else(number);
    time_ms.ok_or_else(|| {
        "expected such as 2026-11-01T09:30:00Z, or milliseconds since 1970".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_milliseconds() {
        assert_eq!(parse_ms("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(parse_ms("1700000000000"), Ok(1_700_000_000_000));
        for wrong in ["noon", "2023-11-14", "-5", ""] {
            assert!(parse_ms(wrong).is_err(), "{wrong}");
        }
    }
}
