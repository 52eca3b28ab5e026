//! Commits to a Delta table's log: one entry, made only if its version is still free.
//!
//! The crate's own commit path keeps a growing state per handle and becomes slower with every
//! commit; this one keeps a version number and stays flat. An append conflicts with nothing but a
//! change of the table's metadata or protocol and a `txn` of our own by somebody else: those are
//! looked for in every entry that came first.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::CommitOrBytes;
use serde_json::Value;

use crate::delta_location::Location;

/// How often a store that fails, not one that says the version is taken, is asked again.
const STORE_ATTEMPTS_MAX: u32 = 6;

/// How often the race for the next version is run. Each lost race means that another writer got on.
const RACES_MAX: u32 = 2_000;

/// Pauses after a lost race: a random time up to this, doubled with every race up to 64 times.
const RACE_PAUSE_MAX: Duration = Duration::from_millis(10);

/// Log entries of a table, one after the other.
pub(crate) struct Committer {
    pub(crate) location: Location,
    /// The newest version whose actions have been looked at.
    pub(crate) version: u64,
}

/// Why an entry was not made.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The entry at this version changed the table's schema or protocol: look at the table again,
    /// then try again.
    TableChanged { version: u64 },
    /// Somebody else committed under one of our application ids.
    Fenced { version: u64, app_id: String },
    /// Somebody else took out a file that the entry takes out.
    FileGone { version: u64, path: String },
    /// The store failed again and again, or an entry cannot be read.
    Failed(anyhow::Error),
}

/// An entry to be made.
pub(crate) struct Entry<'a> {
    /// The actions but for `commitInfo`.
    pub(crate) actions: &'a [Value],
    /// `commitInfo`; [`Committer::append`] adds the time and an id by which it knows its own
    /// entries again.
    pub(crate) commit_info: Value,
    /// Application ids whose `txn` in somebody else's entry stops us.
    pub(crate) app_ids: &'a BTreeSet<String>,
}

/// What an entry that came first means to us.
#[derive(Debug, PartialEq, Eq)]
enum Winner {
    /// It is our own: the store took it although it reported a failure.
    Ours,
    Harmless,
    TableChanged,
    Fenced(String),
    FileGone(String),
}

/// What of somebody else's entry stops us.
struct Conflicts<'a> {
    app_ids: &'a BTreeSet<String>,
    /// Paths of the files that we take out.
    removed: &'a BTreeSet<String>,
}

impl Committer {
    /// Makes a table's first entry. `false`: somebody else has made it.
    pub(crate) async fn create(
        location: &Location,
        actions: &[Value],
        commit_info: Value,
    ) -> Result<bool> {
        let unique = uuid::Uuid::new_v4().to_string();
        let bytes = render(&Entry { actions, commit_info, app_ids: &BTreeSet::new() }, &unique)?;
        location.make_log_folder()?;
        Committer { location: location.clone(), version: 0 }.put(0, &bytes, &unique).await
    }

    /// Makes the entry at the next free version and returns that version. When this returns, a
    /// local table's entry is on disk.
    pub(crate) async fn append(&mut self, entry: Entry<'_>) -> Result<u64, CommitError> {
        self.replace(entry, &BTreeSet::new()).await
    }

    /// As [`append`](Self::append), for an entry that takes out the files `removed`.
    pub(crate) async fn replace(
        &mut self,
        entry: Entry<'_>,
        removed: &BTreeSet<String>,
    ) -> Result<u64, CommitError> {
        let conflicts = Conflicts { app_ids: entry.app_ids, removed };
        let unique = uuid::Uuid::new_v4().to_string();
        let bytes = render(&entry, &unique).map_err(CommitError::Failed)?;
        for race in 0..RACES_MAX {
            if self.put(self.version + 1, &bytes, &unique).await.map_err(CommitError::Failed)? {
                self.version += 1;
                return Ok(self.version);
            }
            if self.read_winners(&conflicts, &unique).await? {
                return Ok(self.version);
            }
            tokio::time::sleep(race_pause(race)).await;
        }
        Err(CommitError::Failed(anyhow!(
            "lost the race for the next version {RACES_MAX} times: too many writers on one table"
        )))
    }

    /// Looks at every entry after our version. `true`: one of them is our own.
    async fn read_winners(
        &mut self,
        conflicts: &Conflicts<'_>,
        unique: &str,
    ) -> Result<bool, CommitError> {
        loop {
            let version = self.version + 1;
            let read = self.location.log_store.read_commit_entry(version).await;
            let read = read.with_context(|| format!("cannot read log entry {version}"));
            let Some(bytes) = read.map_err(CommitError::Failed)? else { return Ok(false) };
            match judge(&bytes, conflicts, unique).map_err(CommitError::Failed)? {
                Winner::Ours => {
                    self.sync_log().await.map_err(CommitError::Failed)?;
                    self.version = version;
                    return Ok(true);
                }
                Winner::Harmless => self.version = version,
                Winner::TableChanged => return Err(CommitError::TableChanged { version }),
                Winner::Fenced(app_id) => return Err(CommitError::Fenced { version, app_id }),
                Winner::FileGone(path) => return Err(CommitError::FileGone { version, path }),
            }
        }
    }

