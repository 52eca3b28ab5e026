//! `gristmill dead-letters show`: one letter whole, with its record as it was.

use anyhow::Result;
use gristmill_connectors::replay::{Letters, ReplaySetup, StoredLetter};
use gristmill_connectors::stored_records::Begin;
use gristmill_engine::config::timestamp_text;
use gristmill_engine::test::bytes_value;
use serde_json::{Value, json};

use crate::letters::{LettersFlags, PickFlags};
use crate::output::Output;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct DeadLettersShowFlags {
    #[command(flatten)]
    letters: LettersFlags,

    #[command(flatten)]
    pick: PickFlags,
}

/// Prints the newest letter that the flags pick.
pub async fn run(flags: &DeadLettersShowFlags, output: Output) -> Result<()> {
    let setup = flags.letters.setup(false)?;
    let letters = Letters::open(&setup.cluster, &setup.topic, |_| Begin::Earliest).await;
    let letters = letters.map_err(UserError::from_error)?;
    let Some(letter) = tokio::task::block_in_place(|| newest(flags, &setup, letters))? else {
        let message = format!("topic `{}` has no such dead letter", setup.topic);
        return Err(UserError::new(message).into());
    };
    output.answer(text(&setup, &letter), &document(&setup, &letter))
}

fn newest(
    flags: &DeadLettersShowFlags,
    setup: &ReplaySetup,
    mut letters: Letters,
) -> Result<Option<StoredLetter>> {
    let mut newest: Option<StoredLetter> = None;
    while let Some(next) = letters.read()? {
        let Ok(stored) = next else { continue };
        let picked = setup.means(&stored.letter) && flags.pick.picks(&stored);
        let newer = newest.as_ref().is_none_or(|newest| newest.written_ms <= stored.written_ms);
        if picked && newer {
            newest = Some(stored);
        }
    }
    Ok(newest)
}

fn text(setup: &ReplaySetup, stored: &StoredLetter) -> String {
    let letter = &stored.letter;
    let time = |time_ms: Option<i64>| {
        time_ms.map_or("none".into(), |time_ms| timestamp_text(time_ms.saturating_mul(1_000), true))
    };
    let mut lines = vec![
        format!("letter     {}-{} offset {}", setup.topic, stored.partition, stored.offset),
        format!("written    {}", time(stored.written_ms)),
        format!("record     {} offset {}", letter.partition, letter.offset),
        format!("timestamp  {}", time(letter.timestamp_ms)),
        format!("pipeline   {}", letter.pipeline),
        format!("stage      {}", letter.stage),
        format!("module     {}", letter.module_hash),
        format!("kind       {}", letter.kind),
        format!("reason     {}", letter.reason),
        format!("replays    {}", letter.replays()),
        format!("key        {}", bytes_text(letter.key.as_deref())),
    ];
    for (name, value) in &letter.headers {
        lines.push(format!("header     {name} = {}", bytes_text(value.as_deref())));
    }
    lines.push(format!("value      {}", bytes_text(letter.value.as_deref())));
    lines.join("\n")
}

/// Text as it is, other bytes as a hex dump.
fn bytes_text(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".to_string(),
        Some((_, Ok(text))) => text.to_string(),
        Some((bytes, Err(_))) => format!("{} bytes\n{}", bytes.len(), hex_dump(bytes)),
    }
}

/// Sixteen bytes a line, with the printable ones beside them.
fn hex_dump(bytes: &[u8]) -> String {
    const LINE_BYTES: usize = 16;
    let line = |(number, bytes): (usize, &[u8])| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        };
        let text: String = bytes.iter().map(printable).collect();
        format!("  {:08x}  {:<47}  {text}", number * LINE_BYTES, hex.join(" "))
    };
    bytes.chunks(LINE_BYTES).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

fn document(setup: &ReplaySetup, stored: &StoredLetter) -> Value {
    let letter = &stored.letter;
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or(Value::Null, bytes_value);
    let headers: Vec<Value> = letter
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": bytes(value) }))
        .collect();
    json!({
        "topic": setup.topic,
        "partition": stored.partition,
        "offset": stored.offset,
        "written_ms": stored.written_ms,
        "pipeline": letter.pipeline,
        "stage": letter.stage,
        "module": letter.module_hash,
        "kind": letter.kind,
        "reason": letter.reason,
        "replays": letter.replays(),
        "record": {
            "topic": letter.partition.topic,
            "partition": letter.partition.partition,
            "offset": letter.offset,
            "timestamp_ms": letter.timestamp_ms,
            "key": bytes(&letter.key),
            "value": bytes(&letter.value),
            "headers": headers,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_a_hex_dump() {
        assert_eq!(bytes_text(None), "null");
        assert_eq!(bytes_text(Some(b"")), "");
        assert_eq!(bytes_text(Some("é".as_bytes())), "é");
        let dump = bytes_text(Some(b"\xffabcdefghijklmnop"));
        let expected = "17 bytes\n  \
            00000000  ff 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d 6e 6f  .abcdefghijklmno\n  \
            00000010  70                                               p";
        assert_eq!(dump, expected);
    }
}
