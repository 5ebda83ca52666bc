use super::{Position, Receipt, Tag, Tags};
use crate::store::sync::atomic::{AtomicU64, Ordering};
use crate::store::sync::{Mutex, MutexGuard};
use crate::store::unhashed::Unhashed;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::PoisonError;

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

#[cfg(not(all(test, terrace_loom)))]
const SLOTS: usize = 1 << 16;
#[cfg(all(test, terrace_loom))]
const SLOTS: usize = 2;

/// The latest invalidations by tag.
#[derive(Debug, Default)]
struct Markers {
    hard: ByTag,
    soft: ByTag,
    /// Invalidations up to here may be forgotten; what is older than it has to trust the slots.
    floor: Position,
}

/// Tags are digests already.
type ByTag = HashMap<Tag, Position, BuildHasherDefault<Unhashed>>;

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
            markers: Mutex::new(Markers::default()),
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
        let mut held = held.iter().chain([&Tag::EVERYTHING]);
        let current = !held.any(|tag| self.is_marked(&markers, *tag, stamp, false));
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
    pub(crate) fn standing(&self, since: Position, tags: impl Iterator<Item = Tag> + Clone) -> Standing {
        if self.any_marked(since, tags.clone(), false) {
            return Standing::Dead;
        }
        if self.any_marked(since, tags, true) { Standing::Expired } else { Standing::Current }
    }

    fn any_marked(&self, since: Position, tags: impl Iterator<Item = Tag>, soft: bool) -> bool {
        let late = |tag: &Tag| self.slots[slot(*tag, soft)].load(Ordering::Relaxed) > since.0;
        let mut late = std::iter::once(Tag::EVERYTHING).chain(tags).filter(late);
        late.any(|tag| self.is_marked(&self.markers(), tag, since, soft))
    }

    fn is_marked(&self, markers: &Markers, tag: Tag, since: Position, soft: bool) -> bool {
        let late = self.slots[slot(tag, soft)].load(Ordering::Relaxed) > since.0;
        late && (since < markers.floor || markers.get(tag, soft).is_some_and(|position| position > since))
    }
}

/// Hard and soft invalidations have slots of their own.
fn slot(tag: Tag, soft: bool) -> usize {
    let half = usize::from(tag.place()) % (SLOTS / 2);
    if soft { SLOTS / 2 + half } else { half }
}

impl Markers {
    fn of(&mut self, soft: bool) -> &mut ByTag {
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

#[cfg(all(test, not(terrace_loom)))]
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
        assert_eq!(mirror.standing(before, [other, tag].into_iter()), Standing::Dead);
        assert_eq!(mirror.standing(after, [tag].into_iter()), Standing::Current);
        assert_eq!(mirror.standing(before, [other].into_iter()), Standing::Current);
    }

    #[test]
    fn a_soft_invalidation_leaves_the_entry_usable_as_stale() {
        let mirror = Mirror::new();
        let tag = mirror.tags().name("a");
        let before = mirror.position();
        let _ = mirror.invalidate(&[tag], true);
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Expired);
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Dead);
    }

    #[test]
    fn tags_that_share_a_slot_do_not_fall_together() {
        let mirror = Mirror::new();
        let [tag, other] = [1, 2].map(|high| Tag::from_bytes([0, high, 0, 1]));
        assert_eq!(slot(tag, false), slot(other, false));
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(Position(0), [tag].into_iter()), Standing::Dead);
        assert_eq!(mirror.standing(Position(0), [other].into_iter()), Standing::Current);
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
        assert_eq!(mirror.standing(Position(0), [first].into_iter()), Standing::Dead);
        let recent = Position(mirror.position().get() - 10);
        assert_eq!(mirror.standing(recent, [first, mirror.tags().name("other")].into_iter()), Standing::Current);
    }
}

#[cfg(all(test, terrace_loom))]
mod loom_tests {
    use super::*;
    use loom::thread;
    use std::sync::Arc;

    #[test]
    fn who_sees_a_position_sees_what_it_invalidated() {
        loom::model(|| {
            let mirror = Arc::new(Mirror::new());
            let [tag, other] = [1, 2].map(|low| Tag::from_bytes([0, 0, 0, low]));
            let writers: Vec<_> = [tag, other]
                .map(|tag| {
                    let mirror = Arc::clone(&mirror);
                    thread::spawn(move || mirror.invalidate(&[tag], false))
                })
                .into();
            let before = Position(0);
            let seen = mirror.position();
            let standing = mirror.standing(before, [tag, other].into_iter());
            assert!(seen == before || standing == Standing::Dead, "{seen:?} {standing:?}");
            for writer in writers {
                let _ = writer.join().unwrap();
            }
            assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Dead);
            assert_eq!(mirror.standing(before, [other].into_iter()), Standing::Dead);
        });
    }
}
