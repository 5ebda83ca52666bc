//! The memory of the first process, and its check.

use crate::explore::Steps;
use crate::rules::Rule;
use crate::scenario::Part;
use crate::state::{Entry, HELD, Kept, Mirror, Pending, State};
use crate::world::Protocol;

impl Protocol {
    /// Puts into memory what reader `k` has got, if it has a memory.
    pub(crate) fn keep(&self, next: &mut State, k: usize, entry: Entry) {
        if k != 0 || !self.has(Part::L1) {
            return;
        }
        let Entry { value, ticket } = entry;
        let mirror = next.mirror;
        if !self.has(Part::LocalPositions) {
            next.kept = Some(Kept { value, epoch: Some(ticket.epoch), stamp: ticket.stamp });
        } else if ticket.epoch == mirror.epoch {
            let epoch = self.has(Part::EpochWitness).then_some(ticket.epoch);
            next.kept = Some(Kept { value, epoch, stamp: mirror.base + ticket.stamp });
        }
    }

    /// What memory would serve now.
    pub(crate) fn served_from_l1(&self, state: &State) -> Option<Kept> {
        state.kept.filter(|kept| self.serves(state, *kept))
    }

    fn serves(&self, state: &State, kept: Kept) -> bool {
        let mirror = state.mirror;
        let proven = state.time <= mirror.proof + self.scenario.max_lag;
        if self.keeps(Rule::ProofLimitsL1) && !proven {
            return false;
        }
        !self.keeps(Rule::CheckedAtRead) || self.passes_l1(state, kept)
    }

    /// The one rule of memory.
    fn passes_l1(&self, state: &State, kept: Kept) -> bool {
        let mirror = state.mirror;
        let refused = self.keeps(Rule::HeldRefuses) && is_held(state, kept);
        let checked = self.has(Part::Shortcut) && kept.stamp >= mirror.applied;
        if !self.is_of_epoch(kept, mirror) {
            return false;
        }
        if checked && !self.keeps(Rule::HeldBeforeShortcut) {
            return true;
        }
        !refused && (checked || is_later(kept, mirror))
    }

    fn is_of_epoch(&self, kept: Kept, mirror: Mirror) -> bool {
        self.has(Part::LocalPositions) || !self.keeps(Rule::EpochCompared) || kept.epoch == Some(mirror.epoch)
    }

    /// Being served leaves a trace only where memory remembers what was checked.
    pub(crate) fn l1_steps(&self, state: &State, to: &mut Steps<State>) {
        let stamp = state.mirror.applied;
        if let Some(kept) = self.served_from_l1(state)
            && self.has(Part::Shortcut)
            && kept.stamp < stamp
        {
            to.add("memory", "serves and remembers", State { kept: Some(Kept { stamp, ..kept }), ..*state });
        }
    }
}

/// Whether somebody's change holds the tag, or this process has an invalidation of it under way: one that is acknowledged
/// holds what is older.
fn is_held(state: &State, kept: Kept) -> bool {
    let is_pending = match state.pending {
        Pending::Nothing => false,
        Pending::Behind(receipt) => kept.stamp < state.mirror.base + receipt.stamp,
        Pending::Unacknowledged | Pending::UntilSent | Pending::UntilApplied => true,
    };
    state.mirror.marker == HELD || is_pending
}

/// A hold is not a position: what is held is decided before.
fn is_later(kept: Kept, mirror: Mirror) -> bool {
    mirror.floor <= kept.stamp && (mirror.marker == HELD || mirror.marker <= kept.stamp)
}
