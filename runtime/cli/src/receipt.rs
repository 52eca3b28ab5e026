//! What a running pipeline answers to a change, for people.

use anyhow::{Context, Result};
use gristmill_engine::reload::Receipt;
use serde_json::Value;

/// The generation that runs now, and what is other in it than in the one before.
///
/// # Errors
/// The answer is no receipt as this version writes it.
pub fn text(pipeline: &str, answer: &Value) -> Result<String> {
    let receipt = of(answer)?;
    let generation = receipt.generation;
    if receipt.changes.is_empty() {
        return Ok(format!(
            "pipeline `{pipeline}` runs what its files say: generation {generation}"
        ));
    }
    let mut text = format!(
        "pipeline `{pipeline}`: generation {generation}, prepared in {:.1} ms, stood still for {:.1} ms",
        receipt.prepare_ms, receipt.pause_ms
    );
    for change in &receipt.changes {
        text += &format!("\n  {change}");
    }
    Ok(text)
}

/// # Errors
/// As those of [`text`].
pub fn of(answer: &Value) -> Result<Receipt> {
    serde_json::from_value(answer.clone())
        .context("the answer is no receipt: is that a gristmill of another version?")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_receipt_says_what_changed() {
        let receipt = |changes: Value| {
            json!({
                "generation": 3, "at_ms": 0, "offsets": {}, "prepare_ms": 41.27, "pause_ms": 2.0,
                "changes": changes,
            })
        };
        let changes = json!([
            { "kind": "module", "stage": "parse", "old": "aa", "new": "bb" },
            { "kind": "stage_settings", "stage": "parse", "keys": ["with", "limits"] },
        ]);
        let expected = "\
pipeline `orders`: generation 3, prepared in 41.3 ms, stood still for 2.0 ms
  module of `parse` aa -> bb
  with, limits of stage `parse`";
        assert_eq!(text("orders", &receipt(changes)).unwrap(), expected);
        let none = text("orders", &receipt(json!([]))).unwrap();
        assert_eq!(none, "pipeline `orders` runs what its files say: generation 3");
        assert!(text("orders", &json!({})).is_err());
    }
}
