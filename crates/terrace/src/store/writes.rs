//! Entries on their way to the tier that processes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds how many they are, and how large together. One too many is not sent: a slow tier costs entries, not memory.
#[derive(Debug, Default)]
pub(super) struct Writes {
    count: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Writes {
    /// Room for an entry of so many bytes within the limits of count and bytes; `None` if there is none.
    pub(super) fn reserve(&self, bytes: u64, limits: (u64, u64)) -> Option<Room> {
        let count = Part::of(&self.count, 1, limits.0)?;
        let bytes = Part::of(&self.bytes, bytes, limits.1)?;
        Some(Room { _count: count, _bytes: bytes })
    }
}

/// Room for one entry, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _count: Part,
    _bytes: Part,
}

#[derive(Debug)]
struct Part {
    of: Arc<AtomicU64>,
    taken: u64,
}

impl Part {
    fn of(whole: &Arc<AtomicU64>, taken: u64, limit: u64) -> Option<Self> {
        let more = |used: u64| used.checked_add(taken).filter(|used| *used <= limit);
        whole.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self { of: Arc::clone(whole), taken })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.of.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_number_nor_the_bytes_go_over_their_limit() {
        let (writes, limits) = (Writes::default(), (3, 100));
        let small = [writes.reserve(10, limits), writes.reserve(10, limits), writes.reserve(10, limits)];
        assert!(small.iter().all(Option::is_some));
        assert!(writes.reserve(1, limits).is_none(), "four are too many");
        drop(small);
        let large = writes.reserve(60, limits);
        assert!(writes.reserve(41, limits).is_none(), "101 bytes are too many");
        assert!(writes.reserve(40, limits).is_some(), "what had no room has taken none");
        drop(large);
        assert!(writes.reserve(100, limits).is_some());
        assert!(writes.reserve(101, limits).is_none() && writes.reserve(u64::MAX, limits).is_none());
    }
}
