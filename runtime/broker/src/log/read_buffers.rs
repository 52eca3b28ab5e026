//! Memory for reads, used again: a consumer that catches up asks for a megabyte at a time, and to get
//! that from the system and to give it back costs more than to copy it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Smaller buffers come from the allocator, which keeps those itself.
const SIZE_BYTES_MIN: usize = 64 << 10;
/// Larger ones go back to the system, as they are rare.
const SIZE_BYTES_MAX: usize = 2 << 20;
/// Unused buffers kept at most, in bytes together.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The buffers of this process that nobody uses.
static KEPT: Mutex<Kept> = Mutex::new(Kept { buffers: Vec::new(), bytes: 0 });

struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Capacities together.
    bytes: usize,
}

/// An empty buffer with room for `len` bytes.
pub(super) fn take(len: usize) -> Vec<u8> {
    if !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&len) {
        return Vec::with_capacity(len);
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = kept.buffers.iter().rposition(|buffer| buffer.capacity() >= len);
    match fitting.map(|place| kept.buffers.swap_remove(place)) {
        Some(buffer) => {
            kept.bytes -= buffer.capacity();
            buffer
        }
        // Of a few sizes only, so that most buffers fit most reads.
        None => Vec::with_capacity(len.next_power_of_two().clamp(1 << 20, SIZE_BYTES_MAX)),
    }
}

/// A filled buffer as it is sent; its memory comes back when the last reader has gone.
pub(super) fn share(buffer: Vec<u8>) -> Bytes {
    if !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&buffer.capacity()) {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Lent(buffer))
}

/// A buffer that is kept when nobody refers to it any more.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES_MAX {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_says_what_was_written_and_never_what_was_before() {
        for len in [0, 10, SIZE_BYTES_MIN, 1 << 20, SIZE_BYTES_MAX, SIZE_BYTES_MAX + 1] {
            for byte in [1, 2, 3] {
                let mut buffer = take(len);
                assert!(buffer.is_empty() && buffer.capacity() >= len);
                buffer.resize(len, byte);
                let shared = share(buffer);
                let part = shared.slice(len / 2..);
                drop(shared);
                assert!(part.iter().all(|found| *found == byte));
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let lent: Vec<Bytes> = (0..64).map(|_| share(take(1 << 20))).collect();
        drop(lent);
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(kept.bytes <= KEPT_BYTES_MAX);
    }
}
