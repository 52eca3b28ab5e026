//! Numbers: the common ones without a loop, all others by way of their text.

use super::cursor::Cursor;

/// 10^0 to 10^22: the powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// 10^0 to 10^15.
const INTEGER_POWERS: [u64; 16] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
];

/// Digits of a whole number that surely fits 64 bits; and of a mantissa that a double holds
/// exactly.
const LONG_DIGITS: usize = 18;
const DOUBLE_DIGITS: usize = 15;

/// The digits at the start of 8 bytes: their value and how many they are. No loop: the bytes that
/// are no digits are shifted out, then neighbours are added in three multiplications.
#[inline(always)]
fn leading_digits(bytes: u64) -> (u64, usize) {
    let digits = bytes ^ 0x3030_3030_3030_3030;
    // A byte above 9 gets its high bit by the addition or has it already; carries reach only later
    // bytes.
    let others = (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() as usize / 8;
    if count == 0 {
        return (0, 0);
    }
    (value_of_eight(digits << ((8 - count) * 8)), count)
}

/// The value of eight digits (0 to 9, not their letters), the first in the lowest byte.
#[inline(always)]
fn value_of_eight(digits: u64) -> u64 {
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & MASK).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & MASK).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

/// `null` as the lower half of a word.
pub(super) const NULL: u32 = u32::from_le_bytes(*b"null");

const ZEROS: u64 = 0x3030_3030_3030_3030;
const LOWS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// How many of 8 bytes come before one that is neither part of a number nor `/` or from `:` to `?`.
#[inline(always)]
pub(super) fn number_bytes(word: u64) -> usize {
    // A borrow reaches only bytes behind one that is below `-`.
    let below = word.wrapping_sub(0x2d2d_2d2d_2d2d_2d2d);
    let letter = word << 1;
    ((below | letter | word) & !LOWS).trailing_zeros() as usize / 8
}

/// A whole number without a sign that is the first `count` bytes of `word`. None: it is not, or
/// there are more or none.
#[inline(always)]
pub(super) fn whole(word: u64, count: u32) -> Option<u32> {
    if count.wrapping_sub(1) >= 8 {
        return None;
    }
    let digits = word ^ ZEROS;
    let padded_zero = digits as u8 == 0 && count > 1;
    let kept = digits << (64 - 8 * count);
    // A byte above 9 gets its high bit by the addition or has it already; carries reach only later
    // bytes.
    let others = (kept | kept.wrapping_add(0x7676_7676_7676_7676)) & !LOWS;
    (others == 0 && !padded_zero).then(|| value_of_eight(kept) as u32)
}

/// A number without a sign or exponent, with a point or without, that is the first `count` bytes of
/// `word` and has at most 7 digits. None: it is not, or there are more.
#[inline(always)]
pub(super) fn decimal(word: u64, count: u32) -> Option<ShortDecimal> {
    if count.wrapping_sub(1) >= 8 {
        return None;
    }
    let digits = (word ^ ZEROS) << (64 - 8 * count) >> (64 - 8 * count);
    // The high bit of every byte that is no digit; without carries, since 0x7f + 0x76 is below 256.
    let others = (digits | (digits & LOWS).wrapping_add(0x7676_7676_7676_7676)) & !LOWS;
    // In bits. Without a point: behind the end.
    let point = others.trailing_zeros() & !7;
    let end = 8 * count;
    if others == 0 {
        let padded_zero = digits as u8 == 0 && count > 1;
        let fits = count < 8 && !padded_zero;
        return fits.then(|| ShortDecimal {
            mantissa: value_of_eight(digits << (64 - end)) as u32,
            decimals: 0,
        });
    }
    let padded_zero = digits as u8 == 0 && point > 8;
    let alone = others & others.wrapping_sub(1) == 0;
    let is_point = (digits >> point) as u8 ^ b'0' == b'.';
    if !alone || !is_point || point == 0 || end - point <= 8 || padded_zero {
        return None;
    }
    // The digits without the point, pushed up against the end of the word.
    let before = digits & ((1 << point) - 1);
    let behind = digits >> (point + 8) << point;
    let joined = (before | behind) << (72 - end);
    let decimals = (end - point) / 8 - 1;
    Some(ShortDecimal { mantissa: value_of_eight(joined) as u32, decimals: decimals as usize })
}

