//! Failures: refuses rows with a reason; the pipeline decides what becomes of them.

use gristmill::Row;

#[gristmill::stage(reads = ["order_id"])]
fn fails_odd(row: Row) -> Result<bool, String> {
    let id: i64 = row.get("order_id").ok_or("no order_id")?;
    if id % 2 != 0 {
        return Err(format!("order_id {id} is odd"));
    }
    Ok(true)
}
