use crate::store::remote::{self, Epoch};

/// A point in the order of invalidations. Zero is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(super) u64);

impl Position {
    pub(crate) fn at(position: u64) -> Self {
        Self(position)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Proof that an invalidation has taken effect: no request that begins afterwards is answered with what was fetched
/// before it, except by a process whose memory has not heard of it yet, and that is never longer than its maximal lag
/// ([`CACHE_L1_MAX_LAG`](crate::manual::configuration)).
///
/// Positions of one store grow; a later receipt covers an earlier one. They start anew with each epoch: with the process
/// where the store is in its memory, else with the Redis server that keeps the invalidations.
///
/// A request that carries a receipt among its extensions is never answered with what was fetched before it, by any
/// process: who has changed something reads it as changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a receipt says that the invalidation took effect"]
pub struct Receipt {
    pub(in crate::store) epoch: Option<Epoch>,
    pub(in crate::store) position: Position,
    pub(in crate::store) replicas: Option<u32>,
}

impl Receipt {
    pub(in crate::store) fn of(receipt: remote::Receipt) -> Self {
        Self { epoch: Some(receipt.epoch), position: Position(receipt.position), replicas: None }
    }

    /// The one that covers both; `None` if they are of different epochs.
    pub(crate) fn later(self, other: Self) -> Option<Self> {
        (self.epoch == other.epoch).then_some(if self.position < other.position { other } else { self })
    }

    /// The name of the epoch that the position belongs to; `None` where the store is in the memory of this process.
    pub fn epoch(&self) -> Option<String> {
        self.epoch.as_ref().map(Epoch::text)
    }

    /// The position of the invalidation.
    pub fn position(&self) -> u64 {
        self.position.0
    }

    /// How many replicas have it, if the purge [waited](crate::Purge::replicated) for that.
    pub fn replicas(&self) -> Option<u32> {
        self.replicas
    }
}
