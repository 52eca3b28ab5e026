//! An answer that is dear and does not change by the moment: kept for a while, and asked for once however many want it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Mutex;

/// See the module's documentation.
pub(crate) struct Recent<T> {
    age_max: Duration,
    kept: Arc<Mutex<Option<Kept<T>>>>,
}

struct Kept<T> {
    since: Instant,
    answer: Arc<T>,
}

impl<T: Send + Sync + 'static> Recent<T> {
    pub(crate) fn new(age_max: Duration) -> Recent<T> {
        Recent { age_max, kept: Arc::default() }
    }

    /// The answer, at most so old; `fetch` blocks, on a thread that may.
    ///
    /// Errors: those of `fetch`; they are not kept.
    pub(crate) async fn get(
        &self,
        fetch: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Arc<T>> {
        let mut kept = self.kept.clone().lock_owned().await;
        if let Some(Kept { since, answer }) = &*kept
            && since.elapsed() < self.age_max
        {
            return Ok(answer.clone());
        }
        // Whoever waits may go: who comes next finds the answer.
        let fetching = tokio::task::spawn_blocking(move || {
            let answer = Arc::new(fetch()?);
            *kept = Some(Kept { since: Instant::now(), answer: answer.clone() });
            anyhow::Ok(answer)
        });
        fetching.await?
    }

    /// The next one who wants it asks anew.
    pub(crate) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_fetched_once_until_it_is_too_old() {
        let fetched = Arc::new(AtomicU32::new(0));
        let fetch = || {
            let fetched = fetched.clone();
            move || Ok(fetched.fetch_add(1, Ordering::Relaxed))
        };
        let kept = Recent::new(Duration::from_secs(3600));
        let (first, second) = tokio::join!(kept.get(fetch()), kept.get(fetch()));
        assert_eq!((*first.unwrap(), *second.unwrap()), (0, 0));
        kept.forget().await;
        assert_eq!(*kept.get(fetch()).await.unwrap(), 1);
        let fleeting = Recent::new(Duration::ZERO);
        assert_eq!(
            (*fleeting.get(fetch()).await.unwrap(), *fleeting.get(fetch()).await.unwrap()),
            (2, 3)
        );
    }

    #[tokio::test]
    async fn an_error_is_not_kept_and_who_goes_leaves_the_answer_to_the_next() {
        let kept = Recent::new(Duration::from_secs(3600));
        let error = kept.get(|| -> Result<u32> { bail!("away") }).await.unwrap_err();
        assert_eq!(error.to_string(), "away");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let slow = kept.get(move || {
            wait.recv()?;
            Ok(7)
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), slow).await.is_err());
        go.send(()).unwrap();
        assert_eq!(*kept.get(|| bail!("asked twice")).await.unwrap(), 7);
    }
}
