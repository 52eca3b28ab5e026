//! A column against a column: both are read in the form that their types share.

use gristmill::DataType;

use crate::columns::Found;
use crate::predicate::{Operand, Predicate, Reading};
use crate::sql::{Comparison, Mistake};

/// A column against a column.
pub fn between(
    left: &Found<'_>,
    comparison: Comparison,
    right: &Found<'_>,
    at: usize,
) -> Result<Predicate, Mistake> {
    if let (Some(one), Some(other)) = (left.as_condition(), right.as_condition()) {
        let (left, right) = (Box::new(one), Box::new(other));
        return Ok(Predicate::relate(comparison, |relation, null_safe| Predicate::Truths {
            left,
            right,
            relation,
            null_safe,
        }));
    }
    let (left_reading, right_reading) = shared_reading(left.data_type, right.data_type)
        .ok_or_else(|| {
            let describe = |found: &Found<'_>| format!("`{}` ({})", found.name, found.data_type);
            let (left, right) = (describe(left), describe(right));
            let message = format!("{left} cannot be compared with {right}:");
            Mistake::new(at, message + " put the stage `cast` before, to give them one type")
        })?;
    let left = Operand { path: left.path.clone(), reading: left_reading };
    let right = Operand { path: right.path.clone(), reading: right_reading };
    Ok(Predicate::relate(comparison, |relation, null_safe| Predicate::Between {
        left,
        right,
        relation,
        null_safe,
    }))
}

/// How two columns are read for each other: whole numbers exactly, with a decimal as decimals, with
/// a float or double as doubles.
fn shared_reading(left: &DataType, right: &DataType) -> Option<(Reading, Reading)> {
    let pair = (class(left)?, class(right)?);
    let read = |reader: fn(&DataType) -> Option<Reading>| Some((reader(left)?, reader(right)?));
    match pair {
        (Class::Whole, Class::Whole) => read(as_key),
        (Class::Broken, _) | (_, Class::Broken) => read(as_double),
        (Class::Exact, _) | (_, Class::Exact) => read(as_decimal),
        (Class::Text, Class::Text) => Some((Reading::Bytes, Reading::Bytes)),
        (Class::Date, Class::Date) | (Class::Timestamp, Class::Timestamp) => read(as_key),
        (Class::Date | Class::Timestamp, Class::Date | Class::Timestamp) => read(as_timestamp),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Class {
    Whole,
    Exact,
    Broken,
    Text,
    Date,
    Timestamp,
}

fn class(data_type: &DataType) -> Option<Class> {
    match data_type {
        DataType::Integer | DataType::Long => Some(Class::Whole),
        DataType::Decimal { .. } => Some(Class::Exact),
        DataType::Float | DataType::Double => Some(Class::Broken),
        DataType::String | DataType::Binary => Some(Class::Text),
        DataType::Date => Some(Class::Date),
        DataType::Timestamp => Some(Class::Timestamp),
        _ => None,
    }
}

fn as_key(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer | DataType::Date => Some(Reading::Integer),
        DataType::Long | DataType::Timestamp => Some(Reading::Long),
        _ => None,
    }
}

fn as_timestamp(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Date => Some(Reading::DateAsTimestamp),
        DataType::Timestamp => Some(Reading::Long),
        _ => None,
    }
}

fn as_double(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer => Some(Reading::IntegerAsDouble),
        DataType::Long => Some(Reading::LongAsDouble),
        DataType::Float => Some(Reading::Float),
        DataType::Double => Some(Reading::Double),
        DataType::Decimal { scale, .. } => {
            Some(Reading::DecimalAsDouble { scale: u32::try_from(*scale).unwrap_or(0) })
        }
        _ => None,
    }
}

fn as_decimal(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer => Some(Reading::IntegerAsDecimal),
        DataType::Long => Some(Reading::LongAsDecimal),
        DataType::Decimal { scale, .. } => {
            Some(Reading::Decimal { scale: u32::try_from(*scale).unwrap_or(0) })
        }
        _ => None,
    }
}
