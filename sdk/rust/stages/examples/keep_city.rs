//! A filter: keeps the rows whose `city` is the one of the configuration.

use gristmill::Row;

#[derive(serde::Deserialize)]
pub struct Config {
    city: String,
}

#[gristmill::stage(reads = ["city"])]
fn keep_city(row: Row, config: &Config) -> bool {
    row.str("city") == Some(&config.city)
}
