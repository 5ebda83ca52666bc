use super::coherence::{Mirror, Position, Standing, Tag};
use super::key::Key;
use crate::clock::{Clock, Instant};
use crate::danger::{Protection, is_off};
use crate::observe::stats::EvictionReason;
use crate::observe::{Namespace, Observe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// A stored value with its key, its tags and its stamp.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    value: V,
    /// The tags, then the key: one allocation for both.
    labels: Box<[u8]>,
    /// When the request came for which it was fetched.
    asked: Instant,
    inserted: Instant,
    /// When nothing can be done with it any more.
    dead_at: Instant,
    /// The position up to which its tags were found uninvalidated; the lowest bit says that it was expired softly.
    checked: AtomicU64,
    bytes: u32,
    /// Where the key begins.
    key_at: u16,
    namespace: Namespace,
    residence: AtomicU8,
    owner: Arc<Owner>,
}

/// What an entry needs to account for itself.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) observe: Observe,
    pub(super) clock: Clock,
    pub(super) mirror: Arc<Mirror>,
}

/// Where an entry is, or why it left.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Residence {
    /// Never in memory: handed to those who waited for it.
    Outside,
    /// In memory. If nobody says why it leaves, its engine made room.
    Inside,
    Replaced,
    Explicit,
    Invalidated,
}

/// What a value takes into its entry.
pub(super) struct NewEntry<V> {
    pub(super) value: V,
    pub(super) value_bytes: usize,
    pub(super) key: Key,
    pub(super) tags: Vec<Tag>,
    pub(super) stamp: Position,
    pub(super) asked: Instant,
    pub(super) life: Duration,
    pub(super) namespace: Namespace,
}

impl<V> Entry<V> {
    /// What the engine keeps beside an entry: measured, see `benches/README.md`.
    const ENGINE_BYTES: usize = 312;

    pub(super) fn new(new: NewEntry<V>, owner: Arc<Owner>) -> Self {
        let NewEntry { value, value_bytes, key, tags, stamp, asked, life, namespace } = new;
        let inserted = owner.clock.now();
        let mut labels = Vec::with_capacity(tags.len() * owner.mirror.tags().width() + key.bytes().len());
        for tag in &tags {
            tag.write(owner.mirror.tags(), &mut labels);
        }
        // At most 1,024 tags are named (`CACHE_MAX_TAGS`), and a few are implicit.
        let key_at = u16::try_from(labels.len()).expect("tags are limited");
        labels.extend_from_slice(key.bytes());
        let held = size_of::<Self>() + labels.len() + Self::ENGINE_BYTES;
        Self {
            value,
            labels: labels.into(),
            asked,
            inserted,
            dead_at: inserted + life,
            checked: AtomicU64::new(stamp.get() << 1),
            bytes: u32::try_from(held + value_bytes).unwrap_or(u32::MAX),
            key_at,
            namespace,
            residence: AtomicU8::new(Residence::Outside as u8),
            owner,
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.labels[usize::from(self.key_at)..]
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = Tag> + Clone {
        self.labels[..usize::from(self.key_at)].chunks_exact(self.owner.mirror.tags().width()).map(Tag::read)
    }

    /// What it says was current then, or is younger.
    pub(crate) fn asked(&self) -> Instant {
        self.asked
    }

    /// When it was stored.
    pub(crate) fn inserted(&self) -> Instant {
        self.inserted
    }

    /// How long it has been stored.
    #[inline]
    pub(crate) fn resident(&self, now: Instant) -> Duration {
        now.duration_since(self.inserted)
    }

    /// How much longer something can be done with it.
    #[cfg(feature = "admin")]
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.dead_at.duration_since(now)
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.dead_at
    }

    /// Its size with everything that is kept because of it.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Checks it against the invalidations known now. Two comparisons when there were none since the last check.
    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        if is_off(Protection::CheckedAtRead) {
            return Standing::Current;
        }
        let mirror = &*self.owner.mirror;
        // What is held is not told by positions.
        if mirror.holds_any() {
            return self.check();
        }
        let checked = self.checked.load(Ordering::Relaxed);
        if checked >> 1 >= mirror.position().get() {
            return if checked & 1 == 0 { Standing::Current } else { Standing::Expired };
        }
        self.check()
    }

    /// Whether somebody changes what it is about, so that nobody can share it, nor what is fetched instead.
    pub(crate) fn is_held(&self) -> bool {
        self.standing() == Standing::Held
    }

    /// What was valid at one position needs to be checked against later ones only; what is dead is never raised.
    fn check(&self) -> Standing {
        let mirror = &*self.owner.mirror;
        // First the position, then the tags: what comes between is checked once more.
        let (position, checked) = (mirror.position().get(), self.checked.load(Ordering::Relaxed));
        let standing = mirror.standing(Position::at(checked >> 1), self.tags());
        // What is held now may not be later.
        if matches!(standing, Standing::Dead | Standing::Held) || (standing == Standing::Expired && mirror.holds_any())
        {
            return standing;
        }
        let expired = (checked & 1) | u64::from(standing == Standing::Expired);
        self.checked.store((position.max(checked >> 1) << 1) | expired, Ordering::Relaxed);
        if expired == 0 { Standing::Current } else { Standing::Expired }
    }

    /// The position up to which nothing is known to have invalidated it, other than softly.
    pub(super) fn checked(&self) -> Position {
        Position::at(self.checked.load(Ordering::Relaxed) >> 1)
    }

    pub(super) fn enters(&self) {
        self.residence.store(Residence::Inside as u8, Ordering::Relaxed);
        self.owner.observe.entry_added(self.namespace, self.bytes.into());
    }

    /// Whether it is in memory, as far as anybody has said. What the engine evicts is gone once nobody holds it.
    #[inline]
    pub(super) fn is_inside(&self) -> bool {
        self.residence.load(Ordering::Relaxed) == Residence::Inside as u8
    }

    /// Notes why it is about to leave. The first reason counts.
    fn leaves(&self, reason: Residence) {
        let inside = Residence::Inside as u8;
        let _ = self.residence.compare_exchange(inside, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn is_replaced(&self) {
        self.leaves(Residence::Replaced);
    }

    pub(super) fn is_removed(&self) {
        self.leaves(Residence::Explicit);
    }

    pub(super) fn is_invalidated(&self) {
        self.leaves(Residence::Invalidated);
    }
}

/// The engine does not tell what it evicts; an entry tells itself when the last holder lets go of it.
impl<V> Drop for Entry<V> {
    fn drop(&mut self) {
        let residence = *self.residence.get_mut();
        let reason = match residence {
            outside if outside == Residence::Outside as u8 => return,
            replaced if replaced == Residence::Replaced as u8 => EvictionReason::Replaced,
            explicit if explicit == Residence::Explicit as u8 => EvictionReason::Explicit,
            dead if dead == Residence::Invalidated as u8 => EvictionReason::Invalidated,
            _ if self.is_over(self.owner.clock.now()) => EvictionReason::Expired,
            _ => EvictionReason::Size,
        };
        self.owner.observe.entry_removed(self.namespace, self.bytes.into(), reason);
    }
}
