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
/// before it.
///
/// Positions of one store grow; a later receipt covers an earlier one. They start anew with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a receipt says that the invalidation took effect"]
pub struct Receipt {
    pub(super) position: Position,
}

impl Receipt {
    /// The position of the invalidation.
    pub fn position(self) -> u64 {
        self.position.0
    }
}
