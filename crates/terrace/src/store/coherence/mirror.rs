use super::tag::Short;
use super::{Position, Tag, Tags};
use crate::clock::Instant;
use crate::danger::{Protection, is_off};
use crate::store::remote::{Epoch, Mark, Marker, Receipt};
use crate::store::sync::atomic::{AtomicU64, Ordering};
use crate::store::sync::{Mutex, MutexGuard};
use crate::store::unhashed::Unhashed;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::mem::take;
use std::sync::PoisonError;
use std::time::Duration;

/// What this process knows about invalidations: for each tag the position of the last one.
///
/// A small table of slots answers nearly always: a slot holds the latest position of all the tags that share it, so a
/// slot that is not later than an entry clears all of them. Only where a slot is later is the tag itself looked up.
///
/// Alone, the mirror is the control record itself. In a store that processes share it follows that record by polls,
/// and says until when it is **proven** to have been up to date.
#[derive(Debug)]
pub(crate) struct Mirror {
    tags: Tags,
    /// The position up to which everything here is complete.
    applied: AtomicU64,
    /// What is stamped before this is dead: it is of another epoch, or what happened since is not known.
    dead_below: AtomicU64,
    /// When the last poll that brought proof was sent.
    proof: AtomicU64,
    /// How many tags are held.
    held: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// Written by one at a time, so that `applied` never runs ahead.
    record: Mutex<Record>,
}

#[cfg(not(all(test, terrace_loom)))]
const SLOTS: usize = 1 << 16;
#[cfg(all(test, terrace_loom))]
const SLOTS: usize = 2;

/// What the slots are made from.
#[derive(Debug, Default)]
struct Record {
    hard: ByTag<Position>,
    soft: ByTag<Position>,
    /// Invalidations up to here may be forgotten; what is older than it has to trust the slots.
    floor: Position,
    /// The epoch that is followed, and where its positions begin among ours: after all of those before, so that ours
    /// only grow.
    epoch: Option<(Epoch, u64)>,
    /// The greatest of our positions that a look-up was given, which may be ahead of what was polled.
    given: u64,
    /// What others hold, as the last poll had it.
    held_by_others: HashSet<Short, BuildHasherDefault<Unhashed>>,
    /// What this process holds for invalidations, and how often.
    held_here: ByTag<Holds>,
    /// What this process holds for changes that it has announced, and how often.
    changing: ByTag<u32>,
    /// How often this process has stopped following others: what it held then is marked now.
    departures: u64,
    /// What this process has invalidated, and the mirror does not have yet: what is older is held until then.
    awaited: Vec<Awaited>,
}

/// How often a tag is held for an invalidation that is under way, hard and soft.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holds {
    hard: u32,
    soft: u32,
}

/// What tells a hold from one that was turned into markers since, because this process stopped following others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hold(Option<u64>);

impl Hold {
    /// Of what is marked already.
    pub(crate) const NONE: Self = Self(None);
}

/// An invalidation that took effect, and is not known here yet.
#[derive(Debug)]
struct Awaited {
    receipt: Receipt,
    tags: Vec<Short>,
    soft: bool,
    /// When it was acknowledged.
    since: Instant,
}

/// Tags are digests already.
type ByTag<T> = HashMap<Short, T, BuildHasherDefault<Unhashed>>;

/// More markers than this, and the older half is forgotten.
const MAX_MARKERS: usize = 1 << 17;

/// Of a mirror that is the control record itself.
const ALWAYS: u64 = u64::MAX;

/// How an entry stands towards the invalidations known here, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// No tag of it was invalidated since it was stamped.
    Current,
    /// A tag was invalidated softly: it counts as stale.
    Expired,
    /// A tag is held: it is not served now.
    Held,
    /// A tag was invalidated hard: it is never served again.
    Dead,
}

impl Mirror {
    /// That of a store of this process alone.
    pub(crate) fn alone() -> Self {
        Self::new(Tags::alone(), ALWAYS)
    }

    /// That of a store that processes share: nothing is proven yet.
    pub(crate) fn shared() -> Self {
        Self::new(Tags::shared(), 0)
    }

