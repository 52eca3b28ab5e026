//! The tables of a pipeline that writes to nothing else, and how far they are, told to the pipeline's consumer group.
//!
//! Where such a pipeline goes on is said by its tables alone. The group's offsets are for people: Kafka's own tools show
//! by them how far the pipeline is behind. A pipeline with topics keeps cursors there (`topic_store`), and tells nothing
//! of its tables. Cursors of topics that the pipeline had, or has in another process's version of its file, stay there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use gristmill_engine::cursors::Cursors;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::{Commit, Committed, When};

use crate::delta_sink::DeltaSink;
use crate::group_cursors::{self, Owner};
use crate::kafka_group::Membership;
use crate::question;

/// The group hears of progress at most this often while the pipeline runs.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// See the module documentation.
pub(crate) struct TablesWithProgress {
    pipeline: String,
    tables: Vec<(Owner, Arc<DeltaSink>)>,
    member: Arc<Membership>,
    told: tokio::sync::Mutex<Told>,
}

/// What the group has heard.
#[derive(Default)]
struct Told {
    offsets: Offsets,
    at: Option<Instant>,
}

impl TablesWithProgress {
    /// `tables`: each with its name.
    pub(crate) fn new(
        pipeline: &str,
        tables: Vec<(String, Arc<DeltaSink>)>,
        member: Arc<Membership>,
    ) -> TablesWithProgress {
        let tables = tables.into_iter().map(|(name, table)| (Owner::Sink(name), table));
        let (pipeline, tables) = (pipeline.to_string(), tables.collect());
        TablesWithProgress { pipeline, tables, member, told: tokio::sync::Mutex::default() }
    }

    /// That the group does not hear of it is no failure: the next time, or the next run, makes up for it.
    async fn tell(&self, cursors: &Cursors, when: When) -> Result<()> {
        if when == When::Now {
            return Ok(());
        }
        let is_last = when == When::Last;
        let mut told = self.told.lock().await;
        if !is_last && told.at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        let stored = self.stored(cursors);
        let offset = |owners: &Vec<(&Owner, i64)>| owners.iter().map(|(_, cursor)| *cursor).min();
        let offsets: Offsets =
            stored.iter().filter_map(|(at, owners)| Some((at.clone(), offset(owners)?))).collect();
        if offsets == told.offsets {
            return Ok(());
        }
        told.at = Some(Instant::now());
        let (asked, member) = (stored.keys().cloned().collect::<Vec<_>>(), self.member.clone());
        let held = question::ask(move || member.held(&asked)).await?;
        let owners: Vec<_> = self.tables.iter().map(|(owner, _)| owner).collect();
        let others = held.others(&self.pipeline, &owners)?;
        let list = group_cursors::offsets(&self.pipeline, &stored, &others)?;
        let member = self.member.clone();
        tokio::task::spawn_blocking(move || member.tell(&list, is_last)).await??;
        told.offsets = offsets;
        Ok(())
    }

    /// Of the partitions that are ours, the cursor of each table.
    fn stored(&self, cursors: &Cursors) -> BTreeMap<TopicPartition, Vec<(&Owner, i64)>> {
        let ours = cursors.next();
        let mut all: BTreeMap<TopicPartition, Vec<(&Owner, i64)>> = BTreeMap::new();
        for (owner, table) in &self.tables {
            for (partition, cursor) in table.stored() {
                if ours.contains_key(&partition) {
                    all.entry(partition).or_default().push((owner, cursor));
                }
            }
        }
        // A table without a cursor has nothing of the partition, and the group is told nothing.
        all.retain(|_, owners| owners.len() == self.tables.len());
        all
    }
}

#[async_trait]
impl Commit for TablesWithProgress {
    async fn commit(&self, cursors: &Cursors, when: When) -> Result<Vec<(usize, Committed)>> {
        let each = self.tables.iter().map(|(_, table)| table.commit(cursors, when));
        let each = futures::future::join_all(each).await.into_iter().collect::<Result<Vec<_>>>()?;
        if let Err(error) = self.tell(cursors, when).await {
            tracing::debug!(target: "kafka", "the group was not told the progress: {error:#}");
        }
        Ok(each.concat())
    }

