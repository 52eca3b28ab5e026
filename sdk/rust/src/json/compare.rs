//! Compares 32 bytes at once, without a loop: in WebAssembly each turn of a loop pays for a check
//! of the epoch deadline.

/// Are the 32 bytes at `at`, under `mask`, equal to `head`?
///
/// # Safety
/// 32 bytes are readable at `at`.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
pub(super) unsafe fn masked_equal(at: *const u8, head: &[u8; 32], mask: &[u8; 32]) -> bool {
    use std::arch::wasm32::*;
    // SAFETY: each load is of one half of 32 bytes, which are readable by contract or by type.
    let load = |from: *const u8, half: usize| unsafe { v128_load(from.add(half * 16).cast()) };
    let differs = |half: usize| {
        let masked = v128_and(load(at, half), load(mask.as_ptr(), half));
        v128_xor(masked, load(head.as_ptr(), half))
    };
    !v128_any_true(v128_or(differs(0), differs(1)))
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
pub(super) unsafe fn masked_equal(at: *const u8, head: &[u8; 32], mask: &[u8; 32]) -> bool {
    // SAFETY: each load is of one half of 32 bytes, which are readable by contract or by type.
    let load =
        |from: *const u8, half: usize| unsafe { from.cast::<u128>().add(half).read_unaligned() };
    let differs =
        |half: usize| (load(at, half) & load(mask.as_ptr(), half)) ^ load(head.as_ptr(), half);
    differs(0) | differs(1) == 0
}

#[cfg(test)]
mod tests {
    use super::masked_equal;

    #[test]
    fn one_differing_byte_is_seen_at_every_place_under_the_mask() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 + 1);
        for length in 0..=32 {
            let mask: [u8; 32] = std::array::from_fn(|i| if i < length { 0xff } else { 0 });
            let head: [u8; 32] = std::array::from_fn(|i| bytes[i] & mask[i]);
            assert!(unsafe { masked_equal(bytes.as_ptr(), &head, &mask) });
            for place in 0..32 {
                let mut other = bytes;
                other[place] ^= 0x80;
                let equal = unsafe { masked_equal(other.as_ptr(), &head, &mask) };
                assert_eq!(equal, place >= length, "{length} {place}");
            }
        }
    }
}
