//! A frame that breaks a rule is an error, never a panic and never a read outside of it.

use gristmill::frame::{read_batch, read_output, write_batch};
use gristmill::{ColumnView, Field, parse_schema};
use proptest::prelude::*;

use crate::support::{all_types, all_types_columns, config, rows_to_json};

fn frame() -> Vec<u8> {
    let mut columns = all_types_columns();
    let views: Vec<ColumnView<'_>> = columns.iter_mut().map(|column| column.view()).collect();
    write_batch(3, &views).unwrap().bytes().to_vec()
}

/// The same bytes at a multiple of 64.
struct Aligned(Vec<u128>, usize);

impl Aligned {
    fn new(bytes: &[u8]) -> Aligned {
        let mut words = vec![0u128; bytes.len() / 16 + 1];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(16)) {
            let mut sixteen = [0; 16];
            sixteen[..chunk.len()].copy_from_slice(chunk);
            *word = u128::from_le_bytes(sixteen);
        }
        Aligned(words, bytes.len())
    }
    fn bytes(&self) -> &[u8] {
        let (_, bytes, _) = unsafe { self.0.align_to::<u8>() };
        &bytes[..self.1]
    }
}

fn put(frame: &mut [u8], at: usize, word: u32) {
    frame[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

fn longs() -> (Vec<Field>, Vec<u8>) {
    let fields = parse_schema("l long, s string, a array<long>").unwrap().fields;
    let mut columns: Vec<_> = all_types_columns();
    let [l, s, a] = [2, 5, 11].map(|index| columns[index].clone());
    columns = vec![l, s, a];
    let views: Vec<ColumnView<'_>> = columns.iter_mut().map(|column| column.view()).collect();
    (fields, write_batch(3, &views).unwrap().bytes().to_vec())
}

/// What is broken, the words to overwrite (place and value), and what the message says.
type BrokenRule = (&'static str, Vec<(usize, u32)>, &'static str);

#[test]
fn each_broken_rule_has_its_message() {
    let (fields, good) = longs();
    let word = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
    // Descriptors stand at 64 (l), 96 (s), 128 (a), 160 (elements).
    let (values, offsets) = (word(64 + 24), word(96 + 16));
    let cases: Vec<BrokenRule> = vec![
        ("magic", vec![(0, 0)], "not with GMF1"),
        ("header size", vec![(4, 63 | 32 << 16)], "too small"),
        ("descriptor size", vec![(4, 64 | 31 << 16)], "too small"),
        ("frame size", vec![(8, 1 << 30)], "says 1073741824 bytes"),
        ("array count", vec![(16, u32::MAX)], "has no room for 4294967295 descriptors"),
        ("fewer arrays", vec![(16, 3)], "column `a`: its array is missing"),
        ("flags", vec![(20, 1)], "neither rows nor failures"),
        ("rows of a column", vec![(64, 2)], "column `l`: 2 elements instead of 3"),
        ("rows", vec![(12, 1 << 31)], "column `l`: 3 elements instead of 2147483648"),
        ("null count", vec![(68, 2)], "column `l`: 1 nulls instead of 2"),
        ("no bitmap", vec![(64 + 12, 0)], "column `l`: 0 nulls instead of 1"),
        ("buffer outside", vec![(64 + 24, 1 << 20)], "lies outside"),
        ("buffer beyond 32 bits", vec![(64 + 24, u32::MAX), (64 + 28, 24)], "lies outside"),
        ("short values", vec![(64 + 28, 16)], "column `l`: 16 bytes for 3 of long"),
        (
            "misaligned values",
            vec![(64 + 24, values - 4)],
            "column `l`: values are not aligned to 8 bytes",
        ),
        ("misaligned offsets", vec![(96 + 16, offsets + 2)], "column `s`: offsets are not aligned"),
        ("few offsets", vec![(96 + 20, 12)], "column `s`: too few offsets for 3"),
        ("falling offsets", vec![(offsets as usize + 4, 99)], "column `s`: offsets do not ascend"),
        (
            "negative offset",
            vec![(offsets as usize, u32::MAX)],
            "column `s`: offsets do not ascend",
        ),
        (
            "not UTF-8",
            vec![(word(96 + 24) as usize, 0xffff_ffff)],
            "column `s`: row 0 is not UTF-8",
        ),
        ("few elements", vec![(160, 1)], "column `a`: 1 elements, and offsets up to 2"),
    ];
    for (name, patches, message) in cases {
        let mut bad = good.clone();
        patches.into_iter().for_each(|(at, word)| put(&mut bad, at, word));
        let bad = Aligned::new(&bad);
        let error = read_batch(bad.bytes(), &fields).unwrap_err().to_string();
        assert!(error.starts_with("malformed frame: "), "{name}: {error}");
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[test]
fn headers_and_descriptors_may_grow() {
    let (fields, good) = longs();
    let mut grown = Vec::new();
    grown.extend_from_slice(&good[..64]);
    grown.extend_from_slice(&[7; 16]);
    for descriptor in good[64..64 + 4 * 32].chunks(32) {
        let mut descriptor = descriptor.to_vec();
        for at in [8, 16, 24] {
            let offset = u32::from_le_bytes(descriptor[at..at + 4].try_into().unwrap());
            put(&mut descriptor, at, offset + 64);
        }
        grown.extend_from_slice(&descriptor);
        grown.extend_from_slice(&[9; 8]);
    }
    // 16 for the header, 4 * 8 for the descriptors, 16 to keep the buffers in step.
    grown.resize(192 + 64, 0);
    grown.extend_from_slice(&good[192..]);
    put(&mut grown, 4, 80 | 40 << 16);
    let bytes = grown.len() as u32;
    put(&mut grown, 8, bytes);
    let (grown, good) = (Aligned::new(&grown), Aligned::new(&good));
    let (new, old) =
        (read_batch(grown.bytes(), &fields).unwrap(), read_batch(good.bytes(), &fields).unwrap());
    assert_eq!(rows_to_json(&new.columns, 3), rows_to_json(&old.columns, 3));
}

proptest! {
    #![proptest_config(config(2000))]

    /// Whatever is overwritten, reading ends, and all values of a frame that is accepted can be
    /// read.
    #[test]
    fn mutated_frames_are_read_or_refused(
        patches in prop::collection::vec((0usize..2000, any::<u32>(), 0u8..3), 1..6),
        cut in 0usize..4000,
    ) {
        let mut bytes = frame();
        for (at, word, how) in patches {
            let at = (at / 4 * 4) % (bytes.len() - 4);
            let word = if how == 0 { word } else { word % 300 };
            put(&mut bytes, at, word);
        }
        bytes.truncate(if cut > 3000 { cut - 3000 } else { bytes.len() });
        let fields = all_types();
        let bytes = Aligned::new(&bytes);
        if let Ok(batch) = read_batch(bytes.bytes(), &fields) {
            let rows = batch.row_count.min(1000);
            prop_assert_eq!(rows_to_json(&batch.columns, rows).len(), rows);
        }
        if let Ok(output) = read_output(bytes.bytes(), &fields, 3) {
            prop_assert!(output.row_count <= 1000);
            rows_to_json(&output.columns, output.row_count);
        }
    }
}
