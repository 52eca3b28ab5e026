//! Finds a member by its key, when the key is not the one that was expected.

/// An open-addressed table of the names of one struct.
pub(super) struct KeyTable {
    /// Index of a member + 1; 0 is empty. A power of two, at least twice the members.
    slots: Box<[u16]>,
}

impl KeyTable {
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> KeyTable {
        let slots = (names.len() * 2).next_power_of_two().max(2);
        let mut table = KeyTable { slots: vec![0; slots].into_boxed_slice() };
        for (index, name) in names.enumerate() {
            let mut slot = table.first_slot(name);
            while table.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            table.slots[slot] = index as u16 + 1;
        }
        table
    }

    /// The member called `key`; `name` gives the name of a member.
    #[inline(always)]
    pub(super) fn find<'a>(&self, key: &[u8], name: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
        let mut slot = self.first_slot(key);
        loop {
            let index = usize::from(self.slots[slot]).checked_sub(1)?;
            if name(index) == key {
                return Some(index);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[inline(always)]
    fn first_slot(&self, key: &[u8]) -> usize {
        hash(key) as usize & (self.slots.len() - 1)
    }
}

/// Of the length, the first and the last bytes: names of one struct differ there, or the comparison decides.
#[inline(always)]
fn hash(key: &[u8]) -> u64 {
    let (first, last) = match key.len() {
        8.. => (word(&key[..8]), word(&key[key.len() - 8..])),
        4.. => (word(&key[..4]), word(&key[key.len() - 4..])),
        _ => (word(key), 0),
    };
    let mixed = (first ^ last.rotate_left(29)).wrapping_add(key.len() as u64);
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    match bytes.len() {
        8 => u64::from_le_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ]),
        4 => u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        _ => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::KeyTable;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..1000)
            .map(|i| format!("column_{i}_of_many")[..i % 17 + 1].to_owned() + &i.to_string())
            .collect();
        let table = KeyTable::new(names.iter().map(|name| name.as_bytes()));
        for (index, name) in names.iter().enumerate() {
            let found = table.find(name.as_bytes(), |i| names[i].as_bytes());
            assert_eq!(found.map(|i| &names[i]), Some(name), "{index}");
        }
        assert_eq!(table.find(b"", |i| names[i].as_bytes()), None);
        assert_eq!(KeyTable::new([].into_iter()).find(b"a", |_| b"a"), None);
    }
}