/// Steps over a run of digits. The value is right up to 18 digits.
#[inline(always)]
fn digits(cursor: &mut Cursor<'_>) -> (u64, usize) {
    let (value, count) = leading_digits(cursor.eight());
    cursor.advance(count);
    if count < 8 {
        return (value, count);
    }
    let (value, more_count) = long_run(*cursor, value);
    // A longer run is left to `text`: whoever asked gives up, wherever the cursor is.
    cursor.advance(more_count.min(LONG_DIGITS - 8));
    (value, 8 + more_count)
}

/// The digits behind the first eight: the value of all, and how many they are.
#[inline(never)]
fn long_run(mut cursor: Cursor<'_>, value: u64) -> (u64, usize) {
    let (more, mut count) = leading_digits(cursor.eight());
    cursor.advance(count);
    let mut value = value * INTEGER_POWERS[count] + more;
    if count < 8 {
        return (value, count);
    }
    while cursor.need_text().is_ok() && cursor.byte().is_ascii_digit() {
        value = value.wrapping_mul(10).wrapping_add(u64::from(cursor.byte() - b'0'));
        count += 1;
        cursor.advance(1);
    }
    (value, count)
}

/// A whole number without a sign, of at most 7 digits: nearly all are. It and what ends it lie in
/// one word. None and no step: anything else.
#[inline(always)]
pub(super) fn short_long(cursor: &mut Cursor<'_>) -> Option<u32> {
    let word = cursor.eight();
    let (value, count) = leading_digits(word);
    let padded_zero = word as u8 == b'0' && count > 1;
    // Of 8 digits the first counts as the end, and is none of these.
    let end = (word >> ((count * 8) & 63)) as u8;
    if count.wrapping_sub(1) >= 7 || padded_zero || matches!(end, b'.' | b'e' | b'E') {
        return None;
    }
    cursor.advance(count);
    Some(value as u32)
}

/// A whole number of at most 18 digits. None: anything else; the cursor is then anywhere within the
/// next bytes.
pub(super) fn long(cursor: &mut Cursor<'_>) -> Option<i64> {
    let negative = cursor.byte() == b'-';
    cursor.advance(usize::from(negative));
    let first = cursor.byte();
    let (value, count) = digits(cursor);
    let plain = count.wrapping_sub(1) < LONG_DIGITS && !(first == b'0' && count > 1);
    if !plain || matches!(cursor.byte(), b'.' | b'e' | b'E') {
        return None;
    }
    Some(if negative { -(value as i64) } else { value as i64 })
}

/// A number with a point, of few digits: `mantissa` / 10^`decimals`, both so small that a float
/// holds them exactly.
pub(super) struct ShortDecimal {
    /// Below 10^6.
    mantissa: u32,
    /// At most 5.
    decimals: usize,
}

