//! A map: makes two columns and keeps every row.

use gristmill::Row;

#[derive(serde::Deserialize)]
pub struct Config {
    currency: String,
}

#[derive(gristmill::Row)]
struct Totals {
    total: Option<f64>,
    label: String,
}

#[gristmill::stage(reads = ["order_id", "price", "quantity"])]
fn with_total(row: Row, config: &Config) -> Totals {
    let total = row.get::<f64>("price").zip(row.get::<i32>("quantity"));
    let label = match row.get::<i64>("order_id") {
        Some(id) => format!("order {id} in {}", config.currency),
        None => "order ?".to_owned(),
    };
    Totals { total: total.map(|(price, quantity)| price * f64::from(quantity)), label }
}
