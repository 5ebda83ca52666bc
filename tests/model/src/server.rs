//! The server: replication, failover, loss of the control key, bounded memory of markers.

use crate::explore::Steps;
use crate::rules::Rule;
use crate::scenario::Part;
use crate::state::{Change, Control, Data, Epoch, HELD, Lookup, Pending, Poll, State};
use crate::world::Protocol;

const SERVER: &str = "server";

impl Protocol {
    pub(crate) fn server_steps(&self, state: &State, to: &mut Steps<State>) {
        if state.failovers < self.scenario.failovers {
            if state.replica != state.primary {
                to.add(SERVER, "replicates", State { replica: state.primary, ..*state });
            }
            to.then(SERVER, "fails over to the replica", state, |next| self.fail_over(next));
        }
        if state.primary.latest.is_some() && state.evictions < self.scenario.evictions {
            to.then(SERVER, "loses what lookups read", state, |next| {
                next.evictions += 1;
                next.primary.latest = None;
            });
        }
        let Some(control) = state.primary.control else { return };
        if state.evictions < self.scenario.evictions {
            to.then(SERVER, "loses the control key", state, |next| {
                next.evictions += 1;
                next.primary.control = self.left_after_loss(control);
            });
        }
        if self.has(Part::OtherTag) && control.sequence <= self.scenario.changes {
            let control = Control { sequence: control.sequence + 1, ..control };
            to.then("somebody", "invalidates another tag", state, |next| self.write(next, control));
        }
        if self.has(Part::Trimming) && control.marker > 0 && control.marker != HELD {
            to.then(SERVER, "forgets the marker", state, |next| self.write(next, self.trimmed(control)));
        }
    }

    /// Connections break, and what was on its way over them is gone.
    fn fail_over(&self, next: &mut State) {
        let returns = !self.keeps(Rule::IdentityHasReplicationId);
        next.identity = if returns { 1 - next.identity } else { next.identity + 1 };
        next.primary = next.replica;
        next.failovers += 1;
        for reader in &mut next.readers {
            if let Lookup::EntryRead { .. } | Lookup::MarkersRead { .. } = reader.lookup {
                reader.lookup = Lookup::Idle;
            }
        }
        next.poll = Poll::None;
        if next.pending == Pending::UntilApplied {
            next.pending = Pending::UntilSent;
        }
        if let Change::Executed(version) = next.change {
            next.change = self.not_executed(version);
            next.receipt = None;
        }
    }

    fn left_after_loss(&self, control: Control) -> Option<Control> {
        (!self.keeps(Rule::MarkersAndEpochInOneKey)).then_some(Control { marker: 0, ..control })
    }

    fn trimmed(&self, control: Control) -> Control {
        let raised = if self.keeps(Rule::TrimmingRaisesFloor) { control.marker } else { 0 };
        Control { marker: 0, floor: control.floor.max(raised), ..control }
    }

    /// Makes sure that there is a control key, and that it was begun by this server.
    pub(crate) fn fence(&self, next: &mut State) -> Control {
        if let Data { control: Some(control), .. } = next.primary
            && self.is_trusted(control, next.identity)
        {
            return control;
        }
        let epoch = Epoch::new(next.identity, next.nonce);
        next.nonce += 1;
        let control = Control { epoch, sequence: 0, marker: 0, floor: 0 };
        self.write(next, control);
        control
    }

    /// What every script does that changes the control key.
    pub(crate) fn write(&self, next: &mut State, control: Control) {
        next.primary.control = Some(control);
        if self.has(Part::News) && self.keeps(Rule::LatestWrittenWithControl) {
            next.primary.latest = Some(control);
        }
    }

    pub(crate) fn is_trusted(&self, control: Control, identity: u8) -> bool {
        !self.keeps(Rule::FenceOnConnect) || control.epoch.identity() == identity
    }
}