    fn new(tags: Tags, proof: u64) -> Self {
        Self {
            tags,
            applied: AtomicU64::new(0),
            dead_below: AtomicU64::new(0),
            proof: AtomicU64::new(proof),
            held: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            record: Mutex::new(Record::default()),
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

    /// Whether the mirror was up to date no longer than `lag` ago. To be asked before anything else is read here.
    #[inline]
    pub(crate) fn is_proven(&self, now: Instant, lag: Duration) -> bool {
        let proof = self.proof.load(Ordering::Acquire);
        proof == ALWAYS || is_off(Protection::ProofLimitsL1) || is_recent(proof, now, lag)
    }

    /// Whether the epoch is followed, and a poll of it was sent no longer than `lag` ago.
    pub(crate) fn vouches_for(&self, epoch: &Epoch, now: Instant, lag: Duration) -> bool {
        // With the record, so that the proof is not another epoch's.
        let record = self.record();
        let is_followed = record.epoch.as_ref().is_some_and(|(followed, _)| followed == epoch);
        let proof = self.proof.load(Ordering::Acquire);
        is_followed && (is_off(Protection::ProofLimitsL2) || is_recent(proof, now, lag))
    }

    /// When the mirror was last known to be up to date; `None` if never, or always.
    pub(crate) fn proven_at(&self) -> Option<Instant> {
        let proof = self.proof.load(Ordering::Acquire);
        (proof != ALWAYS && proof != 0).then(|| Instant::from_nanos(proof))
    }

    /// Whether any tag is held.
    #[inline]
    pub(crate) fn holds_any(&self) -> bool {
        self.held.load(Ordering::Acquire) != 0
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, record: &mut Record, short: Short, soft: bool, position: u64) {
        record.put(short, Position(position), soft);
        // Whoever writes has the record.
        let slot = &self.slots[slot(short, soft)];
        slot.store(position.max(slot.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Checks an entry that was known to be valid at `since`.
    pub(crate) fn standing(&self, since: Position, tags: impl Iterator<Item = Tag> + Clone) -> Standing {
        if since.0 < self.dead_below.load(Ordering::Acquire) {
            return Standing::Dead;
        }
        let tags = std::iter::once(Tag::EVERYTHING).chain(tags).map(|tag| self.tags.short(tag));
        // First what is held, then the slots: what is let go has been raised there before.
        let held = if self.holds_any() { self.held(since, &tags) } else { None };
        let marked = |tag: Short| {
            if self.is_marked(tag, since, false) {
                Standing::Dead
            } else if self.is_marked(tag, since, true) {
                Standing::Expired
            } else {
                Standing::Current
            }
        };
        tags.map(marked).fold(held.unwrap_or(Standing::Current), Standing::max)
    }

    /// As [`standing`](Self::standing), of what was valid at `stamp`, with `news`: all that happened after a position that
    /// was known here. `None` if it is not known here what happened since the stamp.
    pub(crate) fn standing_with(&self, stamp: &Receipt, tags: &[Tag], news: &[(Marker, Mark)]) -> Option<Standing> {
        let since = {
            let record = self.record();
            let (epoch, base) = record.epoch.as_ref()?;
            (*epoch == stamp.epoch).then_some(Position(base.saturating_add(stamp.position)))?
        };
        if since.0 < self.dead_below.load(Ordering::Acquire) {
            return None;
        }
        // As it is where nothing has happened since it was stored.
        let is_latest = !self.holds_any() && since >= self.position();
        let known = if is_latest { Standing::Current } else { self.standing(since, tags.iter().copied()) };
        let carried = |marker: &Marker| {
            let tag = Tag::named(marker.tag);
            tag == Tag::EVERYTHING || tags.contains(&tag)
        };
        let news = news.iter().filter(|(marker, _)| carried(marker));
        Some(news.fold(known, |standing, (marker, mark)| match mark {
            Mark::Held => standing.max(Standing::Held),
            Mark::At(at) if *at > stamp.position && !marker.soft => Standing::Dead,
            Mark::At(at) if *at > stamp.position => standing.max(Standing::Expired),
            Mark::At(_) | Mark::Unmarked => standing,
        }))
    }

    /// Whether it was seen here that a tag was invalidated hard since `stamp`, however much else was not.
    pub(crate) fn has_seen(&self, stamp: &Receipt, tags: &[Tag]) -> bool {
        let since = match &self.record().epoch {
            Some((epoch, base)) if *epoch == stamp.epoch => Position(base.saturating_add(stamp.position)),
            _ => return false,
        };
        std::iter::once(&Tag::EVERYTHING).chain(tags).any(|tag| self.is_marked(self.tags.short(*tag), since, false))
    }

    /// What follows from what is held, if anything: a soft invalidation that is under way forbids nothing.
    fn held(&self, since: Position, tags: &(impl Iterator<Item = Short> + Clone)) -> Option<Standing> {
        let record = self.record();
        let here = |tag| record.held_here.get(&tag);
        let is_held = |tag| {
            here(tag).is_some_and(|holds| holds.hard > 0)
                || record.changing.contains_key(&tag)
                || record.held_by_others.contains(&tag)
        };
        let awaits = |soft| {
            let mut awaited = record.awaited.iter().filter(|awaited| awaited.soft == soft);
            awaited.any(|awaited| {
                record.is_before(since, &awaited.receipt) && tags.clone().any(|tag| awaited.tags.contains(&tag))
            })
        };
        if tags.clone().any(is_held) || awaits(false) {
            return Some(Standing::Held);
        }
        (tags.clone().map(here).any(|holds| holds.is_some()) || awaits(true)).then_some(Standing::Expired)
    }

    #[inline]
    fn is_marked(&self, tag: Short, since: Position, soft: bool) -> bool {
        self.is_late(tag, since, soft) && self.record().is_marked(tag, since, soft)
    }

    /// Whether a tag that shares its slot with this one has been invalidated since.
    #[inline]
    fn is_late(&self, tag: Short, since: Position, soft: bool) -> bool {
        self.slots[slot(tag, soft)].load(Ordering::Relaxed) > since.0
    }
}

/// As the control record itself.
impl Mirror {
    /// Invalidates whatever carries one of `tags` and was stamped until now.
    pub(crate) fn invalidate(&self, tags: &[Tag], soft: bool) -> Position {
        self.write(&mut self.record(), tags, soft)
    }

    /// Invalidates, and says whether nothing else had invalidated what carries `held` and is stamped at `stamp`: the
    /// request that causes an invalidation may itself bring what is valid after it.
    pub(super) fn supersede(&self, tags: &[Tag], stamp: Position, held: &[Tag]) -> (Position, bool) {
        let mut record = self.record();
        let mut held = held.iter().chain([&Tag::EVERYTHING]);
        let current = !held.any(|tag| {
            let tag = self.tags.short(*tag);
            self.is_late(tag, stamp, false) && record.is_marked(tag, stamp, false)
        });
        (self.write(&mut record, tags, false), current)
    }

    fn write(&self, record: &mut Record, tags: &[Tag], soft: bool) -> Position {
        // A position of its own would hide from it what others do at the same one.
        debug_assert!(!self.is_following(), "only who follows nobody makes positions");
        let position = self.applied.load(Ordering::Relaxed) + 1;
        for tag in tags {
            self.put(record, self.tags.short(*tag), soft, position);
        }
        // Whoever reads this position also reads what was written before it.
        self.applied.store(position, Ordering::Release);
        Position(position)
    }
}

/// As the copy of one.
impl Mirror {
    /// From here on this process is alone, until it [follows](Self::follow) others again: what is known here is all there
    /// is. What it holds for invalidations is marked from now on, for no poll will tell of them.
    pub(crate) fn follow_nobody(&self) {
        let mut record = self.record();
        let position = self.applied.load(Ordering::Relaxed).max(record.given) + 1;
        for (tag, holds) in take(&mut record.held_here) {
            for (count, soft) in [(holds.hard, false), (holds.soft, true)] {
                if count > 0 {
                    self.put(&mut record, tag, soft, position);
                }
            }
        }
        for Awaited { tags, soft, .. } in take(&mut record.awaited) {
            for tag in tags {
                self.put(&mut record, tag, soft, position);
            }
        }
        self.applied.store(position, Ordering::Release);
        record.epoch = None;
        record.departures += 1;
        record.held_by_others.clear();
        self.count_held(&record);
        self.proof.store(ALWAYS, Ordering::Release);
    }

    /// From here on nothing is proven that others do not prove.
    pub(crate) fn follow(&self) {
        let _record = self.record();
        if !self.is_following() {
            self.proof.store(0, Ordering::Release);
        }
    }

    /// Holds `tags` where others have to be told, and else invalidates what carries them.
    pub(super) fn hold_or_invalidate(&self, tags: &[Tag], soft: bool) -> Hold {
        let mut record = self.record();
        if self.is_following() {
            return self.hold_in(&mut record, tags, soft);
        }
        self.write(&mut record, tags, soft);
        Hold::NONE
    }

    /// The epoch that is followed.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.record().epoch.as_ref().map(|(epoch, _)| epoch.clone())
    }

    /// Whether this is the copy of a record, or is to become one.
    pub(crate) fn is_following(&self) -> bool {
        self.proof.load(Ordering::Acquire) != ALWAYS
    }

    /// Up to where the epoch is followed, in its own positions.
    pub(crate) fn followed(&self) -> Option<Receipt> {
        let record = self.record();
        let (epoch, base) = record.epoch.as_ref()?;
        Some(Receipt { epoch: epoch.clone(), position: self.position().0 - base })
    }

    /// A position of an epoch among ours; `None` if that epoch is not the one that is followed.
    pub(crate) fn local(&self, receipt: &Receipt) -> Option<Position> {
        let mut record = self.record();
        let (epoch, base) = record.epoch.as_ref()?;
        let position = (*epoch == receipt.epoch).then_some(base + receipt.position)?;
        record.given = record.given.max(position);
        Some(Position(position))
    }

    /// Whether everything up to a position of an epoch is known here. Alone, everything is.
    pub(crate) fn covers(&self, epoch: Option<&Epoch>, position: Position) -> bool {
        let Some(epoch) = epoch else {
            return position <= self.position();
        };
        let receipt = Receipt { epoch: epoch.clone(), position: position.0 };
        self.local(&receipt).is_some_and(|position| position <= self.position())
    }

    /// Follows another epoch from here on. Whatever was stamped before is dead, and nothing is proven yet.
    pub(crate) fn adopt(&self, current: Receipt) {
        let mut record = self.record();
        // Above every stamp that any entry here may have (the model's `base_above_every_stamp`).
        let base = self.applied.load(Ordering::Relaxed).max(record.given) + 1;
        let position = base + current.position;
        self.dead_below.store(position, Ordering::Release);
        self.applied.store(position, Ordering::Release);
        self.proof.store(0, Ordering::Release);
        record.held_by_others.clear();
        // What was acknowledged in another epoch is covered: everything older is dead.
        let (epoch, known) = (current.epoch.clone(), current.position);
        record.epoch = Some((current.epoch, base));
        self.let_go(&mut record, |awaited| awaited.receipt.epoch != epoch || awaited.receipt.position <= known);
    }

    /// Applies what a poll of the epoch that is followed, sent at `sent`, found: all changes up to `position`.
    pub(crate) fn apply(&self, marks: &[(Marker, Mark)], position: u64, floor: u64, sent: Instant) {
        let mut record = self.record();
        let Some(base) = record.epoch.as_ref().map(|(_, base)| *base) else {
            return;
        };
        let applied = self.applied.load(Ordering::Relaxed);
        if base + floor > applied {
            // What happened between the two may have been forgotten before we came.
            self.dead_below.fetch_max(base + floor, Ordering::Release);
        }
        record.held_by_others.clear();
        for (marker, mark) in marks {
            let tag = Tag::named(marker.tag);
            match mark {
                Mark::At(at) => self.put(&mut record, self.tags.short(tag), marker.soft, base + at),
                Mark::Held => {
                    record.held_by_others.insert(self.tags.short(tag));
                }
                Mark::Unmarked => {}
            }
        }
        self.applied.fetch_max(base + position, Ordering::Release);
        self.catch_up(&mut record, Some(sent));
        // Last: a proof covers all of the above.
        self.proof.store(sent.as_nanos().max(1), Ordering::Release);
    }

    /// Skips to `position`: there was more than a poll could bring. Nothing is proven by that.
    pub(crate) fn skip(&self, position: u64) {
        let mut record = self.record();
        if let Some(base) = record.epoch.as_ref().map(|(_, base)| *base) {
            self.dead_below.fetch_max(base + position, Ordering::Release);
            self.applied.fetch_max(base + position, Ordering::Release);
            self.catch_up(&mut record, None);
        }
    }

    /// From now on nothing that carries one of `tags` is served, or only as stale: its invalidation is under way.
    pub(crate) fn hold(&self, tags: &[Tag], soft: bool) -> Hold {
        self.hold_in(&mut self.record(), tags, soft)
    }

    fn hold_in(&self, record: &mut Record, tags: &[Tag], soft: bool) -> Hold {
        for tag in tags {
            *record.held_here.entry(self.tags.short(*tag)).or_default().of(soft) += 1;
        }
        self.count_held(record);
        Hold(Some(record.departures))
    }

    /// Whether that is still held.
    pub(super) fn has(&self, hold: Hold) -> bool {
        self.record().has(hold)
    }

    /// What was [held](Self::hold) is covered by something else.
    pub(crate) fn release(&self, tags: &[Tag], soft: bool, hold: Hold) {
        let mut record = self.record();
        if record.has(hold) {
            for tag in tags {
                record.release(self.tags.short(*tag), soft);
            }
            self.count_held(&record);
        }
    }

    /// The invalidation of `tags` took effect at `receipt`, which came now: what carries them and is older is held until
    /// that is known here.
    pub(crate) fn release_at(&self, receipt: Receipt, (tags, soft): (&[Tag], bool), hold: Hold, now: Instant) {
        let mut record = self.record();
        if record.has(hold) {
            let tags: Vec<Short> = tags.iter().map(|tag| self.tags.short(*tag)).collect();
            for tag in &tags {
                record.release(*tag, soft);
            }
            record.awaited.push(Awaited { receipt, tags, soft, since: now });
            self.catch_up(&mut record, None);
        }
    }

    /// From now on nothing that carries one of `tags` is served, whether this process is alone or not: a change of what
    /// does is announced.
    pub(crate) fn begin_change(&self, tags: &[Tag]) {
        let mut record = self.record();
        for tag in tags {
            *record.changing.entry(self.tags.short(*tag)).or_default() += 1;
        }
        self.count_held(&record);
    }

    /// The change is over, and what it was about is invalidated or held.
    pub(crate) fn end_change(&self, tags: &[Tag]) {
        let mut record = self.record();
        for tag in tags.iter().map(|tag| self.tags.short(*tag)) {
            match record.changing.get_mut(&tag) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(record.changing.remove(&tag)),
            }
        }
        self.count_held(&record);
    }

    /// Lets go of what was held until now. What was acknowledged in another epoch than the one that is followed waits for
    /// a poll that was sent after that (the model's `receipt_of_another_epoch_awaits_poll`).
    fn catch_up(&self, record: &mut Record, polled: Option<Instant>) {
        let Some((epoch, base)) = record.epoch.clone() else {
            return;
        };
        let position = self.applied.load(Ordering::Relaxed) - base;
        self.let_go(record, |awaited| {
            if awaited.receipt.epoch == epoch {
                awaited.receipt.position <= position
            } else {
                polled.is_some_and(|sent| sent > awaited.since)
            }
        });
    }

    fn let_go(&self, record: &mut Record, done: impl Fn(&Awaited) -> bool) {
        let gone: Vec<Awaited> = record.awaited.extract_if(.., |awaited| done(awaited)).collect();
        for awaited in gone {
            self.keep(record, awaited);
        }
        self.count_held(record);
    }

    /// What this process has invalidated itself it knows without being told: where nothing that was read says so, somebody
    /// has put back an older record, and everything that is stamped here until now is older.
    fn keep(&self, record: &mut Record, Awaited { receipt, tags, soft, .. }: Awaited) {
        let Some((_, base)) = record.epoch.as_ref().filter(|(epoch, _)| *epoch == receipt.epoch) else {
            return;
        };
        let at = Position(base + receipt.position);
        let forgotten = record.floor.0.max(self.dead_below.load(Ordering::Acquire));
        let next = self.applied.load(Ordering::Relaxed) + 1;
        for tag in tags {
            if at.0 > forgotten && record.get(tag, soft).is_none_or(|told| told < at) {
                self.put(record, tag, soft, at.0.max(next));
            }
        }
    }

    fn count_held(&self, record: &Record) {
        let held = record.held_here.len() + record.changing.len() + record.held_by_others.len();
        self.held.store((held + record.awaited.len()) as u64, Ordering::Release);
    }
}

#[inline]
fn is_recent(proof: u64, now: Instant, lag: Duration) -> bool {
    proof != 0 && now.duration_since(Instant::from_nanos(proof)) <= lag
}

/// Hard and soft invalidations have slots of their own.
fn slot(tag: Short, soft: bool) -> usize {
    let half = usize::from(tag.place()) % (SLOTS / 2);
    if soft { SLOTS / 2 + half } else { half }
}

impl Holds {
    fn of(&mut self, soft: bool) -> &mut u32 {
        if soft { &mut self.soft } else { &mut self.hard }
    }
}

impl Record {
    fn of(&mut self, soft: bool) -> &mut ByTag<Position> {
        if soft { &mut self.soft } else { &mut self.hard }
    }

    fn get(&self, tag: Short, soft: bool) -> Option<Position> {
        if soft { &self.soft } else { &self.hard }.get(&tag).copied()
    }

    /// Whether a position of ours is older than one of an epoch: always, if that is not the one that is followed.
    fn is_before(&self, since: Position, receipt: &Receipt) -> bool {
        let followed = self.epoch.as_ref().filter(|(epoch, _)| *epoch == receipt.epoch);
        followed.is_none_or(|(_, base)| since.0 < base + receipt.position)
    }

    fn is_marked(&self, tag: Short, since: Position, soft: bool) -> bool {
        since < self.floor || self.get(tag, soft).is_some_and(|position| position > since)
    }

    fn put(&mut self, tag: Short, position: Position, soft: bool) {
        let known = self.of(soft).entry(tag).or_default();
        *known = position.max(*known);
        if self.hard.len() + self.soft.len() > MAX_MARKERS {
            self.forget();
        }
    }

    /// Whether a hold is one of now.
    fn has(&self, hold: Hold) -> bool {
        hold.0 == Some(self.departures)
    }

    fn release(&mut self, tag: Short, soft: bool) {
        if let Some(holds) = self.held_here.get_mut(&tag) {
            debug_assert!(*holds.of(soft) > 0, "what is released was held");
            *holds.of(soft) = holds.of(soft).saturating_sub(1);
            if *holds == Holds::default() {
                self.held_here.remove(&tag);
            }
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
        let mirror = Mirror::alone();
        let (tag, other) = (mirror.tags().name("a"), mirror.tags().name("b"));
        let before = mirror.position();
        let position = mirror.invalidate(&[tag], false);
        let after = mirror.position();
        assert_eq!(position, after);
        assert_eq!(mirror.standing(before, [other, tag].into_iter()), Standing::Dead);
        assert_eq!(mirror.standing(after, [tag].into_iter()), Standing::Current);
        assert_eq!(mirror.standing(before, [other].into_iter()), Standing::Current);
    }

    #[test]
    fn a_soft_invalidation_leaves_the_entry_usable_as_stale() {
        let mirror = Mirror::alone();
        let tag = mirror.tags().name("a");
        let before = mirror.position();
        let _ = mirror.invalidate(&[tag], true);
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Expired);
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Dead);
    }

    #[test]
    fn tags_that_share_a_slot_do_not_fall_together() {
        let mirror = Mirror::alone();
        let [tag, other] = [1, 2].map(|high| Tag::read(&[0, high, 0, 1]));
        let slot = |tag| slot(mirror.tags().short(tag), false);
        assert_eq!(slot(tag), slot(other));
        let _ = mirror.invalidate(&[tag], false);
        assert_eq!(mirror.standing(Position(0), [tag].into_iter()), Standing::Dead);
        assert_eq!(mirror.standing(Position(0), [other].into_iter()), Standing::Current);
    }

    #[test]
    fn what_is_forgotten_is_taken_for_invalidated_and_never_for_valid() {
        let mirror = Mirror::alone();
        let first = mirror.tags().name("first");
        let _ = mirror.invalidate(&[first], false);
        for number in 0..=MAX_MARKERS {
            let _ = mirror.invalidate(&[mirror.tags().name(&number.to_string())], false);
        }
        assert!(mirror.record().hard.len() <= MAX_MARKERS);
        assert_eq!(mirror.standing(Position(0), [first].into_iter()), Standing::Dead);
        let recent = Position(mirror.position().get() - 10);
        assert_eq!(mirror.standing(recent, [first, mirror.tags().name("other")].into_iter()), Standing::Current);
    }
}

#[cfg(all(test, not(terrace_loom)))]
mod following {
    use super::*;
    use crate::store::remote::TagName;

    const LAG: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    fn receipt(epoch: u8, position: u64) -> Receipt {
        Receipt { epoch: Epoch::new(&[epoch]), position }
    }

    fn marker(mirror: &Mirror, name: &str) -> Marker {
        Marker { tag: mirror.tags().name(name).name(), soft: false }
    }

    fn followed(epoch: u8, position: u64) -> Mirror {
        let mirror = Mirror::shared();
        mirror.adopt(receipt(epoch, position));
        mirror.apply(&[], position, 0, at(1));
        mirror
    }

    #[test]
    fn a_proof_is_as_old_as_the_sending_of_the_poll() {
        let mirror = followed(1, 5);
        assert!(mirror.is_proven(at(1001), LAG) && !mirror.is_proven(at(1002), LAG));
        assert!(!Mirror::shared().is_proven(at(0), LAG), "nothing was polled yet");
        assert!(Mirror::alone().is_proven(at(u64::from(u32::MAX)), LAG));
    }

    #[test]
    fn a_proof_vouches_for_its_own_epoch() {
        let vouches = |mirror: &Mirror, epoch, now| mirror.vouches_for(&Epoch::new(&[epoch]), at(now), LAG);
        let mirror = followed(2, 5);
        assert!(vouches(&mirror, 2, 1001) && !vouches(&mirror, 2, 1002) && !vouches(&mirror, 1, 2));
        mirror.adopt(receipt(3, 5));
        assert!(!vouches(&mirror, 2, 2) && !vouches(&mirror, 3, 2));
        assert!(!vouches(&Mirror::alone(), 1, 2));
    }

    #[test]
    fn positions_of_another_epoch_come_after_all_of_those_before() {
        let mirror = followed(1, 1000);
        let tag = mirror.tags().name("a");
        let old = mirror.position();
        mirror.adopt(receipt(2, 3));
        assert_eq!(mirror.standing(old, [tag].into_iter()), Standing::Dead);
        assert!(!mirror.is_proven(at(2), LAG), "nothing of the new epoch was polled yet");
        assert_eq!(mirror.local(&receipt(1, 1000)), None);
        let new = mirror.local(&receipt(2, 3)).unwrap();
        assert!(new > old);
        assert_eq!(mirror.standing(new, [tag].into_iter()), Standing::Current);
        assert_eq!(mirror.followed(), Some(receipt(2, 3)));
        // What was read there before the epoch was followed here is of no known standing.
        assert_eq!(mirror.standing(mirror.local(&receipt(2, 2)).unwrap(), [tag].into_iter()), Standing::Dead);
    }

    #[test]
    fn a_poll_brings_what_others_invalidated_and_hold() {
        let mirror = followed(1, 5);
        let tags = ["invalidated", "held", "other"].map(|name| mirror.tags().name(name));
        let [invalidated, held, _] = ["invalidated", "held", "other"].map(|name| marker(&mirror, name));
        let before = mirror.position();
        mirror.apply(&[(invalidated, Mark::At(6)), (held, Mark::Held)], 6, 0, at(2));
        let standing = |tag: Tag| mirror.standing(before, [tag].into_iter());
        assert_eq!(tags.map(standing), [Standing::Dead, Standing::Held, Standing::Current]);
        mirror.apply(&[(held, Mark::At(7))], 7, 0, at(3));
        assert!(!mirror.holds_any());
        assert_eq!(standing(tags[1]), Standing::Dead, "every way out of a hold takes a new position");
    }

    #[test]
    fn what_is_known_here_and_what_is_news_decide_together() {
        let mirror = followed(1, 5);
        let (known, news, held) = (marker(&mirror, "known"), marker(&mirror, "news"), marker(&mirror, "held"));
        mirror.apply(&[(known, Mark::At(6))], 6, 0, at(2));
        let soft = Marker { soft: true, ..news };
        let of = |marker: Marker| [Tag::named(marker.tag)];
        let standing =
            |position, tags: &[Tag], news: &[(Marker, Mark)]| mirror.standing_with(&receipt(1, position), tags, news);
        assert_eq!(standing(5, &of(known), &[]), Some(Standing::Dead), "by what is known here");
        assert_eq!(standing(6, &of(known), &[]), Some(Standing::Current));
        assert_eq!(standing(6, &of(news), &[(news, Mark::At(7))]), Some(Standing::Dead), "by the news");
        assert_eq!(standing(7, &of(news), &[(news, Mark::At(7))]), Some(Standing::Current), "fetched after it");
        assert_eq!(standing(6, &of(news), &[(soft, Mark::At(7))]), Some(Standing::Expired));
        assert_eq!(standing(6, &of(news), &[(soft, Mark::At(8)), (news, Mark::At(7))]), Some(Standing::Dead));
        assert_eq!(standing(9, &of(held), &[(held, Mark::Held)]), Some(Standing::Held), "whatever its stamp");
        let everything = Marker { tag: TagName::EVERYTHING, soft: false };
        assert_eq!(standing(6, &[], &[(everything, Mark::At(7))]), Some(Standing::Dead));
        assert_eq!(standing(6, &of(known), &[(news, Mark::At(7)), (held, Mark::Held)]), Some(Standing::Current));
        // Of what is not known here, nobody but the record can say.
        assert_eq!(mirror.standing_with(&receipt(2, 6), &[], &[]), None);
        mirror.skip(8);
        assert_eq!(standing(7, &of(news), &[]), None);
        assert_eq!(Mirror::shared().standing_with(&receipt(1, 6), &[], &[]), None);
    }

    #[test]
    fn what_may_have_been_forgotten_between_two_polls_is_dead() {
        let mirror = followed(1, 5);
        let (tag, before) = (mirror.tags().name("a"), mirror.position());
        mirror.apply(&[], 9, 5, at(2));
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Current, "all up to 5 was known");
        mirror.apply(&[], 20, 11, at(3));
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Dead, "10 and 11 were not");
        mirror.skip(30);
        assert_eq!(mirror.standing(mirror.local(&receipt(1, 29)).unwrap(), [tag].into_iter()), Standing::Dead);
        assert_eq!(mirror.standing(mirror.local(&receipt(1, 30)).unwrap(), [tag].into_iter()), Standing::Current);
    }

