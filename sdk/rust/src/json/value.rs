//! One value into one column. First the way that nearly every value goes, then Spark's conversions
//! (`JacksonParser.makeConverter`): numbers and containers into strings, strings into decimals and
//! dates, and so on.

use super::base64;
use super::cursor::Cursor;
use super::decimal::parse_decimal;
use super::java_number;
use super::mistake::Stop;
use super::number::{self, NumberText};
use super::object::Parser;
use super::plan::Kind;
use super::time::{parse_date, parse_timestamp};
use crate::column::{Buffers, Column, offset};

/// Microseconds in a second.
const SECOND_US: i64 = 1_000_000;

impl<'t> Parser<'t> {
    /// Appends the value that begins at `cursor`, a copy of the parser's, with `first`. After an
    /// error the column may hold half a value.
    #[inline(always)]
    pub(super) fn value(
        &mut self,
        cursor: &mut Cursor<'t>,
        kind: &mut Kind,
        column: &mut Column,
        first: u8,
    ) -> Result<(), Stop> {
        match kind {
            // An arm for each, so that one comparison tells the column: a choice among several
            // would be a jump table in WebAssembly.
            Kind::Long => {
                let mut ahead = *cursor;
                if let Some(value) = number::short_long(&mut ahead)
                    && let Buffers::Long(values) = &mut column.buffers
                {
                    *cursor = ahead;
                    values.push(i64::from(value));
                    return Ok(());
                }
                return self.out_of_line(cursor, |parser| parser.long(kind, column));
            }
            Kind::Integer => {
                let mut ahead = *cursor;
                if let Some(value) = number::short_long(&mut ahead)
                    && let Buffers::Integer(values) = &mut column.buffers
                {
                    *cursor = ahead;
                    values.push(value as i32);
                    return Ok(());
                }
                return self.out_of_line(cursor, |parser| parser.long(kind, column));
            }
            Kind::Float => {
                let mut ahead = *cursor;
                if let Some(value) = number::short_decimal(&mut ahead)
                    && let Buffers::Float(values) = &mut column.buffers
                {
                    *cursor = ahead;
                    values.push(value.as_float());
                    return Ok(());
                }
                return self.out_of_line(cursor, |parser| parser.double(kind, column));
            }
            Kind::Double => {
                let mut ahead = *cursor;
                if let Some(value) = number::short_decimal(&mut ahead)
                    && let Buffers::Double(values) = &mut column.buffers
                {
                    *cursor = ahead;
                    values.push(value.as_double());
                    return Ok(());
                }
                return self.out_of_line(cursor, |parser| parser.double(kind, column));
            }
            Kind::String if first == b'"' => {
                if let Buffers::Bytes { offsets, data } = &mut column.buffers {
                    self.string(cursor, data)?;
                    offsets.push(offset(data.len()));
                    return Ok(());
                }
            }
            Kind::Array(element) if first == b'[' => {
                if let Buffers::List { offsets, children } = &mut column.buffers {
                    let child = &mut children[0];
                    return self
                        .out_of_line(cursor, |parser| parser.array(element, offsets, child));
                }
            }
            Kind::Struct(plan) if first == b'{' => {
                if let Buffers::Struct { length, children } = &mut column.buffers {
                    self.out_of_line(cursor, |parser| parser.object(plan, children, *length))?;
                    *length += 1;
                    return Ok(());
                }
            }
            Kind::Map(kind) if first == b'{' => {
                if let Buffers::List { offsets, children } = &mut column.buffers {
                    return self.out_of_line(cursor, |parser| parser.map(kind, offsets, children));
                }
            }
            _ => {}
        }
        self.out_of_line(cursor, |parser| parser.other_value(kind, column))
    }

    /// A long or integer that is not short.
    #[inline(never)]
    pub(super) fn long(&mut self, kind: &Kind, column: &mut Column) -> Result<(), Stop> {
        let mut cursor = self.cursor;
        let value = number::long(&mut cursor);
        let pushed = match &mut column.buffers {
            Buffers::Long(values) => push_some(values, value),
            Buffers::Integer(values) => {
                push_some(values, value.and_then(|value| i32::try_from(value).ok()))
            }
            _ => false,
        };
        self.or_other_value(pushed, cursor, kind, column)
    }

