//! Promises of the documentation, as tables.
#![allow(clippy::unwrap_used)]

use gristmill::native::{NativeStage, string_column};
use gristmill::serde::Deserialize;
use gristmill::serde_json::{Value, json};
use gristmill::{Batch, Column, DataType, Output, Schema, Stage, parse_schema};

use crate::evaluate::Evaluator;
use crate::{Filter, config::Config};

/// Six rows; the last is null in every column.
struct Rows {
    schema: Schema,
    columns: Vec<Column>,
}

const TYPES: &str = "city string, zipcode long, quantity int, price float, total double, active boolean, \
    amount decimal(10,2), key binary, day date, at timestamp, address struct<city: string, zip: long>, \
    items array<string>";

fn rows() -> Rows {
    let schema = parse_schema(TYPES).unwrap();
    let mut columns: Vec<Column> =
        schema.fields.iter().map(|field| Column::new(&field.data_type)).collect();
    let cities = ["Chicago", "chicago", "Chicago ", "", "Zürich"];
    let totals = [1.5, f64::NAN, -0.0, f64::INFINITY, -1e300];
    for row in 0..5 {
        let number = row as i64;
        columns[0].push_str(cities[row]);
        columns[1].push_long(60_601 + number);
        columns[2].push_integer(row as i32);
        columns[3].push_float(0.1 * (row as f32 + 1.0));
        columns[4].push_double(totals[row]);
        columns[5].push_boolean(row % 2 == 0);
        columns[6].push_decimal(i128::from(number * 100 + 50));
        columns[7].push_bytes(&[0xff, row as u8]);
        columns[8].push_integer(20_780 + row as i32);
        columns[9].push_long(20_780 * 86_400_000_000 + number);
        columns[10].children_mut()[0].push_str(cities[row]);
        columns[10].children_mut()[1].push_long(number);
        columns[10].push_struct();
        columns[11].push_list();
    }
    columns.iter_mut().for_each(Column::push_null);
    Rows { schema, columns }
}

fn kept(config: Value) -> Result<Vec<u32>, String> {
    let Rows { schema, mut columns } = rows();
    let config = Config::deserialize(config).map_err(|why| why.to_string())?;
    let (stage, description) =
        Filter::describe(config, &schema).map_err(|why| why.message().to_owned())?;
    assert!(description.columns.is_empty() && description.drops.is_empty());
    let views: Vec<_> = columns.iter_mut().map(Column::view).collect();
    let sent = description.reads.iter().map(|name| views[schema.index_of(name).unwrap()].clone());
    let batch = Batch { row_count: 6, columns: sent.collect() };
    let mut rows = Vec::new();
    Evaluator::default().push_kept_rows(&stage.predicate, &batch, &mut rows);
    Ok(rows)
}