    #[test]
    fn what_this_process_invalidates_is_held_until_the_mirror_knows() {
        let mirror = followed(1, 5);
        let (tag, other) = (mirror.tags().name("a"), mirror.tags().name("b"));
        let standing = |tag: Tag| mirror.standing(mirror.position(), [tag].into_iter());
        let _ = mirror.hold(&[tag], false);
        let hold = mirror.hold(&[tag], false);
        assert_eq!([tag, other].map(standing), [Standing::Held, Standing::Current]);
        mirror.release_at(receipt(1, 6), (&[tag], false), hold, at(1));
        mirror.release_at(receipt(1, 7), (&[tag], false), hold, at(1));
        assert_eq!(standing(tag), Standing::Held, "6 and 7 are not known yet");
        mirror.apply(&[(marker(&mirror, "a"), Mark::At(6))], 6, 0, at(2));
        assert_eq!(standing(tag), Standing::Held, "7 is not");
        mirror.apply(&[(marker(&mirror, "a"), Mark::At(7))], 7, 0, at(3));
        assert_eq!(standing(tag), Standing::Current);
        // Those of an epoch that is over are covered by the next.
        let hold = mirror.hold(&[tag], false);
        mirror.release_at(receipt(1, 100), (&[tag], false), hold, at(3));
        assert_eq!(standing(tag), Standing::Held);
        mirror.adopt(receipt(2, 0));
        assert_eq!(standing(tag), Standing::Current);
    }

