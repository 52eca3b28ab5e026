//! The stage as a whole: configuration and columns in, rows out.
#![allow(clippy::unwrap_used)]

use gristmill::native::NativeStage;
use gristmill::serde_json::{Value, json};
use gristmill::{Batch, Column, ColumnView, DataType, Schema, parse_schema};
use proptest::prelude::*;

use crate::Flatten;

/// Writes a JSON value into a column.
fn push(column: &mut Column, value: &Value) {
    match (column.data_type().clone(), value) {
        (_, Value::Null) => column.push_null(),
        (DataType::Integer, value) => column.push_integer(value.as_i64().unwrap() as i32),
        (DataType::Long, value) => column.push_long(value.as_i64().unwrap()),
        (DataType::Boolean, value) => column.push_boolean(value.as_bool().unwrap()),
        (DataType::String, value) => column.push_str(value.as_str().unwrap()),
        (DataType::Struct(fields), value) => {
            for (child, field) in column.children_mut().iter_mut().zip(&fields) {
                push(child, &value[&field.name]);
            }
            column.push_struct();
        }
        (DataType::Array { .. }, value) => {
            for element in value.as_array().unwrap() {
                push(&mut column.children_mut()[0], element);
            }
            column.push_list();
        }
        (DataType::Map { .. }, value) => {
            for (key, value) in value.as_object().unwrap() {
                push(&mut column.children_mut()[0], &json!(key));
                push(&mut column.children_mut()[1], value);
            }
            column.push_list();
        }
        (other, _) => panic!("no test needs {other}"),
    }
}

/// Reads a column's value as JSON.
fn read(view: &ColumnView<'_>, index: usize) -> Value {
    if view.is_null(index) {
        return Value::Null;
    }
    match view.data_type() {
        DataType::Integer => json!(view.integers()[index]),
        DataType::Long => json!(view.longs()[index]),
        DataType::Boolean => json!(view.boolean(index)),
        DataType::String => json!(view.str_at(index)),
        DataType::Struct(fields) => {
            let members = fields.iter().zip(view.children());
            members.map(|(field, child)| (field.name.clone(), read(child, index))).collect()
        }
        DataType::Array { .. } => {
            view.range(index).map(|element| read(view.elements(), element)).collect()
        }
        other => panic!("no test needs {other}"),
    }
}

/// Output rows as `[row, made column, …]`, and the names of the columns made.
fn flatten(
    config: &Value,
    schema: &str,
    column: &str,
    values: &[Value],
) -> (Vec<String>, Vec<Value>) {
    let schema = parse_schema(schema).unwrap();
    let mut stage = NativeStage::<Flatten>::new(&config.to_string(), schema.clone()).unwrap();
    assert_eq!(stage.description().reads, [column]);
    let mut input = Column::new(&schema.field(column).unwrap().data_type);
    values.iter().for_each(|value| push(&mut input, value));
    let names = stage.description().columns.iter().map(|field| field.name.clone()).collect();
    let batch = Batch { row_count: values.len(), columns: vec![input.view()] };
    let rows = stage.process(&batch, |output| {
        assert_eq!(output.failures().count(), 0);
        let numbers = output.row_numbers().unwrap();
        let made = |at: usize| output.columns().iter().map(move |column| read(column, at));
        let rows = numbers.iter().enumerate();
        rows.map(|(at, row)| std::iter::once(json!(row)).chain(made(at)).collect()).collect()
    });
    (names, rows.unwrap())
}

fn refusal(config: &Value, schema: &str) -> String {
    let schema = parse_schema(schema).unwrap();
    match NativeStage::<Flatten>::new(&config.to_string(), schema) {
        Ok(_) => panic!("{config} was accepted"),
        Err(error) => error.message().to_owned(),
    }
}

const ORDERS: &str =
    "order_id long, items array<struct<id: long, name: string>>, tags array<string>";

#[test]
fn rows_with_many_elements_and_with_none_are_numbered() {
    let lengths = [5, 0, 4, 9, 1, 0, 0, 3, 12, 0];
    let arrays = lengths.iter().map(|count| (0..*count).map(|n| n.to_string()).collect());
    let values: Vec<Value> = arrays.map(|texts: Vec<String>| json!(texts)).collect();
    for values in [&values[..], &values[2..8], &values[1..2], &[]] {
        let (_, rows) = flatten(&json!({ "explode": "tags" }), ORDERS, "tags", values);
        let row = |(row, tags): (usize, &Value)| {
            let tags = tags.as_array().unwrap().iter();
            tags.map(|tag| json!([row, tag])).collect::<Vec<_>>()
        };
        assert_eq!(rows, values.iter().enumerate().flat_map(row).collect::<Vec<_>>());
    }
}

