//! A flatten: one row per item.

use gristmill::Row;

#[derive(gristmill::Row)]
struct Item {
    item_id: Option<i64>,
    name: Option<String>,
}

#[gristmill::stage(reads = ["items"], drops = ["items"])]
fn explode_items(row: Row) -> impl Iterator<Item = Item> {
    row.rows("items").map(|item| Item { item_id: item.get("item_id"), name: item.get("name") })
}
