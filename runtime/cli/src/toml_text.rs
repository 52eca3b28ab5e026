//! JSON values as TOML on one line, for tests that a person goes on to edit.

use serde_json::{Map, Value};

/// `{ a = 1, b = "x" }`; members that TOML cannot write (a null) are left out.
pub fn inline_table(members: &Map<String, Value>) -> String {
    let member =
        |(name, value): (&String, &Value)| Some(format!("{} = {}", key(name), text(value)?));
    let members: Vec<String> = members.iter().filter_map(member).collect();
    match members.as_slice() {
        [] => "{}".to_string(),
        members => format!("{{ {} }}", members.join(", ")),
    }
}

/// `None`: a null, or a list with a null in it.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(text).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Object(members) => inline_table(members),
    })
}

/// As it is between single quotes where that is possible: JSON in double quotes is hard to read.
pub fn string(text: &str) -> String {
    let plain = |c: char| c != '\'' && (c == '\t' || !c.is_control());
    if text.contains(['"', '\\']) && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_string(),
        false => string(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_are_left_out_and_everything_else_is_written() {
        let row = json!({
            "id": 1, "price": 5.0, "gone": null, "flag": true, "a b": "x",
            "json": "{\"a\":1}", "hostile": "'\"\u{7f}\n\\", "list": [{ "n": 1, "m": null }], "holes": [1, null],
        });
        let row = row.as_object().cloned().unwrap_or_default();
        let text = inline_table(&row);
        for part in [
            "id = 1",
            "price = 5.0",
            "flag = true",
            "\"a b\" = \"x\"",
            "json = '{\"a\":1}'",
            r#"hostile = "'\"\u007F\n\\""#,
            "list = [{ n = 1 }]",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("gone") && !text.contains("holes"), "{text}");
        assert_eq!(inline_table(&Map::new()), "{}");
    }
}