    /// `false`: the version is taken. A failing store is asked again.
    async fn put(&self, version: u64, bytes: &[u8], unique: &str) -> Result<bool> {
        let mut attempt = 0;
        loop {
            let error = match self.put_once(version, bytes, unique).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            attempt += 1;
            if attempt >= STORE_ATTEMPTS_MAX {
                return Err(error.context(format!("log entry {version} failed {attempt} times")));
            }
            tracing::warn!(version, attempt, "log entry failed, trying again: {error:#}");
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        }
    }

    async fn put_once(&self, version: u64, bytes: &[u8], unique: &str) -> Result<bool> {
        if self.location.folder.is_some() {
            let (location, bytes) = (self.location.clone(), bytes.to_vec());
            let unique = unique.to_string();
            let put = move || location.put_log_entry(version, &bytes, &unique);
            return tokio::task::spawn_blocking(put).await?;
        }
        let entry = CommitOrBytes::LogBytes(bytes.to_vec().into());
        let written =
            self.location.log_store.write_commit_entry(version, entry, Default::default());
        match written.await {
            Ok(()) => Ok(true),
            Err(TransactionError::VersionAlreadyExists(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn sync_log(&self) -> Result<()> {
        let location = self.location.clone();
        tokio::task::spawn_blocking(move || location.sync_log()).await?
    }
}

/// The lines of an entry, `commitInfo` first.
fn render(entry: &Entry<'_>, unique: &str) -> Result<Vec<u8>> {
    let mut info = entry.commit_info.clone();
    let members = info.as_object_mut().context("commitInfo is an object")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    members.insert("timestamp".into(), Value::from(u64::try_from(now.as_millis())?));
    members.insert("txnId".into(), Value::from(unique));
    let mut bytes = serde_json::to_vec(&serde_json::json!({ "commitInfo": info }))?;
    for action in entry.actions {
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, action)?;
    }
    Ok(bytes)
}

fn judge(bytes: &[u8], conflicts: &Conflicts<'_>, unique: &str) -> Result<Winner> {
    let mut winner = Winner::Harmless;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let action: Value = serde_json::from_slice(line).context("a log entry is not JSON")?;
        let text = |object: &Value, key: &str| object.get(key)?.as_str().map(str::to_string);
        if let Some(info) = action.get("commitInfo")
            && text(info, "txnId").as_deref() == Some(unique)
        {
            return Ok(Winner::Ours);
        }
        if let Some(app_id) = action.get("txn").and_then(|txn| text(txn, "appId"))
            && conflicts.app_ids.contains(&app_id)
        {
            winner = Winner::Fenced(app_id);
        }
        if let Some(path) = action.get("remove").and_then(|remove| text(remove, "path"))
            && conflicts.removed.contains(&path)
            && winner == Winner::Harmless
        {
            winner = Winner::FileGone(path);
        }
        let changed = action.get("metaData").is_some() || action.get("protocol").is_some();
        if changed && winner == Winner::Harmless {
            winner = Winner::TableChanged;
        }
    }
    Ok(winner)
}

/// Random, so that writers that met once do not meet again.
fn race_pause(race: u32) -> Duration {
    let random = f64::from(u32::from(uuid::Uuid::new_v4().as_bytes()[0])) / 255.0;
    (RACE_PAUSE_MAX * (1 << race.min(6))).mul_f64(random)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn judged(entry: &str) -> Winner {
        let ours = BTreeSet::from(["a".to_string()]);
        let removed = BTreeSet::from(["old".to_string()]);
        let conflicts = Conflicts { app_ids: &ours, removed: &removed };
        judge(entry.as_bytes(), &conflicts, "me").unwrap()
    }

    #[test]
    fn a_file_that_both_take_out_is_seen() {
        assert_eq!(judged("{\"remove\":{\"path\":\"old\"}}"), Winner::FileGone("old".into()));
        assert_eq!(judged("{\"remove\":{\"path\":\"other\"}}"), Winner::Harmless);
    }

    #[test]
    fn an_append_of_others_is_harmless() {
        let entry = "{\"commitInfo\":{\"txnId\":\"x\"}}\n{\"add\":{\"path\":\"p\"}}\n\
                     {\"txn\":{\"appId\":\"b\",\"version\":1}}\n";
        assert_eq!(judged(entry), Winner::Harmless);
        assert_eq!(judged(""), Winner::Harmless);
    }

    #[test]
    fn our_own_entry_is_known_again_and_a_txn_of_ours_by_others_fences() {
        let txn = "{\"txn\":{\"appId\":\"a\",\"version\":1}}";
        assert_eq!(
            judged(&format!("{{\"commitInfo\":{{\"txnId\":\"me\"}}}}\n{txn}")),
            Winner::Ours
        );
        assert_eq!(judged(&format!("{txn}\n{{\"metaData\":{{}}}}")), Winner::Fenced("a".into()));
    }

    #[test]
    fn a_change_of_schema_or_protocol_is_seen() {
        assert_eq!(judged("{\"metaData\":{}}"), Winner::TableChanged);
        assert_eq!(judged("{\"protocol\":{}}"), Winner::TableChanged);
    }
}
