//! A column against literals: each literal takes the form in which the column's type is compared,
//! or is refused.

use gristmill::DataType;

use crate::columns::Found;
use crate::datetime;
use crate::decimal;
use crate::letter_case;
use crate::predicate::{Operand, Predicate, Reading, Set, Value, double_key};
use crate::sql::{Comparison, Literal, Mistake};

/// A column against a literal.
pub fn against(
    found: &Found<'_>,
    comparison: Comparison,
    literal: &Literal,
    at: usize,
    ignore_case: bool,
) -> Result<Predicate, Mistake> {
    if *literal == Literal::Null {
        return Ok(match comparison {
            Comparison::NullSafeEqual => Predicate::IsNull(found.path.clone()),
            _ => Predicate::Constant(None),
        });
    }
    if let Some(column) = found.as_condition() {
        let value = boolean(literal).ok_or_else(|| unfit(found, literal, at))?;
        let (left, right) = (Box::new(column), Box::new(Predicate::Constant(Some(value))));
        return Ok(Predicate::relate(comparison, |relation, null_safe| Predicate::Truths {
            left,
            right,
            relation,
            null_safe,
        }));
    }
    let (reading, value) = fit(found, literal, at, ignore_case)?;
    let operand = Operand { path: found.path.clone(), reading };
    Ok(Predicate::relate(comparison, |relation, null_safe| Predicate::Against {
        operand,
        relation,
        null_safe,
        value,
    }))
}

/// A column equal to one of several literals; those of one reading become one set.
pub fn one_of(
    found: &Found<'_>,
    literals: Vec<(Literal, usize)>,
    ignore_case: bool,
) -> Result<Predicate, Mistake> {
    let mut parts = Vec::new();
    let mut keys: Vec<(Reading, Vec<i64>)> = Vec::new();
    let mut texts: Vec<(Reading, Vec<Vec<u8>>)> = Vec::new();
    for (literal, at) in literals {
        match against(found, Comparison::Equal, &literal, at, ignore_case)? {
            Predicate::Against { operand, value: Value::Key(key), .. } => {
                collect(&mut keys, operand.reading, key);
            }
            Predicate::Against { operand, value: Value::Bytes(text), .. } => {
                collect(&mut texts, operand.reading, text);
            }
            other => parts.push(other),
        }
    }
    let mut add = |reading, set| {
        let operand = Operand { path: found.path.clone(), reading };
        parts.push(Predicate::OneOf { operand, set });
    };
    for (reading, keys) in keys {
        add(reading, Set::Keys(sorted(keys)));
    }
    for (reading, texts) in texts {
        add(reading, Set::Bytes(sorted(texts)));
    }
    Ok(Predicate::Or(parts))
}

