//! Times as people write and read them: UTC throughout, since records and logs have no other.

use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_engine::config::{parse_timestamp_us, timestamp_text};

/// `2026-11-01T12:00:00Z`, also with a space, without seconds or without the zone as browsers send it; or ms since 1970.
pub fn parse_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let text = text.replacen(' ', "T", 1);
    let with_seconds = text.trim_end_matches('Z').to_string() + ":00Z";
    let time_us = parse_timestamp_us(&text).or_else(|| parse_timestamp_us(&with_seconds));
    time_us.map(|time_us| time_us.div_euclid(1_000))
}

/// `2026-11-01 12:00:00.123`.
pub fn shown(time_ms: i64) -> String {
    // A cluster may tell any number: those that no calendar has are shown as they are.
    match time_ms.checked_mul(1_000).filter(|_| time_ms.abs() < 253_402_300_800_000) {
        Some(time_us) => {
            let text = timestamp_text(time_us, false).replacen('T', " ", 1);
            if text.len() == "2026-11-01 12:00:00".len() { text + ".000" } else { text }
        }
        None => format!("{time_ms} ms"),
    }
}

/// As `<time datetime>` wants it.
pub fn machine(time_ms: i64) -> String {
    shown(time_ms).replacen(' ', "T", 1) + "Z"
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long ago: `just now`, `12 s ago`, `3 min ago`.
pub fn ago(time_ms: i64) -> String {
    match (now_ms() - time_ms).max(0) / 1_000 {
        0..=1 => "just now".to_string(),
        seconds @ 2..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7_199 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_people_and_browsers_use() {
        let noon = Some(1_793_534_400_000);
        for text in [
            "2026-11-01T12:00:00Z",
            "2026-11-01T12:00:00",
            "2026-11-01 12:00:00",
            "2026-11-01T12:00",
            "2026-11-01T12:00Z",
            " 1793534400000 ",
        ] {
            assert_eq!(parse_ms(text), noon, "{text}");
        }
        assert_eq!(parse_ms("2026-11-01T13:00:00+01:00"), noon);
        assert_eq!(parse_ms("noon"), None);
    }

    #[test]
    fn times_are_shown_with_milliseconds() {
        assert_eq!(shown(1_793_534_400_000), "2026-11-01 12:00:00.000");
        assert_eq!(machine(1_793_534_400_123), "2026-11-01T12:00:00.123Z");
        assert_eq!(shown(i64::MAX), format!("{} ms", i64::MAX));
    }
}
