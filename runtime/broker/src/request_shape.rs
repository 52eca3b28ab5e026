//! Checks every length inside a request before the codec allocates for it.
//!
//! The codec reserves room for as many array elements as a request claims to hold, so four hostile
//! bytes could ask for hundreds of gigabytes. A request therefore is walked first: each string,
//! byte
//! field and array must end inside the frame, and all arrays together hold at most
//! [`REQUEST_ELEMENTS_MAX`] elements. Meaning (UTF-8, nulls, values) stays the codec's business.
//!
//! A shape is a line of text, the fields of the message in wire order:
//!
//! | text | field |
//! |---|---|
//! | `1` `2` `4` `8` `16` | that many bytes |
//! | `s`, `b` | string, bytes (null allowed) |
//! | `[…]` | array of structs |
//! | `{…}` | array of one plain field |
//! | `(…)` | struct |
//! | `#1 …` | the next field is tagged with that number |
//! | `…@3`, `…@-7`, `…@4-6` | only in versions from 3, up to 7, from 4 to 6 |
//!
//! Source: the message schemas of Apache Kafka, as the codec crate generates them.

use anyhow::{Context, Result, bail, ensure};

/// Elements in all arrays of one request together. A fetch of every partition that a broker can
/// hold stays far below.
pub(crate) const REQUEST_ELEMENTS_MAX: usize = 250_000;

/// The fields of one request, parsed from its text once at start.
pub(crate) struct Shape {
    fields: Vec<Field>,
}

struct Field {
    version_min: i16,
    version_max: i16,
    tag: Option<u32>,
    item: Item,
}

enum Item {
    Fixed(usize),
    String,
    Bytes,
    Struct(Vec<Field>),
    Array(Box<Item>),
}

impl Shape {
    /// Panics on a malformed text: shapes are constants of this program, and a test parses them
    /// all.
    pub(crate) fn parse(text: &str) -> Shape {
        let mut rest = text;
        let fields = parse_fields(&mut rest);
        assert!(rest.is_empty(), "shape `{text}` has a closing bracket too many");
        Shape { fields }
    }

    /// Err when a length points outside `body` or arrays are too long. Returns the number of bytes
    /// after the request, which are no fault: librdkafka leaves some behind when it asks for all
    /// topics, and Kafka ignores them.
    pub(crate) fn check(&self, body: &[u8], version: i16, flexible: bool) -> Result<usize> {
        let mut walk = Walk { rest: body, version, flexible, elements: 0 };
        walk.fields(&self.fields)?;
        Ok(walk.rest.len())
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<()> {
        let version = self.version;
        let present = |field: &&Field| field.version_min <= version && version <= field.version_max;
        for field in fields.iter().filter(present).filter(|field| field.tag.is_none()) {
            self.item(&field.item)?;
        }
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let known = fields.iter().filter(present).find(|field| field.tag == Some(tag));
            ensure!(size <= self.rest.len(), "tagged field {tag} ends outside the request");
            let end = self.rest.len() - size;
            match known {
                Some(field) => self.item(&field.item)?,
                None => self.skip(size)?,
            }
            ensure!(self.rest.len() == end, "tagged field {tag} is not {size} bytes long");
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Fixed(size) => self.skip(*size),
            Item::String => {
                let size = if self.flexible { self.compact_length()? } else { self.length_16()? };
                self.skip(size)
            }
            Item::Bytes => {
                let size = if self.flexible { self.compact_length()? } else { self.length_32()? };
                self.skip(size)
            }
            Item::Struct(fields) => self.fields(fields),
            Item::Array(element) => self.array(element),
        }
    }

    fn array(&mut self, element: &Item) -> Result<()> {
        let count = if self.flexible { self.compact_length()? } else { self.length_32()? };
        ensure!(count <= self.rest.len(), "an array of {count} elements ends outside the request");
        self.elements += count;
        if self.elements > REQUEST_ELEMENTS_MAX {
            bail!("more than {REQUEST_ELEMENTS_MAX} array elements in one request");
        }
        for _ in 0..count {
            self.item(element)?;
        }
        Ok(())
    }

    fn skip(&mut self, size: usize) -> Result<()> {
        self.take(size).map(|_| ())
    }

