//! The end of a run of plain string bytes, 16 at a time.

/// The start of 16 bytes of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes before a `"`, a `\` or a control character (below 0x20); 16 if there is none.
    pub(super) count: usize,
    /// Not 0 if one of these bytes is not ASCII.
    pub(super) not_ascii: u32,
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))]
impl Plain {
    /// Out of one bit per byte.
    #[inline(always)]
    fn of(special: u32, high: u32) -> Plain {
        let first = special | 0x1_0000;
        // The bits below the lowest that is set.
        let before = (first & first.wrapping_neg()) - 1;
        Plain { count: first.trailing_zeros() as usize, not_ascii: high & before }
    }
}

/// Looks at the 16 bytes at `at`.
///
/// # Safety
/// 16 bytes at `at` are readable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn plain_bytes(at: *const u8) -> Plain {
    use std::arch::x86_64::*;
    // SAFETY: SSE2 is part of x86-64; the load is unaligned, and readable by contract.
    unsafe {
        let bytes = _mm_loadu_si128(at.cast());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let special = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        Plain::of(_mm_movemask_epi8(special) as u32, _mm_movemask_epi8(bytes) as u32)
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
pub(super) unsafe fn plain_bytes(at: *const u8) -> Plain {
    use std::arch::wasm32::*;
    // SAFETY: the load is unaligned, and readable by contract.
    let bytes = unsafe { v128_load(at.cast()) };
    let quote = u8x16_eq(bytes, u8x16_splat(b'"'));
    let backslash = u8x16_eq(bytes, u8x16_splat(b'\\'));
    let control = u8x16_lt(bytes, u8x16_splat(0x20));
    let special = v128_or(v128_or(quote, backslash), control);
    Plain::of(u32::from(u8x16_bitmask(special)), u32::from(u8x16_bitmask(bytes)))
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
#[inline(always)]
pub(super) unsafe fn plain_bytes(at: *const u8) -> Plain {
    // SAFETY: readable by contract.
    let halves = unsafe { at.cast::<[[u8; 8]; 2]>().read_unaligned() };
    let low = plain_bytes_in_word(u64::from_le_bytes(halves[0]));
    if low.count < 8 {
        return low;
    }
    let high = plain_bytes_in_word(u64::from_le_bytes(halves[1]));
    Plain { count: 8 + high.count, not_ascii: low.not_ascii | high.not_ascii }
}

/// The same over 8 bytes in a word: the lowest special byte sets its high bit; carries only reach
/// higher bytes.
#[cfg(any(
    test,
    not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))
))]
#[inline(always)]
fn plain_bytes_in_word(word: u64) -> Plain {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let special = (quote | backslash | control) & HIGHS;
    let before = (special & special.wrapping_neg()).wrapping_sub(1);
    let not_ascii = u32::from(word & HIGHS & before != 0);
    Plain { count: special.trailing_zeros() as usize / 8, not_ascii }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(byte: u8) -> bool {
        byte >= 0x20 && byte != b'"' && byte != b'\\'
    }

    fn check(bytes: &[u8], found: Plain) {
        let count = bytes.iter().position(|&byte| !plain(byte)).unwrap_or(bytes.len());
        assert_eq!(found.count, count, "{bytes:?}");
        assert_eq!(found.not_ascii != 0, !bytes[..count].is_ascii(), "{bytes:?}");
    }

    #[test]
    fn every_byte_at_every_place_stops_or_does_not() {
        for place in 0..16 {
            for byte in 0..=255u8 {
                for filler in [b'x', 0xff, 0x80, 0x21, b'"'] {
                    let mut bytes = [b'a'; 16];
                    bytes[place] = byte;
                    bytes[place + 1..].fill(filler);
                    check(&bytes, unsafe { plain_bytes(bytes.as_ptr()) });
                    let mut word = [0; 8];
                    word.copy_from_slice(&bytes[8..]);
                    check(&word, plain_bytes_in_word(u64::from_le_bytes(word)));
                }
            }
        }
    }
}
