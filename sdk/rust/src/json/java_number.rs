//! Numbers as Java prints them, which is how Spark shows them: `1.0`, `0.001`, `1.0E20`, `1.0E-7`.

use std::io::Write;

use super::number::NumberText;

/// Appends a double as `Double.toString` of Java 19 and later: the shortest digits that read back
/// the same.
pub fn push_double(text: &mut Vec<u8>, value: f64) {
    match special(value) {
        Some(word) => text.extend_from_slice(word.as_bytes()),
        None => push_digits(text, format_args!("{value:e}"), value.abs()),
    }
}

/// Appends a float as `Float.toString`.
pub fn push_float(text: &mut Vec<u8>, value: f32) {
    match special(f64::from(value)) {
        Some(word) => text.extend_from_slice(word.as_bytes()),
        None => push_digits(text, format_args!("{value:e}"), f64::from(value.abs())),
    }
}

/// A double within JSON: what JSON has no number for stands in quotes.
pub(super) fn push_json_double(text: &mut Vec<u8>, value: f64) {
    match special(value).filter(|_| !value.is_finite()) {
        Some(word) => text.extend_from_slice(format!("\"{word}\"").as_bytes()),
        None => push_double(text, value),
    }
}

/// A JSON number as Spark renders it again: whole numbers exactly, others by way of a double.
pub(super) fn push_json_number(text: &mut Vec<u8>, number: &NumberText<'_>) {
    match number.text {
        "-0" => text.push(b'0'),
        whole if number.whole => text.extend_from_slice(whole.as_bytes()),
        _ => push_json_double(text, number.as_double()),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value == 0.0 {
        Some(if value.is_sign_negative() { "-0.0" } else { "0.0" })
    } else {
        None
    }
}

/// Rewrites Rust's `-1.25e-7`. Java writes a point in all numbers, and an exponent from 10^7 on and
/// below 10^-3.
fn push_digits(text: &mut Vec<u8>, scientific: std::fmt::Arguments<'_>, magnitude: f64) {
    let start = text.len();
    // Writing into a vector cannot fail.
    let _ = text.write_fmt(scientific);
    let written: Vec<u8> = text.drain(start..).collect();
    let (mantissa, exponent) = match written.iter().position(|&byte| byte == b'e') {
        Some(at) => (&written[..at], &written[at + 1..]),
        None => (&written[..], &b"0"[..]),
    };
    let exponent: i32 =
        std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if mantissa.first() == Some(&b'-') {
        text.push(b'-');
    }
    let digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    if (1e-3..1e7).contains(&magnitude) {
        return push_plain(text, &digits, exponent);
    }
    text.push(digits[0]);
    text.push(b'.');
    text.extend_from_slice(if digits.len() > 1 { &digits[1..] } else { b"0" });
    let _ = write!(text, "E{exponent}");
}

/// Digits with the point after the digit of 10^0.
fn push_plain(text: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    if exponent < 0 {
        text.extend_from_slice(b"0.");
        text.extend((1..-exponent).map(|_| b'0'));
        text.extend_from_slice(digits);
        return;
    }
    let whole = exponent as usize + 1;
    text.extend(digits.iter().copied().chain(std::iter::repeat(b'0')).take(whole));
    text.push(b'.');
    text.extend_from_slice(if digits.len() > whole { &digits[whole..] } else { b"0" });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut text = Vec::new();
        push_double(&mut text, value);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn as_java_prints_them() {
        let cases = [
            (299.98, "299.98"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (-1000.0, "-1000.0"),
            (1e20, "1.0E20"),
            (1e-7, "1.0E-7"),
            (1e7, "1.0E7"),
            (9999999.0, "9999999.0"),
            (12345678.9, "1.23456789E7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.001, "0.001"),
            (0.00123, "0.00123"),
            (0.00099, "9.9E-4"),
            (f64::MAX, "1.7976931348623157E308"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value), text);
        }
        let mut text = Vec::new();
        push_float(&mut text, 2147483648.0);
        assert_eq!(text, b"2.1474836E9");
    }
}
