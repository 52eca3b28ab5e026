//! The parser against serde_json: on random documents and schemas, on the same documents with bytes
//! overwritten, and on numbers against the standard library. In debug builds every read of the
//! parser is checked to be in bounds.

use gristmill::json::{JsonReader, OnMistake};
use gristmill::native::binary_column;
use gristmill::serde_json::{Map, Value, json};
use gristmill::{DataType, Field, parse_schema};
use proptest::prelude::*;
use proptest::test_runner::TestRng;

use crate::support::{config, rows_to_json};

const KEYS: &[&str] = &[
    "a",
    "b",
    "id",
    "größe",
    "with \"quotes\"",
    "sixteen_bytes_16",
    "a_name_of_more_than_thirty_two_bytes_in_all",
    "a_name_that_is_so_long_that_the_parser_does_not_compare_it_blindly_against_what_comes_next",
    "",
];

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(KEYS).prop_map(str::to_owned)
}

fn scalar_type() -> impl Strategy<Value = DataType> {
    prop::sample::select(vec![
        DataType::Boolean,
        DataType::Integer,
        DataType::Long,
        DataType::Double,
        DataType::String,
    ])
}

fn fields(inner: impl Strategy<Value = DataType> + 'static) -> impl Strategy<Value = Vec<Field>> {
    prop::collection::btree_map(key(), inner, 0..7)
        .prop_map(|fields| {
            fields.into_iter().map(|(name, t)| Field::new(name, t)).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn data_type() -> impl Strategy<Value = DataType> {
    scalar_type().prop_recursive(3, 12, 4, |inner| {
        let inner = inner.boxed();
        prop_oneof![
            fields(inner.clone()).prop_map(DataType::Struct),
            inner
                .clone()
                .prop_map(|t| DataType::Array { element: Box::new(t), contains_null: true }),
            inner.prop_map(|t| DataType::Map {
                key: Box::new(DataType::String),
                value: Box::new(t),
                value_contains_null: true
            }),
        ]
    })
}

/// Mostly values of the type, so that documents get deep.
fn value_of(data_type: &DataType) -> BoxedStrategy<Value> {
    let fitting: BoxedStrategy<Value> = match data_type {
        DataType::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        DataType::Integer => any::<i32>().prop_map(Value::from).boxed(),
        DataType::Long => prop_oneof![any::<i64>(), -1000i64..1000].prop_map(Value::from).boxed(),
        DataType::Double => {
            prop_oneof![-1e6f64..1e6, any::<f64>().prop_filter("finite", |f| f.is_finite())]
                .prop_map(Value::from)
                .boxed()
        }
        DataType::Array { element, .. } => {
            prop::collection::vec(value_of(element), 0..4).prop_map(Value::from).boxed()
        }
        DataType::Map { value, .. } => prop::collection::btree_map(key(), value_of(value), 0..4)
            .prop_map(|map| map.into_iter().collect())
            .boxed(),
        DataType::Struct(fields) => object_of(fields).boxed(),
        _ => "\\PC{0,40}".prop_map(Value::from).boxed(),
    };
    prop_oneof![12 => fitting, 1 => Just(Value::Null), 2 => anything()].boxed()
}

/// An object with most members of the schema and some that it lacks, in any order.
fn object_of(fields: &[Field]) -> impl Strategy<Value = Value> + use<> {
    let members: Vec<BoxedStrategy<Option<(String, Value)>>> = fields
        .iter()
        .map(|field| {
            let name = field.name.clone();
            let member = value_of(&field.data_type).prop_map(move |value| (name.clone(), value));
            prop::option::weighted(0.9, member).boxed()
        })
        .collect();
    (members, prop::option::weighted(0.3, (key(), anything()))).prop_map(|(members, other)| {
        let known: Map<String, Value> = members.into_iter().flatten().collect();
        let mut object: Map<String, Value> = other.into_iter().collect();
        object.extend(known);
        Value::Object(object)
    })
}

fn anything() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,8}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 10, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Writes a document with blanks, escapes and an order of its own, and now and then a member twice.
fn write(value: &Value, random: &mut TestRng, text: &mut String, doubled: &mut bool) {
    let blank = |random: &mut TestRng, text: &mut String| {
        let blanks = ["", "", "", " ", "\n\t", "   \r\n  "];
        text.push_str(blanks[random.random_range(0..blanks.len())]);
    };
    match value {
        Value::Object(object) => {
            let mut members: Vec<(&String, &Value)> = object.iter().collect();
            for last in (1..members.len()).rev() {
                if random.random_bool(0.3) {
                    members.swap(last, random.random_range(0..=last));
                }
            }
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                if random.random_bool(0.03) {
                    *doubled = true;
                    write_string(name, random, text);
                    text.push_str(":[0],");
                }
                blank(random, text);
                write_string(name, random, text);
                blank(random, text);
                text.push(':');
                blank(random, text);
                write(value, random, text, doubled);
                blank(random, text);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (index, value) in list.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                blank(random, text);
                write(value, random, text, doubled);
                blank(random, text);
            }
            text.push(']');
        }
        Value::String(string) => write_string(string, random, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_string(string: &str, random: &mut TestRng, text: &mut String) {
    if random.random_bool(0.8) {
        return text.push_str(&Value::from(string).to_string());
    }
    text.push('"');
    for unit in string.encode_utf16() {
        text.push_str(&format!("\\u{unit:04x}"));
    }
    text.push('"');
}

/// A value does not fit its type; of an array or map that makes the whole null.
struct Misfit;

/// What the permissive reader must make of a value that serde_json read.
fn expected(data_type: &DataType, value: &Value) -> Result<Value, Misfit> {
    match (data_type, value) {
        (_, Value::Null) => Ok(Value::Null),
        (DataType::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (DataType::Integer, Value::Number(n)) => {
            n.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::from).ok_or(Misfit)
        }
        (DataType::Long, Value::Number(n)) => n.as_i64().map(Value::from).ok_or(Misfit),
        (DataType::Double, Value::Number(n)) => Ok(json!(n.as_f64())),
        (DataType::Double, Value::String(s)) if s == "NaN" => Ok(Value::Null),
        (DataType::String, Value::String(_)) => Ok(value.clone()),
        (DataType::String, Value::Bool(b)) => Ok(Value::from(b.to_string())),
        // Numbers and containers are rendered anew: only that they are there.
        (DataType::String, _) => Ok(Value::from("rendered")),
        (DataType::Struct(fields), Value::Object(object)) => Ok(expected_object(fields, object)),
        (DataType::Array { element, .. }, Value::Array(list)) => {
            list.iter().map(|value| expected(element, value)).collect()
        }
        (DataType::Map { value: inner, .. }, Value::Object(object)) => {
            object.iter().map(|(name, value)| Ok(json!([name, expected(inner, value)?]))).collect()
        }
        _ => Err(Misfit),
    }
}

fn expected_object(fields: &[Field], object: &Map<String, Value>) -> Value {
    let member = |field: &Field| {
        let value = object.get(&field.name).unwrap_or(&Value::Null);
        (field.name.clone(), expected(&field.data_type, value).unwrap_or(Value::Null))
    };
    fields.iter().map(member).collect()
}

/// Equal, but for what the oracle cannot tell: rendered text, the order of a map, the last bit of a
/// double that serde_json does not round correctly, and the sign of a zero.
fn same(data_type: &DataType, expected: &Value, found: &Value) -> bool {
    match (data_type, expected, found) {
        (DataType::String, Value::String(text), Value::String(_)) if text == "rendered" => true,
        (DataType::Double, Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-15 + 1e-320
        }
        (DataType::Struct(fields), Value::Object(a), Value::Object(b)) => {
            let equal = |f: &Field| same(&f.data_type, &a[&f.name], &b[&f.name]);
            fields.iter().all(equal)
        }
        (DataType::Array { element, .. }, Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(element, a, b))
        }
        (DataType::Map { value, .. }, Value::Array(a), Value::Array(b)) => {
            // The document's order, and a member that it has twice: the last is what serde_json
            // has.
            a.iter().all(|pair| {
                let found = b.iter().rfind(|other| other[0] == pair[0]);
                found.is_some_and(|found| same(value, &pair[1], &found[1]))
            })
        }
        _ => expected == found,
    }
}

/// A schema and texts of documents for it; whether a text has a member twice.
fn case() -> impl Strategy<Value = (Vec<Field>, Vec<(String, bool)>)> {
    fields(data_type()).prop_flat_map(|fields| {
        let documents = prop::collection::vec(object_of(&fields), 1..4);
        let texts = documents.prop_perturb(|documents, mut random| {
            let text = |document: &Value| {
                let (mut text, mut doubled) = (String::new(), false);
                write(document, &mut random, &mut text, &mut doubled);
                (text, doubled)
            };
            documents.iter().map(text).collect::<Vec<_>>()
        });
        (Just(fields), texts)
    })
}

/// Of records that are all alike.
const REGULAR: &str = "id long, count int, name string, price float, big double, flag boolean, day date, \
    place struct<city: string, zip: int>, tags array<string>, \
    items array<struct<a_name_of_more_than_thirty_two_bytes_in_all: long, price: float, note: string>>, last decimal(9,2)";

/// A record of [`REGULAR`], nearly always in its order and with at most one blank at a place.
fn regular() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            4 => (0i64..100_000).prop_map(|number| number.to_string()),
            1 => any::<i64>().prop_map(|number| number.to_string()),
            2 => "[0-9]{1,5}\\.[0-9]{1,4}",
            1 => "-?[0-9]{0,9}[.eE]?[0-9]{0,9}",
            1 => Just("null".to_owned()),
        ]
    };
    let string = || {
        prop_oneof![
            6 => "\"[a-zA-Z0-9 ,:{}\\[\\]]{0,24}\"",
            1 => "\\PC{0,12}".prop_map(|text| Value::from(text).to_string()),
            1 => Just("\"Jos\\u00e9 \\\"Pepe\\\" \\n\"".to_owned()),
            1 => Just("null".to_owned()),
        ]
    };
    let word =
        prop::sample::select(vec!["true", "false", "null", "\"2026-11-01\"", "{}", "[]", "1"]);
    let item = (number(), number(), string()).prop_map(|(long, price, note)| {
        format!("{{\"a_name_of_more_than_thirty_two_bytes_in_all\":{long},\"price\":{price},\"note\":{note}}}")
    });
    let lists = (prop::collection::vec(string(), 0..3), prop::collection::vec(item, 0..5));
    let scalars = (prop::array::uniform6(number()), string(), string(), word);
    (scalars, lists, 0u8..12).prop_map(|((numbers, name, city, word), (tags, items), how)| {
        let [id, count, price, big, zip, last] = numbers;
        let (flag, day) = if word.starts_with('"') { ("true", word) } else { (word, "null") };
        let (tags, items) = (tags.join(","), items.join(","));
        let text = format!(
            "{{\"id\":{id},\"count\":{count},\"name\":{name},\"price\":{price},\"big\":{big},\
             \"flag\":{flag},\"day\":{day},\"place\":{{\"city\":{city},\"zip\":{zip}}},\
             \"tags\":[{tags}],\"items\":[{items}],\"last\":{last}}}"
        );
        match how {
            0 => text.replace(':', ": ").replace(',', ", "),
            1 => text.replace('{', "{ ").replace(']', " ]"),
            2 => text.replacen("\"id\"", "\"other\"", 1),
            3 => text.replacen("[]", "null", 1),
            _ => text,
        }
    })
}

