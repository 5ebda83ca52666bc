//! Two changes that hold the same tag at the same time, each of which may die anywhere, a plain invalidation of the tag
//! a fill that races with all of them, and somebody who forges holds. L2 alone: lookups are atomic here.

use crate::explore::{Steps, World};
use crate::promise::Promise;
use crate::rules::{Rule, Rules};

const HELD: u8 = u8::MAX;
const CHANGES: [&str; 2] = ["change 0", "change 1"];

/// Overlapping changes.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// Plain invalidations of the tag.
    pub invalidations: u8,
    /// Losses of the control key.
    pub losses: u8,
    /// How often somebody who can write marks the tag as held, with no hold behind it.
    pub forgeries: u8,
    /// What is kept.
    pub rules: Rules,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    New,
    Open,
    Committed,
    Ended,
    RolledBack,
    /// The process died after the commit.
    Died,
}

/// A stamp, and the commits that the value includes, a bit for each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    epoch: u8,
    stamp: u8,
    value: u8,
}

/// The request that fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fill {
    Idle,
    Stamped { epoch: u8, stamp: u8 },
    Fetched(Entry),
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    epoch: u8,
    sequence: u8,
    marker: u8,
    /// A bit for each change that holds the tag.
    holds: u8,
    /// A bit for each change that the origin has.
    origin: u8,
    phases: [Phase; 2],
    fill: Fill,
    entry: Option<Entry>,
    invalidations: u8,
    losses: u8,
    forgeries: u8,
}

impl State {
    fn hold(&mut self, k: usize) {
        self.holds |= 1 << k;
        self.marker = HELD;
    }

    fn lose_control(&mut self) {
        self.losses += 1;
        (self.epoch, self.sequence, self.marker, self.holds) = (self.epoch + 1, 0, 0, 0);
    }

    fn ended(&self) -> u8 {
        (0..2).filter(|k| self.phases[*k] == Phase::Ended).map(|k| 1 << k).sum()
    }
}

impl Overlap {
    fn change_steps(&self, state: &State, k: usize, to: &mut Steps<State>) {
        let who = CHANGES[k];
        match state.phases[k] {
            Phase::New => to.then(who, "begins", state, |next| {
                next.phases[k] = Phase::Open;
                next.hold(k);
            }),
            Phase::Open => {
                to.then(who, "renews", state, |next| next.hold(k));
                to.then(who, "commits", state, |next| {
                    next.phases[k] = Phase::Committed;
                    next.origin |= 1 << k;
                });
                to.then(who, "rolls back and dies", state, |next| next.phases[k] = Phase::RolledBack);
            }
            Phase::Committed => {
                to.then(who, "renews", state, |next| next.hold(k));
                to.then(who, "ends", state, |next| {
                    next.phases[k] = Phase::Ended;
                    self.end(next, k);
                });
                to.then(who, "dies", state, |next| next.phases[k] = Phase::Died);
            }
            Phase::Ended | Phase::RolledBack | Phase::Died => {}
        }
        if state.holds & 1 << k != 0 && self.may_sweep(state.phases[k]) {
            to.then("sweep", "lets a hold lapse", state, |next| self.release(next, k));
        }
    }

    fn may_sweep(&self, phase: Phase) -> bool {
        !self.rules.keep(Rule::SweptAfterTransaction) || matches!(phase, Phase::RolledBack | Phase::Died)
    }

    fn end(&self, next: &mut State, k: usize) {
        if !self.rules.keep(Rule::HeldByEachChange) {
            next.holds = 0;
        }
        self.release(next, k);
    }

    /// Every way out takes a new position, which the tag gets with the last hold.
    fn release(&self, next: &mut State, k: usize) {
        next.holds &= !(1 << k);
        let renumbers = self.rules.keep(Rule::EndTakesNewPosition);
        next.sequence += u8::from(renumbers);
        if next.holds == 0 {
            next.marker = if renumbers { next.sequence } else { 0 };
        }
    }

    fn invalidate(&self, next: &mut State) {
        next.invalidations += 1;
        next.sequence += 1;
        let kept = if self.rules.keep(Rule::InvalidationKeepsHold) { next.marker } else { 0 };
        next.marker = kept.max(next.sequence);
    }

    /// What a hit has to include: every commit; with losses, where a hold may be gone, every change that ended.
    fn owed(&self, state: &State) -> u8 {
        if self.losses == 0 { state.origin } else { state.ended() }
    }
}

fn fill_steps(state: &State, to: &mut Steps<State>) {
    let (epoch, stamp, value) = (state.epoch, state.sequence, state.origin);
    match state.fill {
        Fill::Idle => to.then("reader", "takes a ticket", state, |next| next.fill = Fill::Stamped { epoch, stamp }),
        Fill::Stamped { epoch, stamp } => to.then("reader", "is answered by the origin", state, |next| {
            next.fill = Fill::Fetched(Entry { epoch, stamp, value });
        }),
        Fill::Fetched(entry) => to.then("reader", "fills", state, |next| {
            next.fill = Fill::Idle;
            next.entry = Some(entry);
        }),
    }
}

impl World for Overlap {
    type State = State;

    fn start(&self) -> State {
        State {
            epoch: 0,
            sequence: 0,
            marker: 0,
            holds: 0,
            origin: 0,
            phases: [Phase::New; 2],
            fill: Fill::Idle,
            entry: None,
            invalidations: 0,
            losses: 0,
            forgeries: 0,
        }
    }

    fn broken(&self, state: &State) -> Option<Promise> {
        let owed = self.owed(state);
        let hit = |entry: &Entry| entry.epoch == state.epoch && state.marker <= entry.stamp;
        state.entry.filter(|entry| hit(entry) && entry.value & owed != owed).map(|_| Promise::L2)
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        for k in 0..2 {
            self.change_steps(state, k, to);
        }
        if state.invalidations < self.invalidations {
            to.then("invalidator", "invalidates", state, |next| self.invalidate(next));
        }
        if state.losses < self.losses {
            to.then("server", "loses the control key", state, State::lose_control);
        }
        if state.forgeries < self.forgeries {
            to.then("forger", "marks the tag as held", state, |next| {
                next.forgeries += 1;
                next.marker = HELD;
            });
        }
        if state.marker == HELD && (state.holds == 0 || !self.rules.keep(Rule::SweptOnlyIfUnheld)) {
            to.then("sweep", "lets go of what seems forged", state, |next| {
                next.sequence += 1;
                next.marker = next.sequence;
            });
        }
        fill_steps(state, to);
    }

    fn describe(&self, state: &State) -> Vec<String> {
        vec![
            format!("epoch {}, position {}, marker {}", state.epoch, state.sequence, state.marker),
            format!("holds {:02b}, origin {:02b}", state.holds, state.origin),
            format!("changes {:?}", state.phases),
            format!("fill {:?}", state.fill),
            format!("entry {:?}", state.entry),
        ]
    }
}
