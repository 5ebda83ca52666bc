//! The protections of the protocol, each with the name by which the code refers to it.

/// One protection. A mutant is the protocol without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The stamp of an entry is the position from before its fetch began.
    StampBeforeFetch,
    /// A connection first makes sure that the epoch was begun by the server it reached.
    FenceOnConnect,
    /// A server that is demoted and promoted again counts as another one.
    IdentityHasReplicationId,
    /// An entry of another epoch is not used.
    EpochCompared,
    /// An entry of memory is checked each time it is served, not only when it is stored.
    CheckedAtRead,
    /// Memory serves only while the mirror is proven to be younger than `max_lag`.
    ProofLimitsL1,
    /// A poll proves what was true when it was sent, not when its reply came.
    ProofDatedAtSend,
    /// Markers, floor, position and epoch are lost together or not at all.
    MarkersAndEpochInOneKey,
    /// Who forgets a marker raises the floor to it.
    TrimmingRaisesFloor,
    /// A follower takes the value of the leader only if its own check passes it.
    JoinsCheck,
    /// Who reads only the markers that are later than its mirror also asks the mirror.
    MarksOfMirrorAndNews,
    /// Whoever changes the control key writes what lookups read of it, in the same step.
    LatestWrittenWithControl,
    /// The beginning of a change is a position too: else a lookup that reads only news would not see it.
    HoldTakesPosition,
    /// What a change touches is held from before its transaction until after it.
    ChangeHeld,
    /// The end of a change is a position after every stamp taken during it.
    EndTakesNewPosition,
    /// A change is swept only when its transaction is over.
    SweptAfterTransaction,
    /// What nobody may have announced is let go only if no change holds it.
    SweptOnlyIfUnheld,
    /// A tag is let go with the last change that holds it.
    HeldByEachChange,
    /// A plain invalidation does not let go of a held tag.
    InvalidationKeepsHold,
    /// Positions of an adopted epoch begin, locally, after every stamp in use, also those ahead of the mirror.
    BaseAboveEveryStamp,
    /// The adoption of an epoch raises the local floor, so that every older stamp is below it.
    FloorRaisedOnAdoption,
    /// An adopted epoch is followed from its beginning: what has happened in it is not known yet.
    AdoptedFromTheBeginning,
    /// Memory does not serve what is held, nor what this process is about to invalidate.
    HeldRefuses,
    /// That is asked before the shortcut "already checked at this position".
    HeldBeforeShortcut,
    /// What this process invalidates stays pending until its mirror has caught up with the receipt.
    PendingUntilCaughtUp,
    /// A receipt of another epoch than the mirror's is caught up with by a poll that was sent after it.
    ReceiptOfAnotherEpochAwaitsPoll,
    /// What was read from Redis counts only if a poll that the same server answered was sent within `max_lag`.
    ProofLimitsL2,
    /// A server that takes no writes answers no poll.
    PollTakesWrite,
    /// Nor does it let anybody connect: what is fetched then would be stamped by who hears of no invalidation.
    FenceTakesWrite,
    /// A server without a replica takes no writes.
    WritesNeedReplica,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::StampBeforeFetch,
        Self::FenceOnConnect,
        Self::IdentityHasReplicationId,
        Self::EpochCompared,
        Self::CheckedAtRead,
        Self::ProofLimitsL1,
        Self::ProofDatedAtSend,
        Self::MarkersAndEpochInOneKey,
        Self::TrimmingRaisesFloor,
        Self::JoinsCheck,
        Self::MarksOfMirrorAndNews,
        Self::LatestWrittenWithControl,
        Self::HoldTakesPosition,
        Self::ChangeHeld,
        Self::EndTakesNewPosition,
        Self::SweptAfterTransaction,
        Self::SweptOnlyIfUnheld,
        Self::HeldByEachChange,
        Self::InvalidationKeepsHold,
        Self::BaseAboveEveryStamp,
        Self::FloorRaisedOnAdoption,
        Self::AdoptedFromTheBeginning,
        Self::HeldRefuses,
        Self::HeldBeforeShortcut,
        Self::PendingUntilCaughtUp,
        Self::ReceiptOfAnotherEpochAwaitsPoll,
        Self::ProofLimitsL2,
        Self::PollTakesWrite,
        Self::FenceTakesWrite,
        Self::WritesNeedReplica,
    ];

    /// As the code, the README and the output name it: `stamp_before_fetch`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

/// Which rules are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// The protocol: all of them.
    pub const PROTOCOL: Self = Self(u32::MAX);

    /// All of these but one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Whether a rule is kept.
    pub const fn keep(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u32 != 0
    }
}