    #[test]
    fn what_this_process_invalidates_stays_so_whatever_the_record_says_then() {
        // What was known when it was confirmed: less, as usual, or more, which the record has lost since.
        for known in [5, 8] {
            let mirror = followed(1, 5);
            let (tag, soft) = (mirror.tags().name("a"), mirror.tags().name("b"));
            mirror.apply(&[], known, 0, at(1));
            let before = mirror.position();
            for (tag, soft) in [(tag, false), (soft, true)] {
                let hold = mirror.hold(&[tag], soft);
                mirror.release_at(receipt(1, 6), (&[tag], soft), hold, at(1));
            }
            mirror.apply(&[], known.max(6), 0, at(2));
            assert!(!mirror.holds_any());
            let standing = |tag: Tag| mirror.standing(before, [tag].into_iter());
            assert_eq!([tag, soft].map(standing), [Standing::Dead, Standing::Expired], "{known}");
            mirror.apply(&[], 10, 0, at(3));
            let standing = |tag: Tag| mirror.standing(mirror.position(), [tag].into_iter());
            assert_eq!([tag, soft].map(standing), [Standing::Current; 2], "{known}");
        }
    }

    #[test]
    fn what_is_softly_invalidated_here_is_stale_from_the_beginning() {
        let mirror = followed(1, 5);
        let (tag, other) = (mirror.tags().name("a"), mirror.tags().name("b"));
        let standing = |tag: Tag| mirror.standing(mirror.position(), [tag].into_iter());
        let _ = mirror.hold(&[tag], true);
        assert_eq!([tag, other].map(standing), [Standing::Expired, Standing::Current]);
        let hold = mirror.hold(&[tag], false);
        assert_eq!(standing(tag), Standing::Held);
        mirror.release(&[tag], false, hold);
        assert_eq!(standing(tag), Standing::Expired);
        let before = mirror.position();
        mirror.release_at(receipt(1, 6), (&[tag], true), hold, at(1));
        let soft = Marker { soft: true, ..marker(&mirror, "a") };
        mirror.apply(&[(soft, Mark::At(6))], 6, 0, at(2));
        assert!(!mirror.holds_any());
        assert_eq!(mirror.standing(before, [tag].into_iter()), Standing::Expired);
        assert_eq!(standing(tag), Standing::Current, "what is fetched from here on");
    }

