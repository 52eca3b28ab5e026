//! Clients of clusters, kept while somebody looks: a client for each cluster and visitor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use gristmill_connectors::Cluster;
use gristmill_connectors::viewer::Viewer;

/// Clients at one time; one more takes the place of the one that was used longest ago.
const VIEWERS_MAX: usize = 32;
/// A client that nobody has used for so long is let go.
const UNUSED_MAX: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Viewers(Mutex<BTreeMap<String, Kept>>);

struct Kept {
    viewer: Arc<Viewer>,
    used: Instant,
}

impl Viewers {
    pub async fn get(&self, cluster: &Cluster) -> Result<Arc<Viewer>> {
        let place = format!("{cluster:?}");
        if let Some(viewer) = self.kept(&place) {
            return Ok(viewer);
        }
        let viewer = Arc::new(Viewer::open(cluster).await?);
        self.keep(place, viewer.clone());
        Ok(viewer)
    }

    fn kept(&self, place: &str) -> Option<Arc<Viewer>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get_mut(place)?;
        found.used = Instant::now();
        Some(found.viewer.clone())
    }

    fn keep(&self, place: String, viewer: Arc<Viewer>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= VIEWERS_MAX {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used);
            let oldest = oldest.map(|(place, _)| place.clone());
            oldest.and_then(|place| kept.remove(&place));
        }
        kept.insert(place, Kept { viewer, used: Instant::now() });
    }

    pub fn tidy(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unused = |_: &String, kept: &mut Kept| kept.used.elapsed() >= UNUSED_MAX;
        let unused: Vec<_> = kept.extract_if(.., is_unused).collect();
        if !unused.is_empty() {
            // A client says goodbye to its brokers and waits for its threads.
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }
}
