//! Are two runs of bytes equal? Without a loop for the lengths that keys have: in WebAssembly each
//! turn of a loop pays for a check of the epoch deadline.

/// # Safety
/// `length` bytes are readable at both places.
#[inline(always)]
pub(super) unsafe fn equal(left: *const u8, right: *const u8, length: usize) -> bool {
    // SAFETY: every load below lies within the first `length` bytes, which are readable by
    // contract.
    unsafe {
        match length {
            16..=32 => {
                let tail = length - 16;
                equal_16(left, right) && equal_16(left.add(tail), right.add(tail))
            }
            8..16 => {
                let tail = length - 8;
                equal_8(left, right) && equal_8(left.add(tail), right.add(tail))
            }
            4..8 => {
                let tail = length - 4;
                equal_4(left, right) && equal_4(left.add(tail), right.add(tail))
            }
            _ => {
                let left = std::slice::from_raw_parts(left, length);
                left == std::slice::from_raw_parts(right, length)
            }
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
unsafe fn equal_16(left: *const u8, right: *const u8) -> bool {
    use std::arch::wasm32::*;
    // SAFETY: 16 bytes are readable at both places, by contract of the caller.
    unsafe { u8x16_all_true(u8x16_eq(v128_load(left.cast()), v128_load(right.cast()))) }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
unsafe fn equal_16(left: *const u8, right: *const u8) -> bool {
    // SAFETY: as above.
    unsafe { left.cast::<[u64; 2]>().read_unaligned() == right.cast::<[u64; 2]>().read_unaligned() }
}

#[inline(always)]
unsafe fn equal_8(left: *const u8, right: *const u8) -> bool {
    // SAFETY: 8 bytes are readable at both places, by contract of the caller.
    unsafe { left.cast::<u64>().read_unaligned() == right.cast::<u64>().read_unaligned() }
}

#[inline(always)]
unsafe fn equal_4(left: *const u8, right: *const u8) -> bool {
    // SAFETY: 4 bytes are readable at both places, by contract of the caller.
    unsafe { left.cast::<u32>().read_unaligned() == right.cast::<u32>().read_unaligned() }
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn one_differing_byte_is_seen_at_every_length_and_place() {
        for length in 0..80usize {
            let left: Vec<u8> = (0..length as u8).collect();
            assert!(unsafe { equal(left.as_ptr(), left.clone().as_ptr(), length) });
            for place in 0..length {
                let mut right = left.clone();
                right[place] ^= 0x80;
                assert!(!unsafe { equal(left.as_ptr(), right.as_ptr(), length) }, "{length}");
            }
        }
    }
}
