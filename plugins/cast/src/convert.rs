//! One value to another type, and which types can become which.

use gristmill::json::{parse_date, parse_timestamp};
use gristmill::serde::Deserialize;
use gristmill::{Column, ColumnView, DataType};

use crate::decimal::{self, Shape};
use crate::{datetime, number, text};

/// Characters of a value that a reason shows.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// What becomes of a value that cannot be cast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(crate = "gristmill::serde", rename_all = "lowercase")]
pub enum Mode {
    /// Its row fails.
    #[default]
    Strict,
    /// Its row fails, but bytes that are not UTF-8 become U+FFFD.
    Replace,
    /// It becomes null.
    Null,
}

/// Casts values; keeps its memory from one to the next.
#[derive(Debug)]
pub struct Caster {
    mode: Mode,
    text: String,
}

/// A value without children.
enum Scalar<'a> {
    Boolean(bool),
    Whole(i64),
    Float(f32),
    Double(f64),
    Decimal(i128, i32),
    Text(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    Timestamp(i64),
}

/// Whether a type can become another. Err: why not, and what to do.
pub fn check(source: &DataType, target: &DataType) -> Result<(), String> {
    use DataType as T;
    let refused = |mend: &str| Err(format!("{source} cannot be cast to {target}{mend}"));
    let number =
        |of: &T| matches!(of, T::Integer | T::Long | T::Float | T::Double | T::Decimal { .. });
    match (source, target) {
        (same, other) if same == other => Ok(()),
        (_, T::String) => Ok(()),
        (T::Array { element: from, .. }, T::Array { element: to, .. }) => check(from, to),
        (T::Map { key, value, .. }, T::Map { key: to_key, value: to_value, .. }) => {
            check(key, to_key).and_then(|()| check(value, to_value))
        }
        (T::Struct(from), T::Struct(to)) if from.len() == to.len() => {
            from.iter().zip(to).try_for_each(|(from, to)| check(&from.data_type, &to.data_type))
        }
        (T::Struct(from), T::Struct(to)) => {
            refused(&format!(": it has {} members, not {}", from.len(), to.len()))
        }
        (T::Array { .. } | T::Map { .. } | T::Struct(_), _)
        | (_, T::Array { .. } | T::Map { .. } | T::Struct(_)) => refused(""),
        (T::String, _) => Ok(()),
        (T::Binary, _) => refused(": put a stage before it that casts it to string"),
        (_, T::Binary) => refused(": put a stage before it that casts it to string"),
        (from, T::Boolean) if number(from) => Ok(()),
        (T::Boolean, to) if number(to) => Ok(()),
        (from, to) if number(from) && number(to) => Ok(()),
        (from, T::Timestamp) if number(from) => Ok(()),
        (T::Timestamp, to) if number(to) => Ok(()),
        (T::Timestamp, T::Date) | (T::Date, T::Timestamp) => Ok(()),
        (T::Date, to) if number(to) => {
            refused(": put a stage before it that casts it to timestamp")
        }
        (from, T::Date) if number(from) => {
            refused(": put a stage before it that casts it to timestamp (seconds since 1970)")
        }
        _ => refused(""),
    }
}

impl Caster {
    /// A caster for one stage.
    pub fn new(mode: Mode) -> Self {
        Self { mode, text: String::new() }
    }

    /// Appends one value of `view` to `made` as `target`, always exactly one. Err: why the row
    /// fails; what was appended is null.
    pub fn cast(
        &mut self,
        view: &ColumnView<'_>,
        index: usize,
        target: &DataType,
        made: &mut Column,
    ) -> Result<(), String> {
        if view.is_null(index) {
            made.push_null();
            return Ok(());
        }
        if view.data_type() == target {
            made.push_from(view, index);
            return Ok(());
        }
        match target {
            DataType::String => self.cast_to_text(view, index, made),
            DataType::Struct(_) | DataType::Array { .. } | DataType::Map { .. } => {
                let length = made.len();
                self.cast_children(view, index, target, made).inspect_err(|_| {
                    made.truncate(length);
                    made.push_null();
                })
            }
            _ => match push_cast(scalar(view, index), target, made) {
                Some(()) => Ok(()),
                None => self.refuse(view, index, target, made),
            },
        }
    }

