use super::{Position, Receipt, Tag, Tags};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known about invalidations: for each tag the position of the last one.
///
/// A small table of slots answers nearly always: a slot holds the latest position of all the tags that share it, so a
/// slot that is not later than an entry clears all of them. Only where a slot is later is the tag itself looked up.
#[derive(Debug)]
pub(crate) struct Mirror {
    tags: Tags,
    /// The position up to which everything here is complete.
    applied: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// Written by one at a time, so that `applied` never runs ahead.
    markers: Mutex<Markers>,
}

const SLOTS: usize = 1 << 16;

/// The latest invalidations by tag.
#[derive(Debug, Default)]
struct Markers {
    hard: HashMap<Tag, Position>,
    soft: HashMap<Tag, Position>,
    /// Invalidations up to here may be forgotten; what is older than it has to trust the slots.
    floor: Position,
}

/// More markers than this, and the older half is forgotten.
const MAX_MARKERS: usize = 1 << 17;

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
            markers: Mutex::default(),
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
        self.write(&mut self.markers(), tags, soft)
    }

    /// Invalidates, and says whether nothing else had invalidated what carries `held` and is stamped at `stamp`: the
    /// request that causes an invalidation may itself bring what is valid after it.
    pub(super) fn supersede(&self, tags: &[Tag], stamp: Position, held: &[Tag]) -> (Receipt, bool) {
        let mut markers = self.markers();
        let current = !held.iter().any(|tag| self.is_marked(&markers, *tag, stamp, false));
        (self.write(&mut markers, tags, false), current)
    }

    fn markers(&self) -> MutexGuard<'_, Markers> {
        self.markers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, markers: &mut Markers, tags: &[Tag], soft: bool) -> Receipt {
        let position = Position(self.applied.load(Ordering::Relaxed) + 1);
        for tag in tags {
            markers.put(*tag, position, soft);
            self.slots[slot(*tag, soft)].store(position.0, Ordering::Relaxed);
        }
        // Whoever reads this position also reads what was written before it.
        self.applied.store(position.0, Ordering::Release);
        Receipt { position }
    }

    /// Checks an entry that was known to be valid at `since`.
    pub(crate) fn standing(&self, since: Position, tags: &[Tag]) -> Standing {
        let marked = |soft| {
            let late = |tag: &&Tag| self.slots[slot(**tag, soft)].load(Ordering::Relaxed) > since.0;
            tags.iter().filter(late).any(|tag| self.is_marked(&self.markers(), *tag, since, soft))
        };
        if marked(false) {
            return Standing::Dead;
        }
        if marked(true) { Standing::Expired } else { Standing::Current }
    }

    fn is_marked(&self, markers: &Markers, tag: Tag, since: Position, soft: bool) -> bool {
        let late = self.slots[slot(tag, soft)].load(Ordering::Relaxed) > since.0;
        late && (since < markers.floor || markers.get(tag, soft).is_some_and(|position| position > since))
    }
}

/// Hard and soft invalidations have slots of their own.
fn slot(tag: Tag, soft: bool) -> usize {
    let [.., high, low] = tag.0.to_be_bytes();
    let half = usize::from(u16::from_be_bytes([high, low])) >> 1;
    if soft { SLOTS / 2 + half } else { half }
}

impl Markers {
    fn of(&mut self, soft: bool) -> &mut HashMap<Tag, Position> {
        if soft { &mut self.soft } else { &mut self.hard }
    }

    fn get(&self, tag: Tag, soft: bool) -> Option<Position> {
        if soft { &self.soft } else { &self.hard }.get(&tag).copied()
    }

    fn put(&mut self, tag: Tag, position: Position, soft: bool) {
        self.of(soft).insert(tag, position);
        if self.hard.len() + self.soft.len() > MAX_MARKERS {
            self.forget();
        }
    }

    /// Forgets the older half.
    fn forget(&mut self) {
        let mut positions: Vec<Position> = self.hard.values().chain(self.soft.values()).copied().collect();
        let middle = positions.len() / 2;
        let (_, floor, _) = positions.select_nth_unstable(middle);
        self.floor = *floor;
        let floor = self.floor;
        for markers in [&mut self.hard, &mut self.soft] {
            markers.retain(|_, position| *position > floor);
        }
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
        assert_eq!(mirror.standing(before, &[other]), Standing::Current);
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

    #[test]
    fn tags_that_share_a_slot_do_not_fall_together() {
        let mirror = Mirror::new();
        let (tag, other) = (Tag(0x1_0000), Tag(0x2_0000));
        assert_eq!(slot(tag, false), slot(other, false));
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(Position(0), &[tag]), Standing::Dead);
        assert_eq!(mirror.standing(Position(0), &[other]), Standing::Current);
    }

    #[test]
    fn what_is_forgotten_is_taken_for_invalidated_and_never_for_valid() {
        let mirror = Mirror::new();
        let first = mirror.tags().name("first");
        let _ = mirror.invalidate(&[first], false);
        for number in 0..=MAX_MARKERS {
            let _ = mirror.invalidate(&[mirror.tags().name(&number.to_string())], false);
        }
        assert!(mirror.markers().hard.len() <= MAX_MARKERS);
        assert_eq!(mirror.standing(Position(0), &[first]), Standing::Dead);
        let recent = Position(mirror.position().get() - 10);
        assert_eq!(mirror.standing(recent, &[first, mirror.tags().name("other")]), Standing::Current);
    }
}
