use super::{Mirror, Position, Tag};
use crate::clock::Instant;
use crate::store::Key;
use crate::store::remote::Receipt;

/// The right to store one entry, taken before its fetch began.
///
/// Only a lookup makes one and only [`Tiers::fill`](crate::store::Tiers::fill) takes it, so no path can forget to stamp
/// before it fetches.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(in crate::store) key: Key,
    pub(in crate::store) stamp: Position,
    /// When the request came for which it was taken: what is fetched with it was current then, or is younger.
    pub(in crate::store) asked: Instant,
    /// The stamp for the shared tier; `None` if nothing is to be stored there.
    pub(in crate::store) shared: Option<Receipt>,
}

impl Ticket {
    /// What the entry will be stored under.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the shared tier, when it gave this ticket, knew of what a receipt is for. What another epoch acknowledged it may
    /// never hear of, while two servers take themselves for the primary.
    pub(crate) fn covers(&self, receipt: &super::Receipt) -> bool {
        let told = |now: &Receipt| receipt.epoch.as_ref() == Some(&now.epoch) && receipt.position.0 <= now.position;
        receipt.epoch.is_none() || self.shared.as_ref().is_some_and(told)
    }

    /// The same stamp for another key: a response that turns out to vary is stored under more than one.
    pub(crate) fn for_key(&self, key: Key) -> Self {
        Self { key, stamp: self.stamp, asked: self.asked, shared: self.shared.clone() }
    }

    /// The same for the memory of this process alone.
    pub(crate) fn unshared(self) -> Self {
        Self { shared: None, ..self }
    }

    /// Invalidates `tags`, for a request whose own response may be stored: that is valid after the invalidation which
    /// it causes. `None` if somebody else has invalidated what carries `held` meanwhile.
    pub(crate) fn superseding(self, mirror: &Mirror, tags: &[Tag], held: &[Tag]) -> Option<Self> {
        let (stamp, current) = mirror.supersede(tags, self.stamp, held);
        current.then_some(Self { stamp, ..self })
    }
}
