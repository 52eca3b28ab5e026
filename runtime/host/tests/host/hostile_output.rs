use crate::guests::*;
use arrow_array::Array;
use gristmill_host::{Host, Lane, ProcessError};

fn refused(host: &Host, frame: &Frame, part: &str) {
    match outcome(host, &frame.bytes) {
        Err(ProcessError::BadOutput(what) | ProcessError::OutputLimit(what)) => {
            assert!(what.contains(part), "`{what}` does not say `{part}`");
        }
        other => panic!("{part}: {other:?}"),
    }
}

/// A good frame with one number replaced by a lie.
fn lie(at: usize, word: u32) -> Frame {
    let mut frame = Frame::good();
    frame.put(at, word);
    frame
}

#[test]
fn a_header_that_lies_is_refused() {
    let host = host();
    refused(&host, &lie(0, 0x3246_4d47), "do not begin as a frame");
    refused(&host, &Frame { bytes: b"GMF1".to_vec() }, "do not begin as a frame");
    refused(&host, &lie(4, 0x0020_0008), "header of 8 bytes");
    refused(&host, &lie(4, 0x0004_0040), "descriptors of 4");
    refused(&host, &lie(4, 0x0021_0040), "descriptors of 33");
    refused(&host, &lie(4, 0x0020_fff0), "do not fit in the frame");
    refused(&host, &lie(8, 7), "a frame of 7 bytes in a list of");
    refused(&host, &lie(12, u32::MAX), "4294967295 rows");
    refused(&host, &lie(12, 2), "elements, not 2");
    refused(&host, &lie(16, 0), "0 arrays, the columns of describe have 1");
    refused(&host, &lie(16, u32::MAX), "4294967295 arrays");
    refused(&host, &lie(20, 2), "unknown flags");
}

#[test]
fn a_descriptor_that_lies_is_refused() {
    let host = host();
    refused(&host, &lie(64, u32::MAX), "elements, not 3");
    refused(&host, &lie(68, 2), "1 nulls by its bitmap and 2");
    refused(&host, &lie(68, 4), "4 nulls in 3 elements");
    refused(&host, &lie(76, 0), "nulls and no validity bitmap");
    refused(&host, &lie(72, 0x4000_0000), "out of bounds");
    refused(&host, &lie(76, u32::MAX), "out of bounds");
    refused(&host, &lie(80, 0x7fff_fff0), "out of bounds");
    refused(&host, &lie(84, 12), "offsets of 12 bytes, 16 are needed");
    refused(&host, &lie(84, 0), "offsets of 0 bytes");
    refused(&host, &lie(92, 3), "values of 3 bytes, 4 are needed");
    refused(&host, &lie(88, 0x1000_0000), "out of bounds");
    refused(&host, &lie(92, u32::MAX), "out of bounds");
}

/// The good frame with other offsets of its strings.
fn offsets(words: [u32; 4]) -> Frame {
    let mut frame = Frame::good();
    let at = frame.word(80) as usize;
    for (index, word) in words.into_iter().enumerate() {
        frame.put(at + index * 4, word);
    }
    frame
}

#[test]
fn offsets_and_text_that_lie_are_refused() {
    let host = host();
    refused(&host, &offsets([0, 4, 1, 4]), "offsets that fall");
    refused(&host, &offsets([4, 4, 4, 0]), "offsets from 4 to 0");
    refused(&host, &offsets([0, 0xffff_fff0, 4, 4]), "offsets that fall");
    refused(&host, &offsets([0x8000_0000, 0, 0, 4]), "offsets from");
    refused(&host, &offsets([0, 1, 2, 0x7fff_ffff]), "values of 4 bytes");
    refused(&host, &offsets([0, 3, 4, 4]), "not UTF-8");
    let mut frame = Frame::good();
    let values = frame.word(88) as usize;
    frame.bytes[values] = 0xff;
    refused(&host, &frame, "not UTF-8");
}

#[test]
fn row_numbers_that_lie_are_refused() {
    let host = host();
    let filtered = |at: usize, word: u32| {
        let mut frame = Frame::filtered();
        frame.put(at, word);
        frame
    };
    let rows = Frame::filtered().word(24) as usize;
    refused(&host, &filtered(rows + 4, 3), "input row 3, the input has 3");
    refused(&host, &filtered(rows, u32::MAX), "input row 4294967295");
    refused(&host, &filtered(28, 4), "rows: 4 bytes, 8 are needed");
    refused(&host, &filtered(24, 0x2000_0000), "out of bounds");
    let mut no_rows = Frame::filtered();
    no_rows.put(20, 0);
    refused(&host, &no_rows, "2 output rows for 3 input rows, and no `rows`");
}

