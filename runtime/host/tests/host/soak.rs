use crate::guests::*;
use gristmill_host::Lane;
use serde_json::json;

/// Resident memory of this process, in bytes (Linux).
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[test]
fn a_hundred_thousand_batches_leave_memory_flat() {
    let host = host();
    let columns = json!([{ "name": "copy", "type": "long" }]);
    let bytes = core_module(&answer(&["n"], columns, &[]), IDENTITY, "");
    let mut lane = Lane::new(described(&host, &bytes, &longs_schema(), tight()));
    let batch = longs(0..100);
    let mut run = |batches: usize| {
        for _ in 0..batches {
            let output = lane.process(&batch, 100).unwrap();
            assert_eq!(output.row_count, 100);
        }
        (lane.memory_bytes(), resident_bytes())
    };
    let (guest_before, resident_before) = run(1_000);
    let (guest_after, resident_after) = run(100_000);
    assert_eq!(guest_before, guest_after);
    if let (Some(before), Some(after)) = (resident_before, resident_after) {
        // Other tests of this binary run beside this one.
        assert!(after < before + (64 << 20), "from {before} to {after} bytes");
    }
}

#[test]
fn a_thousand_lost_instances_leave_nothing_behind() {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let mut lane = Lane::new(stage);
    let mut lost = 0;
    let mut before = None;
    while lost < 1_000 {
        let output = lane.process(&longs([1, TRAPS, 2, TRAPS]), 4).unwrap();
        assert_eq!(output.rows.unwrap().to_vec(), [0, 2]);
        lost += output.instances_lost;
        before = before.or_else(resident_bytes);
    }
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        assert!(after < before + (64 << 20), "from {before} to {after} bytes");
    }
}
