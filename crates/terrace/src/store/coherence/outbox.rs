use super::Tag;
use crate::clock::Instant;
use crate::store::remote::{Epoch, Receipt};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Invalidations that nobody has confirmed yet, and those that may have been confirmed by a server that was no longer the
/// right one.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Letters>);

#[derive(Debug, Default)]
struct Letters {
    owed: Vec<Owed>,
    acknowledged: Vec<(Receipt, Owed)>,
}

/// One of them. Its tags are held by this process's mirror as long as it is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) tags: Vec<Tag>,
    pub(crate) soft: bool,
    pub(crate) since: Instant,
}

/// More than this are owed as one that invalidates everything.
const MAX_OWED: usize = 10_000;

/// How long a confirmed invalidation is repeated if the epoch changes.
const REMEMBERED: Duration = Duration::from_secs(30);

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was not confirmed. `false` if it cannot be remembered: it is covered by one that invalidates everything, which
    /// is owed then.
    pub(crate) fn owe(&self, owed: Owed) -> bool {
        let mut letters = self.lock();
        let kept = letters.owed.len() < MAX_OWED || owed.tags == [Tag::EVERYTHING];
        if kept {
            letters.owed.push(owed);
        }
        kept
    }

    /// Whether everything is owed.
    pub(crate) fn owes_everything(&self) -> bool {
        self.lock().owed.iter().rev().any(|owed| owed.tags == [Tag::EVERYTHING])
    }

    /// It was confirmed.
    pub(crate) fn acknowledged(&self, receipt: Receipt, owed: Owed) {
        let mut letters = self.lock();
        letters.acknowledged.retain(|(_, old)| owed.since.duration_since(old.since) < REMEMBERED);
        if letters.acknowledged.len() < MAX_OWED {
            letters.acknowledged.push((receipt, owed));
        }
    }

    /// Takes what is owed, oldest first.
    pub(crate) fn take(&self) -> Vec<Owed> {
        std::mem::take(&mut self.lock().owed)
    }

    /// Takes what was confirmed lately in another epoch than this.
    pub(crate) fn take_of_other_epochs(&self, epoch: &Epoch, now: Instant) -> Vec<Owed> {
        let mut letters = self.lock();
        let other = |(receipt, owed): &mut (Receipt, Owed)| {
            receipt.epoch != *epoch && now.duration_since(owed.since) < REMEMBERED
        };
        letters.acknowledged.extract_if(.., other).map(|(_, owed)| owed).collect()
    }

    /// How many are owed, and since when the first.
    pub(crate) fn pending(&self) -> (usize, Option<Instant>) {
        let letters = self.lock();
        (letters.owed.len(), letters.owed.iter().map(|owed| owed.since).min())
    }
}