#[test]
fn rows_come_out_as_in_spark() {
    let x = json!({ "id": 1, "name": "x" });
    let y = json!({ "id": 2, "name": null });
    let values = [json!([x, y]), json!([]), Value::Null, json!([null, x])];
    let table = [
        (json!({}), json!([[0, 1, "x"], [0, 2, null], [3, null, null], [3, 1, "x"]])),
        (
            json!({ "outer": true }),
            json!([
                [0, 1, "x"],
                [0, 2, null],
                [1, null, null],
                [2, null, null],
                [3, null, null],
                [3, 1, "x"]
            ]),
        ),
        (
            json!({ "position": "pos" }),
            json!([[0, 0, 1, "x"], [0, 1, 2, null], [3, 0, null, null], [3, 1, 1, "x"]]),
        ),
        (
            json!({ "position": "pos", "outer": true }),
            json!([
                [0, 0, 1, "x"],
                [0, 1, 2, null],
                [1, null, null, null],
                [2, null, null, null],
                [3, 0, null, null],
                [3, 1, 1, "x"]
            ]),
        ),
        (
            json!({ "keep_null_elements": false, "position": "pos" }),
            json!([[0, 0, 1, "x"], [0, 1, 2, null], [3, 1, 1, "x"]]),
        ),
    ];
    for (mut config, expected) in table {
        config["explode"] = json!("items");
        let (_, rows) = flatten(&config, ORDERS, "items", &values);
        assert_eq!(Value::from(rows), expected, "{config}");
    }
}

#[test]
fn scalars_and_maps_are_taken_apart_too() {
    let tags = [json!(["a", null]), json!([]), json!(["b"])];
    let (names, rows) = flatten(&json!({ "explode": "Tags" }), ORDERS, "tags", &tags);
    assert_eq!(names, ["tags"]);
    assert_eq!(Value::from(rows), json!([[0, "a"], [0, null], [2, "b"]]));

    let dropping = json!({ "explode": "tags", "keep_null_elements": false, "outer": true });
    let tags = [json!(["a", null]), json!([null])];
    let (_, rows) = flatten(&dropping, ORDERS, "tags", &tags);
    assert_eq!(Value::from(rows), json!([[0, "a"], [1, null]]));

    let config = json!({ "explode": "m", "rename": { "key": "name" } });
    let maps = [json!({ "a": 1, "b": null }), Value::Null, json!({ "c": 3 })];
    let (names, rows) = flatten(&config, "key binary, m map<string, long>", "m", &maps);
    assert_eq!(names, ["name", "value"]);
    assert_eq!(Value::from(rows), json!([[0, "a", 1], [0, "b", null], [2, "c", 3]]));
}

#[test]
fn columns_are_named_placed_and_ended_as_described() {
    let described = |config: Value| {
        let schema = parse_schema(ORDERS).unwrap();
        let stage = NativeStage::<Flatten>::new(&config.to_string(), schema).unwrap();
        let description = stage.description();
        (Schema::new(description.columns.clone()).to_string(), description.drops.clone())
    };
    let table = [
        (json!({ "explode": "items" }), "id long, name string", vec!["items"]),
        (
            json!({ "explode": "items", "prefix": "item_", "rename": { "name": "title" } }),
            "item_id long, title string",
            vec!["items"],
        ),
        (
            json!({ "explode": "items", "position": "pos" }),
            "pos int, id long, name string",
            vec!["items"],
        ),
        (
            json!({ "explode": "items", "rename": { "id": "items" } }),
            "items long, name string",
            vec![],
        ),
        (json!({ "explode": "tags" }), "tags string", vec![]),
        (json!({ "explode": "tags", "rename": { "tags": "tag" } }), "tag string", vec!["tags"]),
    ];
    for (config, columns, drops) in table {
        let expected = (columns.to_owned(), drops.into_iter().map(str::to_owned).collect());
        assert_eq!(described(config.clone()), expected, "{config}");
    }
}

