//! How fast JSON becomes columns: orders per second of one core, against typed serde_json on the
//! same texts in the same run.
//!
//! `cargo run --release -p gristmill-sdk --example parse_speed [ORDERS [STYLE]]`, where STYLE is a
//! part of a line's name.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use gristmill::json::{JsonReader, OnMistake};
use gristmill::native::binary_column;
use gristmill::{Column, parse_schema};
use serde::Deserialize;

const SCHEMA: &str = "order_id long, customer_id long, customer_fname string, customer_lname string, city string, \
    state string, zipcode long, line_items array<struct<order_item_id: long, order_item_product_id: long, \
    order_item_quantity: long, order_item_product_price: float, order_item_subtotal: float>>";

/// Rows in one batch: what the engine passes.
const BATCH_ROWS: usize = 1000;

/// Runs over the same texts; of each batch the fastest counts.
const ROUNDS: usize = 15;

#[allow(dead_code)]
#[derive(Deserialize)]
struct Order {
    order_id: Option<i64>,
    customer_id: Option<i64>,
    customer_fname: Option<String>,
    customer_lname: Option<String>,
    city: Option<String>,
    state: Option<String>,
    zipcode: Option<i64>,
    line_items: Option<Vec<Item>>,
}

#[allow(dead_code)]
#[derive(Deserialize)]
struct Item {
    order_item_id: Option<i64>,
    order_item_product_id: Option<i64>,
    order_item_quantity: Option<i64>,
    order_item_product_price: Option<f32>,
    order_item_subtotal: Option<f32>,
}

/// SplitMix64: the same orders in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// How the texts are written.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Shuffled,
    OtherOrder,
    Spaced,
    Escaped,
    Accented,
    Nulls,
    ExtraMembers,
}

fn members(random: &mut Random, style: Style, mut members: Vec<(&str, String)>) -> String {
    if style == Style::Nulls {
        for member in members.iter_mut().filter(|member| member.0 != "line_items") {
            if random.below(4) == 0 {
                member.1 = "null".to_owned();
            }
        }
    }
    match style {
        Style::Shuffled => random.shuffle(&mut members),
        Style::OtherOrder => members.sort(),
        Style::ExtraMembers => {
            members.insert(2, ("source", "{\"app\":\"shop\",\"v\":[1,2.5]}".into()))
        }
        _ => {}
    }
    let (colon, comma) = if style == Style::Spaced { (": ", ",\n  ") } else { (":", ",") };
    let written: Vec<String> =
        members.into_iter().map(|(key, value)| format!("\"{key}\"{colon}{value}")).collect();
    format!("{{{}}}", written.join(comma))
}

fn quoted(style: Style, text: &str) -> String {
    match style {
        Style::Escaped => format!("\"{}\\u00e9\\\"\"", text),
        Style::Accented => format!("\"{text}é\""),
        _ => format!("\"{text}\""),
    }
}

fn order(random: &mut Random, style: Style, id: usize, item_id: &mut u64) -> String {
    const CITIES: &[&str] =
        &["Caguas", "Brooklyn", "Los Angeles", "Philadelphia", "Chicago", "Huntington Park"];
    const NAMES: &[&str] = &["Mary", "James", "Christopher", "Rodriguez", "O'Brien", "Smith"];
    const PRICES: &[f64] = &[299.98, 129.99, 49.98, 399.98, 59.99, 250.0, 22.0, 1999.99, 5.99];
    let mut items = Vec::new();
    for _ in 0..1 + random.below(5) {
        let price = PRICES[random.below(PRICES.len() as u64) as usize];
        let quantity = 1 + random.below(5);
        let item = vec![
            ("order_item_id", item_id.to_string()),
            ("order_item_product_id", (1 + random.below(1345)).to_string()),
            ("order_item_quantity", quantity.to_string()),
            ("order_item_product_price", format!("{price:?}")),
            (
                "order_item_subtotal",
                format!("{:?}", (price * quantity as f64 * 100.0).round() / 100.0),
            ),
        ];
        *item_id += 1;
        items.push(members(random, style, item));
    }
    let order = vec![
        ("order_id", id.to_string()),
        ("customer_id", (1 + random.below(12_435)).to_string()),
        ("customer_fname", quoted(style, random.pick(NAMES))),
        ("customer_lname", quoted(style, random.pick(NAMES))),
        ("city", quoted(style, random.pick(CITIES))),
        ("state", quoted(style, "IL")),
        ("zipcode", (10_000 + random.below(89_999)).to_string()),
        ("line_items", format!("[{}]", items.join(","))),
    ];
    members(random, style, order)
}

/// Seconds for all batches, each at its fastest: what the machine does besides does not count.
fn fastest_seconds<B>(batches: &mut [B], mut run: impl FnMut(&mut B)) -> f64 {
    let mut fastest = vec![f64::INFINITY; batches.len()];
    for _ in 0..ROUNDS {
        for (batch, fastest) in batches.iter_mut().zip(&mut fastest) {
            let start = Instant::now();
            run(batch);
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    fastest.iter().sum()
}

fn main() {
    let orders: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let schema = parse_schema(SCHEMA).expect("the schema above");
    let mut report = String::new();
    let styles = [
        ("plain", Style::Plain),
        ("keys shuffled in every object", Style::Shuffled),
        ("keys in another order", Style::OtherOrder),
        ("white space and line ends", Style::Spaced),
        ("escapes in every string", Style::Escaped),
        ("letters beyond ASCII", Style::Accented),
        ("a quarter of the values null", Style::Nulls),
        ("members that the schema lacks", Style::ExtraMembers),
    ];
    let asked = std::env::args().nth(2).unwrap_or_default();
    for (name, style) in styles.into_iter().filter(|(name, _)| name.contains(&asked)) {
        let (mut random, mut item_id) = (Random(42), 1);
        let texts: Vec<String> =
            (1..=orders).map(|id| order(&mut random, style, id, &mut item_id)).collect();
        let mut batches: Vec<Column> = texts
            .chunks(BATCH_ROWS)
            .map(|texts| binary_column(texts.iter().map(|text| Some(text.as_bytes()))))
            .collect();
        let mut reader = JsonReader::new(&schema.fields, OnMistake::Reject).expect("the schema");
        let columns_s = fastest_seconds(&mut batches, |batch| {
            reader.clear();
            reader.read_column(&batch.view(), |row, why| panic!("row {row}: {why}"));
            black_box(reader.columns());
        });
        let mut chunks: Vec<&[String]> = texts.chunks(BATCH_ROWS).collect();
        let typed_s = fastest_seconds(&mut chunks, |texts| {
            for text in *texts {
                black_box(serde_json::from_str::<Order>(text).expect("an order"));
            }
        });
        let bytes: usize = texts.iter().map(String::len).sum();
        let rate = |seconds: f64| orders as f64 / seconds / 1e6;
        let _ = writeln!(
            report,
            "{name:32} {:4} bytes {:6.2} M orders/s {:6.2} M serde_json {:6.2} x",
            bytes / orders,
            rate(columns_s),
            rate(typed_s),
            typed_s / columns_s,
        );
    }
    print!("{report}");
}
