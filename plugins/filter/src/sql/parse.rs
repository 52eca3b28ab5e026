//! Tokens to an expression, by recursive descent. Loosest first: `or`, `and`, `not`, then one
//! predicate (`=` …, `is null`, `in`, `between`, `like`) over values. Key words in any case, as in
//! Spark.

use super::Mistake;
use super::expression::{Comparison, Expression, Kind, Literal};
use super::token::{Token, TokenKind, tokens};
use crate::datetime;

/// How deep parentheses and `not` may nest, so that no text exhausts the stack.
const DEPTH_MAX: usize = 100;

/// Words that cannot stand for a column unless in back quotes.
const RESERVED: [&str; 15] = [
    "and", "or", "not", "in", "is", "null", "between", "like", "ilike", "escape", "true", "false",
    "distinct", "from", "rlike",
];

/// Reads one whole `where` text.
pub fn parse(text: &str) -> Result<Expression, Mistake> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let expression = parser.either()?;
    match &parser.peek().kind {
        TokenKind::End => Ok(expression),
        TokenKind::Comparison(_) => {
            Err(parser.mistake("a comparison of a comparison: put one of them in parentheses"))
        }
        TokenKind::Sign('(') => Err(parser.mistake("`where` knows no functions")),
        TokenKind::Sign(sign @ ('+' | '-')) => {
            Err(parser.mistake(format!("unexpected `{sign}`: `where` does no arithmetic")))
        }
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn either(&mut self) -> Result<Expression, Mistake> {
        let first = self.both()?;
        let at = first.at;
        let mut parts = vec![first];
        while self.take_word("or") {
            parts.push(self.both()?);
        }
        Ok(one_or(parts, |parts| Expression { at, kind: Kind::Or(parts) }))
    }

    fn both(&mut self) -> Result<Expression, Mistake> {
        let first = self.negation()?;
        let at = first.at;
        let mut parts = vec![first];
        while self.take_word("and") {
            parts.push(self.negation()?);
        }
        Ok(one_or(parts, |parts| Expression { at, kind: Kind::And(parts) }))
    }

    fn negation(&mut self) -> Result<Expression, Mistake> {
        let at = self.peek().at;
        if self.take_word("not") {
            let inner = self.nested(Self::negation)?;
            return Ok(Expression { at, kind: Kind::Not(Box::new(inner)) });
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expression, Mistake> {
        let left = self.value()?;
        let at = left.at;
        if let TokenKind::Comparison(comparison) = self.peek().kind {
            self.next += 1;
            let right = self.value()?;
            return Ok(compare(at, comparison, left, right));
        }
        if self.take_word("is") {
            return self.is(left);
        }
        let negated = self.take_word("not");
        let positive = if self.take_word("in") {
            let list = self.list()?;
            Expression { at, kind: Kind::In(Box::new(left), list) }
        } else if self.take_word("between") {
            self.between(left)?
        } else if self.take_word("like") {
            self.like(left, false)?
        } else if self.take_word("ilike") {
            self.like(left, true)?
        } else if self.is_word("rlike") {
            return Err(self.mistake("`rlike` is not offered, use `like` or `ilike`"));
        } else if negated {
            return Err(self.expected("`in`, `between`, `like` or `ilike` after `not`"));
        } else {
            return Ok(left);
        };
        Ok(if negated { not(positive) } else { positive })
    }

    /// Behind `is`: `[not] null | true | false | distinct from VALUE`.
    fn is(&mut self, left: Expression) -> Result<Expression, Mistake> {
        let at = left.at;
        let negated = self.take_word("not");
        let literal = |value| Expression { at, kind: Kind::Literal(Literal::Boolean(value)) };
        let positive = if self.take_word("null") {
            Expression { at, kind: Kind::IsNull(Box::new(left)) }
        } else if self.take_word("true") {
            compare(at, Comparison::NullSafeEqual, left, literal(true))
        } else if self.take_word("false") {
            compare(at, Comparison::NullSafeEqual, left, literal(false))
        } else if self.take_word("distinct") {
            if !self.take_word("from") {
                return Err(self.expected("`from`"));
            }
            let right = self.value()?;
            not(compare(at, Comparison::NullSafeEqual, left, right))
        } else {
            return Err(self.expected("`null`, `true`, `false` or `distinct from` after `is`"));
        };
        Ok(if negated { not(positive) } else { positive })
    }

    fn list(&mut self) -> Result<Vec<Expression>, Mistake> {
        if !self.take_sign('(') {
            return Err(self.expected("`(` after `in`"));
        }
        let mut list = vec![self.value()?];
        while self.take_sign(',') {
            list.push(self.value()?);
        }
        if !self.take_sign(')') {
            return Err(self.expected("`,` or `)` in the list"));
        }
        Ok(list)
    }

    fn between(&mut self, value: Expression) -> Result<Expression, Mistake> {
        let at = value.at;
        let low = self.value()?;
        if !self.take_word("and") {
            return Err(self.expected("`and` in `between … and …`"));
        }
        let high = self.value()?;
        let above = compare(at, Comparison::GreaterOrEqual, value.clone(), low);
        let below = compare(at, Comparison::LessOrEqual, value, high);
        Ok(Expression { at, kind: Kind::And(vec![above, below]) })
    }

    fn like(&mut self, text: Expression, ignore_case: bool) -> Result<Expression, Mistake> {
        let pattern = self.value()?;
        let mut escape = '\\';
        if self.take_word("escape") {
            let mut characters = match &self.peek().kind {
                TokenKind::Text(text) => text.chars(),
                _ => return Err(self.expected("the escape character in quotes")),
            };
            let (first, second) = (characters.next(), characters.next());
            match (first, second) {
                (Some(character), None) => escape = character,
                _ => return Err(self.mistake("`escape` takes exactly one character")),
            }
            self.next += 1;
        }
        let (at, text, pattern) = (text.at, Box::new(text), Box::new(pattern));
        Ok(Expression { at, kind: Kind::Like { text, pattern, escape, ignore_case } })
    }

    /// A column, a constant, or anything in parentheses.
    fn value(&mut self) -> Result<Expression, Mistake> {
        let at = self.peek().at;
        let literal = |literal| Ok(Expression { at, kind: Kind::Literal(literal) });
        match self.peek().kind.clone() {
            TokenKind::Number(number) => {
                self.next += 1;
                literal(number)
            }
            TokenKind::Text(text) => {
                self.next += 1;
                literal(Literal::String(text))
            }
            TokenKind::Sign(sign @ ('-' | '+')) => {
                self.next += 1;
                self.signed(at, sign == '-')
            }
            TokenKind::Sign('(') => {
                self.next += 1;
                let inner = self.nested(Self::either)?;
                if !self.take_sign(')') {
                    return Err(self.expected("`)`"));
                }
                Ok(inner)
            }
            TokenKind::Word(word) => self.word(at, &word),
            TokenKind::Name(_) => self.column(),
            _ => Err(self.expected("a column, a value or `(`")),
        }
    }

    fn word(&mut self, at: usize, word: &str) -> Result<Expression, Mistake> {
        let lower = word.to_ascii_lowercase();
        let constant = match lower.as_str() {
            "null" => Some(Literal::Null),
            "true" => Some(Literal::Boolean(true)),
            "false" => Some(Literal::Boolean(false)),
            "date" | "timestamp" => self.typed_literal(&lower)?,
            _ if RESERVED.contains(&lower.as_str()) => {
                return Err(self.expected("a column, a value or `(`"));
            }
            _ => None,
        };
        match constant {
            Some(literal) => {
                self.next += 1;
                Ok(Expression { at, kind: Kind::Literal(literal) })
            }
            None => self.column(),
        }
    }

    /// `date '…'` and `timestamp '…'`; stays on the last token. A column may have these names too.
    fn typed_literal(&mut self, word: &str) -> Result<Option<Literal>, Mistake> {
        let Some(Token { at, kind: TokenKind::Text(text) }) = self.tokens.get(self.next + 1) else {
            return Ok(None);
        };
        let literal = match word {
            "date" => datetime::date(text).map(Literal::Date),
            _ => datetime::timestamp(text).map(Literal::Timestamp),
        };
        let literal =
            literal.ok_or_else(|| Mistake::new(*at, format!("'{text}' is not a {word}")))?;
        self.next += 1;
        Ok(Some(literal))
    }

    fn column(&mut self) -> Result<Expression, Mistake> {
        let at = self.peek().at;
        let mut parts = Vec::new();
        loop {
            match &self.peek().kind {
                TokenKind::Word(part) | TokenKind::Name(part) => parts.push(part.clone()),
                TokenKind::Number(_) => {
                    return Err(self.mistake("put a name that begins with a digit in back quotes"));
                }
                _ => return Err(self.expected("a name after `.`")),
            }
            self.next += 1;
            if !self.take_sign('.') {
                break;
            }
        }
        if self.is_sign('(') {
            let name = parts.join(".");
            return Err(self.mistake(format!("`where` knows no functions, not even `{name}`")));
        }
        Ok(Expression { at, kind: Kind::Column(parts) })
    }

    fn signed(&mut self, at: usize, negative: bool) -> Result<Expression, Mistake> {
        let TokenKind::Number(number) = self.peek().kind.clone() else {
            return Err(self.expected("a number behind the sign"));
        };
        self.next += 1;
        let number = if negative { negated(number) } else { number };
        Ok(Expression { at, kind: Kind::Literal(number) })
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self) -> Result<Expression, Mistake>,
    ) -> Result<Expression, Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.mistake(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        let expression = inner(self);
        self.depth -= 1;
        expression
    }

    fn peek(&self) -> &Token {
        // The last token is `End`, and nothing steps over it.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek().kind == TokenKind::Sign(sign)
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.peek().at, message)
    }

    fn expected(&self, what: &str) -> Mistake {
        self.mistake(format!("expected {what}, found {}", self.peek().kind.describe()))
    }
}

fn one_or(mut parts: Vec<Expression>, many: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

fn compare(at: usize, comparison: Comparison, left: Expression, right: Expression) -> Expression {
    Expression { at, kind: Kind::Compare(comparison, Box::new(left), Box::new(right)) }
}

fn not(inner: Expression) -> Expression {
    Expression { at: inner.at, kind: Kind::Not(Box::new(inner)) }
}

fn negated(number: Literal) -> Literal {
    match number {
        Literal::Integer(value) => Literal::Integer(-value),
        // The one integer that has a negative of 64 bits, but is itself one too large.
        Literal::Decimal { unscaled, scale: 0 } if unscaled == -i128::from(i64::MIN) => {
            Literal::Integer(i64::MIN)
        }
        Literal::Decimal { unscaled, scale } => Literal::Decimal { unscaled: -unscaled, scale },
        Literal::Float(value) => Literal::Float(-value),
        Literal::Double(value) => Literal::Double(-value),
        other => other,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