    async fn abort(&self) -> Result<()> {
        for (_, table) in &self.tables {
            table.abort().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use gristmill_engine::config::{CommitEvery, DeltaSinkConfig, SchemaEvolution};
    use gristmill_engine::sink::{Sink, SinkRows};

    use super::*;
    use crate::delta_sink::DeltaSinkSetup;
    use crate::group_cursors::Others;
    use crate::kafka_tests::TestBroker;

    async fn table(folder: &std::path::Path) -> Arc<DeltaSink> {
        let config = DeltaSinkConfig {
            table: folder.display().to_string(),
            partition_by: Vec::new(),
            commit_every: CommitEvery::default(),
            schema_evolution: SchemaEvolution::Refuse,
            storage: BTreeMap::new(),
        };
        let rows = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let (pipeline, sink) = ("lake".to_string(), "rows".to_string());
        let setup = DeltaSinkSetup { pipeline, sink, index: 0, config, rows };
        Arc::new(DeltaSink::open(setup).await.unwrap())
    }

    fn rows(count: i64) -> SinkRows {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let ids = Arc::new(Int64Array::from_iter_values(0..count));
        let rows = RecordBatch::try_new(schema, vec![ids]).unwrap();
        let partition = TopicPartition::new("orders", 0);
        SinkRows { partition, rows, offsets: (0..count).collect() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_group_shows_how_far_the_tables_are_and_no_other_sink_takes_it_for_its_own() {
        let broker = TestBroker::start().await;
        broker.topic("orders", 1).await;
        let folder = tempfile::tempdir().unwrap();
        let table = table(folder.path()).await;
        let member = Arc::new(Membership::new(&broker.cluster, "gristmill-lake", None).unwrap());
        member.assigned(&BTreeSet::from(["orders".to_string()])).await.unwrap();
        let tables = vec![("rows".to_string(), table.clone())];
        let commit = TablesWithProgress::new("lake", tables, member.clone());
        let at = TopicPartition::new("orders", 0);
        let asker = broker.cluster.consumer("gristmill-lake", &[]).unwrap();
        let (cluster, place) = (broker.cluster.clone(), at.clone());
        let told = async |owner: Owner| {
            let (asker, cluster, place) = (asker.clone(), cluster.clone(), place.clone());
            let ask =
                move || group_cursors::held(&asker, &cluster, &[place]).map(|held| held.of(&owner));
            tokio::task::spawn_blocking(ask).await.unwrap().unwrap()
        };

        let mut writer = table.writer().unwrap();
        tokio::task::spawn_blocking(move || writer.write(&rows(10))).await.unwrap().unwrap();
        let read = Cursors::of(&Offsets::from([(at.clone(), 10)]), 1);
        commit.commit(&read, When::Due).await.unwrap();
        assert!(told(Owner::Sink("rows".into())).await.is_empty(), "the table has nothing yet");
        commit.commit(&read, When::Last).await.unwrap();
        let rows_told = told(Owner::Sink("rows".into())).await;
        assert_eq!(rows_told, Offsets::from([(at.clone(), 10)]));
        assert!(told(Owner::Sink("added-later".into())).await.is_empty());

        // Another process, with a file that has a topic more, had the partition meanwhile.
        let topic = Owner::Sink("topic".into());
        let ours = BTreeMap::from([(at.clone(), vec![(&topic, 7)])]);
        let list = group_cursors::offsets("lake", &ours, &Others::new()).unwrap();
        let (teller, now) = (member.clone(), Cursors::of(&Offsets::from([(at.clone(), 20)]), 1));
        tokio::task::spawn_blocking(move || teller.commit(&list)).await.unwrap().unwrap();
        let mut writer = table.writer().unwrap();
        tokio::task::spawn_blocking(move || writer.write(&rows(10))).await.unwrap().unwrap();
        commit.commit(&now, When::Last).await.unwrap();
        assert_eq!(told(Owner::Sink("rows".into())).await, Offsets::from([(at.clone(), 20)]));
        assert_eq!(told(topic).await, Offsets::from([(at, 7)]));
    }
}
