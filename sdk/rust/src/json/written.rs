//! A key as most producers write it, looked for where the last records had it.

use super::cursor::{Cursor, KEY_BYTES_MAX};

/// Bytes that are compared at once, without a branch on the length of the key.
pub(super) const HEAD_BYTES: usize = 32;

/// `,"name":`, as a key stands behind another member.
pub(super) struct Written {
    /// The first bytes; zeros behind a shorter key.
    head: [u8; HEAD_BYTES],
    /// 0xff for each byte of the key in `head`, 0 behind it.
    mask: [u8; HEAD_BYTES],
    /// What does not fit into `head`.
    tail: Vec<u8>,
    length: usize,
}

impl Written {
    /// A key that is too long, or would have to be escaped, is never found.
    pub(super) fn new(name: &str) -> Written {
        let plain = name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let text = format!(",\"{name}\":").into_bytes();
        if !plain || text.len() > KEY_BYTES_MAX {
            // No byte under a mask of 0 is 1.
            let (head, mask) = ([1; HEAD_BYTES], [0; HEAD_BYTES]);
            return Written { head, mask, tail: Vec::new(), length: 0 };
        }
        let (in_head, tail) = text.split_at(text.len().min(HEAD_BYTES));
        let (mut head, mut mask) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
        head[..in_head.len()].copy_from_slice(in_head);
        mask[..in_head.len()].fill(0xff);
        Written { head, mask, tail: tail.to_vec(), length: text.len() }
    }

    /// Steps over a comma and the key, if they are next.
    #[inline(always)]
    pub(super) fn eat_with_comma(&self, cursor: &mut Cursor<'_>) -> bool {
        cursor.masked_equal(&self.head, &self.mask) && self.eat_tail(cursor)
    }

    /// Steps over the key, if it is next. There is a byte of the text before it.
    #[inline(always)]
    pub(super) fn eat(&self, cursor: &mut Cursor<'_>) -> bool {
        let (mut head, mut mask) = (self.head, self.mask);
        (head[0], mask[0]) = (0, 0);
        let mut behind_comma = *cursor;
        behind_comma.back(1);
        let found = behind_comma.masked_equal(&head, &mask) && self.eat_tail(&mut behind_comma);
        if found {
            *cursor = behind_comma;
        }
        found
    }

    /// The head is next: steps over it and over the tail, if that is next too.
    #[inline(always)]
    fn eat_tail(&self, cursor: &mut Cursor<'_>) -> bool {
        if self.length > HEAD_BYTES && !cursor.has_at(HEAD_BYTES, &self.tail) {
            return false;
        }
        cursor.advance(self.length);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::READ_AHEAD_BYTES;
    use super::*;

    fn eaten(text: &str, name: &str) -> [Option<usize>; 2] {
        let mut buffer = text.as_bytes().to_vec();
        buffer.resize(text.len() + READ_AHEAD_BYTES, b'"');
        let written = Written::new(name);
        let start = Cursor::new(&buffer, text.len());
        let mut with_comma = start;
        let found = written.eat_with_comma(&mut with_comma);
        let mut alone = start;
        alone.advance(1);
        [found.then(|| with_comma.position()), written.eat(&mut alone).then(|| alone.position())]
    }

    #[test]
    fn a_key_of_any_length_is_found_and_one_that_differs_is_not() {
        for length in 0..=KEY_BYTES_MAX {
            let name: String = ('0'..='z').filter(|&c| c != '\\').cycle().take(length).collect();
            let text = format!(",\"{name}\":1}}");
            let found = (length + 4 <= KEY_BYTES_MAX).then_some(length + 4);
            assert_eq!(eaten(&text, &name), [found, found], "{name}");
            assert_eq!(eaten(&text.replacen(',', "{", 1), &name), [None, found], "{name}");
            for place in 1..length + 4 {
                let mut other = text.clone().into_bytes();
                other[place] ^= 1;
                let other = String::from_utf8(other).unwrap_or_default();
                assert_eq!(eaten(&other, &name), [None, None], "{other}");
            }
        }
    }

    #[test]
    fn a_key_that_would_be_escaped_is_never_found() {
        for name in ["a\"b", "\\", "\u{1}"] {
            assert_eq!(eaten(&format!(",\"{name}\":1}}"), name), [None, None]);
        }
        assert_eq!(eaten(&"\u{1}".repeat(40), "\\"), [None, None]);
        assert_eq!(eaten(&"\0".repeat(40), "\\"), [None, None]);
    }
}
