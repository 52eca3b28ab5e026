//! Decimals: an integer of at most 38 digits and a scale, the digits of it that stand behind the
//! point.

/// Most digits of a decimal; 10^38 still fits in 128 bits.
const DIGITS_MAX: usize = 38;

/// The type of a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub precision: u32,
    pub scale: i32,
}

/// Reads `[+-]digits[.digits][e[+-]digits]`, rounded half up (away from zero) to the scale. `None`:
/// no number, or too many digits.
pub fn parse(text: &str, shape: Shape) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let behind_point = i64::try_from(fraction.len()).ok()?;
    let shift = i64::from(exponent) - behind_point + i64::from(shape.scale);
    let unscaled = shifted(digits.trim_start_matches('0'), shift)?;
    fitting(if negative { -unscaled } else { unscaled }, shape)
}

/// A decimal of one scale as one of another, rounded half up.
pub fn rescale(unscaled: i128, scale: i32, shape: Shape) -> Option<i128> {
    let digits = unscaled.unsigned_abs().to_string();
    let moved = shifted(digits.trim_start_matches('0'), i64::from(shape.scale - scale))?;
    fitting(if unscaled < 0 { -moved } else { moved }, shape)
}

/// Without its fraction, towards zero. `None` if it has more than 38 digits.
pub fn whole(unscaled: i128, scale: i32) -> Option<i128> {
    match u32::try_from(scale) {
        Ok(scale) => Some(10_i128.checked_pow(scale).map_or(0, |unit| unscaled / unit)),
        Err(_) => unscaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?),
    }
}

/// In plain digits, never with an exponent, as Spark prints it in ANSI mode.
pub fn text(unscaled: i128, scale: i32) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let width = scale + 1;
            let digits = format!("{digits:0>width$}");
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) if unscaled == 0 => "0".into(),
        Err(_) => format!("{sign}{digits}{}", "0".repeat(scale.unsigned_abs() as usize)),
    }
}

/// Digits without leading zeros times 10^`shift`, as an integer, rounded half up.
fn shifted(digits: &str, shift: i64) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    let length = i64::try_from(digits.len()).ok()? + shift;
    if length > DIGITS_MAX as i64 {
        return None;
    }
    if shift >= 0 {
        let unit = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
        return digits.parse::<i128>().ok()?.checked_mul(unit);
    }
    let Ok(kept) = usize::try_from(length) else { return Some(0) };
    let (kept, dropped) = digits.split_at(kept);
    let rounded = i128::from(dropped.as_bytes()[0] >= b'5');
    Some(if kept.is_empty() { rounded } else { kept.parse::<i128>().ok()? + rounded })
}

fn fitting(unscaled: i128, shape: Shape) -> Option<i128> {
    let limit = 10_u128.checked_pow(shape.precision)?;
    (unscaled.unsigned_abs() < limit).then_some(unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: Shape = Shape { precision: 10, scale: 2 };

    #[test]
    fn texts_become_decimals_rounded_half_up() {
        let table = [
            ("1", Some(100)),
            ("-1.005", Some(-101)),
            ("1.004999", Some(100)),
            ("0.005", Some(1)),
            ("0.0049", Some(0)),
            ("0.0004", Some(0)),
            ("1e3", Some(100_000)),
            ("125E-3", Some(13)),
            ("99999999.99", Some(9_999_999_999)),
            ("99999999.995", None),
            ("100000000", None),
            ("1e2147483647", None),
            ("1e-2147483648", Some(0)),
            ("0e99999", Some(0)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("--1", None),
            ("1e", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text, MONEY), expected, "{text:?}");
        }
        let widest = Shape { precision: 38, scale: 0 };
        assert_eq!(parse(&"9".repeat(38), widest), Some(10_i128.pow(38) - 1));
        assert_eq!(parse(&"9".repeat(39), widest), None);
    }

    #[test]
    fn scales_change_with_rounding_and_prints_are_plain() {
        assert_eq!(rescale(12_345, 3, MONEY), Some(1_235));
        assert_eq!(rescale(-12_345, 3, MONEY), Some(-1_235));
        assert_eq!(rescale(1, 0, MONEY), Some(100));
        assert_eq!(rescale(10_i128.pow(37), 0, MONEY), None);
        assert_eq!(whole(-199, 2), Some(-1));
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(text(1, 7), "0.0000001");
        assert_eq!(text(0, 2), "0.00");
    }
}
