//! Finds a member by its key, when the key is not the one that was expected. Without branches on
//! the length of the key up to 16 bytes: keys in random order cannot be predicted.

use super::cursor::Cursor;

/// A key as two words and a length, which say all about a key of up to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'t> {
    pub(super) bytes: &'t [u8],
    words: Words,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    /// The first 8 bytes, zeros behind a shorter key.
    first: u64,
    /// The last 8 bytes; of a shorter key the same as `first`.
    last: u64,
    length: usize,
}

impl Words {
    /// Out of 8 bytes at the start of a key and 8 bytes that end where it ends, or, if it is
    /// shorter, at its start.
    #[inline(always)]
    fn new(first: u64, last: u64, length: usize) -> Words {
        let unused_bits = 64 - 8 * length.min(8) as u32;
        // Two steps: a shift by 64 is not one.
        let mask = (u64::MAX >> (unused_bits / 2)) >> (unused_bits - unused_bits / 2);
        Words { first: first & mask, last: last & mask, length }
    }

    #[inline(always)]
    fn hash(&self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
}

impl<'t> Key<'t> {
    /// The bytes from `start` to where the cursor is; `bytes` as far as they belong to the text.
    #[inline(always)]
    pub(super) fn before(cursor: &mut Cursor<'t>, start: usize) -> Key<'t> {
        let end = cursor.position();
        let length = end - start;
        let bytes = cursor.since(start);
        cursor.go_to(start);
        let first = cursor.eight();
        cursor.advance(length.saturating_sub(8));
        let last = cursor.eight();
        cursor.advance(length.min(8));
        Key { bytes, words: Words::new(first, last, length) }
    }

    pub(super) fn of(bytes: &'t [u8]) -> Key<'t> {
        let eight = |from: usize| {
            let mut eight = [0; 8];
            let bytes = &bytes[from..bytes.len().min(from + 8)];
            eight[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(eight)
        };
        let last = eight(bytes.len().saturating_sub(8));
        Key { bytes, words: Words::new(eight(0), last, bytes.len()) }
    }
}

/// An open-addressed table of the names of one struct.
pub(super) struct KeyTable {
    /// A power of two, at least twice the members; so there is always an empty one.
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    words: Words,
    /// Index of the member + 1; 0: empty.
    index: usize,
}

impl KeyTable {
    /// Err: the index of a name that was there before.
    pub(super) fn new(names: &[&[u8]]) -> Result<KeyTable, usize> {
        let slots = (names.len() * 2).next_power_of_two().max(2);
        let mut table = KeyTable { slots: vec![Slot::default(); slots].into_boxed_slice() };
        for (index, name) in names.iter().enumerate() {
            let key = Key::of(name);
            if table.find(&key, |other| names[other]).is_some() {
                return Err(index);
            }
            let mut slot = key.words.hash() & (slots - 1);
            while table.slots[slot].index != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            table.slots[slot] = Slot { words: key.words, index: index + 1 };
        }
        Ok(table)
    }

    /// The member called `key`; `name` gives the name of a member.
    #[inline(always)]
    pub(super) fn find<'a>(
        &self,
        key: &Key<'_>,
        name: impl Fn(usize) -> &'a [u8],
    ) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = key.words.hash() & mask;
        loop {
            let slot = &self.slots[at];
            let index = slot.index.checked_sub(1)?;
            if slot.words == key.words && (key.words.length <= 16 || name(index) == key.bytes) {
                return Some(index);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cursor::{Cursor, READ_AHEAD_BYTES};
    use super::{Key, KeyTable};

    #[test]
    fn every_name_is_found_and_no_other() {
        let name = |i: usize| format!("{}/{i}", &"a_rather_long_prefix_of_a_name"[..i % 31]);
        let names: Vec<String> = (0..1000).map(name).collect();
        let bytes: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let table = KeyTable::new(&bytes).unwrap();
        for (index, name) in bytes.iter().enumerate() {
            assert_eq!(table.find(&Key::of(name), |i| bytes[i]), Some(index));
            let longer = [name, &b"x"[..]].concat();
            assert_eq!(table.find(&Key::of(&longer), |i| bytes[i]), None);
            assert_eq!(table.find(&Key::of(&name[1..]), |i| bytes[i]), None);
        }
        assert_eq!(table.find(&Key::of(b""), |i| bytes[i]), None);
        assert_eq!(KeyTable::new(&[]).unwrap().find(&Key::of(b"a"), |_| b"a"), None);
        assert_eq!(KeyTable::new(&[b"a", b"b", b"a"]).err(), Some(2));
    }

    #[test]
    fn a_key_in_a_text_is_the_same_as_alone() {
        for length in 0..40 {
            let mut text = vec![0xee; 3 + length + READ_AHEAD_BYTES + 1];
            text[3..3 + length].iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8 + 1);
            let mut cursor = Cursor::new(&text, 4 + length);
            cursor.skip_text(3 + length);
            let key = Key::before(&mut cursor, 3);
            assert!(key == Key::of(&text[3..3 + length]));
            assert_eq!(cursor.position(), 3 + length);
        }
    }
}
