//! Records as they are shown: text as text, JSON pretty and folded, bytes as hexadecimal digits, long ones cut.

use gristmill_connectors::message_page::{Cut, ShownRecord};
use maud::{Markup, html};
use serde_json::Value;

use super::format;
use super::topics::topic_path;
use crate::http::time_text;

/// Characters of a value in its row; the rest unfolds.
const LINE_CHARACTERS_MAX: usize = 160;
/// Bytes shown as hexadecimal digits.
const HEX_BYTES_MAX: usize = 512;

/// A body of a table for each record, so that a stream can add one.
pub fn row(cluster: &str, topic: &str, record: &ShownRecord) -> Markup {
    let whole =
        format!("{}/messages/{}/{}", topic_path(cluster, topic), record.partition, record.offset);
    html! {
        tr data-place={ (record.partition) ":" (record.offset) } {
            td.time { @if let Some(ms) = record.timestamp_ms { time datetime=(time_text::machine(ms)) { (time_text::shown(ms)) } } }
            td.number { (record.partition) }
            td.number { a href=(whole) aria-label={ "Record at partition " (record.partition) ", offset " (record.offset) } { (record.offset) } }
            td.mono.key { (short(record.key.as_ref())) }
            td.value { (value(record, &whole)) }
        }
    }
}

/// On one line.
pub fn short(bytes: Option<&Cut>) -> Markup {
    match bytes {
        None => html! { span.muted { "null" } },
        Some(cut) => html! { (line(&text(cut))) },
    }
}

/// One line, with the whole behind it.
fn value(record: &ShownRecord, whole: &str) -> Markup {
    let Some(cut) = &record.value else { return html! { span.muted { "null" } (headers(record)) } };
    html! {
        details {
            summary.mono { (line(&text(cut))) }
            (unfolded(cut))
            @if !cut.is_whole() {
                p.hint { (format::bytes(cut.size as u64)) " in all, the first " (format::bytes(cut.bytes.len() as u64)) " are shown. "
                    a href=(whole) { "The whole record" } }
            }
            (headers(record))
        }
    }
}

fn headers(record: &ShownRecord) -> Markup {
    html! {
        @if !record.headers.is_empty() {
            dl.pairs.headers {
                @for (name, value) in &record.headers { dt.mono { (name) } dd.mono { (short(value.as_ref())) } }
            }
            @if record.headers_left_out > 0 { p.hint { (record.headers_left_out) " more headers" } }
        }
    }
}

/// All that there is of it, in the form that suits it.
pub fn unfolded(cut: &Cut) -> Markup {
    let parsed =
        if cut.is_whole() { serde_json::from_slice::<Value>(&cut.bytes).ok() } else { None };
    match (parsed, std::str::from_utf8(&cut.bytes)) {
        (Some(json @ (Value::Object(_) | Value::Array(_))), _) => json_tree(&json),
        (_, Ok(text)) => html! { pre { (text) } },
        (_, Err(error)) if !cut.is_whole() && error.error_len().is_none() => {
            html! { pre { (String::from_utf8_lossy(&cut.bytes[..error.valid_up_to()])) } }
        }
        _ => html! { pre.hex { (hex(&cut.bytes)) } },
    }
}

/// Levels that are open at first.
const DEPTH_OPEN: usize = 2;
/// Levels that fold; deeper ones stand as text.
const DEPTH_MAX: usize = 32;
/// Members of one object or array that are drawn one by one.
const MEMBERS_MAX: usize = 1_000;

/// JSON with a fold at every object and array.
fn json_tree(value: &Value) -> Markup {
    html! { div.json { (node(None, value, 0)) } }
}

