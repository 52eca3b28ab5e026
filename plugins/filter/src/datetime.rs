//! Dates and timestamps in a condition, in the forms of Spark's CAST; without a zone they are UTC.

use gristmill::json::{parse_date, parse_timestamp};

/// Microseconds in a day.
const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    parse_date(text.as_bytes())
}

/// Microseconds since 1970-01-01 UTC.
pub fn timestamp(text: &str) -> Option<i64> {
    parse_timestamp(text.as_bytes())
}

/// Midnight (UTC) of a day; days beyond what 64 bits of µs hold give the nearest µs that they do.
pub fn midnight_us(days: i32) -> i64 {
    i64::from(days).saturating_mul(DAY_US)
}