fn collect<T>(groups: &mut Vec<(Reading, Vec<T>)>, reading: Reading, value: T) {
    match groups.iter_mut().find(|(of, _)| *of == reading) {
        Some((_, values)) => values.push(value),
        None => groups.push((reading, vec![value])),
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

/// The form in which a column and a literal are compared.
fn fit(
    found: &Found<'_>,
    literal: &Literal,
    at: usize,
    ignore_case: bool,
) -> Result<(Reading, Value), Mistake> {
    use DataType as T;
    let not_a = |what: &str| {
        let Found { name, data_type, .. } = found;
        let literal = literal.describe();
        Mistake::new(at, format!("column `{name}` is {data_type}, and {literal} is not {what}"))
    };
    let key = |reading, key| Ok((reading, Value::Key(key)));
    let integers = |literal: &Literal| match found.data_type {
        T::Integer => integer_column(Reading::Integer, literal),
        _ => integer_column(Reading::Long, literal),
    };
    match (found.data_type, literal) {
        (T::Integer | T::Long, Literal::String(text)) => {
            let number = text.trim().parse().map_err(|_| not_a("a whole number"))?;
            integers(&Literal::Integer(number)).ok_or_else(|| unfit(found, literal, at))
        }
        (T::Integer | T::Long, _) => integers(literal).ok_or_else(|| unfit(found, literal, at)),
        (T::Float | T::Double, _) => {
            let reading =
                if *found.data_type == T::Float { Reading::Float } else { Reading::Double };
            let value = match literal {
                Literal::String(text) => Some(text.trim().parse().map_err(|_| not_a("a number"))?),
                other => double(other),
            };
            key(reading, double_key(value.ok_or_else(|| unfit(found, literal, at))?))
        }
        (T::Decimal { scale, .. }, _) => {
            let scale = u32::try_from(*scale).unwrap_or(0);
            let literal = match literal {
                Literal::String(text) => &signed_decimal(text).ok_or_else(|| not_a("a number"))?,
                other => other,
            };
            match (exact(literal), double(literal)) {
                (Some((unscaled, scale_of_literal)), _) => Ok((
                    Reading::Decimal { scale },
                    Value::Decimal { unscaled, scale: scale_of_literal },
                )),
                (None, Some(value)) => key(Reading::DecimalAsDouble { scale }, double_key(value)),
                (None, None) => Err(unfit(found, literal, at)),
            }
        }
        (T::String, Literal::String(text)) if ignore_case => {
            Ok((Reading::LowerCase, Value::Bytes(letter_case::folded(text).into_bytes())))
        }
        (T::String | T::Binary, Literal::String(text)) => {
            Ok((Reading::Bytes, Value::Bytes(text.clone().into_bytes())))
        }
        (T::Date, Literal::Date(days)) => key(Reading::Integer, i64::from(*days)),
        (T::Date, Literal::Timestamp(micros)) => key(Reading::DateAsTimestamp, *micros),
        (T::Date, Literal::String(text)) => {
            let days = datetime::date(text).ok_or_else(|| not_a("a date"))?;
            key(Reading::Integer, i64::from(days))
        }
        (T::Timestamp, Literal::Timestamp(micros)) => key(Reading::Long, *micros),
        (T::Timestamp, Literal::Date(days)) => key(Reading::Long, datetime::midnight_us(*days)),
        (T::Timestamp, Literal::String(text)) => {
            key(Reading::Long, datetime::timestamp(text).ok_or_else(|| not_a("a timestamp"))?)
        }
        _ => Err(unfit(found, literal, at)),
    }
}

/// A column of whole numbers against a number: as integers, as decimals or, with doubles, as
/// doubles.
fn integer_column(plain: Reading, literal: &Literal) -> Option<(Reading, Value)> {
    let (as_decimal, as_double) = match plain {
        Reading::Integer => (Reading::IntegerAsDecimal, Reading::IntegerAsDouble),
        _ => (Reading::LongAsDecimal, Reading::LongAsDouble),
    };
    match (literal, exact(literal)) {
        (Literal::Integer(value), _) => Some((plain, Value::Key(*value))),
        (_, Some((unscaled, scale))) => Some((as_decimal, Value::Decimal { unscaled, scale })),
        _ => Some((as_double, Value::Key(double_key(double(literal)?)))),
    }
}

pub fn exact(literal: &Literal) -> Option<(i128, u32)> {
    match literal {
        Literal::Integer(value) => Some((i128::from(*value), 0)),
        Literal::Decimal { unscaled, scale } => Some((*unscaled, *scale)),
        _ => None,
    }
}

pub fn double(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Integer(value) => Some(*value as f64),
        Literal::Decimal { unscaled, scale } => Some(decimal::to_double(*unscaled, *scale)),
        Literal::Float(value) => Some(f64::from(*value)),
        Literal::Double(value) => Some(*value),
        _ => None,
    }
}

fn signed_decimal(text: &str) -> Option<Literal> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (unscaled, scale) = decimal::parse(digits)?;
    let unscaled = if text.starts_with('-') { -unscaled } else { unscaled };
    Some(Literal::Decimal { unscaled, scale })
}

/// Spark's words for booleans.
fn boolean(literal: &Literal) -> Option<bool> {
    match literal {
        Literal::Boolean(value) => Some(*value),
        Literal::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => Some(true),
            "f" | "false" | "n" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn unfit(found: &Found<'_>, literal: &Literal, at: usize) -> Mistake {
    let Found { name, data_type, .. } = found;
    let mend = match (data_type, literal) {
        (DataType::String, Literal::Integer(value)) => {
            format!(": write '{value}' in quotes, or{}", cast_mend("long"))
        }
        (DataType::String, Literal::Decimal { .. } | Literal::Double(_) | Literal::Float(_)) => {
            format!(": write the number in quotes, or{}", cast_mend("double"))
        }
        (DataType::String, Literal::Boolean(value)) => format!(": write '{value}' in quotes"),
        (DataType::String, Literal::Date(_)) => format!(":{}", cast_mend("date")),
        (DataType::String, Literal::Timestamp(_)) => format!(":{}", cast_mend("timestamp")),
        (DataType::Struct(fields), _) if !fields.is_empty() => {
            format!(": name a field of it, such as `{name}.{}`", fields[0].name)
        }
        (DataType::Array { .. } | DataType::Map { .. }, _) => {
            ": put the stage `flatten` before, which makes its elements columns".into()
        }
        _ => String::new(),
    };
    let literal = literal.describe();
    Mistake::new(
        at,
        format!("column `{name}` is {data_type} and cannot be compared with {literal}{mend}"),
    )
}

pub fn cast_mend(target: &str) -> String {
    format!(" put the stage `cast` before, with `{target}` for this column")
}
