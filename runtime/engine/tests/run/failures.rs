//! What a run does when a store fails or records are gone: nothing is lost, nothing is there twice.

use gristmill_engine::failure::Rewind;

use crate::said::Said;
use crate::world::{Fault, MemorySink, MemorySource, Running, Topic, at, finish, pipeline};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_or_says_so_wrongly_is_got_over() {
    let topic = Topic::of(&[100, 50]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().faults.extend([
        Fault::Before(Some(Rewind::MayPass)),
        Fault::After(Rewind::MayPass),
        Fault::Before(Some(Rewind::Fenced)),
        Fault::After(Rewind::Fenced),
    ]);
    let settings = "trigger = \"available-now\"\nmax_offsets_per_trigger = 20";
    let snapshot = finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(snapshot.rewinds, 4);
    assert_eq!(sink.offsets(0), (0..100).collect::<Vec<_>>());
    assert_eq!(sink.offsets(1), (0..50).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_mends_ends_the_run_and_moves_no_cursor() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().faults.push_back(Fault::Before(None));
    let error = finish(pipeline(&source, &sink, "")).await.unwrap_err();
    assert!(format!("{error:#}").contains("the store is away"), "{error:#}");
    assert!(sink.stored().cursors.is_empty());
    assert_eq!(sink.pending(), 0, "readers do not wait for what nobody will commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_before_they_were_read_stop_the_pipeline_unless_it_may_go_on() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().cursors.insert(at(0), 10);
    topic.delete_below(0, 40);
    let stops = "trigger = \"available-now\"";
    let error = format!("{:#}", finish(pipeline(&source, &sink, stops)).await.unwrap_err());
    assert!(error.contains("partition orders-0: the pipeline is at offset 10"), "{error}");
    assert!(error.contains("holds offsets 40 to 100"), "{error}");
    assert!(error.contains("on_data_loss"), "{error}");
    let goes_on = "trigger = \"available-now\"\non_data_loss = \"continue\"";
    finish(pipeline(&source, &sink, goes_on)).await.unwrap();
    assert_eq!(sink.offsets(0), (40..100).collect::<Vec<_>>());
}

/// A topic that was made anew under the old name is shorter than the cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_a_loss_too() {
    let topic = Topic::of(&[5]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().cursors.insert(at(0), 10);
    let error = finish(pipeline(&source, &sink, "")).await.unwrap_err();
    assert!(format!("{error:#}").contains("was made anew"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_was_begun() {
    let topic = Topic::of(&[1_000]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().hold = true;
    let (tell, told) = tokio::sync::oneshot::channel();
    topic.at_next_look(|_| ());
    topic.at_next_look(move |_| tell.send(()).unwrap());
    let running = Running::start(pipeline(&source, &sink, ""));
    told.await.unwrap();
    assert!(sink.stored().rows.is_empty());
    running.stop().await;
    assert_eq!(sink.offsets(0), (0..1_000).collect::<Vec<_>>());
    assert_eq!(sink.stored().cursors[&at(0)], 1_000);
}

/// A process that had slept met first the commit that failed for another reason, gave its partitions up with that, and
/// never said that it was fenced.
#[tokio::test]
async fn a_process_whose_partitions_were_taken_says_so_whatever_it_met_first() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().faults.push_back(Fault::Before(Some(Rewind::MayPass)));
    let group = source.clone();
    sink.stored().at_fault = Some(Box::new(move || group.lose(0)));
    let said = Said::default();
    let listening = said.listen();
    finish(pipeline(&source, &sink, "trigger = \"available-now\"")).await.unwrap();
    drop(listening);
    assert!(said.text().contains("FENCED"), "{}", said.text());
    assert_eq!(sink.offsets(0), (0..100).collect::<Vec<_>>());
}
