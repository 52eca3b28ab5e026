//! The topics of a broker: names, ids, settings and the logs of their partitions.
//!
//! `topics.json` in the data folder lists them; it is replaced in one step at every change, so a
//! power cut leaves the old list or the new one. A topic is listed before its folders exist and
//! marked before they are removed; the next start finishes either. Folders that no topic claims are
//! never touched: they are reported.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result};
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::lock::{lock, read, write};
use crate::log::{self, FlusherHandle, Log, LogError, Recovery};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::topic_config::{self, TopicConfigs};

/// The internal topic of committed offsets and groups.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The internal topic of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// Longest topic name in bytes; with `-` and a partition number it stays a valid folder name.
const NAME_BYTES_MAX: usize = 249;
/// A disk has no use for more.
const OPENING_THREADS_MAX: usize = 8;
const LIST_FILE: &str = "topics.json";
/// Largest `topics.json` that is read; 20,000 topics with settings stay far below.
const LIST_BYTES_MAX: usize = 64 << 20;

/// One topic, as it is at one moment: changes make a new one.
#[derive(Debug)]
pub struct Topic {
    name: String,
    id: Uuid,
    configs: TopicConfigs,
    partitions: Vec<Log>,
}

impl Topic {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id; a topic created anew under an old name has another.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What the topic was given at creation and since; the rest follows the broker.
    pub fn configs(&self) -> &TopicConfigs {
        &self.configs
    }

    /// One log per partition, by partition number.
    pub fn partitions(&self) -> &[Log] {
        &self.partitions
    }

    /// The log of one partition.
    pub fn partition(&self, partition: i32) -> Option<&Log> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }

    /// Belongs to the broker; clients read it and don't write it.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// True for the names that the broker keeps for itself.
pub(crate) fn is_internal(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE
}

/// INVALID_TOPIC_EXCEPTION with the reason, by Kafka's rules for names.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        let message = format!("Topic name is invalid: '{name}' {why}");
        Err(Refusal::new(ResponseError::InvalidTopicException, message))
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match name {
        "" => refuse("is the empty string"),
        "." | ".." => refuse("is '.' or '..'"),
        _ if name.len() > NAME_BYTES_MAX => {
            refuse(&format!("is longer than {NAME_BYTES_MAX} characters"))
        }
        _ if !name.bytes().all(allowed) => {
            refuse("has characters other than ASCII letters, digits, '.', '_' and '-'")
        }
        _ => Ok(()),
    }
}

/// What the logs of all topics are opened with.
#[derive(Debug)]
pub(crate) struct LogSeams {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flusher: FlusherHandle,
}

/// All topics of a broker.
#[derive(Debug)]
pub(crate) struct Topics {
    settings: Arc<Settings>,
    seams: LogSeams,
    table: RwLock<Table>,
    /// Held through a whole creation or deletion; `table` is locked only to put the result in.
    change: Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    partitions: usize,
}

impl Table {
    fn insert(&mut self, topic: Arc<Topic>) {
        self.remove(&topic.name);
        self.partitions += topic.partitions.len();
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(topic.name.clone(), topic);
    }

    fn remove(&mut self, name: &str) {
        if let Some(topic) = self.by_name.remove(name) {
            self.by_id.remove(&topic.id);
            self.partitions -= topic.partitions.len();
        }
    }
}

/// `topics.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ListFile {
    topics: Vec<ListedTopic>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ListedTopic {
    name: String,
    id: Uuid,
    partitions: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    configs: TopicConfigs,
    /// Its folders are being removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleting: bool,
}

/// A topic to create.
#[derive(Debug, Clone)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) configs: TopicConfigs,
}

impl Topics {
    /// Opens every listed topic, recovering logs where `was_clean` is false. Returns what was
    /// repaired, in sentences.
    pub(crate) fn open(
        settings: Arc<Settings>,
        seams: LogSeams,
        was_clean: bool,
    ) -> Result<(Topics, Vec<String>)> {
        let (table, change) = (RwLock::new(Table::default()), Mutex::new(()));
        let topics = Topics { settings, seams, table, change };
        let mut repairs = Vec::new();
        let removed = log::remove_deleted(topics.seams.disk.as_ref(), topics.data_dir())?;
        repairs.extend(removed.iter().map(|name| format!("removed deleted folder `{name}`")));
        let mut list = topics.read_list()?;
        let deleting = list.topics.iter().any(|topic| topic.deleting);
        for listed in list.topics.iter().filter(|topic| topic.deleting) {
            topics.remove_folders(listed)?;
            repairs.push(format!("finished the deletion of topic `{}`", listed.name));
        }
        list.topics.retain(|topic| !topic.deleting);
        for listed in &list.topics {
            let topic = topics.open_topic(listed, 0, was_clean, &mut repairs)?;
            write(&topics.table).insert(Arc::new(topic));
        }
        if deleting {
            topics.write_list(&list).with_context(|| topics.cannot_write_list())?;
        }
        topics.report_unclaimed(&list, &mut repairs)?;
        Ok((topics, repairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.table).by_name.get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        read(&self.table).by_id.get(&id).cloned()
    }

    pub(crate) fn log(&self, name: &str, partition: i32) -> Option<Log> {
        self.get(name)?.partition(partition).cloned()
    }

    /// All topics in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        read(&self.table).by_name.values().cloned().collect()
    }

