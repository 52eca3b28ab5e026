//! Any bytes as a frame: read or refused, never a panic, and every value of a frame that is read
//! can be read.

#![no_main]

use gristmill::frame::{read_batch, read_output};
use gristmill::{ColumnView, parse_schema};
use libfuzzer_sys::fuzz_target;

fn walk(view: &ColumnView<'_>) -> usize {
    use gristmill::DataType::*;
    let rows = 0..view.len().min(1000);
    let own: usize = match view.data_type() {
        String => rows.map(|row| view.str_at(row).chars().count()).sum(),
        Binary => rows.map(|row| view.bytes_at(row).len()).sum(),
        Array { .. } | Map { .. } => rows.map(|row| view.range(row).len()).sum(),
        Long | Timestamp => rows.filter(|&row| view.longs()[row] != 0).count(),
        _ => rows.filter(|&row| view.is_null(row)).count(),
    };
    own + view.children().iter().map(walk).sum::<usize>()
}

fuzz_target!(|data: &[u8]| {
    let schema =
        "b boolean, l long, s string, a array<struct<p: long, q: string>>, m map<string, long>";
    let fields = parse_schema(schema).expect("the schema above").fields;
    // At a multiple of 16, as a frame lies.
    let mut words = vec![0u128; data.len() / 16 + 1];
    for (word, chunk) in words.iter_mut().zip(data.chunks(16)) {
        let mut sixteen = [0; 16];
        sixteen[..chunk.len()].copy_from_slice(chunk);
        *word = u128::from_le_bytes(sixteen);
    }
    // SAFETY: any bytes are a u8.
    let (_, bytes, _) = unsafe { words.align_to::<u8>() };
    let bytes = &bytes[..data.len()];
    if let Ok(batch) = read_batch(bytes, &fields) {
        batch.columns.iter().map(walk).sum::<usize>();
    }
    if let Ok(output) = read_output(bytes, &fields, 100) {
        output.columns.iter().map(walk).sum::<usize>();
    }
});
