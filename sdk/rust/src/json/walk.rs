//! Values that the schema does not ask for: skipped, or copied as compact JSON. Without recursion:
//! the depth of a document costs a bit, not a stack frame.

use super::DOCUMENT_DEPTH_MAX;
use super::java_number::{push_json_double, push_json_number};
use super::mistake::Stop;
use super::number;
use super::object::Parser;

/// What becomes of the tokens.
trait Sink {
    fn punctuation(&mut self, byte: u8);
    fn word(&mut self, word: &[u8]);
    fn string(&mut self, text: &[u8]);
    fn number(&mut self, number: &number::NumberText<'_>);
    fn double(&mut self, value: f64);
}

/// Nothing.
struct Skipped;

impl Sink for Skipped {
    fn punctuation(&mut self, _byte: u8) {}
    fn word(&mut self, _word: &[u8]) {}
    fn string(&mut self, _text: &[u8]) {}
    fn number(&mut self, _number: &number::NumberText<'_>) {}
    fn double(&mut self, _value: f64) {}
}

/// The text that Spark makes of a container in a string column: no blanks, numbers as Java prints
/// them.
struct Compact<'d>(&'d mut Vec<u8>);

impl Sink for Compact<'_> {
    fn punctuation(&mut self, byte: u8) {
        self.0.push(byte);
    }
    fn word(&mut self, word: &[u8]) {
        self.0.extend_from_slice(word);
    }
    fn string(&mut self, text: &[u8]) {
        push_json_string(self.0, text);
    }
    fn number(&mut self, number: &number::NumberText<'_>) {
        push_json_number(self.0, number);
    }
    fn double(&mut self, value: f64) {
        push_json_double(self.0, value);
    }
}

/// Which of the open containers are objects, one bit each, the innermost last.
struct Nesting {
    objects: [u64; DOCUMENT_DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Nesting {
    fn open(&mut self, object: bool) -> bool {
        if self.depth == DOCUMENT_DEPTH_MAX {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        true
    }

    /// The innermost container is an object.
    fn in_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.objects[innermost / 64] >> (innermost % 64) & 1 == 1
    }
}

impl Parser<'_> {
    /// Steps over the value that is next.
    #[inline(never)]
    pub(super) fn skip_value(&mut self) -> Result<(), Stop> {
        self.walk(&mut Skipped)
    }

    /// Steps over the value that is next and appends it to `data`.
    #[cold]
    #[inline(never)]
    pub(super) fn compact_value(&mut self, data: &mut Vec<u8>) -> Result<(), Stop> {
        self.walk(&mut Compact(data))
    }

    fn walk(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        let mut nesting = Nesting { objects: [0; DOCUMENT_DEPTH_MAX.div_ceil(64)], depth: 0 };
        let mut text = std::mem::take(&mut self.scratch);
        let walked = self.walk_nested(sink, &mut nesting, &mut text);
        self.scratch = text;
        walked
    }

    fn walk_nested(
        &mut self,
        sink: &mut impl Sink,
        nesting: &mut Nesting,
        text: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        loop {
            self.cursor.token();
            self.need_text_here()?;
            let opened = self.walk_token(sink, nesting, text)?;
            if opened {
                let close = if nesting.in_object() { b'}' } else { b']' };
                if self.cursor.token() != close {
                    self.walk_key(sink, nesting, text)?;
                    continue;
                }
            }
            // A value is complete. Close what ends with it.
            loop {
                if nesting.depth == 0 {
                    return Ok(());
                }
                let close = if nesting.in_object() { b'}' } else { b']' };
                let byte = self.cursor.token();
                self.need_text_here()?;
                self.cursor.advance(1);
                if byte == close {
                    sink.punctuation(close);
                    nesting.depth -= 1;
                } else if byte == b',' {
                    sink.punctuation(b',');
                    break;
                } else {
                    return Err(self.syntax("expected `,` or the end of a value"));
                }
            }
            self.walk_key(sink, nesting, text)?;
        }
    }

    /// In an object, the key and colon before the next value.
    fn walk_key(
        &mut self,
        sink: &mut impl Sink,
        nesting: &Nesting,
        text: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        if !nesting.in_object() {
            return Ok(());
        }
        let byte = self.cursor.token();
        self.need_text_here()?;
        if !matches!(byte, b'"' | b'\'') {
            return Err(self.syntax("expected a key in quotes"));
        }
        self.walk_string(sink, text)?;
        self.colon()?;
        sink.punctuation(b':');
        Ok(())
    }

    fn walk_string(&mut self, sink: &mut impl Sink, text: &mut Vec<u8>) -> Result<(), Stop> {
        text.clear();
        self.any_string(text)?;
        sink.string(text);
        Ok(())
    }

    /// A scalar, or the opening of a container: then true.
    fn walk_token(
        &mut self,
        sink: &mut impl Sink,
        nesting: &mut Nesting,
        text: &mut Vec<u8>,
    ) -> Result<bool, Stop> {
        let byte = self.cursor.byte();
        match byte {
            b'{' | b'[' => {
                if !nesting.open(byte == b'{') {
                    let what = format!("nested more than {DOCUMENT_DEPTH_MAX} deep");
                    return Err(self.syntax(&what));
                }
                self.cursor.advance(1);
                sink.punctuation(byte);
                return Ok(true);
            }
            b'"' | b'\'' => self.walk_string(sink, text)?,
            b't' => self.walk_word(sink, b"true")?,
            b'f' => self.walk_word(sink, b"false")?,
            b'n' => self.walk_word(sink, b"null")?,
            _ => self.walk_number(sink)?,
        }
        Ok(false)
    }

    fn walk_word(&mut self, sink: &mut impl Sink, word: &[u8]) -> Result<(), Stop> {
        self.literal(word)?;
        sink.word(word);
        Ok(())
    }

    fn walk_number(&mut self, sink: &mut impl Sink) -> Result<(), Stop> {
        if let Some(value) = self.not_finite() {
            sink.double(value);
            return Ok(());
        }
        match number::text(&mut self.cursor) {
            Some(number) => {
                sink.number(&number);
                Ok(())
            }
            None => Err(self.syntax("expected a value")),
        }
    }
}

/// A string as JSON: escaped only where JSON demands it.
fn push_json_string(data: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    data.push(b'"');
    for &byte in text {
        let letter = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0..0x20 => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                data.extend_from_slice(b"\\u00");
                data.extend_from_slice(&digits);
                continue;
            }
            _ => {
                data.push(byte);
                continue;
            }
        };
        data.extend_from_slice(&[b'\\', letter]);
    }
    data.push(b'"');
}