    #[test]
    fn what_was_acknowledged_in_an_epoch_that_is_not_followed_yet_is_held() {
        let mirror = followed(1, 5);
        let tag = mirror.tags().name("a");
        let standing = || mirror.standing(mirror.position(), [tag].into_iter());
        let hold = mirror.hold(&[tag], false);
        mirror.release_at(receipt(2, 1), (&[tag], false), hold, at(10));
        mirror.apply(&[], 5, 0, at(9));
        assert_eq!(standing(), Standing::Held, "the poll was sent before");
        mirror.adopt(receipt(2, 1));
        assert_eq!(standing(), Standing::Current);
        // One from an epoch that is over comes late: the next poll that is sent covers it.
        let hold = mirror.hold(&[tag], false);
        mirror.release_at(receipt(1, 6), (&[tag], false), hold, at(20));
        assert_eq!(standing(), Standing::Held);
        mirror.apply(&[], 1, 0, at(21));
        assert_eq!(standing(), Standing::Current);
    }

    #[test]
    fn a_new_epoch_kills_what_was_read_ahead_of_the_poll() {
        let mirror = followed(1, 5);
        let tag = mirror.tags().name("a");
        let ahead = mirror.local(&receipt(1, 500)).unwrap();
        assert_eq!(mirror.standing(ahead, [tag].into_iter()), Standing::Current);
        mirror.adopt(receipt(2, 3));
        assert_eq!(mirror.standing(ahead, [tag].into_iter()), Standing::Dead);
    }

    #[test]
    fn everything_is_held_with_the_tag_that_every_entry_carries() {
        let mirror = followed(1, 5);
        let hold = mirror.hold(&[Tag::EVERYTHING], false);
        assert_eq!(mirror.standing(mirror.position(), std::iter::empty()), Standing::Held);
        let everything = Marker { tag: TagName([0; 16]), soft: false };
        let before = mirror.position();
        mirror.release(&[Tag::EVERYTHING], false, hold);
        mirror.apply(&[(everything, Mark::At(6))], 6, 0, at(2));
        assert_eq!(mirror.standing(before, std::iter::empty()), Standing::Dead);
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
            let mirror = Arc::new(Mirror::alone());
            let [tag, other] = [1, 2].map(|low| Tag::read(&[0, 0, 0, low]));
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
