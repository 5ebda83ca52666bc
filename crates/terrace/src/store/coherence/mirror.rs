use super::{Position, Receipt, Tag, Tags};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is known about invalidations: for each tag's slots the position of the last one.
#[derive(Debug)]
pub(crate) struct Mirror {
    tags: Tags,
    /// The position up to which the slots are complete.
    applied: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// One invalidation at a time, so that `applied` never runs ahead of a slot.
    writer: Mutex<()>,
}

const SLOTS: usize = 1 << 16;

/// How an entry stands towards the invalidations known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No tag of it was invalidated since it was stamped.
    Current,
    /// A tag was invalidated softly: it counts as stale.
    Expired,
    /// A tag was invalidated hard: it is never served again.
    Dead,
}

impl Mirror {
    pub(crate) fn new() -> Self {
        Self {
            tags: Tags::new(),
            applied: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            writer: Mutex::new(()),
        }
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The stamp for a fetch that begins now.
    #[inline]
    pub(crate) fn position(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// Invalidates whatever carries one of `tags` and was stamped until now.
    pub(crate) fn invalidate(&self, tags: &[Tag], soft: bool) -> Receipt {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(tags, soft)
    }

    /// Invalidates, and says whether nothing else had invalidated what carries `held` and is stamped at `stamp`: the
    /// request that causes an invalidation may itself bring what is valid after it.
    pub(super) fn supersede(&self, tags: &[Tag], stamp: Position, held: &[Tag]) -> (Receipt, bool) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.standing(stamp, held) == Standing::Current;
        (self.write(tags, false), current)
    }

    fn write(&self, tags: &[Tag], soft: bool) -> Receipt {
        let position = Position(self.applied.load(Ordering::Relaxed) + 1);
        for tag in tags {
            let slot = if soft { tag.soft_slot() } else { tag.hard_slot() };
            self.slots[slot].store(position.0, Ordering::Relaxed);
        }
        // Whoever reads this position also reads the slots written before it.
        self.applied.store(position.0, Ordering::Release);
        Receipt { position }
    }

    /// Checks an entry stamped at `stamp` against the slots of its tags.
    pub(crate) fn standing(&self, stamp: Position, tags: &[Tag]) -> Standing {
        let later = |slot: usize| self.slots[slot].load(Ordering::Relaxed) > stamp.0;
        if tags.iter().any(|tag| later(tag.hard_slot())) {
            return Standing::Dead;
        }
        if tags.iter().any(|tag| later(tag.soft_slot())) { Standing::Expired } else { Standing::Current }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_stamped_before_an_invalidation_falls() {
        let mirror = Mirror::new();
        let (tag, other) = (mirror.tags().name("a"), mirror.tags().name("b"));
        let before = mirror.position();
        let receipt = mirror.invalidate(&[tag], false);
        let after = mirror.position();
        assert_eq!(receipt.position(), after.get());
        assert_eq!(mirror.standing(before, &[other, tag]), Standing::Dead);
        assert_eq!(mirror.standing(after, &[tag]), Standing::Current);
        if other.hard_slot() != tag.hard_slot() {
            assert_eq!(mirror.standing(before, &[other]), Standing::Current);
        }
    }

    #[test]
    fn a_soft_invalidation_leaves_the_entry_usable_as_stale() {
        let mirror = Mirror::new();
        let tag = mirror.tags().name("a");
        let before = mirror.position();
        let _ = mirror.invalidate(&[tag], true);
        assert_eq!(mirror.standing(before, &[tag]), Standing::Expired);
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(before, &[tag]), Standing::Dead);
    }
}