    /// What [`Topics::create`] would say. Takes no lock against others who create.
    pub(crate) fn check_new(&self, new: &NewTopic) -> Result<(), Refusal> {
        check_name(&new.name)?;
        let table = read(&self.table);
        if table.by_name.contains_key(&new.name) {
            let message = format!("Topic '{}' already exists.", new.name);
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
        }
        // Kafka names metrics with dots made underscores, and so refuses names that would collide.
        let plain = |name: &str| name.replace('.', "_");
        let has_mark = new.name.contains(['.', '_']);
        let collides = |other: &&String| plain(other) == plain(&new.name);
        if let Some(other) = table.by_name.keys().find(|other| has_mark && collides(other)) {
            let message = format!("Topic '{}' collides with existing topic: {other}", new.name);
            return Err(Refusal::new(ResponseError::InvalidTopicException, message));
        }
        if new.partitions < 1 {
            let message = "Number of partitions must be larger than 0.";
            return Err(Refusal::new(ResponseError::InvalidPartitions, message));
        }
        self.check_room(&table, new.partitions as usize)?;
        topic_config::check(&new.configs)
    }

    fn check_room(&self, table: &Table, more: usize) -> Result<(), Refusal> {
        let partitions_max = self.settings.start().partitions_max;
        if table.partitions + more <= partitions_max {
            return Ok(());
        }
        let message = format!(
            "{more} more partitions would exceed the {partitions_max} that this broker allows"
        );
        Err(Refusal::new(ResponseError::InvalidPartitions, message))
    }

    /// Creates a topic. When this returns, it is on disk and can be used. Blocks.
    pub(crate) fn create(&self, new: &NewTopic) -> Result<Arc<Topic>, Refusal> {
        let _change = lock(&self.change);
        self.check_new(new)?;
        let listed = ListedTopic {
            name: new.name.clone(),
            id: Uuid::new_v4(),
            partitions: new.partitions as u32,
            configs: new.configs.clone(),
            deleting: false,
        };
        self.refuse_old_folders(&listed, 0)?;
        let before = self.list();
        let mut after = before.clone();
        after.push(listed.clone());
        self.write_list(&ListFile { topics: after })?;
        match self.open_topic(&listed, 0, true, &mut Vec::new()) {
            Ok(topic) => {
                let topic = Arc::new(topic);
                write(&self.table).insert(Arc::clone(&topic));
                Ok(topic)
            }
            Err(error) => {
                self.undo(&listed, 0, before);
                Err(error.into())
            }
        }
    }

    /// Adds partitions, so that the topic has `partitions`. Blocks.
    pub(crate) fn grow(&self, name: &str, partitions: i32) -> Result<(), Refusal> {
        let _change = lock(&self.change);
        let topic = self.check_grow(name, partitions)?;
        let present = topic.partitions.len();
        let mut listed = listed(&topic);
        listed.partitions = partitions as u32;
        self.refuse_old_folders(&listed, present)?;
        let before = self.list();
        let mut after = before.clone();
        after.retain(|other| other.name != name);
        after.push(listed.clone());
        self.write_list(&ListFile { topics: after })?;
        match self.open_topic(&listed, present, true, &mut Vec::new()) {
            Ok(mut grown) => {
                grown.partitions.splice(0..0, topic.partitions.iter().cloned());
                write(&self.table).insert(Arc::new(grown));
                Ok(())
            }
            Err(error) => {
                self.undo(&listed, present, before);
                Err(error.into())
            }
        }
    }

    /// What [`Topics::grow`] would say.
    pub(crate) fn check_grow(&self, name: &str, partitions: i32) -> Result<Arc<Topic>, Refusal> {
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let present = topic.partitions.len();
        let wanted = usize::try_from(partitions).unwrap_or(0);
        if wanted == present {
            let message = format!("Topic already has {present} partition(s).");
            return Err(Refusal::new(ResponseError::InvalidPartitions, message));
        }
        if wanted < present {
            let message = format!(
                "The topic {name} currently has {present} partition(s); {partitions} would not be \
                 an increase."
            );
            return Err(Refusal::new(ResponseError::InvalidPartitions, message));
        }
        self.check_room(&read(&self.table), wanted - present)?;
        Ok(topic)
    }

