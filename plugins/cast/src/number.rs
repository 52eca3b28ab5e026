//! Numbers out of text, as Java reads them, and from doubles to integers.

/// Reads a double: blanks around it do not count, `inf`, `infinity` and `nan` in any case, Java's
/// suffixes `d` and `f` allowed.
pub fn parse_double(text: &str) -> Option<f64> {
    without_suffix(trimmed(text)).parse().ok()
}

/// Reads a float, rounded once.
pub fn parse_float(text: &str) -> Option<f32> {
    without_suffix(trimmed(text)).parse().ok()
}

/// Without the blanks and control characters around it, as Spark trims before it reads.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || character.is_control())
}

fn without_suffix(text: &str) -> &str {
    match text.strip_suffix(['d', 'D', 'f', 'F']) {
        Some(number) if number.ends_with(|last: char| last.is_ascii_digit() || last == '.') => {
            number
        }
        _ => text,
    }
}

/// A double as an integer, towards zero; `None` beyond 64 bits and for NaN.
pub fn whole(value: f64) -> Option<i64> {
    // The upper bound is 2^63 itself, which is the first that does not fit.
    let fits = value > -9_223_372_036_854_777_856.0 && value < 9_223_372_036_854_775_808.0;
    fits.then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_as_in_java() {
        let table = [
            (" 1.5 ", Some(1.5)),
            ("1e400", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("+inf", Some(f64::INFINITY)),
            ("1.5d", Some(1.5)),
            ("5.F", Some(5.0)),
            ("inff", None),
            ("0x10", None),
            ("1_000", None),
            ("d", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_double(text), expected, "{text:?}");
        }
        assert!(parse_double("NaN").is_some_and(f64::is_nan));
        assert_eq!(parse_float("0.1"), Some(0.1));
    }

    #[test]
    fn doubles_become_integers_only_within_64_bits() {
        assert_eq!(whole(-1.9), Some(-1));
        assert_eq!(whole(9_223_372_036_854_774_784.0), Some(9_223_372_036_854_774_784));
        assert_eq!(whole(9_223_372_036_854_775_808.0), None);
        assert_eq!(whole(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        assert_eq!(whole(-9_223_372_036_854_777_856.0), None);
        assert_eq!(whole(f64::NAN), None);
    }
}
