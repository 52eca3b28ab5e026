//! Decimals of up to 38 digits out of text, rounded half up as Spark does.

/// Digits that an i128 holds for sure, and Spark's limit.
const DIGITS_MAX: usize = 38;

/// Reads a number as Java's `BigDecimal` does (a sign, digits with a point anywhere, an exponent)
/// and gives its digits without the point at `scale` decimals. None: it is not a number, or has
/// more than `precision` digits.
pub(super) fn parse_decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let mut digits = whole.iter().chain(fraction);
    if whole.len() + fraction.len() == 0 || !digits.all(u8::is_ascii_digit) {
        return None;
    }
    // The value is its digits times 10^shift at the wanted scale.
    let shift = exponent.checked_sub(fraction.len() as i64)?.checked_add(i64::from(scale))?;
    let digits = whole.iter().chain(fraction).skip_while(|&&digit| digit == b'0');
    let unscaled = shifted(digits.map(|digit| digit - b'0'), shift)?;
    let fits = unscaled < 10i128.pow(u32::from(precision));
    fits.then_some(if negative { -unscaled } else { unscaled })
}

/// Capped: an exponent of more than a billion cannot be told from a larger one.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(if negative { -value } else { value })
}

/// Digits (the first not 0) times 10^shift; what falls behind the point is rounded half up. None:
/// too many digits.
fn shifted(digits: impl Iterator<Item = u8> + Clone, shift: i64) -> Option<i128> {
    let count = digits.clone().count() as i64;
    if count == 0 {
        return Some(0);
    }
    let kept = count + shift.min(0);
    if count + shift > DIGITS_MAX as i64 {
        return None;
    }
    if kept < 0 {
        return Some(0);
    }
    let mut value = 0i128;
    for digit in digits.clone().take(kept as usize) {
        value = value * 10 + i128::from(digit);
    }
    let rounded_up = shift < 0 && digits.clone().nth(kept as usize).is_some_and(|next| next >= 5);
    let value = value + i128::from(rounded_up);
    value.checked_mul(10i128.checked_pow(shift.max(0) as u32)?)
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn digits_scales_and_limits() {
        let cases: [(&str, u8, i8, Option<i128>); 24] = [
            ("1", 10, 2, Some(100)),
            ("-1.5", 10, 2, Some(-150)),
            ("1.005", 10, 2, Some(101)),
            ("1.004999", 10, 2, Some(100)),
            ("-1.005", 10, 2, Some(-101)),
            ("0.005", 10, 2, Some(1)),
            ("0.0049", 10, 2, Some(0)),
            ("99999999.994", 10, 2, Some(9_999_999_999)),
            ("99999999.995", 10, 2, None),
            ("1e3", 10, 2, Some(100_000)),
            ("1e8", 10, 2, None),
            ("1e400", 10, 2, None),
            ("0e400", 10, 2, Some(0)),
            ("1e-400", 10, 2, Some(0)),
            ("1e-999999999999999999999", 10, 2, Some(0)),
            (
                "9223372036854775808",
                38,
                18,
                Some(9_223_372_036_854_775_808_000_000_000_000_000_000),
            ),
            ("99999999999999999999999999999999999999", 38, 0, Some(10i128.pow(38) - 1)),
            ("100000000000000000000000000000000000000", 38, 0, None),
            ("000000000000000000000000000000000000000000001", 5, 0, Some(1)),
            (".5", 5, 1, Some(5)),
            ("5.", 5, 1, Some(50)),
            ("+5", 5, 0, Some(5)),
            ("", 5, 0, None),
            (".", 5, 0, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal(text.as_bytes(), precision, scale), expected, "{text}");
        }
        for text in ["1e", "e1", "NaN", "1 ", "1e+", "--1", "1.2.3", "0x1"] {
            assert_eq!(parse_decimal(text.as_bytes(), 10, 2), None, "{text}");
        }
    }
}
