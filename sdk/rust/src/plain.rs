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
