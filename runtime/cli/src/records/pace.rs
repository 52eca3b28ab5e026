//! When a record may leave: at once, at an even rate, or as its own time says.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use gristmill_engine::config::parse_timestamp_us;

use super::key::field_text;
use crate::user_error::UserError;

/// Numbers from here on are milliseconds since 1970, below they are seconds: 10^11 s is the year 5138.
const SECONDS_MAX: f64 = 1e11;

/// Records per second, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

impl FromStr for Rate {
    type Err = String;

    /// Reads `500` or `500/s`.
    fn from_str(text: &str) -> Result<Rate, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).replace('_', "");
        match number.parse() {
            Ok(0) | Err(_) => Err("expected records per second, at least 1, such as 500/s".into()),
            Ok(rate) => Ok(Rate(rate)),
        }
    }
}

/// How fast records leave.
#[derive(Debug)]
pub enum Pace {
    /// As fast as the broker takes them.
    Free,
    Even(Rate),
    Recorded(Recorded),
}

/// As far apart as the times in the records, or `speed_up` times as fast.
#[derive(Debug)]
pub struct Recorded {
    field: String,
    speed_up: f64,
    /// The time of the first record of this round.
    first_us: Option<i64>,
    /// When the record before this one was due, and when the last one of the round before.
    last_due: Duration,
    base: Duration,
    round: u64,
}

impl Pace {
    pub fn recorded(field: &str, speed_up: f64) -> Pace {
        Pace::Recorded(Recorded {
            field: field.to_owned(),
            speed_up,
            first_us: None,
            last_due: Duration::ZERO,
            base: Duration::ZERO,
            round: 0,
        })
    }

    /// When the record after `count` others may leave, from the beginning. `round` counts how often the input was at
    /// its end before it.
    ///
    /// # Errors
    /// The record has no time.
    pub fn due(&mut self, count: u64, value: &[u8], round: u64) -> Result<Duration> {
        match self {
            Pace::Free => Ok(Duration::ZERO),
            Pace::Even(Rate(rate)) => Ok(Duration::from_secs_f64(count as f64 / *rate as f64)),
            Pace::Recorded(recorded) => recorded.due(count, value, round),
        }
    }
}

impl Recorded {
    fn due(&mut self, count: u64, value: &[u8], round: u64) -> Result<Duration> {
        let time_us = time_us(value, &self.field)
            .map_err(|reason| UserError::new(format!("record {}: {reason}", count + 1)))?;
        if round != self.round {
            (self.round, self.first_us, self.base) = (round, None, self.last_due);
        }
        let since_first_us = time_us.saturating_sub(*self.first_us.get_or_insert(time_us));
        // A record that is older than one before it leaves at once.
        let since_first = Duration::from_micros(u64::try_from(since_first_us).unwrap_or(0));
        let due = self.base.saturating_add(since_first.div_f64(self.speed_up));
        self.last_due = due.max(self.last_due);
        Ok(self.last_due)
    }
}

/// Microseconds since 1970 of a field: a time such as `2026-11-01T09:30:00Z` (UTC without a zone), or a number of
/// seconds or milliseconds.
fn time_us(value: &[u8], field: &str) -> Result<i64, String> {
    let text = field_text(value, field)?;
    if let Some(time_us) = parse_timestamp_us(text.trim()) {
        return Ok(time_us);
    }
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let to_us = if number.abs() < SECONDS_MAX { 1e6 } else { 1e3 };
            Ok((number * to_us) as i64)
        }
        _ => Err(format!(
            "field `{field}` is no time: `{text}`; expected such as 2026-11-01T09:30:00Z, or a number of seconds or \
             milliseconds since 1970"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spreads_records_evenly() {
        let mut pace = Pace::Even("500/s".parse().unwrap());
        let mut due = |count| pace.due(count, b"", 0).unwrap();
        assert_eq!(due(0), Duration::ZERO);
        assert_eq!(due(1), Duration::from_millis(2));
        assert_eq!(due(1_500), Duration::from_secs(3));
        assert_eq!("1_000".parse(), Ok(Rate(1_000)));
        for wrong in ["0", "fast", "5/m", "-1", ""] {
            assert!(Rate::from_str(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn recorded_times_are_kept_at_their_distance() {
        let mut pace = Pace::recorded("at", 2.0);
        let mut due =
            |value: &str, round| pace.due(0, value.as_bytes(), round).unwrap().as_millis();
        assert_eq!(due(r#"{"at":"2026-11-01T00:00:00Z"}"#, 0), 0);
        assert_eq!(due(r#"{"at":"2026-11-01 00:00:10.0"}"#, 0), 5_000);
        assert_eq!(due(r#"{"at":"2026-10-31T23:00:00Z"}"#, 0), 5_000, "older: at once");
        assert_eq!(due(r#"{"at":"2026-11-01T00:00:00Z"}"#, 1), 5_000, "a round begins anew");
        assert_eq!(due(r#"{"at":"2026-11-01T00:00:10Z"}"#, 1), 10_000);
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        for (value, expected) in [
            (r#"{"at":1700000000}"#, 1_700_000_000_000_000),
            (r#"{"at":1700000000.5}"#, 1_700_000_000_500_000),
            (r#"{"at":1700000000123}"#, 1_700_000_000_123_000),
            (r#"{"at":"1700000000"}"#, 1_700_000_000_000_000),
        ] {
            assert_eq!(time_us(value.as_bytes(), "at"), Ok(expected), "{value}");
        }
        let error = Pace::recorded("at", 1.0).due(6, br#"{"at":"noon"}"#, 0).unwrap_err();
        assert!(
            error.to_string().starts_with("record 7: field `at` is no time: `noon`"),
            "{error}"
        );
    }
}
