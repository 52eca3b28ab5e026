//! A key as most producers write it, looked for where the last records had it.

use super::cursor::{Cursor, KEY_BYTES_MAX};

/// Bytes that are compared at once, without a branch on the length of the key.
const PART_BYTES: usize = 32;

/// `"name":`
#[derive(Clone)]
pub(super) struct Written {
    head: Part,
    /// What does not fit into `head`.
    tail: Option<Box<Part>>,
    length: usize,
}

/// Some bytes of a key.
#[derive(Clone)]
struct Part {
    /// Zeros behind the last.
    bytes: [u8; PART_BYTES],
    /// 0xff for each byte of the key, 0 behind it.
    mask: [u8; PART_BYTES],
}

impl Part {
    fn new(text: &[u8]) -> Part {
        let (mut bytes, mut mask) = ([0; PART_BYTES], [0; PART_BYTES]);
        bytes[..text.len()].copy_from_slice(text);
        mask[..text.len()].fill(0xff);
        Part { bytes, mask }
    }

    /// No byte under a mask of 0 is 1.
    const NEVER: Part = Part { bytes: [1; PART_BYTES], mask: [0; PART_BYTES] };
}

/// Where a producer writes a blank. Most write none at all, many one behind each comma and colon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    behind_brace: bool,
    behind_comma: bool,
    behind_colon: bool,
}

impl Style {
    /// A guess, by the first of each. None: this is no object with a key.
    pub(super) fn of(text: &[u8]) -> Option<Style> {
        let blank_behind = |place: usize| text.get(place + 1) == Some(&b' ');
        let colon = text.windows(2).position(|pair| pair == b"\":")? + 1;
        let comma = text.iter().position(|&byte| byte == b',');
        (text[0] == b'{').then(|| Style {
            behind_brace: blank_behind(0),
            behind_comma: comma.is_some_and(blank_behind),
            behind_colon: blank_behind(colon),
        })
    }

    /// What stands behind a colon.
    fn behind(self) -> &'static str {
        if self.behind_colon { " " } else { "" }
    }
}

impl Written {
    /// A key that is too long, or would have to be escaped, is never found.
    pub(super) fn new(name: &str) -> Written {
        Written::between("", name, "")
    }

    /// The key of a struct's first member, with the brace before it.
    pub(super) fn first(name: &str, style: Style) -> Written {
        let before = if style.behind_brace { "{ " } else { "{" };
        Written::between(before, name, style.behind())
    }

    /// The key of another member, with the comma before it.
    pub(super) fn further(name: &str, style: Style) -> Written {
        let before = if style.behind_comma { ", " } else { "," };
        Written::between(before, name, style.behind())
    }

    fn between(before: &str, name: &str, behind: &str) -> Written {
        let plain = name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let text = format!("{before}\"{name}\":{behind}").into_bytes();
        if !plain || text.len() > KEY_BYTES_MAX {
            return Written::NONE;
        }
        let (head, tail) = text.split_at(text.len().min(PART_BYTES));
        let tail = (!tail.is_empty()).then(|| Box::new(Part::new(tail)));
        Written { head: Part::new(head), tail, length: text.len() }
    }

    /// Is never found.
    pub(super) const NONE: Written = Written { head: Part::NEVER, tail: None, length: 0 };

    /// No key at all, which is always next.
    pub(super) const NOTHING: Written = Written {
        head: Part { bytes: [0; PART_BYTES], mask: [0; PART_BYTES] },
        tail: None,
        length: 0,
    };

    /// Steps over a comma and the key, if they are next.
    #[inline(always)]
    pub(super) fn eat_with_comma(&self, cursor: &mut Cursor<'_>) -> bool {
        let mut behind_comma = *cursor;
        behind_comma.advance(1);
        let found = cursor.byte() == b',' && self.eat(&mut behind_comma);
        if found {
            *cursor = behind_comma;
        }
        found
    }

    /// Steps over the key, if it is next.
    #[inline(always)]
    pub(super) fn eat(&self, cursor: &mut Cursor<'_>) -> bool {
        if !cursor.masked_equal(0, &self.head.bytes, &self.head.mask) {
            return false;
        }
        if let Some(tail) = &self.tail
            && !cursor.masked_equal(PART_BYTES, &tail.bytes, &tail.mask)
        {
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

    fn eaten(text: &str, name: &str) -> Option<usize> {
        let mut buffer = text.as_bytes().to_vec();
        buffer.resize(text.len() + READ_AHEAD_BYTES, b'"');
        let mut cursor = Cursor::new(&buffer, text.len());
        Written::new(name).eat(&mut cursor).then(|| cursor.position())
    }

    #[test]
    fn a_key_of_any_length_is_found_and_one_that_differs_is_not() {
        for length in 0..=KEY_BYTES_MAX {
            let name: String = ('0'..='z').filter(|&c| c != '\\').cycle().take(length).collect();
            let text = format!("\"{name}\":1}}");
            let found = (length + 3 <= KEY_BYTES_MAX).then_some(length + 3);
            assert_eq!(eaten(&text, &name), found, "{name}");
            for place in 0..length + 3 {
                let mut other = text.clone().into_bytes();
                other[place] ^= 1;
                let other = String::from_utf8(other).unwrap_or_default();
                assert_eq!(eaten(&other, &name), None, "{other}");
            }
        }
    }

    #[test]
    fn styles_are_guessed_by_the_first_of_each() {
        let style = |text: &str| {
            Style::of(text.as_bytes()).map(|s| [s.behind_brace, s.behind_comma, s.behind_colon])
        };
        assert_eq!(style(r#"{"a":1,"b": 2}"#), Some([false, false, false]));
        assert_eq!(style(r#"{"a": 1, "b": 2}"#), Some([false, true, true]));
        assert_eq!(style(r#"{ "a":1, "b":2 }"#), Some([true, true, false]));
        assert_eq!(style(r#"{"a": 1}"#), Some([false, false, true]));
        for none in ["", "{", "{}", "[1, 2]", " {\"a\":1}", "\":"] {
            assert_eq!(style(none), None, "{none}");
        }
    }

    #[test]
    fn a_key_that_would_be_escaped_is_never_found() {
        for name in ["a\"b", "\\", "\u{1}"] {
            assert_eq!(eaten(&format!("\"{name}\":1}}"), name), None);
        }
        assert_eq!(eaten(&"\u{1}".repeat(40), "\\"), None);
        assert_eq!(eaten(&"\0".repeat(40), "\\"), None);
    }
}
