//! What the integration tests share: batches of every type, and views as JSON.

use gristmill::serde_json::{Value, json};
use gristmill::{Column, ColumnView, Field, parse_schema};
use proptest::prelude::ProptestConfig;

pub const ALL_TYPES: &str = "b boolean, i int, l long, f float, d double, s string, x binary, \
    day date, time timestamp, price decimal(10,2), st struct<p: long, q: string>, a array<long>, \
    items array<struct<id: long, tags: array<string>>>, m map<string, long>";

pub fn all_types() -> Vec<Field> {
    parse_schema(ALL_TYPES).expect("the schema above").fields
}

/// Two rows of values and one of nulls between them, of every type.
pub fn all_types_columns() -> Vec<Column> {
    let mut columns: Vec<Column> =
        all_types().iter().map(|field| Column::new(&field.data_type)).collect();
    for row in 0..3i64 {
        if row == 1 {
            columns.iter_mut().for_each(Column::push_null);
            continue;
        }
        columns[0].push_boolean(row == 0);
        columns[1].push_integer(row as i32 - 1);
        columns[2].push_long(i64::MAX - row);
        columns[3].push_float(1.5 + row as f32);
        columns[4].push_double(-0.1 * row as f64);
        columns[5].push_str(if row == 0 { "Chicago" } else { "Zoë" });
        columns[6].push_bytes(&[0, 255, row as u8]);
        columns[7].push_integer(20_000 + row as i32);
        columns[8].push_long(1_700_000_000_000_000 + row);
        columns[9].push_decimal(-12_345 + i128::from(row));
        push_struct(&mut columns[10], row);
        for element in 0..row {
            columns[11].children_mut()[0].push_long(element);
        }
        columns[11].push_list();
        push_items(&mut columns[12], row);
        columns[13].children_mut()[0].push_str("one");
        columns[13].children_mut()[1].push_long(1);
        columns[13].children_mut()[0].push_str("none");
        columns[13].children_mut()[1].push_null();
        columns[13].push_list();
    }
    columns
}

fn push_struct(column: &mut Column, row: i64) {
    column.children_mut()[0].push_long(row);
    match row {
        0 => column.children_mut()[1].push_null(),
        _ => column.children_mut()[1].push_str("q"),
    }
    column.push_struct();
}

fn push_items(column: &mut Column, row: i64) {
    let items = &mut column.children_mut()[0];
    for id in 0..=row {
        items.children_mut()[0].push_long(id);
        let tags = &mut items.children_mut()[1];
        tags.children_mut()[0].push_str("new");
        tags.push_list();
        items.push_struct();
    }
    items.push_null();
    column.push_list();
}

/// One value as JSON: binaries as lists of bytes, decimals as text, maps as lists of pairs.
pub fn to_json(view: &ColumnView<'_>, row: usize) -> Value {
    use gristmill::DataType::*;
    if view.is_null(row) {
        return Value::Null;
    }
    match view.data_type() {
        Boolean => json!(view.boolean(row)),
        Integer | Date => json!(view.integers()[row]),
        Long | Timestamp => json!(view.longs()[row]),
        Float => json!(view.floats()[row]),
        Double => json!(view.doubles()[row]),
        String => json!(view.str_at(row)),
        Binary => json!(view.bytes_at(row)),
        Decimal { .. } => json!(view.decimal(row).to_string()),
        Struct(fields) => {
            let members = fields.iter().zip(view.children());
            members.map(|(field, child)| (field.name.clone(), to_json(child, row))).collect()
        }
        Array { .. } => view.range(row).map(|index| to_json(view.elements(), index)).collect(),
        Map { .. } => {
            let pair = |i| json!([to_json(view.keys(), i), to_json(view.map_values(), i)]);
            view.range(row).map(pair).collect()
        }
    }
}

/// All rows of some columns, each a list.
pub fn rows_to_json(columns: &[ColumnView<'_>], row_count: usize) -> Vec<Value> {
    (0..row_count).map(|row| columns.iter().map(|column| to_json(column, row)).collect()).collect()
}

/// A property with so many cases, or as many as PROPTEST_CASES says.
pub fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
