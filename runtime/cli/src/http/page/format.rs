//! Numbers as people read them.

use std::time::Duration;

/// `12,345,678`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.2 MB`: powers of 1,000, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1_000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `1.2k/s`; whole numbers below 1,000.
pub fn rate(per_second: f64) -> String {
    match per_second {
        none if none <= 0.0 => "0/s".to_string(),
        low if low < 10.0 => format!("{low:.1}/s"),
        some if some < 1_000.0 => format!("{some:.0}/s"),
        many => scaled(many, 1_000.0, &["", "k", "M", "G"]).replace(' ', "") + "/s",
    }
}

/// `12 ms`, `3.4 s`, `5 min`.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1e3),
        ms => duration(Duration::from_millis(ms as u64)),
    }
}

/// `7 days`, `36 h`, `90 s`: the largest unit that says it without a rest.
pub fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "day"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    for (unit, name) in units {
        if ms >= unit && ms.is_multiple_of(unit) {
            let number = ms / unit;
            let s = if name == "day" && number != 1 { "s" } else { "" };
            return format!("{number} {name}{s}");
        }
    }
    match ms {
        long if long >= 120_000 => format!("{} min", long / 60_000),
        long if long >= 2_000 => format!("{:.1} s", long as f64 / 1e3),
        short => format!("{short} ms"),
    }
}

/// A value of `retention.ms`.
pub fn retention(text: &str) -> String {
    match text.parse::<i64>() {
        Ok(ms) if ms < 0 => "for ever".to_string(),
        Ok(ms) => duration(Duration::from_millis(ms.unsigned_abs())),
        Err(_) => text.to_string(),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step * 0.9995 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = if unit == 0 || number >= 100.0 { 0 } else { 1 };
    format!("{number:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_plain() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([bytes(0), bytes(1_048_588), bytes(999_999)], ["0 B", "1.0 MB", "1.0 MB"]);
        assert_eq!(
            [rate(0.0), rate(3.25), rate(850.0), rate(12_345.0)],
            ["0/s", "3.2/s", "850/s", "12.3k/s"]
        );
        assert_eq!(
            [milliseconds(3.25), milliseconds(87.0), milliseconds(2_500.0)],
            ["3.2 ms", "87 ms", "2.5 s"]
        );
        assert_eq!(
            [retention("604800000"), retention("-1"), retention("1500")],
            ["7 days", "for ever", "1500 ms"]
        );
        assert_eq!(retention("86400000"), "1 day");
    }
}
