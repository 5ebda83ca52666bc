//! Who changes the origin and invalidates, plainly or guarded.

use crate::explore::Steps;
use crate::rules::Rule;
use crate::scenario::Part;
use crate::state::{Change, Control, HELD, Pending, State, Ticket};
use crate::world::Protocol;

const INVALIDATOR: &str = "invalidator";

impl Protocol {
    pub(crate) fn change_steps(&self, state: &State, to: &mut Steps<State>) {
        match state.change {
            Change::Idle if state.begun == self.scenario.changes => {}
            Change::Idle => self.begin(state, to),
            Change::Committed(version) if self.has(Part::OwnInvalidation) => {
                to.then(INVALIDATOR, "issues the invalidation", state, |next| {
                    next.pending = Pending::Unacknowledged;
                    next.change = Change::Issued(version);
                });
            }
            Change::Committed(version) | Change::Issued(version) | Change::Settled(version) => {
                self.end(state, version, to);
            }
            Change::Executed(version) => to.then(INVALIDATOR, "gets the reply", state, |next| {
                self.acknowledge(next, version);
            }),
            Change::Open => self.transact(state, to),
            Change::SweptOpen => to.then(INVALIDATOR, "commits after the sweep", state, |next| {
                self.commit(next);
                next.change = Change::Idle;
            }),
            // By anybody, at any time.
            Change::Orphaned => to.then("sweep", "ends the change", state, |next| {
                self.invalidate(next);
                next.change = Change::Idle;
            }),
        }
    }

    fn begin(&self, state: &State, to: &mut Steps<State>) {
        if self.holds() {
            to.then(INVALIDATOR, "begins a change", state, |next| {
                next.begun += 1;
                let control = self.fence(next);
                // Only then do lookups see that something has changed.
                let sequence = control.sequence + u8::from(self.has(Part::News) && self.keeps(Rule::HoldTakesPosition));
                self.write(next, Control { sequence, marker: HELD, ..control });
                next.change = Change::Open;
            });
        } else {
            to.then(INVALIDATOR, "commits", state, |next| {
                next.begun += 1;
                next.change = Change::Committed(self.commit(next));
            });
        }
    }

    /// The transaction of a guarded change.
    fn transact(&self, state: &State, to: &mut Steps<State>) {
        to.then(INVALIDATOR, "commits", state, |next| next.change = Change::Settled(self.commit(next)));
        if self.can_crash() {
            to.then(INVALIDATOR, "dies, rolled back", state, |next| next.change = Change::Orphaned);
        }
        if !self.keeps(Rule::SweptAfterTransaction) {
            to.then("sweep", "ends the open change", state, |next| {
                self.invalidate(next);
                next.change = Change::SweptOpen;
            });
        }
    }

    fn end(&self, state: &State, version: u8, to: &mut Steps<State>) {
        to.then(INVALIDATOR, "is executed", state, |next| {
            let control = self.invalidate(next);
            next.change = Change::Executed(version);
            if self.has(Part::OwnInvalidation) {
                next.receipt = Some(Ticket { epoch: control.epoch, stamp: control.sequence });
            }
        });
        if self.can_crash() {
            to.then(INVALIDATOR, "dies, committed", state, |next| next.change = Change::Orphaned);
        }
    }

    /// The script that invalidates, or ends a change.
    fn invalidate(&self, next: &mut State) -> Control {
        let before = self.fence(next);
        let sequence = before.sequence + 1;
        let marker = if self.keeps(Rule::EndTakesNewPosition) { sequence } else { 0 };
        let control = Control { sequence, marker, ..before };
        self.write(next, control);
        control
    }

    fn commit(&self, next: &mut State) -> u8 {
        next.origin += 1;
        if self.owes_at_commit() {
            next.acknowledge(next.origin);
        }
        next.origin
    }

    fn acknowledge(&self, next: &mut State, version: u8) {
        next.change = Change::Idle;
        if !self.owes_at_commit() {
            next.acknowledge(version);
        }
        if let Some(receipt) = next.receipt.take() {
            next.pending = self.awaited(next, receipt);
        }
    }

    /// What stays pending after the reply.
    fn awaited(&self, next: &mut State, receipt: Ticket) -> Pending {
        let mirror = &mut next.mirror;
        if !self.keeps(Rule::PendingUntilCaughtUp) {
            if receipt.epoch == mirror.epoch && mirror.marker != HELD {
                mirror.marker = mirror.marker.max(mirror.base + receipt.stamp);
            }
            return Pending::Nothing;
        }
        if receipt.epoch != mirror.epoch {
            let awaits = self.keeps(Rule::ReceiptOfAnotherEpochAwaitsPoll);
            return if awaits { Pending::UntilSent } else { Pending::Nothing };
        }
        let caught_up = mirror.base + receipt.stamp <= mirror.applied;
        if caught_up { Pending::Nothing } else { Pending::Behind(receipt) }
    }

    /// What the first process, as the invalidator, must not serve anything older than.
    pub(crate) fn owed_to_itself(&self, state: &State) -> u8 {
        let acknowledged = state.acknowledged(|_| true);
        match state.change {
            Change::Issued(version) | Change::Executed(version) if self.has(Part::OwnInvalidation) => version,
            _ => acknowledged,
        }
    }

    /// Where a change is when the server did not answer.
    pub(crate) fn not_executed(&self, version: u8) -> Change {
        if self.has(Part::OwnInvalidation) {
            Change::Issued(version)
        } else if self.holds() {
            Change::Settled(version)
        } else {
            Change::Committed(version)
        }
    }

    fn holds(&self) -> bool {
        self.has(Part::Guard) && self.keeps(Rule::ChangeHeld)
    }

    /// Guarded, nobody waits for the reply, unless the hold can be lost with the control key.
    fn owes_at_commit(&self) -> bool {
        self.has(Part::Guard) && !self.scenario.loses_control()
    }

    fn can_crash(&self) -> bool {
        self.holds() && !self.scenario.loses_control()
    }
}
