//! Numbers as bytes and back, without a copy. All targets that are supported are little endian, as
//! the frame is.

#[cfg(target_endian = "big")]
compile_error!("frames are little endian; a big endian target would have to swap every number");

/// Numbers that may be read from any bytes: no padding, no invalid bit patterns.
///
/// # Safety
/// Only for types of which every bit pattern is a value and which have no padding.
pub(crate) unsafe trait Plain: Copy {}

unsafe impl Plain for u8 {}
unsafe impl Plain for i32 {}
unsafe impl Plain for u32 {}
unsafe impl Plain for i64 {}
unsafe impl Plain for u64 {}
unsafe impl Plain for f32 {}
unsafe impl Plain for f64 {}
unsafe impl Plain for i128 {}

/// The bytes of a slice of numbers.
pub(crate) fn as_bytes<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: `Plain` has no padding, the length is the slice's own, u8 has no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes of a slice of numbers, to be written.
pub(crate) fn as_bytes_mut<T: Plain>(numbers: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `as_bytes`; any bytes that are written are a `T`.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
}

/// The numbers that lie in `bytes`; bytes beyond the last whole number are left out. None:
/// misaligned.
pub(crate) fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    if bytes.is_empty() {
        return Some(&[]);
    }
    if !bytes.as_ptr().addr().is_multiple_of(align_of::<T>()) {
        return None;
    }
    // SAFETY: aligned (just checked), within `bytes` (rounded down), any bits are a `T` (`Plain`).
    Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// Whether all bytes are ASCII. Without an early exit, so that it is a loop of vector instructions also in WebAssembly,
/// where the standard library's looks at four bytes at a time.
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, &byte| all | byte) < 0x80
}

#[cfg(test)]
mod tests {
    use super::is_ascii;

    #[test]
    fn a_byte_beyond_ascii_is_found_at_every_place() {
        for length in 0..70 {
            let mut bytes = vec![0x7f; length];
            assert!(is_ascii(&bytes));
            for place in 0..length {
                bytes[place] = 0x80;
                assert!(!is_ascii(&bytes));
                bytes[place] = 0;
            }
        }
    }
}
