//! What all connections together may take: places per address, memory for requests that arrive, and
//! memory for answers to fetches. Whoever finds nothing left waits, and with it its client: its
//! socket is not read meanwhile. Nothing is refused for want of memory.
//!
//! Not here: the number of connections (`server` accepts no more than there are places for), and
//! what one request may take by itself (`connection`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;
use crate::settings::Settings;

/// A fetch may take the part `1 / FETCH_SHARE` of what is free, so that a few clients that are slow
/// to read leave something to the others.
const FETCH_SHARE: usize = 4;
/// With less memory than this a fetch waits rather than answering in crumbs.
const FETCH_BYTES_MIN: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Quotas {
    request_bytes: Budget,
    fetch_bytes: Budget,
    per_address_max: AtomicUsize,
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Bytes that are given out and come back when the permit is dropped.
#[derive(Debug)]
struct Budget {
    free: Arc<Semaphore>,
    all: usize,
}

impl Budget {
    fn new(bytes: usize) -> Budget {
        let all = bytes.clamp(1, u32::MAX as usize);
        Budget { free: Arc::new(Semaphore::new(all)), all }
    }

    /// What a permit for `bytes` counts: never more than there is.
    fn count(&self, bytes: usize) -> u32 {
        bytes.min(self.all) as u32
    }
}

impl Quotas {
    pub(crate) fn new(settings: &Settings) -> Quotas {
        let config = settings.start();
        Quotas {
            request_bytes: Budget::new(config.queued_request_bytes_max),
            fetch_bytes: Budget::new(config.fetch_memory_bytes_max),
            per_address_max: AtomicUsize::new(settings.values().connections_per_address_max()),
            per_address: Mutex::new(HashMap::new()),
        }
    }

    /// Those that are connected stay.
    pub(crate) fn settings_changed(&self, settings: &Settings) {
        let per_address_max = settings.values().connections_per_address_max();
        self.per_address_max.store(per_address_max, Ordering::Relaxed);
    }

    /// A place for a connection from there; None: it has as many as it may.
    pub(crate) fn admit(self: &Arc<Quotas>, address: IpAddr) -> Option<Place> {
        let mut per_address = lock(&self.per_address);
        let present = per_address.entry(address).or_default();
        if *present >= self.per_address_max.load(Ordering::Relaxed) {
            return None;
        }
        *present += 1;
        Some(Place { quotas: Arc::clone(self), address })
    }

    /// Waits for memory for a request of that size.
    pub(crate) async fn request(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.request_bytes.free);
        free.acquire_many_owned(self.request_bytes.count(bytes)).await.ok()
    }

    /// Memory for an answer of at most `bytes`, now; None: [`Quotas::fetch_room`] tells when.
    pub(crate) fn fetch(&self, bytes: usize) -> Option<FetchMemory> {
        let budget = &self.fetch_bytes;
        let share = (budget.free.available_permits() / FETCH_SHARE).max(FETCH_BYTES_MIN);
        let granted = budget.count(bytes.min(share));
        let permit = Arc::clone(&budget.free).try_acquire_many_owned(granted).ok()?;
        Some(FetchMemory(permit))
    }

    /// Returns when there is memory for a small answer.
    pub(crate) async fn fetch_room(&self) {
        let wanted = self.fetch_bytes.count(FETCH_BYTES_MIN);
        drop(self.fetch_bytes.free.acquire_many(wanted).await);
    }
}

/// Memory that the answer to a fetch takes until it is sent.
#[derive(Debug)]
pub(crate) struct FetchMemory(OwnedSemaphorePermit);

impl FetchMemory {
    /// How many bytes it is.
    pub(crate) fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Gives back all but `bytes`. A single batch may have been larger than what was there.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        drop(self.0.split(surplus));
    }
}

/// A connection's place; dropping it leaves it to another.
#[derive(Debug)]
pub(crate) struct Place {
    quotas: Arc<Quotas>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_address = lock(&self.quotas.per_address);
        if let Some(present) = per_address.get_mut(&self.address) {
            *present -= 1;
            if *present == 0 {
                per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::BrokerConfig;
    use crate::disk::faults::FaultDisk;
    use crate::kept::Kept;

    fn quotas(fetch_memory_bytes_max: usize) -> Arc<Quotas> {
        let config = BrokerConfig {
            fetch_memory_bytes_max,
            queued_request_bytes_max: 100,
            connections_per_address_max: 2,
            ..BrokerConfig::default()
        };
        let changed = Kept::open(Arc::new(FaultDisk::default()), Path::new("/data"));
        Arc::new(Quotas::new(&Settings::new(config, changed.unwrap())))
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let quotas = quotas(1);
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let first = quotas.admit(here).unwrap();
        let _second = quotas.admit(here).unwrap();
        assert!(quotas.admit(here).is_none());
        let other = quotas.admit(there).unwrap();
        drop(first);
        assert!(quotas.admit(here).is_some());
        drop(other);
        assert_eq!(lock(&quotas.per_address).len(), 1, "no trace of who is gone");
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_waits_for_all_of_it_and_not_for_ever() {
        let quotas = quotas(1);
        let small = quotas.request(10).await.unwrap();
        let large = quotas.request(1_000_000);
        tokio::pin!(large);
        assert!(futures::poll!(&mut large).is_pending());
        drop(small);
        assert_eq!(large.await.unwrap().num_permits(), 100);
    }

    #[tokio::test]
    async fn a_fetch_gets_a_share_of_what_is_free_until_there_is_too_little() {
        const MIB: usize = 1 << 20;
        let quotas = quotas(8 * MIB);
        let mut held = vec![quotas.fetch(100 * MIB).unwrap()];
        assert_eq!(held[0].bytes(), 2 * MIB, "a quarter");
        held[0].shrink_to(MIB / 2);
        while let Some(memory) = quotas.fetch(100 * MIB) {
            assert!(memory.bytes() >= MIB);
            held.push(memory);
        }
        assert!((5..=8).contains(&held.len()), "{}", held.len());
        assert!(quotas.fetch(10).is_some(), "a small answer fits in what is left");
        let room = quotas.fetch_room();
        tokio::pin!(room);
        assert!(futures::poll!(&mut room).is_pending());
        held.pop();
        room.await;
    }
}
