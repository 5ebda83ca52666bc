use super::Tag;
use super::mirror::{Hold, Mirror};
use crate::clock::Instant;
use crate::store::remote::{Epoch, Receipt};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Invalidations that nobody has confirmed yet, and those that may have been confirmed by a server that was no longer the
/// right one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Letters>);

#[derive(Debug, Default)]
struct Letters {
    /// By what is invalidated: twice is once.
    owed: HashMap<(Tag, Soft), Hold>,
    /// Since when the first of them is.
    oldest: Option<Instant>,
    /// In the order in which they were confirmed.
    acknowledged: VecDeque<(Receipt, Owed)>,
    /// The last that was confirmed and is not among those, for they were too many.
    dropped: Option<(Receipt, Instant)>,
}

type Soft = bool;

/// Invalidations of one kind, which are sent together. As long as they are owed their tags are held by this process's
/// mirror, or marked there if it was alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) tags: Vec<Tag>,
    pub(crate) soft: bool,
    pub(crate) since: Instant,
    pub(crate) hold: Hold,
}

/// More than this are owed as one that invalidates everything.
const MAX_OWED: usize = 10_000;

/// So many are sent at once.
const TOGETHER: usize = 256;

/// How long a confirmed invalidation is repeated if the epoch changes.
const REMEMBERED: Duration = Duration::from_secs(30);

const EVERYTHING: (Tag, Soft) = (Tag::EVERYTHING, false);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was not confirmed.
    pub(crate) fn owe(&self, owed: &Owed, mirror: &Mirror) {
        self.lock().owe(owed, mirror);
    }

    /// Invalidates in this process, and owes it to the others.
    pub(crate) fn owe_alone(&self, tags: Vec<Tag>, soft: bool, since: Instant, mirror: &Mirror) {
        // Together: else it could be missed by one that begins to follow the others in between.
        let mut letters = self.lock();
        let hold = mirror.hold_or_invalidate(&tags, soft);
        letters.owe(&Owed { tags, soft, since, hold }, mirror);
    }

    /// From here on others are followed: what is owed to them is held until they have it.
    pub(crate) fn rejoin(&self, mirror: &Mirror) {
        let mut letters = self.lock();
        mirror.follow();
        for ((tag, soft), hold) in &mut letters.owed {
            if !mirror.has(*hold) {
                *hold = mirror.hold(&[*tag], *soft);
            }
        }
    }

    /// It was confirmed now: however long it was owed, it is remembered from here on.
    pub(crate) fn acknowledged(&self, receipt: Receipt, owed: Owed, now: Instant) {
        let mut letters = self.lock();
        let owed = Owed { since: now, ..owed };
        let is_old = |(_, old): &(Receipt, Owed)| now.duration_since(old.since) >= REMEMBERED;
        while letters.acknowledged.front().is_some_and(is_old) {
            letters.acknowledged.pop_front();
        }
        letters.acknowledged.push_back((receipt, owed));
        if letters.acknowledged.len() > MAX_OWED {
            letters.dropped = letters.acknowledged.pop_front().map(|(receipt, owed)| (receipt, owed.since));
        }
    }

    /// Takes what is owed.
    pub(crate) fn take(&self) -> Vec<Owed> {
        let mut letters = self.lock();
        let Some(since) = letters.oldest.take() else {
            return Vec::new();
        };
        let owed = letters.owed.drain().map(|((tag, soft), hold)| (soft, hold, tag));
        together(owed.collect(), since)
    }

    /// Takes what was confirmed lately in another epoch than this, and holds it.
    pub(crate) fn take_of_other_epochs(&self, epoch: &Epoch, now: Instant, mirror: &Mirror) -> Vec<Owed> {
        let mut letters = self.lock();
        let is_recent = |since| now.duration_since(since) < REMEMBERED;
        let all = std::mem::take(&mut letters.acknowledged);
        let recent = all.into_iter().filter(|(_, owed)| is_recent(owed.since));
        let (others, same): (VecDeque<_>, VecDeque<_>) = recent.partition(|(receipt, _)| receipt.epoch != *epoch);
        letters.acknowledged = same;
        let dropped = letters.dropped.take_if(|(receipt, _)| receipt.epoch != *epoch);
        if dropped.is_some_and(|(_, since)| is_recent(since)) {
            let hold = mirror.hold(&[Tag::EVERYTHING], false);
            return vec![Owed { tags: vec![Tag::EVERYTHING], soft: false, since: now, hold }];
        }
        let mut all = Vec::new();
        for (_, owed) in others {
            let hold = mirror.hold(&owed.tags, owed.soft);
            all.extend(owed.tags.iter().map(|tag| (owed.soft, hold, *tag)));
        }
        together(all, now)
    }

    /// How many are owed, and since when the first.
    pub(crate) fn pending(&self) -> (usize, Option<Instant>) {
        let letters = self.lock();
        (letters.owed.len(), letters.oldest)
    }
}

