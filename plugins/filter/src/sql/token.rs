//! Text to tokens, after Spark's lexer (`SqlBaseLexer.g4`).
//!
//! Text stands in single or double quotes, as in Spark by default; a quote inside is doubled (SQL,
//! Spark 4) or escaped with a backslash (Spark). Names may stand in back quotes. Numbers: `5`, `5L`
//! integers, `1.5`, `1.5BD` decimals, `1e3`, `1.5D` doubles, `1.5F` floats.

use super::expression::Literal;
use super::{Comparison, Mistake};
use crate::decimal;

/// A token and the character where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub at: usize,
    pub kind: TokenKind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenKind {
    /// A bare word: a key word or a name.
    Word(String),
    /// A name in back quotes.
    Name(String),
    /// A number.
    Number(Literal),
    /// A text, escapes resolved.
    Text(String),
    /// A comparison sign.
    Comparison(Comparison),
    /// `( ) , . -` and `+`
    Sign(char),
    /// Behind the last character.
    End,
}

impl TokenKind {
    /// How an error speaks of it.
    pub fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Name(name) => format!("the name `{name}`"),
            Self::Number(literal) => literal.describe(),
            Self::Text(text) => format!("the text '{text}'"),
            Self::Comparison(_) => "a comparison sign".into(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".into(),
        }
    }
}

/// Cuts a text into tokens; the last is always `End`.
pub fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut lexer = Lexer { characters: text.chars().collect(), next: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.token()?;
        let end = token.kind == TokenKind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    characters: Vec<char>,
    next: usize,
}

