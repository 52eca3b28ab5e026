//! A guest's JSON lines → Arrow columns, row numbers and failures.

use super::calendar::{read_date, read_timestamp};
use super::parse::{Json, parse};
use super::{EXACT_INTEGER_MAX, FAILURE, ROW};
use crate::error::cut;
use crate::output::{Failure, Output, Rows, check_nulls};
use crate::{Limits, ProcessError};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow_array::{ArrowPrimitiveType, PrimitiveArray, types};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// Bytes of output per value that is kept while reading: bounds the tree by the bytes allowed.
const BYTES_PER_VALUE: usize = 16;

static NULL: Json<'static> = Json::Null;

/// Reads the output lines of a batch of `input_row_count` rows. Lines without `__row` and
/// `__failure` are rows as they stand, so that this reads input rows, too.
pub fn read(
    bytes: &[u8],
    columns: &[FieldRef],
    input_row_count: usize,
    limits: &Limits,
) -> Result<Output, ProcessError> {
    if bytes.len() > limits.output_bytes_max {
        let (size, max) = (bytes.len(), limits.output_bytes_max);
        return Err(ProcessError::OutputLimit(format!("{size} bytes, at most {max} are allowed")));
    }
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
    let mut values_left = limits.output_bytes_max / BYTES_PER_VALUE;
    let mut lines = Lines::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line = parse(line, &mut values_left).and_then(|line| lines.push(line));
        line.map_err(|why| bad(format!("line {}: {why}", index + 1)))?;
        if lines.objects.len() > limits.output_rows_max {
            let max = limits.output_rows_max;
            return Err(ProcessError::OutputLimit(format!("more than {max} rows")));
        }
    }
    let failures = lines.failures(input_row_count).map_err(bad)?;
    let rows = lines.rows().map_err(bad)?;
    let row_count = lines.objects.len();
    let made = columns.iter().map(|field| column(field, &lines.objects));
    let made = made.collect::<Result<Vec<ArrayRef>, String>>().map_err(bad)?;
    check_nulls(columns, &made)?;
    Rows { input_row_count, row_count, rows: rows.map(Into::into) }.output(made, failures)
}

fn bad(what: impl Into<String>) -> ProcessError {
    ProcessError::BadOutput(what.into())
}

#[derive(Default)]
struct Lines<'a> {
    objects: Vec<Json<'a>>,
    failures: Vec<Failure>,
}

impl<'a> Lines<'a> {
    fn push(&mut self, line: Json<'a>) -> Result<(), String> {
        if !matches!(line, Json::Object(_)) {
            return Err("not an object".to_owned());
        }
        match line.member(FAILURE) {
            None => self.objects.push(line),
            Some(Json::Text(reason)) => {
                let row = row(&line)?.ok_or_else(|| format!("a failure without `{ROW}`"))?;
                self.failures.push(Failure { row, reason: cut(reason).to_owned() });
            }
            Some(_) => return Err(format!("`{FAILURE}` is not a text")),
        }
        Ok(())
    }

    /// Failures in order of their rows.
    fn failures(&mut self, input_row_count: usize) -> Result<Vec<Failure>, String> {
        let mut failures = std::mem::take(&mut self.failures);
        failures.sort_by_key(|failure| failure.row);
        if let Some(pair) = failures.windows(2).find(|pair| pair[0].row == pair[1].row) {
            return Err(format!("row {} fails twice", pair[0].row));
        }
        match failures.last().filter(|last| last.row as usize >= input_row_count) {
            Some(last) => Err(format!("row {} fails, the input has {input_row_count}", last.row)),
            None => Ok(failures),
        }
    }

    /// The row numbers: of every line, or of none.
    fn rows(&self) -> Result<Option<Vec<u32>>, String> {
        let rows: Vec<Option<u32>> = self.objects.iter().map(row).collect::<Result<_, _>>()?;
        if rows.iter().all(Option::is_none) {
            return Ok(None);
        }
        let rows: Option<Vec<u32>> = rows.into_iter().collect();
        rows.map(Some).ok_or_else(|| format!("some lines have `{ROW}` and some have not"))
    }
}

