use super::{Position, Receipt};
use crate::store::Key;

/// The right to store one entry, taken before its fetch began.
///
/// Only a lookup makes one and only [`Tiers::fill`](crate::store::Tiers::fill) takes it, so no path can forget to stamp
/// before it fetches.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(in crate::store) key: Key,
    pub(in crate::store) stamp: Position,
}

impl Ticket {
    /// What the entry will be stored under.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The same stamp for another key: a response that turns out to vary is stored under more than one.
    pub(crate) fn for_key(&self, key: Key) -> Self {
        Self { key, stamp: self.stamp }
    }

    /// The ticket for what the very request brought that caused this invalidation. `None` if another one came between.
    pub(crate) fn after(mut self, receipt: Receipt) -> Option<Self> {
        let next = receipt.position() == self.stamp.get() + 1;
        self.stamp = receipt.position;
        next.then_some(self)
    }
}