/// The rows of some texts, each a list of values, and which texts were refused.
fn read(fields: &[Field], texts: &[&[u8]], on_mistake: OnMistake) -> (Vec<Value>, Vec<usize>) {
    let mut reader = JsonReader::new(fields, on_mistake).unwrap().in_two_passes(true);
    let mut refused = Vec::new();
    let mut column = binary_column(texts.iter().map(|text| Some(*text)));
    reader.read_column(&column.view(), |row, mistake| {
        assert!(mistake.position() <= texts[row].len() * 3);
        assert!(!mistake.to_string().is_empty());
        refused.push(row);
    });
    let views: Vec<_> = reader.columns_mut().iter_mut().map(|column| column.view()).collect();
    assert!(views.iter().all(|view| view.len() == texts.len()));
    (rows_to_json(&views, texts.len()), refused)
}

/// In a map that holds a member twice a misfit in the first of them counts, which serde_json does
/// not see.
fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map { .. } => true,
        DataType::Array { element, .. } => has_map(element),
        _ => data_type.fields().iter().any(|field| has_map(&field.data_type)),
    }
}

/// As many elements as there are, however few the records before had.
#[test]
fn an_array_may_suddenly_be_long() {
    let fields = parse_schema("id long, l array<struct<n: long, s: string>>").unwrap().fields;
    let text = |id: usize, count: usize| {
        let items = (0..count).map(|n| format!("{{\"n\":{n},\"s\":\"{n}\"}}"));
        format!("{{\"id\":{id},\"l\":[{}]}}", items.collect::<Vec<_>>().join(","))
    };
    let lengths = [1, 0, 3, 2_000, 1, 200_000, 2, 70_000, 1];
    let texts: Vec<String> =
        lengths.iter().cycle().take(45).enumerate().map(|(id, count)| text(id, *count)).collect();
    let mut reader = JsonReader::new(&fields, OnMistake::Reject).unwrap().in_two_passes(true);
    let mut column = binary_column(texts.iter().map(|text| Some(text.as_bytes())));
    reader.read_column(&column.view(), |row, mistake| panic!("{row}: {mistake}"));
    let [ids, lists] = reader.columns_mut() else { panic!("two columns") };
    let (ids, lists) = (ids.view(), lists.view());
    for (row, count) in lengths.iter().cycle().take(45).enumerate() {
        let range = lists.range(row);
        assert_eq!((ids.longs()[row], range.len()), (row as i64, *count));
        let [numbers, strings] = lists.elements().children() else { panic!("two members") };
        for (n, index) in range.enumerate() {
            assert_eq!(numbers.longs()[index], n as i64);
            assert_eq!(strings.str_at(index), n.to_string());
        }
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn documents_are_read_as_serde_json_reads_them((fields, texts) in case()) {
        let bytes: Vec<&[u8]> = texts.iter().map(|(text, _)| text.as_bytes()).collect();
        let (rows, _) = read(&fields, &bytes, OnMistake::Permissive);
        let (strict_rows, refused) = read(&fields, &bytes, OnMistake::Reject);
        for (index, (text, doubled)) in texts.iter().enumerate() {
            let document: Map<String, Value> = gristmill::serde_json::from_str(text).unwrap();
            let wanted = expected_object(&fields, &document);
            for (column, field) in fields.iter().enumerate() {
                let (wanted, found) = (&wanted[&field.name], &rows[index][column]);
                let unsure = *doubled && has_map(&field.data_type);
                let same = unsure || same(&field.data_type, wanted, found);
                prop_assert!(same, "{text}\n{}: {wanted} and {found}", field.name);
            }
            if !refused.contains(&index) {
                prop_assert_eq!(&strict_rows[index], &rows[index]);
            }
        }
    }

    #[test]
    fn overwritten_documents_are_read_or_refused(
        (fields, texts) in case(),
        patches in prop::collection::vec((0usize..3, 0usize..300, any::<u8>(), 0u8..4), 1..5),
    ) {
        let texts = texts.into_iter().map(|(text, _)| text.into_bytes());
        let mut texts: Vec<Vec<u8>> = texts.collect();
        let count = texts.len();
        for (text, at, byte, how) in patches {
            let text = &mut texts[text % count];
            let at = at % text.len().max(1);
            match how {
                0 => text.truncate(at),
                1 => text.insert(at, byte),
                2 => { text.drain(at..(at + 1).min(text.len())); }
                _ => if let Some(old) = text.get_mut(at) {
                    *old = b"\"\\{}[],:0e.-'\xc3\x00"[usize::from(byte) % 15];
                },
            }
        }
        let bytes: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        for on_mistake in [OnMistake::Permissive, OnMistake::Reject] {
            let (together, refused) = read(&fields, &bytes, on_mistake);
            for (index, text) in bytes.iter().enumerate() {
                // A text is read the same whatever stands beside it.
                let (alone, refused_alone) = read(&fields, &[text], on_mistake);
                prop_assert_eq!(&alone[0], &together[index]);
                prop_assert_eq!(refused_alone.len() == 1, refused.contains(&index));
                if on_mistake == OnMistake::Reject && refused.contains(&index) {
                    let all_null = together[index].as_array().unwrap().iter().all(Value::is_null);
                    prop_assert!(all_null);
                }
                // What serde_json takes for an object is one.
                let valid = gristmill::serde_json::from_slice::<Map<String, Value>>(text).is_ok();
                if valid && on_mistake == OnMistake::Permissive && refused.contains(&index) {
                    let mut reader = JsonReader::new(&fields, OnMistake::Reject).unwrap();
                    let mistake = reader.read(text).unwrap_err().to_string();
                    prop_assert!(mistake.contains(": expected "), "{mistake}");
                    prop_assert!(mistake.contains(", found "), "{mistake}");
                }
            }
        }
    }

    /// Records that are all alike are read in two passes, many at a time, in WebAssembly; `JsonReader::read` knows only the one pass.
    #[test]
    fn regular_records_are_read_as_each_alone(
        records in prop::collection::vec(regular(), 1..160),
        patches in prop::collection::vec((0usize..160, 0usize..200, any::<u8>()), 0..3),
    ) {
        let mut texts: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        let count = texts.len();
        for (text, at, byte) in patches {
            let text = &mut texts[text % count];
            let at = at % text.len();
            text[at] = b"\"\\{}[],:0e.-'\xc3\x00 "[usize::from(byte) % 16];
        }
        let fields = parse_schema(REGULAR).unwrap().fields;
        let bytes: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        for on_mistake in [OnMistake::Permissive, OnMistake::Reject] {
            let (together, refused) = read(&fields, &bytes, on_mistake);
            let mut reader = JsonReader::new(&fields, on_mistake).unwrap();
            let refused_alone =
                (0..count).filter(|&index| reader.read(bytes[index]).is_err()).collect::<Vec<_>>();
            let views: Vec<_> = reader.columns_mut().iter_mut().map(|c| c.view()).collect();
            prop_assert_eq!(together, rows_to_json(&views, count));
            prop_assert_eq!(refused, refused_alone);
        }
    }

    #[test]
    fn doubles_are_rounded_correctly(
        bits in any::<u64>(),
        digits in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?",
    ) {
        let value = f64::from_bits(bits);
        let shortest = if value.is_finite() { format!("{value:e}") } else { "0.1".to_owned() };
        for text in [shortest, digits] {
            let whole = !text.contains(['.', 'e', 'E']);
            let fields = parse_schema("d double, f float").unwrap().fields;
            let mut reader = JsonReader::new(&fields, OnMistake::Reject).unwrap();
            reader.read(format!("{{\"d\":{text},\"f\":{text}}}").as_bytes()).unwrap();
            let [d, f] = reader.columns_mut() else { panic!("two columns") };
            let (mut double, mut float) = (text.parse::<f64>().unwrap(), text.parse::<f32>().unwrap());
            if whole {
                (double, float) = (double + 0.0, float + 0.0);
            }
            prop_assert_eq!(d.view().doubles()[0].to_bits(), double.to_bits(), "{}", &text);
            prop_assert_eq!(f.view().floats()[0].to_bits(), float.to_bits(), "{}", &text);
        }
    }

    #[test]
    fn integers_are_exact(value in any::<i128>(), shift in 0u32..127) {
        let value = value >> shift;
        let fields = parse_schema("l long, i int").unwrap().fields;
        let mut reader = JsonReader::new(&fields, OnMistake::Permissive).unwrap();
        let read = reader.read(format!("{{\"l\":{value},\"i\":{value}}}").as_bytes());
        let [l, i] = reader.columns_mut() else { panic!("two columns") };
        let (l, i) = (l.view(), i.view());
        prop_assert_eq!(l.is_valid(0).then(|| l.longs()[0]), i64::try_from(value).ok());
        prop_assert_eq!(i.is_valid(0).then(|| i.integers()[0]), i32::try_from(value).ok());
        prop_assert_eq!(read.is_ok(), i32::try_from(value).is_ok());
    }
}