#[test]
fn a_wrong_configuration_names_the_key_and_the_mend() {
    let table = [
        (
            json!({ "explode": "itms" }),
            "config.explode: no column `itms`; did you mean `items`? columns: `order_id`, `items`, `tags`",
        ),
        (
            json!({ "explode": "order_id" }),
            "config.explode: column `order_id` is long, and only an array or a map can be taken apart",
        ),
        (
            json!({ "explode": "items", "rename": { "nam": "title" } }),
            "config.rename.nam: `items` makes no column `nam`; did you mean `name`? \
                columns that it makes: `id`, `name`",
        ),
        (
            json!({ "explode": "items", "rename": { "id": "order_id" } }),
            "config.rename: a column `order_id` is carried from the input: give the one made of `items` \
                another name, as in { id = \"items_id\" }",
        ),
        (
            json!({ "explode": "items", "rename": { "id": "name" } }),
            "config.rename: a column `name` is made here already: give the one made of `items` \
                another name, as in { id = \"items_id\" }",
        ),
        (
            json!({ "explode": "items", "position": "tags" }),
            "config.position: there is a column `tags` already, take another name",
        ),
        (json!({}), "config.explode: this key is required"),
    ];
    for (config, expected) in table {
        assert_eq!(refusal(&config, ORDERS), expected, "{config}");
    }
    let config = json!({ "explode": "m" });
    let message = refusal(&config, "key binary, value binary, m map<string, long>");
    let expected = "config.rename: a column `key` is carried from the input: give the one made of `m` \
        another name, as in { key = \"m_key\" }";
    assert_eq!(message, expected);
}

#[test]
fn elements_side_by_side_are_handed_on_without_a_copy() {
    let schema = parse_schema(ORDERS).unwrap();
    let mut input = Column::new(&schema.field("items").unwrap().data_type);
    for value in [json!([{ "id": 1, "name": "x" }]), json!([]), json!([{ "id": 2, "name": "y" }])] {
        push(&mut input, &value);
    }
    let mut stage = NativeStage::<Flatten>::new(r#"{"explode":"items"}"#, schema).unwrap();
    let view = input.view();
    let ids = view.elements().children()[0].longs().as_ptr();
    let batch = Batch { row_count: 3, columns: vec![view] };
    let made = stage.process(&batch, |output| output.columns()[0].longs().as_ptr()).unwrap();
    assert_eq!(made, ids);
}

type Element = Option<(Option<i64>, Option<String>, Option<bool>)>;

fn elements() -> impl Strategy<Value = Vec<Element>> {
    let scalar = (any::<Option<i64>>(), prop::option::of("[a-zü]{0,3}"), any::<Option<bool>>());
    let element = prop_oneof![1 => Just(None), 6 => scalar.prop_map(Some)];
    prop::collection::vec(element, 0..5)
}

#[test]
fn the_schema_for_editors_knows_every_key() {
    let schema = crate::config::schema();
    let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["explode", "keep_null_elements", "outer", "position", "prefix", "rename"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Against a loop over rows; the input is a slice, so that offsets and bitmaps do not begin at
    /// 0.
    #[test]
    fn any_arrays_come_apart_as_row_by_row(
        rows in prop::collection::vec(prop::option::weighted(0.9, elements()), 0..40),
        start in 0_usize..3,
        outer in any::<bool>(),
        keep_null_elements in any::<bool>(),
    ) {
        let schema = parse_schema("items array<struct<l: long, s: string, b: boolean>>").unwrap();
        let as_json = |row: &Option<Vec<Element>>| row.as_ref().map_or(Value::Null, |elements| {
            let element = |element: &Element| match element {
                Some((l, s, b)) => json!({ "l": l, "s": s, "b": b }),
                None => Value::Null,
            };
            elements.iter().map(element).collect()
        });
        let mut input = Column::new(&schema.fields[0].data_type);
        rows.iter().for_each(|row| push(&mut input, &as_json(row)));
        let whole = input.view();
        let start = start.min(rows.len() / 8) * 8;
        let view = whole.slice(start..rows.len()).unwrap();

        let mut config = json!({ "explode": "items", "outer": outer, "position": "p" });
        config["keep_null_elements"] = json!(keep_null_elements);
        let mut stage = NativeStage::<Flatten>::new(&config.to_string(), schema.clone()).unwrap();
        let batch = Batch { row_count: view.len(), columns: vec![view] };
        let mut found = Vec::new();
        stage.process(&batch, |output| {
            for (at, row) in output.row_numbers().unwrap().iter().enumerate() {
                let made = output.columns().iter().map(|column| read(column, at));
                found.push(json!([row, made.collect::<Value>()]));
            }
        }).unwrap();

        let mut expected = Vec::new();
        for (row, elements) in rows[start..].iter().enumerate() {
            let before = expected.len();
            for (position, element) in elements.iter().flatten().enumerate() {
                match element {
                    Some((l, s, b)) => expected.push(json!([row, [position, l, s, b]])),
                    None if keep_null_elements => {
                        expected.push(json!([row, [position, null, null, null]]));
                    }
                    None => {}
                }
            }
            if outer && expected.len() == before {
                expected.push(json!([row, [null, null, null, null]]));
            }
        }
        prop_assert_eq!(found, expected);
    }
}
