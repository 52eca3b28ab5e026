//! Rows as JSON objects, in the form of Spark's `to_json`: a null member is left out, a null in an
//! array stays; 64-bit integers and decimals are exact; doubles look as Java prints them; times are
//! ISO 8601 in UTC; bytes are base64.
//!
//! Unlike Spark, a timestamp keeps its microseconds if it has any.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, TimeUnit};

/// Writes the rows of one batch as JSON objects.
pub(crate) struct RecordJson<'a> {
    members: Vec<Member<'a>>,
}

/// A member of an object.
struct Member<'a> {
    /// `"name":`, escaped.
    prefix: String,
    value: Value<'a>,
}

/// A column, its type settled once for all rows.
enum Value<'a> {
    Boolean(&'a arrow_array::BooleanArray),
    Byte(&'a arrow_array::PrimitiveArray<Int8Type>),
    Short(&'a arrow_array::PrimitiveArray<Int16Type>),
    Int(&'a arrow_array::PrimitiveArray<Int32Type>),
    Long(&'a arrow_array::PrimitiveArray<Int64Type>),
    Float(&'a arrow_array::PrimitiveArray<Float32Type>),
    Double(&'a arrow_array::PrimitiveArray<Float64Type>),
    Decimal(&'a arrow_array::PrimitiveArray<Decimal128Type>),
    String(&'a arrow_array::StringArray),
    Binary(&'a arrow_array::BinaryArray),
    Date(&'a arrow_array::PrimitiveArray<Date32Type>),
    Timestamp(&'a arrow_array::PrimitiveArray<TimestampMicrosecondType>),
    Struct(&'a StructArray, Vec<Member<'a>>),
    List(&'a arrow_array::ListArray, Box<Value<'a>>),
    Map(&'a arrow_array::MapArray, Box<Value<'a>>, Box<Value<'a>>),
}

impl<'a> RecordJson<'a> {
    /// Members are the columns from `first` on.
    ///
    /// Errors: a column of a type that has no form in JSON.
    pub(crate) fn new(rows: &'a RecordBatch, first: usize) -> Result<RecordJson<'a>> {
        let fields = rows.schema_ref().fields().iter().skip(first);
        let members = fields.zip(rows.columns().iter().skip(first)).map(|(field, column)| {
            Ok(Member { prefix: prefix(field.name()), value: value(column)? })
        });
        Ok(RecordJson { members: members.collect::<Result<_>>()? })
    }

    /// Appends one row.
    pub(crate) fn write(&self, row: usize, into: &mut Vec<u8>) {
        object(&self.members, row, into);
    }
}

fn prefix(name: &str) -> String {
    let mut bytes = Vec::new();
    string(name, &mut bytes);
    bytes.push(b':');
    String::from_utf8_lossy(&bytes).into_owned()
}

fn value(array: &ArrayRef) -> Result<Value<'_>> {
    Ok(match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean()),
        DataType::Int8 => Value::Byte(array.as_primitive()),
        DataType::Int16 => Value::Short(array.as_primitive()),
        DataType::Int32 => Value::Int(array.as_primitive()),
        DataType::Int64 => Value::Long(array.as_primitive()),
        DataType::Float32 => Value::Float(array.as_primitive()),
        DataType::Float64 => Value::Double(array.as_primitive()),
        DataType::Decimal128(_, _) => Value::Decimal(array.as_primitive()),
        DataType::Utf8 => Value::String(array.as_string()),
        DataType::Binary => Value::Binary(array.as_binary()),
        DataType::Date32 => Value::Date(array.as_primitive()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Value::Timestamp(array.as_primitive()),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let members = fields.iter().zip(array.columns()).map(|(field, column)| {
                Ok(Member { prefix: prefix(field.name()), value: value(column)? })
            });
            Value::Struct(array, members.collect::<Result<_>>()?)
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            Value::List(array, Box::new(value(array.values())?))
        }
        DataType::Map(_, _) => {
            let array = array.as_map();
            let (keys, values) = (value(array.keys())?, value(array.values())?);
            Value::Map(array, Box::new(keys), Box::new(values))
        }
        other => bail!("a column of type {other} has no form in JSON"),
    })
}

impl Value<'_> {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Value::Boolean(array) => array.is_null(row),
            Value::Byte(array) => array.is_null(row),
            Value::Short(array) => array.is_null(row),
            Value::Int(array) => array.is_null(row),
            Value::Long(array) => array.is_null(row),
            Value::Float(array) => array.is_null(row),
            Value::Double(array) => array.is_null(row),
            Value::Decimal(array) => array.is_null(row),
            Value::String(array) => array.is_null(row),
            Value::Binary(array) => array.is_null(row),
            Value::Date(array) => array.is_null(row),
            Value::Timestamp(array) => array.is_null(row),
            Value::Struct(array, _) => array.is_null(row),
            Value::List(array, _) => array.is_null(row),
            Value::Map(array, _, _) => array.is_null(row),
        }
    }

    /// Appends a value that is not null.
    fn write(&self, row: usize, into: &mut Vec<u8>) {
        match self {
            Value::Boolean(array) => {
                into.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Value::Byte(array) => integer(array.value(row).into(), into),
            Value::Short(array) => integer(array.value(row).into(), into),
            Value::Int(array) => integer(array.value(row).into(), into),
            Value::Long(array) => integer(array.value(row), into),
            Value::Float(array) => {
                let value = array.value(row);
                floating(f64::from(value), &format!("{value:e}"), into);
            }
            Value::Double(array) => {
                let value = array.value(row);
                floating(value, &format!("{value:e}"), into);
            }
            Value::Decimal(array) => into.extend_from_slice(array.value_as_string(row).as_bytes()),
            Value::String(array) => string(array.value(row), into),
            Value::Binary(array) => base64(array.value(row), into),
            Value::Date(array) => {
                into.push(b'"');
                date(i64::from(array.value(row)), into);
                into.push(b'"');
            }
            Value::Timestamp(array) => timestamp(array.value(row), into),
            Value::Struct(_, members) => object(members, row, into),
            Value::List(array, values) => {
                let ends = array.value_offsets();
                list(values, ends[row] as usize..ends[row + 1] as usize, into);
            }
            Value::Map(array, keys, values) => {
                let ends = array.value_offsets();
                map(keys, values, ends[row] as usize..ends[row + 1] as usize, into);
            }
        }
    }
}

fn object(members: &[Member<'_>], row: usize, into: &mut Vec<u8>) {
    into.push(b'{');
    let mut first = true;
    for member in members.iter().filter(|member| !member.value.is_null(row)) {
        if !first {
            into.push(b',');
        }
        first = false;
        into.extend_from_slice(member.prefix.as_bytes());
        member.value.write(row, into);
    }
    into.push(b'}');
}

fn list(values: &Value<'_>, range: std::ops::Range<usize>, into: &mut Vec<u8>) {
    into.push(b'[');
    for index in range.clone() {
        if index > range.start {
            into.push(b',');
        }
        write_or_null(values, index, into);
    }
    into.push(b']');
}

/// Keys become text, as JSON wants.
fn map(keys: &Value<'_>, values: &Value<'_>, range: std::ops::Range<usize>, into: &mut Vec<u8>) {
    into.push(b'{');
    for index in range.clone() {
        if index > range.start {
            into.push(b',');
        }
        let mut key = Vec::new();
        keys.write(index, &mut key);
        if key.first() == Some(&b'"') {
            into.extend_from_slice(&key);
        } else {
            string(&String::from_utf8_lossy(&key), into);
        }
        into.push(b':');
        write_or_null(values, index, into);
    }
    into.push(b'}');
}

fn write_or_null(values: &Value<'_>, index: usize, into: &mut Vec<u8>) {
    if values.is_null(index) {
        into.extend_from_slice(b"null");
    } else {
        values.write(index, into);
    }
}

fn integer(value: i64, into: &mut Vec<u8>) {
    // Written backwards into a buffer that holds the longest one.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        into.push(b'-');
    }
    into.extend_from_slice(&digits[at..]);
}

/// As Java's `Double.toString`: plain from 10^-3 below 10^7, else with an exponent; what is no
/// number as text. `shortest`: the shortest digits that read back the same, as `d.ddde±x`.
fn floating(value: f64, shortest: &str, into: &mut Vec<u8>) {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        into.push(b'"');
        into.extend_from_slice(text.as_bytes());
        into.push(b'"');
        return;
    }
    let (digits, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits: String = digits.chars().filter(|digit| *digit != '.').collect();
    into.extend_from_slice(sign.as_bytes());
    let text = if value == 0.0 {
        "0.0".to_string()
    } else if (-3..7).contains(&exponent) {
        plain(&digits, exponent)
    } else {
        let fraction = digits.get(1..).filter(|rest| !rest.is_empty()).unwrap_or("0");
        format!("{}.{fraction}E{exponent}", &digits[..1])
    };
    into.extend_from_slice(text.as_bytes());
}

/// `digits` with the point after digit `exponent + 1`.
fn plain(digits: &str, exponent: i32) -> String {
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("0.{}{digits}", "0".repeat(zeros));
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        return format!("{digits}{}.0", "0".repeat(whole - digits.len()));
    }
    format!("{}.{}", &digits[..whole], &digits[whole..])
}

/// A JSON string. Runs that need no escape are copied as they are.
fn string(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    let bytes = text.as_bytes();
    let mut begun = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        into.extend_from_slice(&bytes[begun..index]);
        begun = index + 1;
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            other => into.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    into.extend_from_slice(&bytes[begun..]);
    into.push(b'"');
}

/// Standard alphabet with padding (RFC 4648, section 4).
fn base64(bytes: &[u8], into: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    into.push(b'"');
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = ALPHABET[(group >> (18 - 6 * index) & 63) as usize];
            into.push(if index <= chunk.len() { sextet } else { b'=' });
        }
    }
    into.push(b'"');
}

/// Days since 1970-01-01 as a date of the proleptic Gregorian calendar, by the usual count of
/// 400-year eras.
fn date(days: i64, into: &mut Vec<u8>) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    into.extend_from_slice(format!("{year:04}-{month:02}-{day:02}").as_bytes());
}

/// Microseconds since 1970 UTC.
fn timestamp(time_us: i64, into: &mut Vec<u8>) {
    const DAY_US: i64 = 86_400_000_000;
    let of_day = time_us.rem_euclid(DAY_US);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    into.push(b'"');
    date(time_us.div_euclid(DAY_US), into);
    let mut text = format!("T{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let written = if fraction % 1_000 == 0 {
        write!(text, ".{:03}Z\"", fraction / 1_000)
    } else {
        write!(text, ".{fraction:06}Z\"")
    };
    debug_assert!(written.is_ok(), "writing into a string does not fail");
    into.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int64Array, StringArray, TimestampMicrosecondArray,
    };
    use arrow_schema::{Field, Schema};

    fn json(columns: Vec<(&str, ArrayRef)>, row: usize) -> String {
        let fields =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let rows = RecordBatch::try_new(schema, arrays).unwrap();
        let mut bytes = Vec::new();
        RecordJson::new(&rows, 0).unwrap().write(row, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    fn one(array: ArrayRef) -> String {
        json(vec![("a", array)], 0)
    }

    #[test]
    fn null_members_are_left_out() {
        let rows = || -> Vec<(&str, ArrayRef)> {
            vec![
                ("id", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
                ("city", Arc::new(StringArray::from(vec![None, Some("Re\"no\n\u{1}é")]))),
                ("ok", Arc::new(BooleanArray::from(vec![true, false]))),
            ]
        };
        assert_eq!(json(rows(), 0), r#"{"id":-9223372036854775808,"ok":true}"#);
        assert_eq!(json(rows(), 1), "{\"city\":\"Re\\\"no\\n\\u0001é\",\"ok\":false}");
    }

    #[test]
    fn doubles_look_as_java_prints_them() {
        for (value, expected) in [
            (299.98, "299.98"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1e20, "1.0E20"),
            (1e-7, "1.0E-7"),
            (12_345_678.9, "1.23456789E7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.001, "0.001"),
            (-0.0, "-0.0"),
            (1_234_567.0, "1234567.0"),
            (f64::NAN, "\"NaN\""),
        ] {
            let array = Arc::new(Float64Array::from(vec![value]));
            assert_eq!(one(array), format!("{{\"a\":{expected}}}"), "{value}");
        }
        assert_eq!(one(Arc::new(Float32Array::from(vec![299.98f32]))), r#"{"a":299.98}"#);
    }

    #[test]
    fn times_bytes_and_decimals() {
        assert_eq!(one(Arc::new(Date32Array::from(vec![-1]))), r#"{"a":"1969-12-31"}"#);
        assert_eq!(one(Arc::new(Date32Array::from(vec![20_780]))), r#"{"a":"2026-11-23"}"#);
        let time =
            |us| one(Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC")));
        assert_eq!(time(1_440_547_200_000_000), r#"{"a":"2015-08-26T00:00:00.000Z"}"#);
        assert_eq!(time(-1), r#"{"a":"1969-12-31T23:59:59.999999Z"}"#);
        let binary = |bytes: &[u8]| one(Arc::new(BinaryArray::from(vec![bytes])));
        assert_eq!(binary(b"any carnal pleas"), r#"{"a":"YW55IGNhcm5hbCBwbGVhcw=="}"#);
        assert_eq!(binary(&[0xff, 0x41]), r#"{"a":"/0E="}"#);
        let decimal = Decimal128Array::from(vec![-105]).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(one(Arc::new(decimal)), r#"{"a":-1.05}"#);
    }

    #[test]
    fn nested_values() {
        let names = StringArray::from(vec![Some("x"), None, Some("z")]);
        let fields = vec![Field::new("n", DataType::Utf8, true)].into();
        let items = StructArray::try_new(fields, vec![Arc::new(names)], None).unwrap();
        let element = Arc::new(Field::new("element", items.data_type().clone(), true));
        let ends = arrow_buffer::OffsetBuffer::from_lengths([3]);
        let list = arrow_array::ListArray::try_new(element, ends, Arc::new(items), None).unwrap();
        assert_eq!(one(Arc::new(list)), r#"{"a":[{"n":"x"},{},{"n":"z"}]}"#);
        let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
        map.keys().append_value(7);
        map.values().append_null();
        map.append(true).unwrap();
        assert_eq!(one(Arc::new(map.finish())), r#"{"a":{"7":null}}"#);
    }
}