/// 10^0 to 10^7: more than a `ShortDecimal` needs, so that a mask keeps the index within.
const FLOAT_POWERS: [f32; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

/// A number with a point, no sign, no exponent and at most 7 characters: prices are. It and what
/// ends it lie in one word. None and no step: anything else.
#[inline(always)]
pub(super) fn short_decimal(cursor: &mut Cursor<'_>) -> Option<ShortDecimal> {
    let digits = cursor.eight() ^ ZEROS;
    // The high bit of every byte that is no digit; without carries, since 0x7f + 0x76 is below 256.
    let others = (digits | (digits & LOWS).wrapping_add(0x7676_7676_7676_7676)) & !LOWS;
    let behind_point = others & others.wrapping_sub(1);
    // In bits: where the point is, if it is one, and where the number ends.
    let (point, end) = (others.trailing_zeros() & !7, behind_point.trailing_zeros() & !7);
    if behind_point == 0 || point == 0 || end - point <= 8 {
        return None;
    }
    let other_at = |place: u32| (digits >> place) as u8 ^ b'0';
    let padded_zero = digits as u8 == 0 && point > 8;
    if other_at(point) != b'.' || matches!(other_at(end), b'e' | b'E') || padded_zero {
        return None;
    }
    // The digits without the point, pushed up against the end of the word.
    let whole = digits & ((1 << point) - 1);
    let fraction = digits >> (point + 8) << point;
    let joined = (whole | fraction) << (72 - end);
    cursor.advance(end as usize / 8);
    let decimals = ((end - point) / 8 - 1) as usize;
    Some(ShortDecimal { mantissa: value_of_eight(joined) as u32, decimals })
}

impl ShortDecimal {
    #[inline(always)]
    pub(super) fn as_double(&self) -> f64 {
        f64::from(self.mantissa) / POWERS[self.decimals]
    }

    #[inline(always)]
    pub(super) fn as_float(&self) -> f32 {
        self.mantissa as i32 as f32 / FLOAT_POWERS[self.decimals & 7]
    }
}

/// A number of at most 15 digits without an exponent: its mantissa and the division by a power of
/// ten are exact but for one rounding. None: anything else.
pub(super) fn short_double(cursor: &mut Cursor<'_>) -> Option<f64> {
    let negative = cursor.byte() == b'-';
    cursor.advance(usize::from(negative));
    let first = cursor.byte();
    let (mut mantissa, mut count) = digits(cursor);
    if count == 0 || count > DOUBLE_DIGITS || (first == b'0' && count > 1) {
        return None;
    }
    let mut decimals = 0;
    if cursor.byte() == b'.' {
        cursor.advance(1);
        let (fraction, fraction_count) = digits(cursor);
        count += fraction_count;
        if fraction_count == 0 || count > DOUBLE_DIGITS {
            return None;
        }
        decimals = fraction_count;
        mantissa = mantissa * INTEGER_POWERS[decimals] + fraction;
    } else if mantissa == 0 && negative {
        return None;
    }
    if matches!(cursor.byte(), b'e' | b'E') {
        return None;
    }
    // From a signed number, since processors have an instruction for that.
    let value = mantissa as i64 as f64 / POWERS[decimals];
    Some(if negative { -value } else { value })
}

/// The nearest float to a decimal number of which `value` is the nearest double, unless the double
/// lies exactly between two floats (or among the smallest): then only the text can tell.
pub(super) fn float_of(value: f64) -> Option<f32> {
    const DROPPED_BITS: u64 = (1 << 29) - 1;
    let between = value.to_bits() & DROPPED_BITS == 1 << 28;
    let tiny = value.abs() < f64::from(f32::MIN_POSITIVE) && value != 0.0;
    (!between && !tiny).then_some(value as f32)
}

/// A number as it is written.
pub(super) struct NumberText<'t> {
    pub(super) text: &'t str,
    /// Without fraction and exponent.
    pub(super) whole: bool,
}

/// Steps over any number of JSON's grammar. None: there is none here, or it is not one.
pub(super) fn text<'t>(cursor: &mut Cursor<'t>) -> Option<NumberText<'t>> {
    let rest = cursor.rest();
    let run = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(rest.first() == Some(&b'-'));
    let digits = run(end);
    if digits == 0 || (digits > 1 && rest[end] == b'0') {
        return None;
    }
    end += digits;
    let whole_end = end;
    if rest.get(end) == Some(&b'.') {
        let decimals = run(end + 1);
        if decimals == 0 {
            return None;
        }
        end += 1 + decimals;
    }
    if matches!(rest.get(end), Some(b'e' | b'E')) {
        end += 1;
        end += usize::from(matches!(rest.get(end), Some(b'+' | b'-')));
        let exponent = run(end);
        if exponent == 0 {
            return None;
        }
        end += exponent;
    }
    cursor.skip_text(end);
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    Some(NumberText { text, whole: whole_end == end })
}