#[test]
fn where_keeps_the_rows_that_spark_keeps() {
    let table: [(&str, &[u32]); 57] = [
        ("city = 'Chicago'", &[0]),
        ("CITY == \"Chicago\"", &[0]),
        ("'Chicago' = city", &[0]),
        ("city <> 'Chicago'", &[1, 2, 3, 4]),
        ("not city = 'Chicago'", &[1, 2, 3, 4]),
        ("city <=> 'Chicago'", &[0]),
        ("not city <=> 'Chicago'", &[1, 2, 3, 4, 5]),
        ("city <=> null", &[5]),
        ("city = null", &[]),
        ("not (city = null)", &[]),
        ("city is distinct from 'Chicago'", &[1, 2, 3, 4, 5]),
        ("city is null", &[5]),
        ("city is not null", &[0, 1, 2, 3, 4]),
        ("city > 'Z'", &[1, 4]),
        ("city in ('Chicago', 'chicago')", &[0, 1]),
        ("city not in ('Chicago', 'chicago')", &[2, 3, 4]),
        ("city in ('Chicago', null)", &[0]),
        ("city not in ('Chicago', null)", &[]),
        ("city like 'Chi%'", &[0, 2]),
        ("city not like '%o'", &[2, 3, 4]),
        ("city ilike 'CHI%O'", &[0, 1]),
        ("city ilike 'zÜ%'", &[4]),
        ("zipcode = 60603", &[2]),
        ("zipcode = '60603'", &[2]),
        ("zipcode in (60601, '60602', 60603.0, 60604.5)", &[0, 1, 2]),
        ("zipcode >= 60604.5", &[4]),
        ("zipcode < 60602.5 or zipcode > 60604e0", &[0, 1, 4]),
        ("60602 <= zipcode and zipcode < 60604", &[1, 2]),
        ("zipcode between 60602 and 60603", &[1, 2]),
        ("zipcode not between 60602 and 60603", &[0, 3, 4]),
        ("zipcode < 99999999999999999999", &[0, 1, 2, 3, 4]),
        ("quantity > 2", &[3, 4]),
        ("quantity < 1.5 and quantity > -0.5", &[0, 1]),
        ("quantity = zipcode", &[]),
        ("quantity < zipcode", &[0, 1, 2, 3, 4]),
        ("price = 0.1", &[]),
        ("price = 0.1F", &[0]),
        ("total = total", &[0, 1, 2, 3, 4]),
        ("total > 1e308", &[1, 3]),
        ("total = 0", &[2]),
        ("total <= 0", &[2, 4]),
        ("active", &[0, 2, 4]),
        ("not active", &[1, 3]),
        ("active = false", &[1, 3]),
        ("active is not true", &[1, 3, 5]),
        ("active = (quantity > 1)", &[1, 2, 4]),
        ("amount >= 2.5", &[2, 3, 4]),
        ("amount = '1.50' or amount = 2.5e0", &[1, 2]),
        ("day = '2026-11-24' or day > date '2026-11-26'", &[1, 4]),
        ("at > '2026-11-23' and at <= timestamp '2026-11-23T00:00:00.000003Z'", &[1, 2, 3]),
        ("at = day", &[0]),
        ("at < day", &[1, 2, 3, 4]),
        ("address.city = 'chicago' or Address.ZIP = 3", &[1, 3]),
        ("address.city is null and address.zip is null", &[5]),
        ("(city = 'x') is null", &[5]),
        ("items is not null", &[0, 1, 2, 3, 4]),
        ("true and (city = city or null)", &[0, 1, 2, 3, 4]),
    ];
    for (text, expected) in table {
        assert_eq!(kept(json!({ "where": text })).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn keys_keep_the_rows_that_the_documentation_says() {
    let table: [(Value, &[u32]); 22] = [
        (json!({ "column": "city", "equals": "Chicago" }), &[0]),
        (json!({ "column": "city", "equals": "CHICAGO", "ignore_case": true }), &[0, 1]),
        (json!({ "column": "city", "equals": "zÜRICH", "ignore_case": true }), &[4]),
        (json!({ "column": "city", "not_equals": "CHICAGO", "ignore_case": true }), &[2, 3, 4]),
        (json!({ "column": "city", "in": ["CHICAGO", ""], "ignore_case": true }), &[0, 1, 3]),
        (json!({ "column": "city", "greater_than": "CHICAGO", "ignore_case": true }), &[2, 4]),
        (json!({ "column": "city", "equals": "Chicago", "not": true }), &[1, 2, 3, 4]),
        (json!({ "column": "city", "not_equals": "Chicago" }), &[1, 2, 3, 4]),
        (json!({ "column": "city", "not_in": ["Chicago", "chicago"] }), &[2, 3, 4]),
        (json!({ "column": "city", "is_null": true }), &[5]),
        (json!({ "column": "city", "is_null": false }), &[0, 1, 2, 3, 4]),
        (json!({ "column": "city", "is_not_null": true }), &[0, 1, 2, 3, 4]),
        (json!({ "column": "zipcode", "at_least": 60_602, "less_than": 60_604 }), &[1, 2]),
        (json!({ "column": "zipcode", "at_most": 60_602, "greater_than": 60_601 }), &[1]),
        (json!({ "column": "zipcode", "in": [60_601, "60602", 1.5] }), &[0, 1]),
        (json!({ "column": "price", "equals": 0.1 }), &[0]),
        (json!({ "column": "amount", "equals": 1.5 }), &[1]),
        (json!({ "column": "active", "equals": true }), &[0, 2, 4]),
        (json!({ "column": "address.city", "equals": "Chicago" }), &[0]),
        (json!({ "column": "Day", "at_least": "2026-11-27" }), &[4]),
        (json!({ "where": "city = 'Chicago'", "not": true }), &[1, 2, 3, 4]),
        (json!({ "column": "city", "not_equals": "a", "is_not_null": true }), &[0, 1, 2, 3, 4]),
    ];
    for (config, expected) in table {
        assert_eq!(kept(config.clone()).as_deref(), Ok(expected), "{config}");
    }
}

#[test]
fn a_wrong_configuration_names_the_key_the_place_and_the_mend() {
    let columns = "columns: `city`, `zipcode`, `quantity`, `price`, `total`, `active`, `amount`, \
        `key`, `day`, `at`, `address`, `items`";
    let table = [
        (
            json!({ "where": "active and citi = 'x'" }),
            format!("config.where: at character 12: no column `citi`, did you mean `city`? {columns}"),
        ),
        (
            json!({ "column": "citi", "equals": "x" }),
            format!("config.column: no column `citi`, did you mean `city`? {columns}"),
        ),
        (
            json!({ "where": "address.citi = 'x'" }),
            "config.where: at character 1: `address` has no field `citi`, \
                did you mean `city`? fields: `city`, `zip`"
                .into(),
        ),
        (
            json!({ "where": "city = 60601" }),
            "config.where: at character 8: column `city` is string and cannot be compared with the number \
                60601: write '60601' in quotes, or put the stage `cast` before, with `long` for this column"
                .into(),
        ),
        (
            json!({ "column": "zipcode", "equals": "sixty" }),
            "config.equals: column `zipcode` is long, and the text 'sixty' is not a whole number".into(),
        ),
        (
            json!({ "where": "day = 'soon'" }),
            "config.where: at character 7: column `day` is date, and the text 'soon' is not a date".into(),
        ),
        (
            json!({ "where": "city = zipcode" }),
            "config.where: at character 1: `city` (string) cannot be compared with `zipcode` (long): \
                put the stage `cast` before, to give them one type"
                .into(),
        ),
        (
            json!({ "where": "items.x = 1" }),
            "config.where: at character 1: `items` is array<string> and has no field `x`, \
                put the stage `flatten` before"
                .into(),
        ),
        (
            json!({ "where": "city" }),
            "config.where: at character 1: `city` is string, not a condition: compare it".into(),
        ),
        (
            json!({ "where": "zipcode like '6%'" }),
            "config.where: at character 1: column `zipcode` is long, and `like` needs text: \
                put the stage `cast` before, with `string` for this column"
                .into(),
        ),
        (
            json!({ "where": "a = 1", "equals": 1 }),
            "config.equals: belongs to a `column`: put the condition into `where` or leave equals out".into(),
        ),
        (
            json!({ "where": "active", "ignore_case": true }),
            "config.ignore_case: goes with a `column`: in `where` use `ilike`, which ignores case".into(),
        ),
        (
            json!({ "column": "city" }),
            "config.column: says nothing of `city`: add a condition, such as `equals`".into(),
        ),
        (
            json!({ "column": "city", "in": [] }),
            "config.in: an empty list fits no row: name at least one value".into(),
        ),
        (
            json!({}),
            "name a `column` with a condition, as in { column = \"city\", equals = \"Chicago\" }, or a `where`"
                .into(),
        ),
        (
            json!({ "column": "city", "equals": { "x": 1 } }),
            "config.equals: must be a text, a number or a boolean".into(),
        ),
        (
            json!({ "column": "zipcode", "equals": 1, "ignore_case": true }),
            "config.ignore_case: column `zipcode` is long and has no case".into(),
        ),
    ];
    for (config, expected) in table {
        assert_eq!(kept(config.clone()), Err(expected), "{config}");
    }
}

#[test]
fn names_that_differ_in_case_only_must_be_written_exactly() {
    let schema = parse_schema("a long, A long").unwrap();
    let describe = |text: &str| {
        let config = Config::deserialize(json!({ "where": text })).unwrap();
        Filter::describe(config, &schema).map(|(_, description)| description.reads)
    };
    assert_eq!(describe("A = 1").unwrap(), ["A"]);
    let schema = parse_schema("aB long, Ab long").unwrap();
    let config = Config::deserialize(json!({ "where": "ab = 1" })).unwrap();
    let message = Filter::describe(config, &schema).unwrap_err();
    let expected = "config.where: at character 1: `ab` may be `aB` or `Ab`, write one of them";
    assert_eq!(message.message(), expected);
}

#[test]
fn a_filter_reads_each_of_its_columns_once_and_nothing_else() {
    let schema = parse_schema(TYPES).unwrap();
    let text = "city = 'a' or address.zip = 1 or address.city = 'b' or CITY is null";
    let config = Config::deserialize(json!({ "where": text })).unwrap();
    let (_, description) = Filter::describe(config, &schema).unwrap();
    assert_eq!(description.reads, ["city", "address"]);
    assert_eq!(schema.field("city").unwrap().data_type, DataType::String);
}

#[test]
fn the_schema_for_editors_knows_every_key() {
    let schema = crate::config::schema();
    let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "at_least",
            "at_most",
            "column",
            "equals",
            "greater_than",
            "ignore_case",
            "in",
            "is_not_null",
            "is_null",
            "less_than",
            "not",
            "not_equals",
            "not_in",
            "where",
        ]
    );
}

#[test]
fn a_batch_that_passes_whole_names_no_rows() {
    let row_numbers = |text: &str| {
        let config = json!({ "where": text }).to_string();
        let schema = parse_schema("city string").unwrap();
        let mut stage = NativeStage::<Filter>::new(&config, schema).unwrap();
        let mut column = string_column([Some("a"), Some("b")]);
        let batch = Batch { row_count: 2, columns: vec![column.view()] };
        let numbers = |output: &Output<'_>| output.row_numbers().map(<[u32]>::to_vec);
        stage.process(&batch, numbers).unwrap()
    };
    assert_eq!(row_numbers("city < 'c'"), None);
    assert_eq!(row_numbers("city < 'b'"), Some(vec![0]));
    assert_eq!(row_numbers("city < 'a'"), Some(vec![]));
}

#[test]
fn a_key_that_does_not_exist_is_refused() {
    let config = r#"{ "column": "city", "equal": "Chicago" }"#;
    let schema = parse_schema("city string").unwrap();
    let message = NativeStage::<Filter>::new(config, schema).unwrap_err();
    let expected = "config.equal: unknown key; did you mean `equals`?";
    assert!(message.message().starts_with(expected), "{message}");
}