fn row(line: &Json<'_>) -> Result<Option<u32>, String> {
    let wrong = || format!("`{ROW}` is not a row number");
    match line.member(ROW) {
        None => Ok(None),
        Some(Json::Number(digits)) => digits.parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

fn column(field: &FieldRef, objects: &[Json<'_>]) -> Result<ArrayRef, String> {
    let values: Vec<&Json<'_>> =
        objects.iter().map(|object| object.member(field.name()).unwrap_or(&NULL)).collect();
    array(field, &values)
}

/// An array of a field's type; `Err` names the field.
fn array(field: &Field, values: &[&Json<'_>]) -> Result<ArrayRef, String> {
    untold(field, values).map_err(|why| format!("`{}`: {why}", field.name()))
}

fn untold(field: &Field, values: &[&Json<'_>]) -> Result<ArrayRef, String> {
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(each(values, boolean)?.into_iter().collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(primitive::<types::Int32Type>(values, integer)? as Int32Array),
        DataType::Int64 => Arc::new(primitive::<types::Int64Type>(values, long)? as Int64Array),
        DataType::Float32 => {
            Arc::new(primitive::<types::Float32Type>(values, float)? as Float32Array)
        }
        DataType::Float64 => {
            Arc::new(primitive::<types::Float64Type>(values, float)? as Float64Array)
        }
        DataType::Utf8 => Arc::new(each(values, text)?.into_iter().collect::<StringArray>()),
        DataType::Binary => Arc::new(each(values, binary)?.into_iter().collect::<BinaryArray>()),
        DataType::Date32 => Arc::new(primitive::<types::Date32Type>(values, date)? as Date32Array),
        DataType::Timestamp(_, zone) => {
            let array: TimestampMicrosecondArray =
                primitive::<types::TimestampMicrosecondType>(values, timestamp)?;
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let read = |value: &Json<'_>| decimal(value, *precision, *scale);
            let array: Decimal128Array = primitive::<types::Decimal128Type>(values, read)?;
            Arc::new(array.with_precision_and_scale(*precision, *scale).map_err(arrow)?)
        }
        DataType::Struct(fields) => {
            let children = children(fields, values)?;
            let (nulls, length) = (nulls(values), values.len());
            let array = StructArray::try_new_with_length(fields.clone(), children, nulls, length);
            Arc::new(array.map_err(arrow)?)
        }
        DataType::List(element) => {
            let (offsets, elements) = elements(values)?;
            let elements = array(element, &elements)?;
            let array = ListArray::try_new(element.clone(), offsets, elements, nulls(values));
            Arc::new(array.map_err(arrow)?)
        }
        DataType::Map(entry, ordered) => map(entry, *ordered, values)?,
        other => unreachable!("describe let a column of type {other} through"),
    })
}

fn arrow(error: arrow_schema::ArrowError) -> String {
    error.to_string()
}

/// Every value by one reader; null is null in every type.
fn each<T>(
    values: &[&Json<'_>],
    read: impl Fn(&Json<'_>) -> Result<T, String>,
) -> Result<Vec<Option<T>>, String> {
    let one = |value: &&Json<'_>| match value {
        Json::Null => Ok(None),
        value => read(value).map(Some),
    };
    values.iter().map(one).collect()
}

fn primitive<T: ArrowPrimitiveType>(
    values: &[&Json<'_>],
    read: impl Fn(&Json<'_>) -> Result<T::Native, String>,
) -> Result<PrimitiveArray<T>, String> {
    Ok(each(values, read)?.into_iter().collect())
}

fn nulls(values: &[&Json<'_>]) -> Option<NullBuffer> {
    let nulls: NullBuffer = values.iter().map(|value| **value != Json::Null).collect();
    Some(nulls).filter(|nulls| nulls.null_count() > 0)
}

fn children(fields: &Fields, values: &[&Json<'_>]) -> Result<Vec<ArrayRef>, String> {
    let stranger = |value: &&&Json<'_>| !matches!(value, Json::Null | Json::Object(_));
    if let Some(value) = values.iter().find(stranger) {
        return Err(format!("{} in place of an object", kind(value)));
    }
    let child = |field: &FieldRef| {
        let members = values.iter().map(|value| value.member(field.name()).unwrap_or(&NULL));
        array(field, &members.collect::<Vec<_>>())
    };
    fields.iter().map(child).collect()
}

/// The elements of lists, one after the other, and the offsets between them.
fn elements<'a>(values: &[&'a Json<'a>]) -> Result<(OffsetBuffer<i32>, Vec<&'a Json<'a>>), String> {
    let mut elements = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Json::Null => lengths.push(0),
            Json::List(list) => {
                elements.extend(list);
                lengths.push(list.len());
            }
            other => return Err(format!("{} in place of a list", kind(other))),
        }
    }
    Ok((OffsetBuffer::from_lengths(lengths), elements))
}

/// Maps from objects (string keys) or from lists of pairs.
fn map(entry: &FieldRef, ordered: bool, values: &[&Json<'_>]) -> Result<ArrayRef, String> {
    let DataType::Struct(fields) = entry.data_type() else {
        return Err("a map without entries".to_owned());
    };
    let named = *fields[0].data_type() == DataType::Utf8;
    let mut names: Vec<Option<&str>> = Vec::new();
    let (mut keys, mut items): (Vec<&Json<'_>>, Vec<&Json<'_>>) = (Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        let before = items.len();
        match value {
            Json::Null => {}
            Json::Object(members) if named => {
                for (name, item) in members {
                    names.push(Some(name.as_ref()));
                    items.push(item);
                }
            }
            Json::List(pairs) if !named => {
                for pair in pairs {
                    let Json::List(pair) = pair else {
                        return Err(format!("{} in place of a pair", kind(pair)));
                    };
                    let [key, item] = pair.as_slice() else {
                        return Err(format!("a list of {} in place of a pair", pair.len()));
                    };
                    keys.push(key);
                    items.push(item);
                }
            }
            other => return Err(format!("{} in place of a map", kind(other))),
        }
        lengths.push(items.len() - before);
    }
    let keys: ArrayRef =
        if named { Arc::new(StringArray::from(names)) } else { array(&fields[0], &keys)? };
    let columns = vec![keys, array(&fields[1], &items)?];
    let entries = StructArray::try_new(fields.clone(), columns, None).map_err(arrow)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let array = MapArray::try_new(entry.clone(), offsets, entries, nulls(values), ordered);
    Ok(Arc::new(array.map_err(arrow)?))
}

fn boolean(value: &Json<'_>) -> Result<bool, String> {
    match value {
        Json::Boolean(flag) => Ok(*flag),
        other => Err(format!("{} in place of a boolean", kind(other))),
    }
}

fn integer(value: &Json<'_>) -> Result<i32, String> {
    let number = long(value)?;
    i32::try_from(number).map_err(|_| format!("{number} does not fit in an integer"))
}

/// An integer of digits, as a number or a text, or a number such as 5.0 or 1e3 that is one.
fn long(value: &Json<'_>) -> Result<i64, String> {
    let digits = match value {
        Json::Number(digits) => digits,
        Json::Text(digits) => digits.as_ref(),
        other => return Err(format!("{} in place of an integer", kind(other))),
    };
    if let Ok(number) = digits.parse() {
        return Ok(number);
    }
    let number = digits.parse::<f64>().ok().filter(|_| matches!(value, Json::Number(_)));
    match number {
        Some(number) if number.fract() == 0.0 && number.abs() <= EXACT_INTEGER_MAX as f64 => {
            Ok(number as i64)
        }
        _ => Err(format!("{} is not a 64-bit integer", cut(digits))),
    }
}

fn float<T: std::str::FromStr>(value: &Json<'_>) -> Result<T, String> {
    let digits = match value {
        Json::Number(digits) => digits,
        Json::Text(text) if matches!(text.as_ref(), "NaN" | "Infinity" | "-Infinity") => {
            text.as_ref()
        }
        other => return Err(format!("{} in place of a number", kind(other))),
    };
    digits.parse().map_err(|_| format!("{} is not a number", cut(digits)))
}

fn string<'a>(value: &'a Json<'_>, what: &str) -> Result<&'a str, String> {
    match value {
        Json::Text(text) => Ok(text),
        other => Err(format!("{} in place of a {what}", kind(other))),
    }
}

fn text(value: &Json<'_>) -> Result<String, String> {
    string(value, "text").map(str::to_owned)
}

fn binary(value: &Json<'_>) -> Result<Vec<u8>, String> {
    STANDARD.decode(string(value, "base64 text")?).map_err(|error| format!("base64: {error}"))
}

fn date(value: &Json<'_>) -> Result<i32, String> {
    let text = string(value, "date")?;
    let days = read_date(text).and_then(|days| i32::try_from(days).ok());
    days.ok_or_else(|| format!("`{}` is not a date", cut(text)))
}

fn timestamp(value: &Json<'_>) -> Result<i64, String> {
    let text = string(value, "timestamp")?;
    read_timestamp(text).ok_or_else(|| format!("`{}` is not a timestamp", cut(text)))
}

/// A decimal of digits, as a text or a number; digits beyond the scale must be zeros.
fn decimal(value: &Json<'_>, precision: u8, scale: i8) -> Result<i128, String> {
    let text = match value {
        Json::Number(digits) => digits,
        other => string(other, "decimal")?,
    };
    let wrong = || format!("`{}` is not a decimal({precision},{scale})", cut(text));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).map_err(|_| wrong())?;
    let (kept, rest) = fraction.split_at_checked(scale.min(fraction.len())).ok_or_else(wrong)?;
    let all_digits = whole.bytes().chain(kept.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits || rest.bytes().any(|byte| byte != b'0') {
        return Err(wrong());
    }
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(kept.bytes()).chain((kept.len()..scale).map(|_| b'0')) {
        let next = number.checked_mul(10).and_then(|ten| ten.checked_add((digit - b'0').into()));
        number = next.filter(|next| *next < 10_i128.pow(precision.into())).ok_or_else(wrong)?;
    }
    Ok(if negative { -number } else { number })
}

fn kind(value: &Json<'_>) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Boolean(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::Text(_) => "a text",
        Json::List(_) => "a list",
        Json::Object(_) => "an object",
    }
}