    fn cast_to_text(
        &mut self,
        view: &ColumnView<'_>,
        index: usize,
        made: &mut Column,
    ) -> Result<(), String> {
        if *view.data_type() != DataType::Binary {
            self.text.clear();
            text::push(view, index, &mut self.text);
            made.push_str(&self.text);
            return Ok(());
        }
        let bytes = view.bytes_at(index);
        match std::str::from_utf8(bytes) {
            Ok(text) => made.push_str(text),
            Err(_) if self.mode == Mode::Replace => made.push_str(&String::from_utf8_lossy(bytes)),
            Err(_) => return self.refuse(view, index, &DataType::String, made),
        }
        Ok(())
    }

    fn cast_children(
        &mut self,
        view: &ColumnView<'_>,
        index: usize,
        target: &DataType,
        made: &mut Column,
    ) -> Result<(), String> {
        match target {
            DataType::Struct(fields) => {
                let members = view.children().iter().zip(fields);
                for ((from, field), to) in members.zip(made.children_mut()) {
                    self.cast(from, index, &field.data_type, to)?;
                }
                made.push_struct();
            }
            DataType::Array { element, .. } => {
                for at in view.range(index) {
                    self.cast(view.elements(), at, element, &mut made.children_mut()[0])?;
                }
                made.push_list();
            }
            DataType::Map { key, value, .. } => {
                for at in view.range(index) {
                    let made_keys = &mut made.children_mut()[0];
                    self.cast(view.keys(), at, key, made_keys)?;
                    if made_keys.is_null(made_keys.len() - 1) {
                        return Err(format!("{} is no key of {target}", shown(view.keys(), at)));
                    }
                    self.cast(view.map_values(), at, value, &mut made.children_mut()[1])?;
                }
                made.push_list();
            }
            _ => unreachable!("{target} has no children"),
        }
        Ok(())
    }

    #[cold]
    fn refuse(
        &self,
        view: &ColumnView<'_>,
        index: usize,
        target: &DataType,
        made: &mut Column,
    ) -> Result<(), String> {
        made.push_null();
        match self.mode {
            Mode::Null => Ok(()),
            Mode::Strict | Mode::Replace => {
                Err(format!("{} cannot be cast to {target}", shown(view, index)))
            }
        }
    }
}

/// A value in a reason.
fn shown(view: &ColumnView<'_>, index: usize) -> String {
    if *view.data_type() == DataType::Binary {
        return match std::str::from_utf8(view.bytes_at(index)) {
            Err(why) => format!("what is not UTF-8 (byte {})", why.valid_up_to()),
            Ok(_) => "a binary".into(),
        };
    }
    let mut whole = String::new();
    text::push(view, index, &mut whole);
    let mut shown: String = whole.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < whole.len() {
        shown.push('…');
    }
    match view.data_type() {
        DataType::String => format!("'{shown}'"),
        other => format!("the {other} {shown}"),
    }
}

fn scalar<'a>(view: &ColumnView<'a>, index: usize) -> Scalar<'a> {
    match view.data_type() {
        DataType::Boolean => Scalar::Boolean(view.boolean(index)),
        DataType::Integer => Scalar::Whole(i64::from(view.integers()[index])),
        DataType::Long => Scalar::Whole(view.longs()[index]),
        DataType::Float => Scalar::Float(view.floats()[index]),
        DataType::Double => Scalar::Double(view.doubles()[index]),
        DataType::Decimal { scale, .. } => Scalar::Decimal(view.decimal(index), i32::from(*scale)),
        DataType::String => Scalar::Text(view.str_at(index)),
        DataType::Binary => Scalar::Bytes(view.bytes_at(index)),
        DataType::Date => Scalar::Date(view.integers()[index]),
        DataType::Timestamp => Scalar::Timestamp(view.longs()[index]),
        nested => unreachable!("{nested} has children"),
    }
}

/// Appends a value as another type; `None`, and nothing is appended, if that type cannot hold it.
fn push_cast(value: Scalar<'_>, target: &DataType, made: &mut Column) -> Option<()> {
    match target {
        DataType::Boolean => made.push_boolean(boolean(value)?),
        DataType::Integer => made.push_integer(whole(value)?.try_into().ok()?),
        DataType::Long => made.push_long(whole(value)?),
        DataType::Float => made.push_float(float(value)?),
        DataType::Double => made.push_double(double(value)?),
        DataType::Decimal { precision, scale } => {
            let shape = Shape { precision: u32::from(*precision), scale: i32::from(*scale) };
            made.push_decimal(exact(value, shape)?);
        }
        DataType::Binary => match value {
            Scalar::Text(text) => made.push_bytes(text.as_bytes()),
            Scalar::Bytes(bytes) => made.push_bytes(bytes),
            _ => return None,
        },
        DataType::Date => made.push_integer(date(value)?),
        DataType::Timestamp => made.push_long(timestamp(value)?),
        DataType::String | DataType::Struct(_) | DataType::Array { .. } | DataType::Map { .. } => {
            return None;
        }
    }
    Some(())
}

