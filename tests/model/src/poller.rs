//! The poller of the first process: one poll at a time, and what its reply does to the mirror.

use crate::explore::Steps;
use crate::rules::Rule;
use crate::scenario::Part;
use crate::state::{Control, HELD, Mirror, Pending, Poll, State};
use crate::world::Protocol;

const POLLER: &str = "poller";

/// Further than the positions of one epoch go.
const STRIDE: u8 = 8;

impl Protocol {
    pub(crate) fn poller_steps(&self, state: &State, to: &mut Steps<State>) {
        match state.poll {
            Poll::None => to.then(POLLER, "sends", state, |next| {
                next.poll = Poll::Sent(next.time);
                if next.pending == Pending::UntilSent {
                    next.pending = Pending::UntilApplied;
                }
            }),
            Poll::Sent(sent) if self.is_fenced(state, 0) => to.then(POLLER, "is executed", state, |next| {
                next.poll = Poll::Replied { sent, control: next.primary.control };
            }),
            Poll::Sent(_) => to.then(POLLER, "is refused", state, abandon),
            Poll::Replied { control: None, .. } => to.then(POLLER, "finds no control key", state, abandon),
            Poll::Replied { sent, control: Some(control) } => to.then(POLLER, "applies the reply", state, |next| {
                let proof = if self.keeps(Rule::ProofDatedAtSend) { sent } else { next.time };
                let adopts = self.has(Part::LocalPositions) && control.epoch != next.mirror.epoch;
                next.poll = Poll::None;
                next.mirror = self.follow(next.mirror, control, proof);
                if adopts {
                    await_next(next);
                }
                catch_up(next);
            }),
        }
    }

    fn follow(&self, mirror: Mirror, control: Control, proof: u8) -> Mirror {
        let proof = mirror.proof.max(proof);
        let Control { epoch, sequence, marker, floor } = control;
        if epoch == mirror.epoch {
            let (applied, floor) = (mirror.base + sequence, mirror.base + floor);
            return Mirror {
                applied: mirror.applied.max(applied),
                marker: merged(mirror.marker, read(mirror, marker)),
                floor: mirror.floor.max(floor),
                proof,
                ..mirror
            };
        }
        if self.has(Part::LocalPositions) {
            return self.adopt(mirror, control);
        }
        Mirror { epoch, base: 0, applied: sequence, marker, floor, proof }
    }

    /// Continues the local positions with those of another epoch, from its beginning: its markers were not read, and nothing
    /// is proven by it.
    fn adopt(&self, mirror: Mirror, control: Control) -> Mirror {
        debug_assert!(control.sequence < STRIDE);
        let above = if self.keeps(Rule::BaseAboveEveryStamp) { mirror.base + STRIDE } else { mirror.applied + 1 };
        let begun = self.keeps(Rule::AdoptedFromTheBeginning);
        let adopted = if begun { above } else { above + control.sequence };
        let floor = if self.keeps(Rule::FloorRaisedOnAdoption) { above } else { mirror.floor };
        Mirror { epoch: control.epoch, base: above, applied: adopted, marker: 0, floor, proof: mirror.proof }
    }
}

/// A marker of the mirror's epoch as its poll reads it: what is held, and what is later than the mirror.
fn read(mirror: Mirror, marker: u8) -> u8 {
    match marker {
        HELD => HELD,
        marker if mirror.base + marker > mirror.applied => mirror.base + marker,
        _ => 0,
    }
}

/// What is held is replaced as a whole by every poll; positions only grow.
fn merged(known: u8, read: u8) -> u8 {
    if known == HELD || read == HELD { read } else { known.max(read) }
}

fn abandon(next: &mut State) {
    next.poll = Poll::None;
    await_next(next);
}

/// This poll did not bring what is pending.
fn await_next(next: &mut State) {
    if next.pending == Pending::UntilApplied {
        next.pending = Pending::UntilSent;
    }
}

/// Lets go of what the mirror knows by now.
fn catch_up(next: &mut State) {
    let mirror = next.mirror;
    let caught_up = match next.pending {
        Pending::Nothing | Pending::UntilApplied => true,
        Pending::Unacknowledged | Pending::UntilSent => false,
        // In another epoch everything older is dead.
        Pending::Behind(at) => at.epoch != mirror.epoch || mirror.base + at.stamp <= mirror.applied,
    };
    if caught_up {
        next.pending = Pending::Nothing;
    }
}