fn node(name: Option<&str>, value: &Value, depth: usize) -> Markup {
    let label = html! { @if let Some(name) = name { span.name { (Value::from(name)) } ": " } };
    match value {
        Value::Object(members) if !members.is_empty() && depth < DEPTH_MAX => {
            let items = members.iter().map(|(name, value)| (Some(name.as_str()), value));
            branch(&label, ("{", "}"), members.len(), items, depth)
        }
        Value::Array(items) if !items.is_empty() && depth < DEPTH_MAX => {
            branch(&label, ("[", "]"), items.len(), items.iter().map(|value| (None, value)), depth)
        }
        leaf => {
            let kind = match leaf {
                Value::String(_) => "string",
                Value::Number(_) => "digits",
                _ => "word",
            };
            html! { div.leaf { (label) span class=(kind) { (leaf) } } }
        }
    }
}

fn branch<'a>(
    label: &Markup,
    (open, close): (&str, &str),
    count: usize,
    items: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    depth: usize,
) -> Markup {
    html! {
        details open[depth < DEPTH_OPEN] {
            summary { (label) (open) span.hint { (count) } (close) }
            div.members {
                @for (name, value) in items.take(MEMBERS_MAX) { (node(name, value, depth + 1)) }
                @if count > MEMBERS_MAX { div.leaf.hint { (count - MEMBERS_MAX) " more" } }
            }
        }
    }
}

fn text(cut: &Cut) -> String {
    match std::str::from_utf8(&cut.bytes) {
        Ok(text) => text.to_string(),
        Err(error) if !cut.is_whole() && error.error_len().is_none() => {
            String::from_utf8_lossy(&cut.bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => {
            let digits: String =
                cut.bytes.iter().take(24).map(|byte| format!("{byte:02x} ")).collect();
            format!("{digits}… ({})", format::bytes(cut.size as u64))
        }
    }
}

fn line(text: &str) -> String {
    let one_line = text.chars().take(LINE_CHARACTERS_MAX + 1);
    let mut line: String = one_line.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() {
        line = "(empty)".to_string();
    }
    match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Sixteen bytes a line: place, digits, letters.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (index, row) in bytes[..bytes.len().min(HEX_BYTES_MAX)].chunks(16).enumerate() {
        let digits: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
        let letter = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let letters: String = row.iter().map(letter).collect();
        out.push_str(&format!("{:06x}  {digits:<48} {letters}\n", index * 16));
    }
    if bytes.len() > HEX_BYTES_MAX {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &[u8]) -> ShownRecord {
        ShownRecord {
            partition: 3,
            offset: 14,
            timestamp_ms: Some(0),
            key: Some(Cut::new(b"<b>key</b>", 99)),
            value: Some(Cut::new(value, 99)),
            headers: vec![("<i>".into(), Some(Cut::new(b"\"'><script>", 99)))],
            headers_left_out: 0,
        }
    }

    #[test]
    fn what_a_record_holds_is_text_and_never_markup() {
        for value in [
            &b"<script>alert(1)</script>"[..],
            br#"{"<script>": "</pre><script>alert(1)</script>", "a": ["<img src=x onerror=1>"]}"#,
            b"<script>\xff",
        ] {
            let html = row("c", "t", &record(value)).into_string();
            for bad in ["<script", "<b>", "<i>", "<img"] {
                assert!(!html.contains(bad), "{bad} in {html}");
            }
        }
    }

    #[test]
    fn json_folds_text_stands_and_bytes_are_digits() {
        let shown = |value: &[u8]| unfolded(&Cut::new(value, 1_000)).into_string();
        assert!(shown(br#"{"a":{"b":[1,2]}}"#).contains("<details open"), "folds");
        assert_eq!(shown(b"plain"), "<pre>plain</pre>");
        assert!(shown(&[0, 0xff, b'A']).contains("000000  00 ff 41"));
        assert_eq!(shown(b"17"), "<pre>17</pre>");
    }

    #[test]
    fn a_line_is_one_line_and_short() {
        assert_eq!(line("a\nb\tc"), "a b c");
        assert_eq!(line(&"ä".repeat(500)).chars().count(), LINE_CHARACTERS_MAX + 1);
        assert_eq!(line(""), "(empty)");
    }

    #[test]
    fn deep_json_is_drawn_without_falling_over() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(unfolded(&Cut::new(deep.as_bytes(), 1_000)).into_string().contains("[[["));
    }
}