fn boolean(value: Scalar<'_>) -> Option<bool> {
    match value {
        Scalar::Boolean(value) => Some(value),
        Scalar::Whole(value) => Some(value != 0),
        Scalar::Float(value) => Some(value != 0.0),
        Scalar::Double(value) => Some(value != 0.0),
        Scalar::Decimal(unscaled, _) => Some(unscaled != 0),
        Scalar::Text(text) => match number::trimmed(text).to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => Some(true),
            "f" | "false" | "n" | "no" | "0" => Some(false),
            _ => None,
        },
        Scalar::Bytes(_) | Scalar::Date(_) | Scalar::Timestamp(_) => None,
    }
}

fn whole(value: Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Boolean(value) => Some(i64::from(value)),
        Scalar::Whole(value) => Some(value),
        Scalar::Float(value) => number::whole(f64::from(value)),
        Scalar::Double(value) => number::whole(value),
        Scalar::Decimal(unscaled, scale) => decimal::whole(unscaled, scale)?.try_into().ok(),
        Scalar::Text(text) => number::trimmed(text).parse().ok(),
        Scalar::Timestamp(micros) => Some(micros.div_euclid(datetime::SECOND_US)),
        Scalar::Bytes(_) | Scalar::Date(_) => None,
    }
}

fn float(value: Scalar<'_>) -> Option<f32> {
    match value {
        Scalar::Float(value) => Some(value),
        Scalar::Whole(value) => Some(value as f32),
        Scalar::Text(text) => number::parse_float(text),
        Scalar::Decimal(unscaled, scale) => decimal::text(unscaled, scale).parse().ok(),
        other => double(other).map(|value| value as f32),
    }
}

fn double(value: Scalar<'_>) -> Option<f64> {
    match value {
        Scalar::Boolean(value) => Some(f64::from(u8::from(value))),
        Scalar::Whole(value) => Some(value as f64),
        Scalar::Float(value) => Some(f64::from(value)),
        Scalar::Double(value) => Some(value),
        // Through the text: dividing the nearest doubles would round twice.
        Scalar::Decimal(unscaled, scale) => decimal::text(unscaled, scale).parse().ok(),
        Scalar::Text(text) => number::parse_double(text),
        Scalar::Timestamp(micros) => Some(micros as f64 / datetime::SECOND_US as f64),
        Scalar::Bytes(_) | Scalar::Date(_) => None,
    }
}

fn exact(value: Scalar<'_>, shape: Shape) -> Option<i128> {
    match value {
        Scalar::Boolean(value) => decimal::rescale(i128::from(value), 0, shape),
        Scalar::Whole(value) => decimal::rescale(i128::from(value), 0, shape),
        // By the digits that the double prints, as in Spark; a float is widened first.
        Scalar::Float(value) => decimal::parse(&f64::from(value).to_string(), shape),
        Scalar::Double(value) => decimal::parse(&value.to_string(), shape),
        Scalar::Decimal(unscaled, scale) => decimal::rescale(unscaled, scale, shape),
        Scalar::Text(text) => decimal::parse(number::trimmed(text), shape),
        Scalar::Timestamp(micros) => decimal::rescale(i128::from(micros), 6, shape),
        Scalar::Bytes(_) | Scalar::Date(_) => None,
    }
}

fn date(value: Scalar<'_>) -> Option<i32> {
    match value {
        Scalar::Date(days) => Some(days),
        Scalar::Text(text) => parse_date(text.as_bytes()),
        Scalar::Timestamp(micros) => micros.div_euclid(datetime::DAY_US).try_into().ok(),
        _ => None,
    }
}

fn timestamp(value: Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Timestamp(micros) => Some(micros),
        Scalar::Date(days) => i64::from(days).checked_mul(datetime::DAY_US),
        Scalar::Text(text) => parse_timestamp(text.as_bytes()),
        Scalar::Whole(seconds) => seconds.checked_mul(datetime::SECOND_US),
        Scalar::Float(seconds) => number::whole(f64::from(seconds) * datetime::SECOND_US as f64),
        Scalar::Double(seconds) => number::whole(seconds * datetime::SECOND_US as f64),
        Scalar::Decimal(unscaled, scale) => decimal::whole(unscaled, scale - 6)?.try_into().ok(),
        Scalar::Boolean(_) | Scalar::Bytes(_) => None,
    }
}
