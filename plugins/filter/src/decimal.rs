//! Exact decimals: `unscaled` / 10^`scale` with at most 38 digits, as in Spark.

use std::cmp::Ordering;

/// Most digits of a decimal, and so its largest scale: 10^38 still fits in 128 bits.
pub const DIGITS_MAX: u32 = 38;

/// Compares two decimals of any scales up to 38 without rounding or overflow: whole parts first,
/// then fractions.
pub fn compare(left: i128, left_scale: u32, right: i128, right_scale: u32) -> Ordering {
    if left_scale == right_scale {
        return left.cmp(&right);
    }
    let (left_unit, right_unit) = (power(left_scale), power(right_scale));
    let whole = left.div_euclid(left_unit).cmp(&right.div_euclid(right_unit));
    whole.then_with(|| {
        let scale = left_scale.max(right_scale);
        let left_part = left.rem_euclid(left_unit) * power(scale - left_scale);
        left_part.cmp(&(right.rem_euclid(right_unit) * power(scale - right_scale)))
    })
}

/// 10^`exponent`, for exponents up to 38; the largest of them beyond.
pub fn power(exponent: u32) -> i128 {
    10_i128.pow(exponent.min(DIGITS_MAX))
}

/// Reads `digits[.digits]`; `None` beyond 38 digits.
pub fn parse(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= DIGITS_MAX)?;
    if significant.len() > DIGITS_MAX as usize || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unscaled = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some((unscaled, scale))
}

/// The plain text of a decimal.
pub fn text(unscaled: i128, scale: u32) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let width = scale as usize + 1;
    let digits = format!("{:0>width$}", unscaled.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The nearest double.
pub fn to_double(unscaled: i128, scale: u32) -> f64 {
    if scale == 0 {
        return unscaled as f64;
    }
    // Through the text: dividing the nearest doubles would round twice.
    text(unscaled, scale).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn decimals_compare_across_scales() {
        assert_eq!(compare(150, 2, 15, 1), Ordering::Equal);
        assert_eq!(compare(-150, 2, -15, 1), Ordering::Equal);
        assert_eq!(compare(-151, 2, -15, 1), Ordering::Less);
        assert_eq!(compare(1, 38, 0, 0), Ordering::Greater);
        assert_eq!(compare(-1, 38, 0, 0), Ordering::Less);
        let largest = power(38) - 1;
        assert_eq!(compare(largest, 0, largest, 38), Ordering::Greater);
    }

    #[test]
    fn a_decimal_reads_as_it_prints() {
        for text_in in ["0", "19.99", "0.05", "12345678901234567890123456789012345678"] {
            let (unscaled, scale) = parse(text_in).unwrap();
            assert_eq!(text(unscaled, scale), text_in);
        }
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(parse("123456789012345678901234567890123456789"), None);
    }
}
