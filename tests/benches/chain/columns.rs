//! The shipped stages' own code, compiled natively and called without frames or sandbox: what WASM is measured against.

use anyhow::{Result, anyhow};
use gristmill::native::{NativeStage, binary_column};
use gristmill::{Batch, Column, ColumnView, DataType, Error, Field, Schema, parse_schema};
use gristmill_engine::lane::BATCH_ROWS_MAX;
use stage_filter::Filter;
use stage_flatten::Flatten;
use stage_parse_json::ParseJson;

use super::orders::{Case, Input};
use super::wasm::SCHEMA;

/// Position of `city` and of `line_items` among the parsed columns.
const CITY: usize = 4;
const LINE_ITEMS: usize = 7;

pub struct Chain {
    parse: NativeStage<ParseJson>,
    flatten: NativeStage<Flatten>,
    filter: NativeStage<Filter>,
    /// Key and value of each batch.
    batches: Vec<(Column, Column)>,
    gathered: Gathered,
}

/// What is gathered by row numbers: `city` for the filter, and the rows that pass.
struct Gathered {
    city: Column,
    rows: Vec<Column>,
}

impl Chain {
    pub fn new(input: &Input) -> Result<Chain> {
        let wrong = |error: Error| anyhow!("{error}");
        let value = Schema { fields: vec![Field::new("value", DataType::Binary)] };
        let parsed = parse_schema(SCHEMA).map_err(|error| anyhow!("{error}"))?;
        let city = Schema { fields: vec![Field::new("city", DataType::String)] };
        let keep =
            if input.case == Case::PassesAll { "city is not null" } else { "city = 'Chicago'" };
        let config = |text: serde_json::Value| text.to_string();
        let starts = (0..input.len()).step_by(BATCH_ROWS_MAX);
        let batch = |start: usize| {
            let range = start..(start + BATCH_ROWS_MAX).min(input.len());
            let column =
                |texts: &[String]| binary_column(texts.iter().map(|text| Some(text.as_bytes())));
            (column(&input.keys[range.clone()]), column(&input.values[range]))
        };
        let parse = config(serde_json::json!({ "schema": SCHEMA }));
        let flatten = config(serde_json::json!({ "explode": "line_items" }));
        let filter = config(serde_json::json!({ "where": keep }));
        Ok(Chain {
            parse: NativeStage::new(&parse, value).map_err(wrong)?,
            gathered: Gathered::new(&parsed),
            flatten: NativeStage::new(&flatten, parsed).map_err(wrong)?,
            filter: NativeStage::new(&filter, city).map_err(wrong)?,
            batches: starts.map(batch).collect(),
        })
    }

    /// All orders once through; returns the rows that came out.
    pub fn run(&mut self) -> Result<u64> {
        let mut rows = 0;
        let Chain { parse, flatten, filter, batches, gathered } = self;
        for (key, value) in batches {
            let (key, value) = (key.view(), value.view());
            let batch = Batch { row_count: value.len(), columns: vec![value] };
            let passed = parse.process(&batch, |parsed| {
                let parsed = parsed.columns();
                let items = vec![parsed[LINE_ITEMS].clone()];
                let items = Batch { row_count: items[0].len(), columns: items };
                flatten.process(&items, |flat| {
                    gathered.filtered(
                        filter,
                        &key,
                        parsed,
                        flat.columns(),
                        flat.row_numbers().unwrap_or_default(),
                    )
                })
            });
            let passed = passed.and_then(|inner| inner).and_then(|inner| inner);
            rows += passed.map_err(|error| anyhow!("{error}"))?;
        }
        Ok(rows)
    }
}

impl Gathered {
    fn new(parsed: &Schema) -> Gathered {
        let fields = &parsed.fields[..LINE_ITEMS];
        let DataType::Array { element, .. } = &parsed.fields[LINE_ITEMS].data_type else {
            unreachable!("line_items is an array");
        };
        let DataType::Struct(item) = &**element else { unreachable!("of structs") };
        let key = Column::new(&DataType::Binary);
        let columns = fields.iter().chain(item).map(|field| Column::new(&field.data_type));
        Gathered {
            city: Column::new(&DataType::String),
            rows: [key].into_iter().chain(columns).collect(),
        }
    }

    /// Filters the flattened rows by city and gathers those that pass; returns how many.
    fn filtered(
        &mut self,
        filter: &mut NativeStage<Filter>,
        key: &ColumnView<'_>,
        parsed: &[ColumnView<'_>],
        items: &[ColumnView<'_>],
        orders: &[u32],
    ) -> Result<u64, Error> {
        gather(&mut self.city, &parsed[CITY], orders.iter().copied());
        let batch = Batch { row_count: orders.len(), columns: vec![self.city.view()] };
        let out = &mut self.rows;
        filter.process(&batch, |kept| {
            // No row numbers: every row passes.
            let all: Vec<u32>;
            let kept = match kept.row_numbers() {
                Some(kept) => kept,
                None => {
                    all = (0..orders.len() as u32).collect();
                    &all
                }
            };
            let of_order = || kept.iter().map(|row| orders[*row as usize]);
            gather(&mut out[0], key, of_order());
            for (column, source) in out[1..].iter_mut().zip(&parsed[..LINE_ITEMS]) {
                gather(column, source, of_order());
            }
            for (column, source) in out[1 + LINE_ITEMS..].iter_mut().zip(items) {
                gather(column, source, kept.iter().copied());
            }
            std::hint::black_box(&*out);
            kept.len() as u64
        })
    }
}

fn gather(into: &mut Column, from: &ColumnView<'_>, rows: impl Iterator<Item = u32>) {
    into.clear();
    for row in rows {
        into.push_from(from, row as usize);
    }
}