impl NumberText<'_> {
    /// Exactly, if it is whole and fits 64 bits.
    pub(super) fn as_long(&self) -> Option<i64> {
        if self.whole { self.text.parse().ok() } else { None }
    }

    /// Correctly rounded; beyond the range ±infinity. A whole zero has no sign.
    pub(super) fn as_double(&self) -> f64 {
        let value: f64 = self.text.parse().unwrap_or(f64::NAN);
        if self.whole { value + 0.0 } else { value }
    }

    pub(super) fn as_float(&self) -> f32 {
        let value: f32 = self.text.parse().unwrap_or(f32::NAN);
        if self.whole { value + 0.0 } else { value }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cursor::{Cursor, READ_AHEAD_BYTES};
    use super::*;

    /// What `read` makes of a text, and where it leaves the cursor.
    fn read<T>(text: &str, read: impl Fn(&mut Cursor<'_>) -> Option<T>) -> Option<(T, usize)> {
        let mut buffer = text.as_bytes().to_vec();
        buffer.resize(text.len() + READ_AHEAD_BYTES, b'7');
        let mut cursor = Cursor::new(&buffer, text.len());
        let value = read(&mut cursor)?;
        Some((value, cursor.position()))
    }

    #[test]
    fn the_bytes_of_numbers_end_at_the_first_other() {
        let goes_on = |byte: u8| matches!(byte, b'-'..=b'?');
        for place in 0..8 {
            for byte in 0..=255u8 {
                for filler in [b'0', b'9', b'-', b'.', 0, b',', b'}', 0xff] {
                    let mut bytes = *b"1.0-9.57";
                    bytes[place] = byte;
                    bytes[place + 1..].fill(filler);
                    let count = bytes.iter().take_while(|&&byte| goes_on(byte)).count();
                    assert_eq!(number_bytes(u64::from_le_bytes(bytes)), count, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_of_known_length_are_what_the_standard_library_reads() {
        let alphabet = b"0159.-e,";
        // All texts of up to 5 of these bytes, and the same with digits behind.
        for index in 0..8_usize.pow(5) {
            let bytes: Vec<u8> = (0..5).map(|at| alphabet[index >> (3 * at) & 7]).collect();
            for (length, tail) in [(1, ""), (3, ""), (5, ""), (7, "37"), (8, "129")] {
                let mut text = bytes[..length.min(5)].to_vec();
                text.extend_from_slice(tail.as_bytes());
                let text = std::str::from_utf8(&text).unwrap_or_default();
                let mut word = [b'7'; 8];
                word[..length].copy_from_slice(text.as_bytes());
                let word = u64::from_le_bytes(word);
                let canonical =
                    !(text.len() > 1 && text.starts_with('0') && !text.starts_with("0."));
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let whole_expected = text.parse::<u32>().ok().filter(|_| digits && canonical);
                assert_eq!(whole(word, length as u32), whole_expected, "{text}");
                if let Some(short) = decimal(word, length as u32) {
                    assert!(canonical, "{text}");
                    assert_eq!(Ok(short.as_double()), text.parse::<f64>(), "{text}");
                    assert_eq!(Ok(short.as_float()), text.parse::<f32>(), "{text}");
                } else {
                    let plain = digits
                        || text.split_once('.').is_some_and(|(whole, fraction)| {
                            let all = |text: &str| {
                                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
                            };
                            all(whole) && all(fraction)
                        });
                    let fits = text.bytes().filter(u8::is_ascii_digit).count() <= 7;
                    assert!(!(plain && fits && canonical), "{text} is left to others");
                }
            }
        }
    }

    #[test]
    fn short_decimals_are_what_the_standard_library_reads() {
        for whole in (0..10).chain([99, 100, 999, 1_000, 1_999, 16_384, 99_999]) {
            for decimals in 1..=5 {
                for fraction in [0, 1, 5, 9, 49, 50, 98, 99, 12_345, 99_999] {
                    let digits =
                        format!("{:01$}", fraction % 10_usize.pow(decimals), decimals as usize);
                    let number = format!("{whole}.{digits}");
                    let text = format!("{number},");
                    let short = read(&text, short_decimal);
                    let Some((short, end)) = short else {
                        assert!(number.len() > 7, "{number}");
                        continue;
                    };
                    assert_eq!(end, number.len());
                    assert_eq!(short.as_double(), number.parse::<f64>().unwrap(), "{number}");
                    assert_eq!(short.as_float(), number.parse::<f32>().unwrap(), "{number}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_short_decimal_is_left_to_others() {
        let texts = [
            "1,", "1.,", ".5,", "-1.5,", "01.5,", "1.5e3,", "1.5E3,", "1.5.", "123456.7", "a",
            "1,5",
        ];
        for text in texts {
            let short = read(text, short_decimal).map(|(_, end)| end);
            // Two points end the number at the second: whoever asked sees that next.
            assert_eq!(short, (text == "1.5.").then_some(3), "{text}");
        }
    }

    #[test]
    fn short_longs_have_up_to_seven_digits_and_no_sign() {
        for (text, value) in
            [("0,", 0), ("7}", 7), ("1000000,", 1_000_000), ("9999999 ", 9_999_999)]
        {
            assert_eq!(read(text, short_long), Some((value, text.len() - 1)), "{text}");
        }
        for text in ["-1,", "00,", "01,", "12345678,", "1.0,", "1e3,", "1E3,", "\"1\"", "null"] {
            assert_eq!(read(text, short_long), None, "{text}");
        }
    }
}
