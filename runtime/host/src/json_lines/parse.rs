//! JSON text → a tree that keeps numbers as their digits, so that no value passes through a double
//! that does not want to.

use std::borrow::Cow;

/// Deepest nesting of a line.
const DEPTH_MAX: usize = 64;

#[derive(Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Boolean(bool),
    /// The digits as they stand.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    /// Members in order; of equal names the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl Json<'_> {
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().rev().find(|(member, _)| member == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// Parses one document. `values_left` bounds what the trees of all lines hold together.
pub(super) fn parse<'a>(text: &'a str, values_left: &mut usize) -> Result<Json<'a>, String> {
    let mut parser = Parser { text, at: 0, values_left };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.error("more after the end"));
    }
    Ok(value)
}

struct Parser<'a, 'b> {
    text: &'a str,
    at: usize,
    values_left: &'b mut usize,
}

impl<'a> Parser<'a, '_> {
    fn value(&mut self, depth: usize) -> Result<Json<'a>, String> {
        *self.values_left = self.values_left.checked_sub(1).ok_or("more values than allowed")?;
        if depth > DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} deep"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Json::Number(self.number())),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, String> {
        let mut members = Vec::new();
        self.at += 1;
        while !self.ends(b'}', members.is_empty())? {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("no name"));
            }
            let name = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("no colon"));
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
        }
        Ok(Json::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, String> {
        let mut values = Vec::new();
        self.at += 1;
        while !self.ends(b']', values.is_empty())? {
            values.push(self.value(depth + 1)?);
        }
        Ok(Json::List(values))
    }

    /// Takes the closing bracket, or the comma before a further value.
    fn ends(&mut self, bracket: u8, empty: bool) -> Result<bool, String> {
        self.space();
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') if !empty => {
                self.at += 1;
                Ok(false)
            }
            _ if empty => Ok(false),
            _ => Err(self.error("no comma")),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut from = start;
        loop {
            match self.peek() {
                None => return Err(self.error("text without end")),
                Some(b'"') => {
                    let rest = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(text) => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[from..self.at]);
                    let character = self.escape()?;
                    owned.get_or_insert_default().push(character);
                    from = self.at;
                }
                Some(0..=0x1f) => return Err(self.error("control character in a text")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        self.at += 2;
        Ok(match self.text.as_bytes().get(self.at - 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("unknown escape")),
        })
    }

    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                return Err(self.error("half of a surrogate pair"));
            }
            self.at += 2;
            let second = self.hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.error("half of a surrogate pair"));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.error("\\u without four digits"))
    }

    fn number(&mut self) -> &'a str {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn word(&mut self) -> Result<Json<'a>, String> {
        let words =
            [("null", Json::Null), ("true", Json::Boolean(true)), ("false", Json::Boolean(false))];
        for (word, value) in words {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("no value"))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, what: &str) -> String {
        format!("{what} at byte {}", self.at.min(self.text.len()))
    }
}
