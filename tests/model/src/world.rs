//! One key with one tag: two processes, a server with a replica, an invalidator and a clock.

use crate::explore::{Steps, World};
use crate::promise::Promise;
use crate::rules::{Rule, Rules};
use crate::scenario::{Part, Scenario};
use crate::state::State;

/// The protocol, with the rules it keeps and what happens to it.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// What happens.
    pub scenario: Scenario,
    /// What is kept.
    pub rules: Rules,
}

impl Protocol {
    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.rules.keep(rule)
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.scenario.has(part)
    }

    /// Whether memory serves something older than was acknowledged long enough ago.
    fn breaks_l1(&self, state: &State) -> bool {
        let owed = state.acknowledged(|ack| ack.time + self.scenario.max_lag < state.time);
        self.served_from_l1(state).is_some_and(|kept| kept.value < owed)
    }

    /// Whether memory serves something older than what its own process has invalidated or is about to.
    fn breaks_own(&self, state: &State) -> bool {
        let owed = self.owed_to_itself(state);
        self.served_from_l1(state).is_some_and(|kept| kept.value < owed)
    }

    /// Whether memory serves something of another epoch than that of its mirror.
    fn breaks_epoch(&self, state: &State) -> bool {
        self.served_from_l1(state).is_some_and(|kept| kept.epoch != Some(state.mirror.epoch))
    }

    fn breaks_l2(&self, state: &State) -> bool {
        (0..state.readers.len()).any(|k| self.answers_too_old(state, k))
    }
}

impl World for Protocol {
    type State = State;

    fn start(&self) -> State {
        State::start(self.has(Part::News))
    }

    fn broken(&self, state: &State) -> Option<Promise> {
        if self.breaks_l2(state) {
            return Some(Promise::L2);
        }
        if self.breaks_l1(state) {
            return Some(Promise::L1);
        }
        if self.has(Part::EpochWitness) && self.breaks_epoch(state) {
            return Some(Promise::Epoch);
        }
        (self.has(Part::OwnInvalidation) && self.breaks_own(state)).then_some(Promise::Own)
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        if state.time < self.scenario.max_lag + 2 {
            to.then("clock", "ticks", state, |next| next.time += 1);
        }
        self.server_steps(state, to);
        self.change_steps(state, to);
        self.reader_steps(state, 0, to);
        if self.has(Part::SecondReader) {
            self.reader_steps(state, 1, to);
        }
        if self.has(Part::L1) {
            self.poller_steps(state, to);
            self.l1_steps(state, to);
        }
    }

    fn describe(&self, state: &State) -> Vec<String> {
        let [first, second] = &state.readers;
        vec![
            format!("time {}, origin at version {}, {:?}", state.time, state.origin, state.change),
            format!("acknowledged {:?}", state.acks.iter().filter(|ack| ack.version > 0).collect::<Vec<_>>()),
            format!("primary {} {:?}", state.identity, state.primary),
            format!("replica {:?}", state.replica),
            format!("reader 0 {first:?}"),
            format!("memory {:?}", state.kept),
            format!("mirror {:?}", state.mirror),
            format!("poll {:?}, pending {:?}", state.poll, state.pending),
            format!("reader 1 {second:?}"),
        ]
    }
}
