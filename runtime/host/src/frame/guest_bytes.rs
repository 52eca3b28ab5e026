//! A guest's answer where it lies: bytes in linear memory that are trusted in nothing.

use super::bad;
use crate::ProcessError;

/// A list of bytes that a guest returned, and the memory around it.
///
/// Invariant: the list lies within `memory`, checked in [`GuestBytes::of_memory`].
#[derive(Clone, Copy)]
pub(crate) struct GuestBytes<'a> {
    memory: &'a [u8],
    at: u32,
    size: u32,
    /// Core modules: an offset may wrap modulo 2^32 and point anywhere in linear memory.
    wraps: bool,
}

impl<'a> GuestBytes<'a> {
    /// A list in a core module's linear memory.
    pub(crate) fn of_memory(memory: &'a [u8], at: u32, size: u32) -> Result<Self, ProcessError> {
        if at as usize + size as usize > memory.len() {
            return Err(bad(format!(
                "a list of {size} bytes at address {at} in a memory of {}",
                memory.len()
            )));
        }
        Ok(Self { memory, at, size, wraps: true })
    }

    /// A list that a component returned: offsets stay within it.
    pub(crate) fn of_list(list: &'a [u8]) -> Result<Self, ProcessError> {
        let size = u32::try_from(list.len()).map_err(|_| bad("a list of more than 4 GiB"))?;
        Ok(Self { memory: list, at: 0, size, wraps: false })
    }

    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// The list itself.
    pub(crate) fn list(&self) -> &'a [u8] {
        &self.memory[self.at as usize..][..self.size as usize]
    }

    /// The bytes that a frame's (offset, size) names, wherever they may lie.
    pub(super) fn buffer(
        &self,
        offset: u32,
        size: u32,
        what: &str,
    ) -> Result<&'a [u8], ProcessError> {
        let end = if self.wraps { self.memory.len() } else { self.size as usize };
        let at = if self.wraps { self.at.wrapping_add(offset) } else { offset } as usize;
        // Both are below 2^32, so that the sum cannot overflow 64 bits.
        if size == 0 {
            return Ok(&[]);
        }
        if at + size as usize > end {
            return Err(bad(format!("{what}: {size} bytes at offset {offset} are out of bounds")));
        }
        Ok(&self.memory[at..at + size as usize])
    }
}

/// A little-endian u32 at `at`; the caller has checked that it is there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// A little-endian u16 at `at`; the caller has checked that it is there.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
