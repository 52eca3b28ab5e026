//! A stage that leaks: it remembers every row. `cargo xtask torture stages` shows that this costs its instance now and
//! then, and the host nothing.

use std::sync::Mutex;

use gristmill::Row;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[gristmill::stage(reads = ["city"])]
fn leaks(row: Row) -> bool {
    let city = row.str("city").unwrap_or_default().to_owned();
    SEEN.lock().is_ok_and(|mut seen| {
        seen.push(city);
        true
    })
}
