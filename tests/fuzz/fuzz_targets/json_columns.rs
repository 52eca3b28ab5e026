//! Any bytes through the JSON parser: no panic, no read out of bounds, one row per text, a text
//! read the same whatever stands beside it, and nothing called malformed that serde_json takes for
//! an object.

#![no_main]

use gristmill::json::{JsonReader, OnMistake};
use gristmill::native::binary_column;
use gristmill::serde_json::{Map, Value};
use gristmill::{ColumnView, Field, parse_schema};
use libfuzzer_sys::fuzz_target;

const SCHEMAS: [&str; 4] = [
    "a long, b string, c double",
    "id int, ok boolean, items array<struct<p: long, q: float, r: string>>, tags array<string>",
    "m map<string, long>, s struct<t: struct<a: array<array<int>>>>, `größe` decimal(20,5)",
    "d date, t timestamp, x binary, f float, a_name_of_more_than_thirty_two_bytes_in_all string",
];

/// Every value of a view, so that whatever is wrong in it shows.
fn walk(view: &ColumnView<'_>) -> usize {
    use gristmill::DataType::*;
    let rows = 0..view.len();
    let own: usize = match view.data_type() {
        String => rows.map(|row| view.str_at(row).chars().count()).sum(),
        Binary => rows.map(|row| view.bytes_at(row).len()).sum(),
        Array { .. } | Map { .. } => rows.map(|row| view.range(row).len()).sum(),
        _ => rows.filter(|&row| view.is_null(row)).count(),
    };
    own + view.children().iter().map(walk).sum::<usize>()
}

fn read(fields: &[Field], texts: &[&[u8]], on_mistake: OnMistake) -> (usize, Vec<usize>) {
    let reader = JsonReader::new(fields, on_mistake).expect("a schema of ours");
    let mut reader = reader.in_two_passes(true);
    let mut refused = Vec::new();
    let mut column = binary_column(texts.iter().map(|text| Some(*text)));
    reader.read_column(&column.view(), |row, mistake| {
        assert!(!mistake.to_string().is_empty());
        refused.push(row);
    });
    let mut walked = 0;
    for column in reader.columns_mut() {
        assert_eq!(column.len(), texts.len());
        walked += walk(&column.view());
    }
    (walked, refused)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let fields = parse_schema(SCHEMAS[usize::from(first % 4)]).expect("a schema of ours").fields;
    // 0x1e, the record separator: so that texts may hold line ends.
    let texts: Vec<&[u8]> = rest.split(|&byte| byte == 0x1e).collect();
    for on_mistake in [OnMistake::Reject, OnMistake::Permissive] {
        let (walked, refused) = read(&fields, &texts, on_mistake);
        let mut walked_alone = 0;
        for (index, text) in texts.iter().enumerate() {
            let (walked, refused_alone) = read(&fields, &[text], on_mistake);
            walked_alone += walked;
            assert_eq!(refused_alone.len() == 1, refused.contains(&index));
        }
        assert_eq!(walked, walked_alone);
    }
    for text in texts {
        let mut reader = JsonReader::new(&fields, OnMistake::Reject).expect("a schema of ours");
        let valid = gristmill::serde_json::from_slice::<Map<String, Value>>(text).is_ok();
        if let (true, Err(mistake)) = (valid, reader.read(text)) {
            assert!(mistake.to_string().contains(", found "), "{mistake}");
        }
    }
});