    /// A float or double that is not short.
    #[inline(never)]
    pub(super) fn double(&mut self, kind: &Kind, column: &mut Column) -> Result<(), Stop> {
        let mut cursor = self.cursor;
        let value = number::short_double(&mut cursor);
        let pushed = match &mut column.buffers {
            Buffers::Double(values) => push_some(values, value),
            Buffers::Float(values) => push_some(values, value.and_then(number::float_of)),
            _ => false,
        };
        self.or_other_value(pushed, cursor, kind, column)
    }

    /// Behind a number that was pushed; or what else there is.
    #[inline(always)]
    fn or_other_value(
        &mut self,
        pushed: bool,
        behind: Cursor<'t>,
        kind: &Kind,
        column: &mut Column,
    ) -> Result<(), Stop> {
        if !pushed {
            return self.other_value(kind, column);
        }
        self.cursor.move_to(&behind);
        Ok(())
    }

    /// Any value: what the ways above did not take.
    #[inline(never)]
    pub(super) fn other_value(&mut self, kind: &Kind, column: &mut Column) -> Result<(), Stop> {
        self.need_text_here()?;
        let start = self.cursor.position();
        match self.cursor.byte() {
            b'n' => {
                self.literal(b"null")?;
                column.push_null();
                Ok(())
            }
            b't' => {
                self.literal(b"true")?;
                self.boolean(true, kind, column, start)
            }
            b'f' => {
                self.literal(b"false")?;
                self.boolean(false, kind, column, start)
            }
            b'"' | b'\'' => self.text(kind, column, start),
            b'{' | b'[' => self.container(kind, column, start),
            b'-' | b'0'..=b'9' | b'N' | b'I' | b'+' => self.number(kind, column, start),
            _ => Err(self.syntax("expected a value")),
        }
    }

    /// Steps over `true`, `false` or `null`.
    pub(super) fn literal(&mut self, word: &[u8]) -> Result<(), Stop> {
        if self.cursor.rest().starts_with(word) {
            self.cursor.advance(word.len());
            return Ok(());
        }
        Err(self.syntax("expected a value"))
    }

    fn boolean(
        &mut self,
        value: bool,
        kind: &Kind,
        column: &mut Column,
        start: usize,
    ) -> Result<(), Stop> {
        match kind {
            Kind::Boolean => column.push_bit(value),
            Kind::String => column.push_utf8(if value { b"true" } else { b"false" }),
            _ => return Err(self.misfit(kind, "a boolean", start)),
        }
        Ok(())
    }

    fn text(&mut self, kind: &Kind, column: &mut Column, start: usize) -> Result<(), Stop> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let done = self.any_string(&mut text);
        let fits = done.map(|()| push_text(kind, column, &text));
        self.scratch = text;
        match fits {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.misfit(kind, "a string", start)),
            Err(stop) => Err(stop),
        }
    }

    /// An object or array where another type belongs: as compact JSON in a string.
    fn container(&mut self, kind: &Kind, column: &mut Column, start: usize) -> Result<(), Stop> {
        if let (Kind::String, Buffers::Bytes { offsets, data }) = (kind, &mut column.buffers) {
            self.compact_value(data)?;
            offsets.push(offset(data.len()));
            return Ok(());
        }
        let what = if self.cursor.byte() == b'{' { "an object" } else { "an array" };
        self.skip_value()?;
        Err(self.misfit(kind, what, start))
    }

    fn number(&mut self, kind: &Kind, column: &mut Column, start: usize) -> Result<(), Stop> {
        if let Some(value) = self.not_finite() {
            return match push_not_finite(kind, column, value) {
                true => Ok(()),
                false => Err(self.misfit(kind, "no number of JSON", start)),
            };
        }
        let Some(number) = number::text(&mut self.cursor) else {
            return Err(self.syntax("not a number of JSON"));
        };
        if push_number(kind, column, &number) {
            return Ok(());
        }
        let whole = if number.whole { "whole " } else { "" };
        let found = format!("the {whole}number {}", shortened(number.text));
        Err(self.misfit(kind, &found, start))
    }

    /// Steps over the words for what JSON has no number for, which Spark's parser takes by default.
    pub(super) fn not_finite(&mut self) -> Option<f64> {
        let rest = self.cursor.rest();
        if let [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] = rest {
            return None;
        }
        let words: [(&[u8], f64); 6] = [
            (b"NaN", f64::NAN),
            (b"Infinity", f64::INFINITY),
            (b"-Infinity", f64::NEG_INFINITY),
            (b"+Infinity", f64::INFINITY),
            (b"-INF", f64::NEG_INFINITY),
            (b"+INF", f64::INFINITY),
        ];
        let (word, value) = words.into_iter().find(|(word, _)| rest.starts_with(word))?;
        self.cursor.advance(word.len());
        Some(value)
    }

    /// The value that began at `start` and has been read does not fit.
    #[cold]
    #[inline(never)]
    fn misfit(&mut self, kind: &Kind, found: &str, start: usize) -> Stop {
        let expected = match kind {
            Kind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            kind => kind.name().to_owned(),
        };
        self.note(format!("expected {expected}, found {found}"), start);
        Stop::Value
    }
}