impl Lexer {
    fn token(&mut self) -> Result<Token, Mistake> {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.next += 1;
        }
        let at = self.next + 1;
        let kind = match self.peek(0) {
            None => TokenKind::End,
            Some(quote @ ('\'' | '"')) => TokenKind::Text(self.text(quote)?),
            Some('`') => TokenKind::Name(self.quoted_name()?),
            Some(digit) if digit.is_ascii_digit() => self.number()?,
            Some('.') if self.peek(1).is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            Some(letter) if is_word(letter) => TokenKind::Word(self.word()),
            Some(other) => self.sign(other)?,
        };
        Ok(Token { at, kind })
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.next + ahead).copied()
    }

    fn word(&mut self) -> String {
        let start = self.next;
        while self.peek(0).is_some_and(is_word) {
            self.next += 1;
        }
        self.characters[start..self.next].iter().collect()
    }

    fn sign(&mut self, first: char) -> Result<TokenKind, Mistake> {
        let (length, kind) = match (first, self.peek(1), self.peek(2)) {
            ('<', Some('='), Some('>')) => (3, TokenKind::Comparison(Comparison::NullSafeEqual)),
            ('<', Some('='), _) => (2, TokenKind::Comparison(Comparison::LessOrEqual)),
            ('<', Some('>'), _) => (2, TokenKind::Comparison(Comparison::NotEqual)),
            ('<', ..) => (1, TokenKind::Comparison(Comparison::Less)),
            ('>', Some('='), _) => (2, TokenKind::Comparison(Comparison::GreaterOrEqual)),
            ('>', ..) => (1, TokenKind::Comparison(Comparison::Greater)),
            ('=', Some('='), _) => (2, TokenKind::Comparison(Comparison::Equal)),
            ('=', ..) => (1, TokenKind::Comparison(Comparison::Equal)),
            ('!', Some('='), _) => (2, TokenKind::Comparison(Comparison::NotEqual)),
            ('(' | ')' | ',' | '.' | '-' | '+', ..) => (1, TokenKind::Sign(first)),
            ('!', ..) => return Err(self.mistake("`!` alone means nothing here, write `not`")),
            ('&' | '|', ..) => {
                return Err(self.mistake(format!("unexpected `{first}`, write `and` or `or`")));
            }
            ('*' | '/' | '%', ..) => {
                return Err(
                    self.mistake(format!("unexpected `{first}`: `where` does no arithmetic"))
                );
            }
            _ => return Err(self.mistake(format!("unexpected character `{first}`"))),
        };
        self.next += length;
        Ok(kind)
    }

    fn quoted_name(&mut self) -> Result<String, Mistake> {
        let at = self.next + 1;
        self.next += 1;
        let mut name = String::new();
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(Mistake::new(at, "the name in back quotes has no end")),
                (Some('`'), Some('`')) => {
                    name.push('`');
                    self.next += 2;
                }
                (Some('`'), _) => break,
                (Some(other), _) => {
                    name.push(other);
                    self.next += 1;
                }
            }
        }
        self.next += 1;
        Ok(name)
    }

    fn text(&mut self, quote: char) -> Result<String, Mistake> {
        let at = self.next + 1;
        self.next += 1;
        let mut text = String::new();
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(Mistake::new(at, "the text has no closing quote")),
                (Some('\\'), Some(escaped)) => self.escape(escaped, &mut text),
                (Some(first), Some(second)) if first == quote && second == quote => {
                    text.push(quote);
                    self.next += 2;
                }
                (Some(first), _) if first == quote => break,
                (Some(other), _) => {
                    text.push(other);
                    self.next += 1;
                }
            }
        }
        self.next += 1;
        Ok(text)
    }

    /// Spark's backslash escapes (`ParserUtils.unescapeSQLString`); `\%` and `\_` keep their
    /// backslash, for `like`.
    fn escape(&mut self, escaped: char, text: &mut String) {
        self.next += 2;
        match escaped {
            '0' => text.push('\0'),
            'b' => text.push('\u{8}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'Z' => text.push('\u{1a}'),
            '%' | '_' => text.extend(['\\', escaped]),
            'u' => match self.code_point(4) {
                Some(character) => text.push(character),
                None => text.push('u'),
            },
            other => text.push(other),
        }
    }

    fn code_point(&mut self, digits: usize) -> Option<char> {
        let hex: String = self.characters.get(self.next..self.next + digits)?.iter().collect();
        let all_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let character =
            all_hex.then(|| u32::from_str_radix(&hex, 16).ok())?.and_then(char::from_u32)?;
        self.next += digits;
        Some(character)
    }

    fn number(&mut self) -> Result<TokenKind, Mistake> {
        let at = self.next + 1;
        let start = self.next;
        self.digits();
        let mut exact = true;
        if self.peek(0) == Some('.') {
            exact = false;
            self.next += 1;
            self.digits();
        }
        let exponent = self.exponent();
        let digits: String = self.characters[start..self.next].iter().collect();
        let suffix = self.word().to_ascii_uppercase();
        let bad = || Mistake::new(at, format!("`{digits}{suffix}` is not a number"));
        let double = || digits.parse::<f64>().map_err(|_| bad());
        let literal = match suffix.as_str() {
            "" if exponent => Literal::Double(double()?),
            "" | "BD" if !exponent => decimal_or_integer(&digits, exact && suffix.is_empty())
                .ok_or_else(|| {
                    Mistake::new(
                        at,
                        format!("`{digits}` has more than 38 digits, write `{digits}D`"),
                    )
                })?,
            "L" if exact && !exponent => Literal::Integer(digits.parse().map_err(|_| bad())?),
            "D" => Literal::Double(double()?),
            "F" => Literal::Float(digits.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        };
        Ok(TokenKind::Number(literal))
    }

    fn digits(&mut self) {
        while self.peek(0).is_some_and(|character| character.is_ascii_digit()) {
            self.next += 1;
        }
    }

    fn exponent(&mut self) -> bool {
        let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
        let is_exponent = matches!(self.peek(0), Some('e' | 'E'))
            && self.peek(1 + signed).is_some_and(|character| character.is_ascii_digit());
        if is_exponent {
            self.next += 1 + signed;
            self.digits();
        }
        is_exponent
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.next + 1, message)
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Plain digits: an integer if they fit, else a decimal of at most 38 digits.
fn decimal_or_integer(digits: &str, integer: bool) -> Option<Literal> {
    if integer && let Ok(value) = digits.parse() {
        return Some(Literal::Integer(value));
    }
    let (unscaled, scale) = decimal::parse(digits)?;
    Some(Literal::Decimal { unscaled, scale })
}