impl Letters {
    fn owe(&mut self, owed: &Owed, mirror: &Mirror) {
        let Owed { tags, soft, since, hold } = owed;
        self.oldest = Some(self.oldest.map_or(*since, |oldest| oldest.min(*since)));
        for tag in tags {
            if self.owed.contains_key(&EVERYTHING) && (*tag, *soft) != EVERYTHING {
                mirror.release(&[*tag], *soft, *hold);
                continue;
            }
            match self.owed.get_mut(&(*tag, *soft)) {
                // It is held already.
                Some(held) if held == hold => mirror.release(&[*tag], *soft, *hold),
                Some(held) => *held = (*hold).max(*held),
                None => drop(self.owed.insert((*tag, *soft), *hold)),
            }
        }
        if self.owed.len() > MAX_OWED {
            self.owe_everything(mirror);
        }
    }

    /// One for all.
    fn owe_everything(&mut self, mirror: &Mirror) {
        // Where this process was alone, all of them are marked.
        let hold = if mirror.is_following() { mirror.hold(&[Tag::EVERYTHING], false) } else { Hold::NONE };
        for ((tag, soft), hold) in self.owed.drain() {
            mirror.release(&[tag], soft, hold);
        }
        self.owed.insert(EVERYTHING, hold);
    }
}

/// Those of one kind, a few hundred at a time.
fn together(mut all: Vec<(Soft, Hold, Tag)>, since: Instant) -> Vec<Owed> {
    all.sort_unstable_by_key(|(soft, hold, _)| (*soft, *hold));
    let kinds = all.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1));
    let parts = kinds.flat_map(|kind| kind.chunks(TOGETHER));
    let owed = |part: &[(Soft, Hold, Tag)]| {
        let (soft, hold, _) = part[0];
        Owed { tags: part.iter().map(|(_, _, tag)| *tag).collect(), soft, since, hold }
    };
    parts.map(owed).collect()
}

#[cfg(all(test, not(terrace_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_owed_for_long_is_remembered_from_its_confirmation_on() {
        let (mirror, outbox) = (Mirror::shared(), Outbox::default());
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let epoch = |name: &[u8]| Epoch::new(name);
        let tags = vec![mirror.tags().name("a")];
        let owed = Owed { hold: mirror.hold(&tags, false), tags: tags.clone(), soft: false, since: at(1) };
        outbox.acknowledged(Receipt { epoch: epoch(b"one"), position: 1 }, owed, at(100));
        assert!(outbox.take_of_other_epochs(&epoch(b"one"), at(101), &mirror).is_empty());
        let again = outbox.take_of_other_epochs(&epoch(b"two"), at(129), &mirror);
        assert_eq!(again.into_iter().map(|owed| owed.tags).collect::<Vec<_>>(), [tags]);
        assert!(outbox.take_of_other_epochs(&epoch(b"three"), at(129), &mirror).is_empty(), "it is taken");
    }
}
