//! The yardstick: what one would write by hand for exactly this job.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::orders::Input;

#[derive(Deserialize)]
struct Order {
    order_id: Option<i64>,
    customer_id: Option<i64>,
    customer_fname: Option<String>,
    customer_lname: Option<String>,
    city: Option<String>,
    state: Option<String>,
    zipcode: Option<i64>,
    line_items: Vec<LineItem>,
}

#[derive(Deserialize)]
struct LineItem {
    order_item_id: i64,
    order_item_product_id: i64,
    order_item_quantity: i64,
    order_item_product_price: f32,
    order_item_subtotal: f32,
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    order_id: Option<i64>,
    customer_id: Option<i64>,
    customer_fname: Option<&'a str>,
    customer_lname: Option<&'a str>,
    city: Option<&'a str>,
    state: Option<&'a str>,
    zipcode: Option<i64>,
    item_id: i64,
    product_id: i64,
    quantity: i64,
    product_price: f32,
    subtotal: f32,
}

/// Parse, flatten, filter, serialise; returns the rows that came out.
pub fn chain(input: &Input) -> Result<u64> {
    let (mut out, mut rows) = (Vec::new(), 0);
    for (key, value) in input.keys.iter().zip(&input.values) {
        let order: Order = serde_json::from_str(value)?;
        if !input.keeps(order.city.as_deref()) {
            continue;
        }
        for item in &order.line_items {
            serde_json::to_writer(&mut out, &row(key, &order, item))?;
            rows += 1;
        }
        if out.len() > 1 << 20 {
            std::hint::black_box(&out);
            out.clear();
        }
    }
    std::hint::black_box(&out);
    Ok(rows)
}

fn row<'a>(key: &'a str, order: &'a Order, item: &LineItem) -> Row<'a> {
    Row {
        key,
        order_id: order.order_id,
        customer_id: order.customer_id,
        customer_fname: order.customer_fname.as_deref(),
        customer_lname: order.customer_lname.as_deref(),
        city: order.city.as_deref(),
        state: order.state.as_deref(),
        zipcode: order.zipcode,
        item_id: item.order_item_id,
        product_id: item.order_item_product_id,
        quantity: item.order_item_quantity,
        product_price: item.order_item_product_price,
        subtotal: item.order_item_subtotal,
    }
}
