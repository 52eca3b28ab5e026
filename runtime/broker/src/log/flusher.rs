//! Group commit: the threads that sync the logs of a data folder.
//!
//! A log that somebody waits for is queued once, however many wait; the sync that follows serves
//! everybody whose records were written before it began. While one sync runs, the next group
//! gathers. Logs that nobody waits for are synced after [`FlusherConfig::interval`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What "acknowledged" means for acks=all, and what a consumer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the medium: a power cut takes back nothing that was acknowledged with acks=all,
    /// and nothing that any consumer has seen.
    Fsync,
    /// In the page cache, as Kafka's own default: a crash of the process loses nothing, a power cut
    /// may lose the last seconds.
    PageCache,
}

/// How the flusher of a data folder works.
#[derive(Clone, Copy, Debug)]
pub struct FlusherConfig {
    /// See [`Durability`].
    pub durability: Durability,
    /// Threads that sync, each one log at a time. Syncs of several files at once share the work of
    /// the journal.
    pub threads: usize,
    /// How long written records wait for a sync that nobody asked for. Used with
    /// [`Durability::Fsync`]: it is also the time after which records written with acks=0 or 1
    /// become visible.
    pub interval: Duration,
    /// More unsynced bytes than this in one log start a sync at once, so that none takes long.
    pub unsynced_bytes_max: u64,
}

impl FlusherConfig {
    /// The defaults for a durability: 4 threads, 5 ms, 8 MiB (64 MiB for the page cache).
    pub fn new(durability: Durability) -> FlusherConfig {
        let unsynced_bytes_max = match durability {
            Durability::Fsync => 8 << 20,
            Durability::PageCache => 64 << 20,
        };
        let interval = Duration::from_millis(5);
        FlusherConfig { durability, threads: 4, interval, unsynced_bytes_max }
    }
}

/// A log as the flusher sees it.
pub(super) trait Flush: Send + Sync {
    /// Syncs all that was written before the call and tells those who wait, also of a failure.
    fn flush(&self);
    /// Allows the log to be queued again; called before `flush`.
    fn dequeued(&self);
}

/// Owns the threads. Dropping it syncs what is queued and ends them.
#[derive(Debug)]
pub struct Flusher {
    handle: FlusherHandle,
    threads: Vec<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the threads.
    pub fn start(config: FlusherConfig) -> io::Result<Flusher> {
        let queue = Arc::new(Queue::default());
        let mut threads = Vec::with_capacity(config.threads);
        for number in 0..config.threads {
            let queue = Arc::clone(&queue);
            let name = format!("log-flusher-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || queue.work())?);
        }
        let queue = if threads.is_empty() { None } else { Some(queue) };
        Ok(Flusher { handle: FlusherHandle { config, queue }, threads })
    }

    /// What logs are opened with.
    pub fn handle(&self) -> FlusherHandle {
        self.handle.clone()
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if let Some(queue) = &self.handle.queue {
            queue.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic was printed by its own thread
        }
    }
}

/// The way to a [`Flusher`]; cheap to clone.
#[derive(Clone, Debug)]
pub struct FlusherHandle {
    config: FlusherConfig,
    /// None: whoever asks for a sync does it.
    queue: Option<Arc<Queue>>,
}

impl FlusherHandle {
    /// A flusher without threads: whoever waits does the sync. For tools and for tests that replay
    /// the same steps.
    pub fn inline(durability: Durability) -> FlusherHandle {
        FlusherHandle {
            config: FlusherConfig { threads: 0, ..FlusherConfig::new(durability) },
            queue: None,
        }
    }

    /// What "acknowledged" means here.
    pub fn durability(&self) -> Durability {
        self.config.durability
    }

    /// More unsynced bytes than this ask for a sync.
    pub(super) fn unsynced_bytes_max(&self) -> u64 {
        self.config.unsynced_bytes_max
    }

    /// Syncs `log` soon, or before returning when there are no threads.
    pub(super) fn flush_now(&self, log: Arc<dyn Flush>) {
        let not_queued = match &self.queue {
            Some(queue) => queue.push_now(log),
            None => Some(log),
        };
        if let Some(log) = not_queued {
            log.dequeued();
            log.flush();
        }
    }

    /// Syncs `log` after the interval. Without threads nothing happens until somebody waits.
    pub(super) fn flush_later(&self, log: Arc<dyn Flush>) {
        if let Some(queue) = &self.queue {
            queue.push_later(Instant::now() + self.config.interval, log);
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    now: VecDeque<Arc<dyn Flush>>,
    /// In the order of the times, since the interval is the same for all.
    later: VecDeque<(Instant, Arc<dyn Flush>)>,
    stopped: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the log back when the threads are gone.
    fn push_now(&self, log: Arc<dyn Flush>) -> Option<Arc<dyn Flush>> {
        let mut waiting = self.lock();
        if waiting.stopped {
            return Some(log);
        }
        waiting.now.push_back(log);
        self.arrived.notify_one();
        None
    }

    fn push_later(&self, due: Instant, log: Arc<dyn Flush>) {
        let mut waiting = self.lock();
        if waiting.stopped {
            return; // whoever waits for the records asks for them
        }
        let was_empty = waiting.later.is_empty();
        waiting.later.push_back((due, log));
        if was_empty {
            self.arrived.notify_one();
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.arrived.notify_all();
    }

    /// The life of one thread.
    fn work(&self) {
        while let Some(log) = self.next() {
            log.dequeued();
            log.flush();
        }
    }

    /// Blocks until a log is due. None: stopped and nothing left.
    fn next(&self) -> Option<Arc<dyn Flush>> {
        let mut waiting = self.lock();
        loop {
            if let Some(log) = waiting.now.pop_front() {
                if !waiting.later.is_empty() {
                    self.arrived.notify_one(); // another thread watches the clock meanwhile
                }
                return Some(log);
            }
            let now = Instant::now();
            let due = waiting.later.front().map(|(due, _)| *due);
            if due.is_some_and(|due| due <= now || waiting.stopped) {
                let log = waiting.later.pop_front().map(|(_, log)| log);
                if !waiting.later.is_empty() {
                    self.arrived.notify_one();
                }
                return log;
            }
            if waiting.stopped {
                return None;
            }
            waiting = match due {
                Some(due) => {
                    let timed = self.arrived.wait_timeout(waiting, due - now);
                    timed.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