#[test]
fn failures_that_lie_are_refused() {
    let host = host();
    let failed = |at: usize, word: u32| {
        let mut frame = Frame::failed();
        frame.put(at, word);
        frame
    };
    let (rows, offsets) = (Frame::failed().word(36) as usize, Frame::failed().word(44) as usize);
    refused(&host, &failed(rows, 3), "not ascending, or not below 3");
    refused(&host, &failed(32, u32::MAX), "4294967295 failures in 3 input rows");
    refused(&host, &failed(32, 2), "failure rows: 4 bytes, 8 are needed");
    refused(&host, &failed(48, 4), "reason offsets: 4 bytes");
    refused(&host, &failed(offsets + 4, 8), "reason 0: out of bounds");
    refused(&host, &failed(offsets, 9), "reason 0: out of bounds");
    refused(&host, &failed(56, u32::MAX), "out of bounds");
    let mut no_text = Frame::failed();
    let reasons = no_text.word(52) as usize;
    no_text.bytes[reasons] = 0xc0;
    refused(&host, &no_text, "reason 0: not UTF-8");
    let mut twice = Frame::failed();
    let (rows, offsets) = (twice.append_words(&[1, 1]), twice.append_words(&[0, 1, 2]));
    twice.put(32, 2).put(36, rows).put(40, 8).put(44, offsets).put(48, 12);
    refused(&host, &twice.sized(), "failure 1 is of row 1: not ascending");
    let mut both = Frame::failed();
    let rows = both.append_words(&[0, 1]);
    both.put(12, 2).put(20, 1).put(24, rows).put(28, 8).put(64, 2);
    refused(&host, &both.sized(), "row 1 is both failed and output");
}

#[test]
fn an_instance_that_lied_is_not_used_again() {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let mut instance = stage.instance().unwrap();
    assert!(matches!(instance.process(&longs([LIES]), 1), Err(ProcessError::BadOutput(_))));
    assert_eq!(instance.process(&longs([1]), 1).unwrap_err(), ProcessError::Poisoned);
}

#[test]
fn buffers_may_lie_anywhere_in_a_core_modules_memory() {
    let host = host();
    let mut frame = Frame::good();
    // The value bytes are the beginning of the answer of `describe`, below the frame.
    frame.put(88, ANSWER_AT.wrapping_sub(FRAME_AT));
    let output = outcome(&host, &frame.bytes).unwrap();
    assert_eq!(strings(&output.columns[0])[0].as_deref(), Some("{"));
}

/// Sixty columns that all name the same 900 KB: the host counts what it would copy before it
/// copies.
#[test]
fn the_same_bytes_named_many_times_reach_the_limit_of_output() {
    let host = host();
    let columns: Vec<_> = (0..60)
        .map(|index| serde_json::json!({ "name": format!("c{index}"), "type": "binary" }))
        .collect();
    let mut frame = Frame { bytes: vec![0; 64 + 60 * 32] };
    frame.bytes[..4].copy_from_slice(b"GMF1");
    frame.put_u16(4, 64).put_u16(6, 32).put(12, 1).put(16, 60);
    let offsets = frame.append_words(&[0, 900_000]);
    for column in 0..60 {
        let at = 64 + column * 32;
        frame.put(at, 1).put(at + 16, offsets).put(at + 20, 8).put(at + 28, 900_000);
    }
    let frame = frame.sized();
    let more = format!(
        "(func (export \"_initialize\") (drop (memory.grow (i32.const 20)))) \
         (data (i32.const {FRAME_AT}) \"{}\")",
        literal(&frame.bytes)
    );
    let body = format!(
        "(call $result (i32.const 0) (i32.const {FRAME_AT}) (i32.const {}))",
        frame.bytes.len()
    );
    let bytes = core_module(&answer(&["n"], columns.into(), &[]), &body, &more);
    let stage = described(&host, &bytes, &longs_schema(), tight());
    let error = stage.instance().unwrap().process(&longs([1]), 1).unwrap_err();
    assert!(
        matches!(&error, ProcessError::OutputLimit(what) if what.contains("1048576")),
        "{error}"
    );
}

#[test]
fn a_lying_stage_fails_its_rows_and_nothing_else() {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let mut lane = Lane::new(stage);
    let output = lane.process(&longs([1, LIES, 3]), 3).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [0, 2]);
    assert_eq!(output.failures.len(), 1);
    assert!(output.columns.iter().all(|column| column.len() == 2));
}
