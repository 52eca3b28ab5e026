//! Which records a run reads, and where it begins: as Spark's Kafka source does, where Spark has a word for it.

use std::time::{Duration, Instant};

use gristmill_engine::source::Source;

use crate::world::{MemorySink, MemorySource, Running, Topic, at, finish, pipeline, pipeline_into};

#[tokio::test(flavor = "multi_thread")]
async fn available_now_reads_what_was_there_when_it_began_in_shares() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    topic.at_next_look(|topic| topic.append(0, 7));
    topic.at_next_look(|topic| topic.append(1, 9));
    let settings = "trigger = \"available-now\"\nmax_offsets_per_trigger = 30";
    finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(sink.offsets(0), (0..100).collect::<Vec<_>>());
    assert_eq!(sink.offsets(1), [0_i64; 0], "a partition that appeared later is the next run's");
    assert_eq!(sink.stored().commits, [30, 30, 30, 10]);

    finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(sink.offsets(0), (0..107).collect::<Vec<_>>());
    assert_eq!(sink.offsets(1), (0..9).collect::<Vec<_>>(), "from its earliest offset");
    let commits = sink.stored().commits.clone();
    finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(sink.stored().commits, commits, "nothing new: nothing is written");
}

/// A small share is rounded up, so that no partition waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_prorated_over_the_partitions() {
    let topic = Topic::of(&[90, 9, 1, 0]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    let settings = "trigger = \"available-now\"\nmax_offsets_per_trigger = 10";
    finish(pipeline(&source, &sink, settings)).await.unwrap();
    let stored = sink.stored();
    let first: Vec<_> = stored.rows[..11].iter().map(|(at, _)| at.partition).collect();
    assert_eq!(stored.commits[0], 11, "9 + 1 + 1");
    assert_eq!(first.iter().filter(|partition| **partition == 0).count(), 9);
    assert_eq!(stored.rows.len(), 100);
}

/// Another process of the group had the partition for a while, and began with a later end.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_end_that_was_seen_first_is_no_loss() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    let store = sink.elsewhere();
    topic.at_next_look(move |topic| {
        topic.append(0, 100);
        store.stored().cursors.insert(at(0), 150);
    });
    finish(pipeline(&source, &sink, "trigger = \"available-now\"")).await.unwrap();
    assert!(sink.stored().rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_holds_for_the_partitions_of_the_beginning_and_is_written_down() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    let running = Running::start(pipeline(&source, &sink, "start = \"latest\""));
    sink.wait_until("the beginning is stored", |stored| stored.cursors.contains_key(&at(0))).await;
    assert!(sink.stored().rows.is_empty());
    topic.append(1, 5);
    sink.wait_until("the new partition is read", |stored| stored.rows.len() == 5).await;
    topic.append(0, 3);
    sink.wait_until("the old one too", |stored| stored.rows.len() == 8).await;
    running.stop().await;
    assert_eq!((sink.offsets(0), sink.offsets(1)), (vec![100, 101, 102], vec![0, 1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_not_there_at_the_start_are_read_from_their_beginning() {
    let topic = Topic::default();
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    topic.at_next_look(|_| ());
    topic.at_next_look(|topic| topic.append(0, 10));
    let running = Running::start(pipeline(&source, &sink, "start = \"latest\""));
    sink.wait_until("all is read", |stored| stored.rows.len() == 10).await;
    running.stop().await;
}

/// The second process met cursors of the first, took its own partition for a new one, and read all that was in it.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_together_begin_at_the_same_time() {
    let topic = Topic::of(&[100, 100]);
    let (first, share) = (MemorySink::default(), |of| MemorySource::of_one(&topic, of));
    let waiting = Running::start(pipeline(&share(1), &first.elsewhere(), "start = \"latest\""));
    let leading = Running::start(pipeline(&share(0), &first, "start = \"latest\""));
    first.wait_until("the beginning is stored", |stored| stored.cursors.len() == 2).await;
    topic.append(0, 2);
    topic.append(1, 2);
    first.wait_until("both are read", |stored| stored.rows.len() == 4).await;
    waiting.stop().await;
    leading.stop().await;
    assert_eq!((first.offsets(0), first.offsets(1)), (vec![100, 101], vec![100, 101]));
}

/// The first process had written down where the new sink begins in its own partition; the second met that cursor, took its
/// own partition for newer than the sink, and gave it all that was in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_added_later_begins_at_the_same_time_in_all_processes() {
    let topic = Topic::of(&[100, 100]);
    let (old, added) = (MemorySink::default(), MemorySink::default());
    old.stored().cursors.extend([(at(0), 90), (at(1), 80)]);
    let process = |share, old: &MemorySink, added: &MemorySink| {
        let source = MemorySource::of_one(&topic, share);
        Running::start(pipeline_into(&source, &[old, added], "start = \"latest\""))
    };
    let first = process(0, &old, &added);
    old.wait_until("the first has read", |stored| stored.rows.len() == 10).await;
    topic.append(1, 5);
    let second = process(1, &old.elsewhere(), &added.elsewhere());
    old.wait_until("the second has read", |stored| stored.rows.len() == 35).await;
    topic.append(0, 2);
    topic.append(1, 2);
    added.wait_until("what came later is there", |stored| stored.rows.len() >= 9).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(added.offsets(0), [100, 101]);
    assert_eq!(added.offsets(1), (100..107).collect::<Vec<_>>());
    assert_eq!(old.offsets(1), (80..107).collect::<Vec<_>>());
}

/// A process had died in its transaction, and those that took over stood still in all partitions until that timed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_others_holds_up_its_own_partitions_alone() {
    let topic = Topic::of(&[10, 10]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().cursors.extend([(at(0), 0), (at(1), 0)]);
    sink.stored().unsettled.insert(at(1));
    let others = sink.elsewhere();
    let end = tokio::spawn(async move {
        others.wait_until("the free one is read", |stored| stored.rows.len() == 10).await;
        others.stored().unsettled.clear();
    });
    finish(pipeline(&source, &sink, "trigger = \"available-now\"")).await.unwrap();
    end.await.unwrap();
    assert_eq!(sink.offsets(1), (0..10).collect::<Vec<_>>(), "it is not taken for done");
}

/// Retention had removed the offset that `start` names, and a pipeline that was far beyond it did not start any more.
#[tokio::test(flavor = "multi_thread")]
async fn start_means_nothing_to_a_pipeline_that_goes_on() {
    let topic = Topic::of(&[100]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    let settings = "trigger = \"available-now\"\nstart = { offsets = { orders = { 0 = 20 } } }";
    finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(sink.offsets(0), (20..100).collect::<Vec<_>>());
    topic.delete_below(0, 60);
    topic.append(0, 1);
    finish(pipeline(&source, &sink, settings)).await.unwrap();
    assert_eq!(sink.offsets(0), (20..101).collect::<Vec<_>>());
}

/// Both waited for the interval to end, an hour say: rows for their commit, the group for its partitions.
#[tokio::test(flavor = "multi_thread")]
async fn between_two_intervals_commits_become_due_and_partitions_are_let_go() {
    let topic = Topic::of(&[10]);
    let (source, sink) = (MemorySource::new(&topic), MemorySink::default());
    sink.stored().hold = true;
    let running = Running::start(pipeline(&source, &sink, "trigger = \"1h\""));
    sink.stored().hold = false;
    sink.wait_until("the rows are stored", |stored| stored.rows.len() == 10).await;
    topic.append(0, 10);
    source.revoke(0);
    let begun = Instant::now();
    while source.rebalance().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not let go");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(sink.stored().rows.len(), 10, "the interval is not over");
    running.stop().await;
}