/// A number into a column. False: it does not fit.
fn push_number(kind: &Kind, column: &mut Column, number: &NumberText<'_>) -> bool {
    let whole = number.as_long();
    match (kind, &mut column.buffers) {
        (Kind::Integer, Buffers::Integer(values)) => {
            push_some(values, whole.and_then(|value| i32::try_from(value).ok()))
        }
        (Kind::Long, Buffers::Long(values)) => push_some(values, whole),
        (Kind::Timestamp, Buffers::Long(values)) => {
            push_some(values, whole.and_then(|value| value.checked_mul(SECOND_US)))
        }
        (Kind::Float, Buffers::Float(values)) => push_some(values, Some(number.as_float())),
        (Kind::Double, Buffers::Double(values)) => push_some(values, Some(number.as_double())),
        (&Kind::Decimal { precision, scale }, Buffers::Decimal(values)) => {
            push_some(values, parse_decimal(number.text.as_bytes(), precision, scale))
        }
        (Kind::String, Buffers::Bytes { offsets, data }) => {
            java_number::push_json_number(data, number);
            push_some(offsets, Some(offset(data.len())))
        }
        _ => false,
    }
}

/// NaN or an infinity into a column. False: it does not fit.
fn push_not_finite(kind: &Kind, column: &mut Column, value: f64) -> bool {
    match (kind, &mut column.buffers) {
        (Kind::Float, Buffers::Float(values)) => push_some(values, Some(value as f32)),
        (Kind::Double, Buffers::Double(values)) => push_some(values, Some(value)),
        (Kind::String, Buffers::Bytes { offsets, data }) => {
            java_number::push_json_double(data, value);
            push_some(offsets, Some(offset(data.len())))
        }
        _ => false,
    }
}

/// A JSON string into a column. False: it does not fit.
fn push_text(kind: &Kind, column: &mut Column, text: &[u8]) -> bool {
    match (kind, &mut column.buffers) {
        (Kind::String, Buffers::Bytes { offsets, data }) => {
            data.extend_from_slice(text);
            push_some(offsets, Some(offset(data.len())))
        }
        (Kind::Binary, Buffers::Bytes { offsets, data }) => {
            let decoded = base64::decode(text, data);
            push_some(offsets, decoded.map(|()| offset(data.len())))
        }
        (Kind::Date, Buffers::Integer(values)) => push_some(values, parse_date(text)),
        (Kind::Timestamp, Buffers::Long(values)) => push_some(values, parse_timestamp(text)),
        (&Kind::Decimal { precision, scale }, Buffers::Decimal(values)) => {
            push_some(values, parse_decimal(text, precision, scale))
        }
        (Kind::Float | Kind::Double, _) => {
            not_finite_word(text).is_some_and(|value| push_not_finite(kind, column, value))
        }
        _ => false,
    }
}

/// Was there something to push?
fn push_some<T: Copy>(values: &mut Vec<T>, value: Option<T>) -> bool {
    values.extend(value);
    value.is_some()
}

fn not_finite_word(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"+INF" | b"+Infinity" | b"Infinity" => Some(f64::INFINITY),
        b"-INF" | b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A number in a message: at most 40 characters of it.
fn shortened(text: &str) -> String {
    match text.get(..40) {
        Some(start) if text.len() > 40 => format!("{start}…"),
        _ => text.to_owned(),
    }
}
