//! Retail orders without end, the same from the same seed on every machine.
//!
//! One order is one JSON object on one line: who bought, where they live, and one to five line
//! items. A customer keeps name and address from order to order; about three orders in a hundred
//! come from Chicago, and some of those write the city without its capital, as people do.
//! Used by `gristmill produce --orders`, `gristmill demo`, the tests and the benches.
//!
//! Not here: Kafka, files, rates.

mod catalogue;
mod customer;
mod random;

use std::fmt::Write;

use customer::Customer;
use random::Random;

/// Number of different customers; ids are 1 to this.
pub const CUSTOMERS: u64 = 12_435;

/// Most line items of one order; the fewest is one.
pub const LINE_ITEMS_MAX: u64 = 5;

/// The seed that the command line uses, so that every demo shows the same orders.
pub const SEED: u64 = 20_140_725;

/// One order, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The record key, as a number.
    pub customer_id: u64,
    /// The record value: one JSON object without white space or line end, about 570 bytes.
    pub json: String,
}

/// The orders of one seed, in the order of their `order_id`, which begins at 1.
///
/// The iterator never ends: take as many as are wanted.
#[derive(Debug, Clone)]
pub struct Orders {
    seed: u64,
    random: Random,
    order_id: u64,
    order_item_id: u64,
}

impl Orders {
    pub fn new(seed: u64) -> Orders {
        Orders { seed, random: Random::new(seed), order_id: 0, order_item_id: 0 }
    }

    /// Appends the next order to `json` and returns its customer's id; allocates only if `json`
    /// has to grow.
    pub fn write_next(&mut self, json: &mut String) -> u64 {
        self.order_id += 1;
        let customer_id = 1 + self.random.below(CUSTOMERS);
        let customer = Customer::of(self.seed, customer_id);
        let city = customer.city_as_written(&mut self.random);
        let _ = write!(
            json,
            r#"{{"order_id":{},"customer_id":{customer_id},"customer_fname":"{}","customer_lname":"{}","city":"{city}","state":"{}","zipcode":{},"line_items":["#,
            self.order_id,
            customer.first_name,
            customer.last_name,
            customer.place.state,
            customer.zipcode,
        );
        for item in 0..1 + self.random.below(LINE_ITEMS_MAX) {
            if item > 0 {
                json.push(',');
            }
            self.write_line_item(json);
        }
        json.push_str("]}");
        customer_id
    }

    fn write_line_item(&mut self, json: &mut String) {
        self.order_item_id += 1;
        let product = catalogue::product(self.random.below(catalogue::PRODUCTS));
        let quantity = 1 + self.random.below(5);
        let _ = write!(
            json,
            r#"{{"order_item_id":{},"order_item_product_id":{},"order_item_quantity":{quantity},"order_item_product_price":"#,
            self.order_item_id, product.id,
        );
        push_dollars(json, product.price_cents);
        json.push_str(r#","order_item_subtotal":"#);
        push_dollars(json, product.price_cents * quantity);
        json.push('}');
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let mut json = String::with_capacity(900);
        let customer_id = self.write_next(&mut json);
        Some(Order { customer_id, json })
    }
}

/// Writes an amount as JSON libraries print such a double: at least one decimal, no idle zero.
fn push_dollars(json: &mut String, cents: u64) {
    let (dollars, rest) = (cents / 100, cents % 100);
    let _ = match rest % 10 {
        0 => write!(json, "{dollars}.{}", rest / 10),
        _ => write!(json, "{dollars}.{rest:02}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_doubles_are() {
        for (cents, text) in [(10_000, "100.0"), (3_499, "34.99"), (2_450, "24.5"), (5, "0.05")] {
            let mut written = String::new();
            push_dollars(&mut written, cents);
            assert_eq!(written, text);
            assert_eq!(format!("{:?}", cents as f64 / 100.0), text);
        }
    }

    #[test]
    fn the_first_orders_are_these() {
        let first: Vec<Order> = Orders::new(SEED).take(3).collect();
        let golden = include_str!("../golden/first.jsonl");
        let written: String = first.iter().map(|order| format!("{}\n", order.json)).collect();
        assert_eq!(written, golden);
        assert!(first.iter().all(|order| {
            order.json.contains(&format!(r#""customer_id":{},"#, order.customer_id))
        }));
    }

    /// FNV-1a over 10,000 lines: a change of any byte changes what every demo and bench measures.
    #[test]
    fn ten_thousand_orders_are_the_same_everywhere() {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for order in Orders::new(SEED).take(10_000) {
            for byte in order.json.bytes().chain([b'\n']) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        assert_eq!(format!("{hash:016x}"), "695ede3c706fa3f1");
    }

    #[test]
    fn another_seed_gives_other_orders() {
        assert_ne!(Orders::new(1).next(), Orders::new(2).next());
    }

    #[test]
    fn orders_look_like_a_shops() {
        let orders: Vec<Order> = Orders::new(SEED).take(20_000).collect();
        let share = |needle: &str| {
            orders.iter().filter(|order| order.json.contains(needle)).count() as f64 / 20_000.0
        };
        let bytes: usize = orders.iter().map(|order| order.json.len()).sum();
        assert!((550..590).contains(&(bytes / orders.len())), "{} bytes", bytes / orders.len());
        let (capital, small) = (share(r#""city":"Chicago""#), share(r#""city":"chicago""#));
        assert!((0.025..0.035).contains(&(capital + small)), "{capital} {small}");
        assert!(small > 0.002, "{small}");
    }

    #[test]
    fn a_customer_keeps_name_and_address() {
        let mut seen = std::collections::HashMap::new();
        for order in Orders::new(7).take(30_000) {
            let from = order.json.find("customer_fname").unwrap_or_default();
            let to = order.json.find("line_items").unwrap_or_default();
            let who = order.json[from..to].to_lowercase();
            assert_eq!(seen.entry(order.customer_id).or_insert_with(|| who.clone()), &who);
        }
        assert!(seen.len() > 10_000);
    }
}
