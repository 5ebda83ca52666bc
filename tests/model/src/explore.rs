//! Visits every state of a world, nearest first, so that a counterexample is a shortest one.

use crate::promise::Promise;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::fmt::{self, Debug};
use std::hash::{BuildHasher, Hash};

/// States, and which of them follow which.
pub trait World {
    /// All there is to know at one moment.
    type State: Copy + Eq + Hash + Debug;

    /// How it begins.
    fn start(&self) -> Self::State;

    /// The promise that is broken in this state.
    fn broken(&self, state: &Self::State) -> Option<Promise>;

    /// Adds every state that can follow.
    fn steps(&self, state: &Self::State, to: &mut Steps<Self::State>);

    /// The state in lines, one for each thing in it.
    fn describe(&self, state: &Self::State) -> Vec<String>;
}

/// Who does what in a step.
pub type Label = (&'static str, &'static str);

/// What can follow a state.
#[derive(Debug)]
pub struct Steps<S>(Vec<(Label, S)>);

impl<S: Copy> Steps<S> {
    /// Adds what follows if `who` does `what`.
    pub fn add(&mut self, who: &'static str, what: &'static str, state: S) {
        self.0.push(((who, what), state));
    }

    /// Adds what follows `state` if `who` does `what`, which is what `edit` does.
    pub fn then(&mut self, who: &'static str, what: &'static str, state: &S, edit: impl FnOnce(&mut S)) {
        let mut next = *state;
        edit(&mut next);
        self.add(who, what, next);
    }
}

/// What came out of an exploration.
#[derive(Debug)]
pub enum Verdict {
    /// No reachable state breaks a promise.
    Holds,
    /// One does, and this is a shortest way to it.
    Broken(Promise, Trace),
    /// More states than allowed.
    Unfinished,
}

/// The verdict and the number of states that were found for it.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the promises hold.
    pub verdict: Verdict,
    /// Different states found.
    pub states: usize,
}

/// The way to a state.
#[derive(Debug)]
pub struct Trace {
    steps: Vec<(Label, Vec<String>)>,
}

impl fmt::Display for Trace {
    /// One line for each step, and below it what it changed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: &[String] = &[];
        for (number, ((who, what), lines)) in self.steps.iter().enumerate() {
            writeln!(f, "{number:>4}  {who}: {what}")?;
            for line in lines.iter().filter(|line| !before.contains(line)) {
                writeln!(f, "        {line}")?;
            }
            before = lines;
        }
        Ok(())
    }
}

/// Visits all states of a world, at most about `limit`, until one of them breaks a promise.
pub fn explore<W: World>(world: &W, limit: usize) -> Outcome {
    let mut found = Found::new(world.start());
    let mut steps = Steps(Vec::new());
    let mut next = 0;
    let verdict = loop {
        let Some(state) = found.states.get(next).copied() else { break Verdict::Holds };
        if found.states.len() > limit {
            break Verdict::Unfinished;
        }
        if let Some(promise) = world.broken(&state) {
            break Verdict::Broken(promise, found.way_to(world, next));
        }
        world.steps(&state, &mut steps);
        for (_, state) in steps.0.drain(..) {
            found.add(state, next);
        }
        next += 1;
    };
    Outcome { verdict, states: found.states.len() }
}

/// All states found so far, in the order in which they were found.
struct Found<S> {
    states: Vec<S>,
    /// The state from which each was found first.
    parents: Vec<u32>,
    /// Indices of states by their hash. Equality of states is exact: nothing is taken for visited that was not.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<S: Copy + Eq + Hash> Found<S> {
    fn new(start: S) -> Self {
        let mut found = Self {
            states: Vec::new(),
            parents: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        found.add(start, 0);
        found
    }

    fn add(&mut self, state: S, parent: usize) {
        let Self { states, parents, index, hasher } = self;
        let hash = |i: &u32| hasher.hash_one(states[place(*i)]);
        let entry = index.entry(hasher.hash_one(state), |i| states[place(*i)] == state, hash);
        if let hashbrown::hash_table::Entry::Vacant(vacant) = entry {
            vacant.insert(number(states.len()));
            states.push(state);
            parents.push(number(parent));
        }
    }

    /// Who did what is not kept: the steps from each parent are taken again.
    fn way_to<W: World<State = S>>(&self, world: &W, mut last: usize) -> Trace {
        let mut steps = Vec::new();
        while last != 0 {
            let parent = place(self.parents[last]);
            steps.push((label(world, &self.states[parent], &self.states[last]), world.describe(&self.states[last])));
            last = parent;
        }
        steps.push((("world", "begins"), world.describe(&self.states[0])));
        steps.reverse();
        Trace { steps }
    }
}

fn label<W: World>(world: &W, from: &W::State, to: &W::State) -> Label {
    let mut steps = Steps(Vec::new());
    world.steps(from, &mut steps);
    let step = steps.0.into_iter().find(|(_, state)| state == to);
    step.expect("the state was found from its parent").0
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 states")
}

fn place(number: u32) -> usize {
    usize::try_from(number).expect("indices have 32 bits at least")
}
