//! What a change does to the flow while it is prepared, and which changes of a stage's grant are taken.

use std::time::{Duration, Instant};

use gristmill_engine::ledger::RowCounts;
use gristmill_engine::reload::Change;

use super::{Live, PIPELINE, until};
use crate::guests::stamping_beside;
use crate::stage_commands::wants_a_variable;

/// Functions of a module that takes long to compile, and the steps of each.
const FUNCTIONS: usize = 500;
const STEPS: usize = 200;

/// A stage that stamps, with much beside it that is never called.
fn large() -> Vec<u8> {
    let mut step = String::from("(local.get 0)");
    for number in 0..STEPS {
        step = format!("(i32.xor (i32.mul {step} (i32.const 31)) (i32.const {number}))");
    }
    let more = format!("(func (param i32) (result i32) {step})\n").repeat(FUNCTIONS);
    stamping_beside(&more, &["version"], 2)
}

/// A module that nobody has compiled yet is compiled beside the flow: no record waits for the compiler.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_go_on_while_a_module_is_compiled_for_the_first_time() {
    let live = Live::start(PIPELINE).await;
    live.produce(0..10).await;
    live.committed(10).await;
    std::fs::write(live.path("stamp.wasm"), large()).unwrap();
    let control = live.control.clone();
    let reload = tokio::spawn(async move { control.reload().await });
    let (mut sent, mut longest) = (10, Duration::ZERO);
    while !reload.is_finished() && live.control.generation() == 1 {
        let began = Instant::now();
        live.produce(sent..sent + 1).await;
        sent += 1;
        live.committed(sent as u64).await;
        longest = longest.max(began.elapsed());
    }
    let receipt = reload.await.unwrap().unwrap();
    let prepared = Duration::from_secs_f64(receipt.prepare_ms / 1e3);
    assert!(sent > 13, "{sent} records while it took {prepared:?} to prepare");
    assert!(longest * 2 < prepared, "a record waited {longest:?} of {prepared:?}");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_stage_is_granted_changes_with_the_file_and_a_wrong_grant_is_refused() {
    let live = Live::start(PIPELINE).await;
    std::fs::write(live.path("wants.wasm"), wants_a_variable()).unwrap();
    let write = |grant: &str| {
        let stage = format!(
            "[[stage]]\nname = \"wants\"\nmodule = \"./wants.wasm\"\non_failure = \"skip\"\n{grant}"
        );
        let text = PIPELINE.replacen("[[stage]]", &format!("{stage}\n[[stage]]"), 1);
        std::fs::write(live.path("live.toml"), text).unwrap();
    };
    let counted = |what: &'static str, count: fn(&RowCounts) -> u64, wanted: u64| {
        let control = live.control.clone();
        async move {
            until(what, || count(&control.snapshot().stages[0].counts) == wanted).await;
        }
    };
    write("grant = { env = [\"REGION\"] }");
    live.control.reload().await.unwrap();
    live.produce(0..10).await;
    counted("rows with the variable", |counts| counts.rows_filtered, 10).await;

    write("");
    let receipt = live.control.reload().await.unwrap();
    let change = Change::StageSettings { stage: "wants".into(), keys: vec!["grant".into()] };
    assert!(receipt.changes.contains(&change), "{receipt:?}");
    live.produce(10..20).await;
    counted("rows without it", |counts| counts.rows_failed, 10).await;

    write("grant = { env = [\"NOWHERE\"] }");
    let refusal = live.control.reload().await.unwrap_err();
    assert!(refusal.reason.contains("NOWHERE") && refusal.mistakes == 1, "{refusal:?}");
    live.produce(20..25).await;
    counted("rows of the generation that runs on", |counts| counts.rows_failed, 15).await;

    write("grant = { env = [\"REGION\"] }");
    live.control.reload().await.unwrap();
    live.produce(25..30).await;
    counted("rows with the variable again", |counts| counts.rows_filtered, 15).await;
    live.end().await;
}