    fn take(&mut self, size: usize) -> Result<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(size).with_context(|| {
            format!("a field of {size} bytes ends outside the request ({} left)", self.rest.len())
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn length_16(&mut self) -> Result<usize> {
        let bytes = self.take(2)?;
        length_or_null(i16::from_be_bytes([bytes[0], bytes[1]]).into())
    }

    fn length_32(&mut self) -> Result<usize> {
        let bytes = self.take(4)?;
        length_or_null(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Compact lengths are one too large, so that zero can mean null (KIP-482).
    fn compact_length(&mut self) -> Result<usize> {
        Ok(self.unsigned_varint()?.saturating_sub(1) as usize)
    }

    fn unsigned_varint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for place in 0..5 {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a variable-length number is longer than 5 bytes")
    }
}

fn length_or_null(length: i32) -> Result<usize> {
    ensure!(length >= -1, "a length of {length}");
    Ok(usize::try_from(length).unwrap_or(0))
}

fn parse_fields(rest: &mut &str) -> Vec<Field> {
    let mut fields = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with([']', '}', ')']) {
            return fields;
        }
        let tag = rest.strip_prefix('#').map(|after| {
            *rest = after;
            let tag = parse_number(rest) as u32;
            *rest = rest.trim_start();
            tag
        });
        let item = parse_item(rest);
        let (version_min, version_max) = parse_versions(rest);
        fields.push(Field { version_min, version_max, tag, item });
    }
}

fn parse_item(rest: &mut &str) -> Item {
    let first = rest.chars().next().unwrap_or(' ');
    if first.is_ascii_digit() {
        return Item::Fixed(parse_number(rest) as usize);
    }
    *rest = &rest[first.len_utf8()..];
    match first {
        's' => Item::String,
        'b' => Item::Bytes,
        '[' => Item::Array(Box::new(Item::Struct(parse_until(rest, ']')))),
        '(' => Item::Struct(parse_until(rest, ')')),
        '{' => {
            let element = parse_item(rest);
            assert!(rest.starts_with('}'), "`{{…}}` of a shape holds one field");
            *rest = &rest[1..];
            Item::Array(Box::new(element))
        }
        other => panic!("`{other}` is no field of a shape"),
    }
}

fn parse_until(rest: &mut &str, close: char) -> Vec<Field> {
    let fields = parse_fields(rest);
    assert!(rest.starts_with(close), "a shape lacks its `{close}`");
    *rest = &rest[1..];
    fields
}

fn parse_versions(rest: &mut &str) -> (i16, i16) {
    let Some(after) = rest.strip_prefix('@') else { return (0, i16::MAX) };
    *rest = after;
    let version_min = if rest.starts_with('-') { 0 } else { parse_number(rest) };
    let Some(after) = rest.strip_prefix('-') else { return (version_min, i16::MAX) };
    *rest = after;
    (version_min, parse_number(rest))
}

fn parse_number(rest: &mut &str) -> i16 {
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, after) = rest.split_at(digits);
    *rest = after;
    number.parse().unwrap_or_else(|_| panic!("`{number}` is no number of a shape"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_fits_is_accepted_in_both_encodings() {
        let shape = Shape::parse("s 4@1 [2 b]@-3");
        let old = [0, 1, b'a', 0, 0, 0, 1, 0, 9, 255, 255, 255, 255];
        assert_eq!(shape.check(&old, 0, false).unwrap(), 0);
        let flexible = [2, b'a', 9, 9, 9, 9, 2, 0, 9, 0, 0, 0];
        assert_eq!(shape.check(&flexible, 1, true).unwrap(), 0);
    }

    #[test]
    fn an_array_that_claims_more_than_the_frame_holds_is_refused() {
        let shape = Shape::parse("[4]");
        let error = shape.check(&[0x7f, 255, 255, 255, 0], 0, false).unwrap_err();
        assert!(error.to_string().contains("ends outside"), "{error}");
        shape.check(&[255, 255, 255, 255, 15, 0], 0, true).unwrap_err();
    }

    #[test]
    fn arrays_of_empty_elements_are_limited_in_number() {
        let shape = Shape::parse("{s}");
        let mut body = vec![];
        let count = REQUEST_ELEMENTS_MAX as u32 + 1;
        body.extend_from_slice(&count.to_be_bytes());
        body.resize(4 + 2 * count as usize, 0);
        let error = shape.check(&body, 0, false).unwrap_err();
        assert!(error.to_string().contains("array elements"), "{error}");
        body[..4].copy_from_slice(&(count - 1).to_be_bytes());
        body.truncate(4 + 2 * (count as usize - 1));
        shape.check(&body, 0, false).unwrap();
    }

    #[test]
    fn a_known_tagged_field_must_fill_its_size() {
        let shape = Shape::parse("#1 s");
        shape.check(&[1, 1, 3, 3, b'a', b'b'], 0, true).unwrap();
        shape.check(&[1, 1, 2, 3, b'a', b'b'], 0, true).unwrap_err();
        shape.check(&[1, 7, 2, 3, b'a'], 0, true).unwrap();
    }

    #[test]
    fn negative_lengths_are_refused_and_bytes_left_over_are_not() {
        assert_eq!(Shape::parse("2").check(&[0, 0, 0], 0, false).unwrap(), 1);
        Shape::parse("s").check(&[255, 254], 0, false).unwrap_err();
    }
}
