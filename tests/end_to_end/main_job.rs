use serde_json::Value;

use crate::support;

/// What the orders of a file must come to, worked out by other means than ours.
const EXPECTED: &str = "
import gzip, json, sys
opener = gzip.open if sys.argv[1].endswith('.gz') else open
orders = [json.loads(line) for line in opener(sys.argv[1], 'rt', encoding='utf-8') if line.strip()]
items = [(order, item) for order in orders for item in order['line_items']]
print(json.dumps({
    'orders': sum(bool(order['line_items']) for order in orders),
    'items': len(items),
    'item_ids': sum(item['order_item_id'] for _, item in items),
    'order_ids': sum(order['order_id'] for order, _ in items),
    'quantities': sum(item['order_item_quantity'] for _, item in items),
    'subtotal_cents': sum(round(item['order_item_subtotal'] * 100) for _, item in items),
    'cities': len({order['city'] for order, item in items}),
    'chicago': sum(order['city'].lower() == 'chicago' for order in orders),
}))
";

/// The same of the Delta table that the demo fills.
const FOUND: &str = "
import json, sys
from deltalake import DeltaTable
names = ['order_id', 'item_id', 'quantity', 'subtotal', 'city', 'offset', 'partition']
rows = DeltaTable(sys.argv[1]).to_pyarrow_table(columns=names).to_pylist()
print(json.dumps({
    'orders': len({(row['partition'], row['offset']) for row in rows}),
    'items': len(rows),
    'item_ids': sum(row['item_id'] for row in rows),
    'order_ids': sum(row['order_id'] for row in rows),
    'quantities': sum(row['quantity'] for row in rows),
    'subtotal_cents': sum(round(row['subtotal'] * 100) for row in rows),
    'cities': len({row['city'] for row in rows}),
}))
";

/// The retail orders that everybody who works on this has beside the checkout; the generator's where they are not.
fn orders_file(folder: &std::path::Path) -> std::path::PathBuf {
    let shared = support::root().join("../shared/data/retail-orders-20k.jsonl.gz");
    if shared.exists() {
        return shared;
    }
    let file = folder.join("orders.jsonl");
    let lines: Vec<String> =
        gristmill_orders::Orders::new(7).take(20_000).map(|order| order.json).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

fn json(output: std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_demo_brings_every_order_into_the_table_and_chicago_into_the_topic() {
    let folder = tempfile::tempdir().unwrap();
    let orders = orders_file(folder.path());
    let orders = orders.to_str().unwrap();
    let data_dir = folder.path().join("demo");

    let demo =
        support::succeed(["demo", "--orders", orders, "--data-dir", data_dir.to_str().unwrap()]);

    let mut expected = json(support::python(EXPECTED, &[orders]));
    let chicago = expected.as_object_mut().unwrap().remove("chicago").unwrap();
    let found = json(support::python(FOUND, &[data_dir.join("lake/orders").to_str().unwrap()]));
    assert_eq!(found, expected);
    let holds = format!("topic `orders-chicago` holds {chicago} orders");
    assert!(demo.stdout.contains(&holds), "{holds:?} is not in\n{}", demo.stdout);
    assert!(demo.stdout.contains("Where to look next"), "{}", demo.stdout);
}

#[test]
fn the_demo_refuses_a_folder_that_holds_something_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let demo = support::run(["demo", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(demo.code, Some(2), "{}", demo.stderr);
    assert!(demo.stderr.contains("choose another folder with --data-dir"), "{}", demo.stderr);
    assert!(folder.path().join("thesis.txt").exists());
}
