//! Strings: 16 bytes at a time, escapes one by one.

use super::cursor::Cursor;
use super::mistake::Stop;
use super::object::Parser;

/// Java's answer to half of a surrogate pair, when it is written as UTF-8.
const LONE_SURROGATE: u8 = b'?';

impl<'t> Parser<'t> {
    /// Appends the contents of the string that begins here with `"`.
    #[inline(always)]
    pub(super) fn string(
        &mut self,
        cursor: &mut Cursor<'t>,
        data: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        cursor.advance(1);
        let count = self.plain_bytes(cursor);
        append_sixteen(data, cursor, count);
        cursor.advance(count);
        if count < 16 && cursor.byte() == b'"' {
            cursor.advance(1);
            return Ok(());
        }
        self.out_of_line(cursor, |parser| parser.string_rest(data))
    }

    /// How many plain bytes of a string come next, of at most 16.
    #[inline(always)]
    pub(super) fn plain_bytes(&mut self, cursor: &Cursor<'t>) -> usize {
        let plain = cursor.plain_bytes();
        self.not_ascii |= plain.not_ascii;
        plain.count
    }

    /// The rest of a string, of any length and with any escapes.
    #[inline(never)]
    fn string_rest(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        let mut cursor = self.cursor;
        loop {
            self.need_text(&cursor)?;
            match cursor.byte() {
                b'"' => {
                    cursor.advance(1);
                    self.cursor.move_to(&cursor);
                    return Ok(());
                }
                b'\\' => self.out_of_line(&mut cursor, |parser| parser.escape(data))?,
                0..0x20 => {
                    self.cursor.move_to(&cursor);
                    return Err(self.control_character());
                }
                _ => {
                    let count = self.plain_bytes(&cursor);
                    append_sixteen(data, &cursor, count);
                    cursor.advance(count);
                }
            }
        }
    }

    /// The same for a string in single quotes.
    #[cold]
    #[inline(never)]
    pub(super) fn single_quoted(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        self.cursor.advance(1);
        loop {
            self.need_text_here()?;
            match self.cursor.byte() {
                b'\'' => {
                    self.cursor.advance(1);
                    return Ok(());
                }
                b'\\' => self.escape(data)?,
                0..0x20 => return Err(self.control_character()),
                byte => {
                    self.not_ascii |= u32::from(byte & 0x80);
                    data.push(byte);
                    self.cursor.advance(1);
                }
            }
        }
    }

    /// A string in either quotes.
    pub(super) fn any_string(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        match self.cursor.byte() {
            b'\'' => self.single_quoted(data),
            _ => {
                let mut cursor = self.cursor;
                let read = self.string(&mut cursor, data);
                self.cursor.move_to(&cursor);
                read
            }
        }
    }

    fn control_character(&mut self) -> Stop {
        let byte = self.cursor.byte();
        self.syntax(&format!("a control character ({byte:#04x}) in a string"))
    }

    fn escape(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        self.cursor.advance(1);
        let letter = self.cursor.byte();
        let plain = match letter {
            b'"' | b'\\' | b'/' | b'\'' => letter,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => return self.unicode_escape(data),
            _ => return Err(self.syntax("an unknown escape in a string")),
        };
        // Java's parser takes an escaped single quote only where single quotes are allowed: here
        // they are.
        self.cursor.advance(1);
        data.push(plain);
        Ok(())
    }

    /// `\uXXXX`, and the second half if it is the first of a surrogate pair. The cursor is at the
    /// `u`.
    fn unicode_escape(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        self.cursor.advance(1);
        let Some(unit) = four_hex_digits(&self.cursor) else {
            return Err(self.syntax("not four hexadecimal digits after \\u"));
        };
        self.cursor.advance(4);
        let code = match unit {
            0xd800..0xdc00 => self.second_half(unit),
            _ => Some(unit),
        };
        match code.and_then(char::from_u32) {
            Some(letter) => data.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None => data.push(LONE_SURROGATE),
        }
        Ok(())
    }

    /// The character of which `first` is the first half; None and no step, if the second does not
    /// follow.
    fn second_half(&mut self, first: u32) -> Option<u32> {
        if self.cursor.byte() != b'\\' {
            return None;
        }
        let place = self.cursor.position();
        self.cursor.advance(1);
        if self.cursor.byte() == b'u' {
            self.cursor.advance(1);
            if let Some(second @ 0xdc00..0xe000) = four_hex_digits(&self.cursor) {
                self.cursor.advance(4);
                return Some(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
        }
        self.cursor.go_to(place);
        None
    }
}

fn four_hex_digits(cursor: &Cursor<'_>) -> Option<u32> {
    let bytes = cursor.eight().to_le_bytes();
    bytes[..4].iter().try_fold(0, |unit, &byte| Some(unit << 4 | (byte as char).to_digit(16)?))
}

/// Appends the first `count` of the next 16 bytes; stores all of them, which costs less than to ask
/// how many.
#[inline(always)]
fn append_sixteen(data: &mut Vec<u8>, cursor: &Cursor<'_>, count: usize) {
    debug_assert!(count <= 16);
    data.reserve(16);
    // Not before: it would have to survive the call that grows the memory.
    let bytes = cursor.sixteen();
    let length = data.len();
    // SAFETY: 16 bytes beyond `length` are reserved and now written; `count` is at most 16.
    unsafe {
        data.as_mut_ptr().add(length).cast::<[u8; 16]>().write_unaligned(bytes);
        data.set_len(length + count);
    }
}
