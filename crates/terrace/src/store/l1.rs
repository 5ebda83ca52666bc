//! This process's memory: the only file that knows the engine.

use super::entry::Entry;
use super::unhashed::Unhashed;
use crate::clock::Instant;
use mini_moka::sync::Cache;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Entries by the hash of their key, bounded by their bytes.
///
/// The engine evicts by recency and frequency (`TinyLFU`). It knows no lifetimes: those are in the entries.
pub(crate) struct L1<V> {
    entries: Cache<u64, Arc<Entry<V>>, BuildHasherDefault<Unhashed>>,
    max_bytes: u64,
}

impl<V: Send + Sync + 'static> L1<V> {
    pub(super) fn new(max_bytes: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry<V>>| entry.bytes())
            .build_with_hasher(BuildHasherDefault::default());
        Self { entries, max_bytes }
    }

    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<Arc<Entry<V>>> {
        self.entries.get(&hash)
    }

    /// Stores an entry, which the engine may drop at once if those it holds are asked for more often. `false` if it
    /// alone is over the limit: the engine would keep it until it next looks, and what it replaces is gone all the same.
    pub(super) fn insert(&self, hash: u64, entry: Arc<Entry<V>>) -> bool {
        // Asking whether it is there costs less than getting it, and it mostly is not.
        if self.entries.contains_key(&hash)
            && let Some(old) = self.entries.get(&hash)
        {
            old.is_replaced();
        }
        let fits = u64::from(entry.bytes()) <= self.max_bytes;
        if fits {
            entry.enters();
            self.entries.insert(hash, entry);
        } else {
            self.entries.invalidate(&hash);
        }
        fits
    }

    /// The hashes of the entries with which nothing can be done any more. Looks at all entries.
    pub(super) fn over(&self, now: Instant) -> Vec<u64> {
        self.entries.iter().filter(|entry| entry.value().is_over(now)).map(|entry| *entry.key()).collect()
    }

    pub(super) fn remove(&self, hash: u64) {
        self.entries.invalidate(&hash);
    }
}