    /// Replaces the settings of a topic by what `change` makes of them. Blocks.
    pub(crate) fn alter(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&TopicConfigs) -> Result<TopicConfigs, Refusal>,
    ) -> Result<(), Refusal> {
        let _change = lock(&self.change);
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let configs = change(&topic.configs)?;
        topic_config::check(&configs)?;
        if validate_only || configs == topic.configs {
            return Ok(());
        }
        let mut after = self.list();
        for listed in after.iter_mut().filter(|listed| listed.name == name) {
            listed.configs.clone_from(&configs);
        }
        self.write_list(&ListFile { topics: after })?;
        let config = topic_config::log_config(&configs, &self.settings.values());
        for log in &topic.partitions {
            log.set_config(config.clone());
        }
        let (id, partitions) = (topic.id, topic.partitions.clone());
        let altered = Topic { name: name.to_owned(), id, configs, partitions };
        write(&self.table).insert(Arc::new(altered));
        Ok(())
    }

    /// Puts settings of the broker that have changed in force for topics that follow it.
    pub(crate) fn settings_changed(&self) {
        let _change = lock(&self.change);
        let values = self.settings.values();
        for topic in self.all() {
            let config = topic_config::log_config(&topic.configs, &values);
            for log in &topic.partitions {
                log.set_config(config.clone());
            }
        }
    }

    /// Removes a topic and its records. Blocks.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Refusal> {
        let _change = lock(&self.change);
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let mut marked = self.list();
        for other in marked.iter_mut().filter(|other| other.name == name) {
            other.deleting = true;
        }
        self.write_list(&ListFile { topics: marked })?;
        write(&self.table).remove(name);
        for log in &topic.partitions {
            if let Err(error) = log.delete() {
                // The list says `deleting`: the next start removes what is left.
                tracing::warn!(topic = name, %error, "cannot remove a partition's folder");
            }
        }
        let result = self
            .remove_folders(&listed(&topic))
            .and_then(|()| self.write_list(&ListFile { topics: self.list() }));
        if let Err(error) = result {
            tracing::warn!(topic = name, error = format!("{error:#}"), "deletion goes on later");
        }
        Ok(())
    }

    /// Syncs and closes all logs. Errors name the partition.
    pub(crate) fn close(&self) -> Result<()> {
        let _change = lock(&self.change);
        for topic in self.all() {
            for (partition, log) in topic.partitions.iter().enumerate() {
                log.close().with_context(|| {
                    format!("cannot close partition `{}-{partition}`", topic.name)
                })?;
            }
        }
        Ok(())
    }

    fn open_topic(
        &self,
        listed: &ListedTopic,
        from_partition: usize,
        was_clean: bool,
        repairs: &mut Vec<String>,
    ) -> Result<Topic> {
        let mut partitions = Vec::new();
        let opened = self.open_logs(listed, from_partition, was_clean);
        for (partition, opened) in (from_partition..).zip(opened) {
            let (log, recovery) = opened
                .with_context(|| format!("cannot open partition `{}-{partition}`", listed.name))?;
            let said = recovery.repairs.iter();
            repairs.extend(said.map(|said| format!("{}-{partition}: {said}", listed.name)));
            partitions.push(log);
        }
        Ok(Topic {
            name: listed.name.clone(),
            id: listed.id,
            configs: listed.configs.clone(),
            partitions,
        })
    }

    /// The logs of a topic, by partition; after a hard stop several at a time, for each may have
    /// much to read.
    fn open_logs(
        &self,
        listed: &ListedTopic,
        from_partition: usize,
        was_clean: bool,
    ) -> Vec<Result<(Log, Recovery), LogError>> {
        let config = topic_config::log_config(&listed.configs, &self.settings.values());
        let open = |partition| {
            Log::open(
                Arc::clone(&self.seams.disk),
                Arc::clone(&self.seams.clock),
                self.folder(&listed.name, partition),
                config.clone(),
                self.seams.flusher.clone(),
                was_clean,
            )
        };
        let all = from_partition..listed.partitions as usize;
        let threads = if was_clean { 1 } else { all.len().min(opening_threads()) };
        if threads <= 1 {
            return all.map(open).collect();
        }
        let next = AtomicUsize::new(all.start);
        let opened = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let partition = next.fetch_add(1, Ordering::Relaxed);
                        if !all.contains(&partition) {
                            break;
                        }
                        let result = open(partition);
                        lock(&opened).insert(partition, result);
                    }
                });
            }
        });
        opened.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn folder(&self, name: &str, partition: usize) -> PathBuf {
        self.data_dir().join(format!("{name}-{partition}"))
    }

    fn data_dir(&self) -> &Path {
        &self.settings.start().data_dir
    }

    fn list(&self) -> Vec<ListedTopic> {
        read(&self.table).by_name.values().map(|topic| listed(topic)).collect()
    }

    fn list_path(&self) -> PathBuf {
        self.data_dir().join(LIST_FILE)
    }

    fn cannot_write_list(&self) -> String {
        format!("cannot write `{}`", self.list_path().display())
    }

    fn read_list(&self) -> Result<ListFile> {
        let path = self.list_path();
        let content = self.seams.disk.read_small(&path, LIST_BYTES_MAX);
        let content = content.with_context(|| format!("cannot read `{}`", path.display()))?;
        let Some(content) = content else { return Ok(ListFile::default()) };
        serde_json::from_slice(&content)
            .with_context(|| format!("`{}` is damaged; restore it from a copy", path.display()))
    }

    fn write_list(&self, list: &ListFile) -> Result<()> {
        let content = serde_json::to_vec_pretty(list).context("cannot encode the topics")?;
        self.seams
            .disk
            .write_small(&self.list_path(), &content)
            .with_context(|| self.cannot_write_list())
    }

    /// Takes back a creation that failed half-way; what cannot be taken back is logged.
    fn undo(&self, listed: &ListedTopic, from_partition: usize, before: Vec<ListedTopic>) {
        for partition in from_partition..listed.partitions as usize {
            self.remove_folder(&self.folder(&listed.name, partition)).unwrap_or_else(|error| {
                tracing::warn!(topic = listed.name, error = format!("{error:#}"), "not removed");
            });
        }
        if let Err(error) = self.write_list(&ListFile { topics: before }) {
            tracing::warn!(topic = listed.name, error = format!("{error:#}"), "still listed");
        }
    }

    fn remove_folders(&self, listed: &ListedTopic) -> Result<()> {
        for partition in 0..listed.partitions as usize {
            self.remove_folder(&self.folder(&listed.name, partition))?;
        }
        let data_dir = self.data_dir();
        let synced = self.seams.disk.sync_directory(data_dir);
        synced.with_context(|| format!("cannot sync `{}`", data_dir.display()))
    }

    fn remove_folder(&self, folder: &Path) -> Result<()> {
        match self.seams.disk.remove_directory(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// Records in a folder of that name belong to somebody: a new topic must not take them over.
    fn refuse_old_folders(&self, listed: &ListedTopic, from: usize) -> Result<(), Refusal> {
        for partition in from..listed.partitions as usize {
            let folder = self.folder(&listed.name, partition);
            if self.seams.disk.list(&folder).is_ok_and(|entries| !entries.is_empty()) {
                let message = format!(
                    "the folder `{}` exists but no topic claims it; move it away first",
                    folder.display()
                );
                return Err(Refusal::new(ResponseError::KafkaStorageError, message));
            }
        }
        Ok(())
    }

    fn report_unclaimed(&self, list: &ListFile, repairs: &mut Vec<String>) -> Result<()> {
        let data_dir = self.data_dir();
        let entries = self.seams.disk.list(data_dir);
        let entries = entries.with_context(|| format!("cannot list `{}`", data_dir.display()))?;
        for entry in entries.iter().filter(|entry| entry.is_directory) {
            let Some((name, partition)) = entry.name.rsplit_once('-') else { continue };
            let Ok(partition) = partition.parse::<u32>() else { continue };
            let claims = |topic: &ListedTopic| topic.name == name && partition < topic.partitions;
            if !list.topics.iter().any(claims) {
                repairs.push(format!("folder `{}` belongs to no topic, left alone", entry.name));
            }
        }
        Ok(())
    }
}

/// Threads that open the logs of a topic (`num.recovery.threads.per.data.dir`, 1 in Kafka).
fn opening_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(OPENING_THREADS_MAX))
}

fn listed(topic: &Topic) -> ListedTopic {
    ListedTopic {
        name: topic.name.clone(),
        id: topic.id,
        partitions: topic.partitions.len() as u32,
        configs: topic.configs.clone(),
        deleting: false,
    }
}

/// UNKNOWN_TOPIC_OR_PARTITION for a name.
pub(crate) fn unknown(name: &str) -> Refusal {
    let message = format!("This server does not host a topic named '{name}'.");
    Refusal::new(ResponseError::UnknownTopicOrPartition, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "orders", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            let refusal = check_name(bad).expect_err(bad);
            assert_eq!(refusal.error, ResponseError::InvalidTopicException);
        }
    }
}
