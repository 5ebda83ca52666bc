//! Two servers that take themselves for the primary: one that was left while it lives, and one that was promoted, each with
//! a process that reads there. L2 alone: lookups are atomic here, and `max_lag` is 0.

use crate::explore::{Steps, World};
use crate::promise::Promise;
use crate::rules::{Rule, Rules};

const TICKS: u8 = 2;
const SERVERS: [&str; 2] = ["the old primary", "the new primary"];
const READERS: [&str; 2] = ["reader of the old", "reader of the new"];
const POLLERS: [&str; 2] = ["poller of the old", "poller of the new"];

/// Two primaries.
#[derive(Clone, Debug)]
pub struct Primaries {
    /// Changes at the origin, each with an invalidation.
    pub changes: u8,
    /// What is kept.
    pub rules: Rules,
}

/// What a server has. The other one's is of another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Server {
    sequence: u8,
    marker: u8,
    entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    stamp: u8,
    value: u8,
}

/// A request of a process that has one of the servers. It owes what was acknowledged more than `max_lag` before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Idle,
    Asks { owed: u8 },
    Missed { stamp: u8 },
    Fetched(Entry),
    Found { owed: u8, value: u8 },
    Served { owed: u8, value: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Poll {
    Idle,
    Sent(u8),
    Answered(u8),
}

/// Who changes the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Idle,
    Committed,
    Executed,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    time: u8,
    promoted: bool,
    /// Which server the only replica follows.
    replicated: usize,
    servers: [Server; 2],
    origin: u8,
    writer: Writer,
    acknowledged: u8,
    /// What had been acknowledged before this tick.
    owed: u8,
    readers: [Reader; 2],
    /// Whether the process has a connection.
    connected: [bool; 2],
    polls: [Poll; 2],
    proofs: [Option<u8>; 2],
}

impl Primaries {
    fn is_primary(state: &State, k: usize) -> bool {
        k == 0 || state.promoted
    }

    fn takes_writes(&self, state: &State, k: usize) -> bool {
        Self::is_primary(state, k) && (state.replicated == k || !self.rules.keep(Rule::WritesNeedReplica))
    }

    fn failover_steps(state: &State, to: &mut Steps<State>) {
        if !state.promoted {
            to.then("Sentinel", "promotes", state, |next| next.promoted = true);
        } else if state.replicated == 0 {
            to.then("Sentinel", "turns the replica to the new primary", state, |next| next.replicated = 1);
        }
    }

    fn writer_steps(&self, state: &State, to: &mut Steps<State>) {
        match state.writer {
            Writer::Idle if state.origin < self.changes => to.then("writer", "commits", state, |next| {
                next.origin += 1;
                next.writer = Writer::Committed;
            }),
            Writer::Idle => {}
            Writer::Committed => {
                for (k, name) in SERVERS.into_iter().enumerate().filter(|(k, _)| self.takes_writes(state, *k)) {
                    to.then(name, "invalidates", state, |next| {
                        let server = &mut next.servers[k];
                        server.sequence += 1;
                        server.marker = server.sequence;
                        next.writer = Writer::Executed;
                    });
                }
            }
            Writer::Executed => to.then("writer", "gets the reply", state, |next| {
                next.acknowledged = next.origin;
                next.writer = Writer::Idle;
            }),
        }
    }

    fn poll_steps(&self, state: &State, k: usize, to: &mut Steps<State>) {
        let proves = self.takes_writes(state, k) || !self.rules.keep(Rule::PollTakesWrite);
        match state.polls[k] {
            Poll::Idle => to.then(POLLERS[k], "sends", state, |next| next.polls[k] = Poll::Sent(state.time)),
            Poll::Sent(at) if proves => {
                to.then(SERVERS[k], "answers the poll", state, |next| next.polls[k] = Poll::Answered(at));
            }
            Poll::Sent(_) => to.then(SERVERS[k], "refuses the poll", state, |next| next.polls[k] = Poll::Idle),
            Poll::Answered(at) => to.then(POLLERS[k], "has the proof", state, |next| {
                next.polls[k] = Poll::Idle;
                next.proofs[k] = Some(at);
            }),
        }
    }

    fn reader_steps(&self, state: &State, k: usize, to: &mut Steps<State>) {
        let (who, server) = (READERS[k], state.servers[k]);
        match state.readers[k] {
            Reader::Idle => {
                to.then(who, "asks", state, |next| next.readers[k] = Reader::Asks { owed: state.owed });
            }
            Reader::Asks { owed } => to.then(SERVERS[k], "is read", state, |next| {
                next.readers[k] = match server.entry.filter(|entry| server.marker <= entry.stamp) {
                    Some(Entry { value, .. }) => Reader::Found { owed, value },
                    None => Reader::Missed { stamp: server.sequence },
                };
            }),
            Reader::Missed { stamp } => to.then(who, "is answered by the origin", state, |next| {
                next.readers[k] = Reader::Fetched(Entry { stamp, value: state.origin });
            }),
            Reader::Fetched(entry) => to.then(who, "fills", state, |next| {
                next.readers[k] = Reader::Idle;
                if self.takes_writes(state, k) {
                    next.servers[k].entry = Some(entry);
                }
            }),
            Reader::Found { owed, value } => {
                let is_proven = state.proofs[k].is_some_and(|at| at >= state.time);
                if is_proven || !self.rules.keep(Rule::ProofLimitsL2) {
                    to.then(who, "serves", state, |next| next.readers[k] = Reader::Served { owed, value });
                } else {
                    to.then(who, "does not believe it", state, |next| next.readers[k] = Reader::Idle);
                }
            }
            Reader::Served { .. } => to.then(who, "is done", state, |next| next.readers[k] = Reader::Idle),
        }
    }
}

impl World for Primaries {
    type State = State;

    fn start(&self) -> State {
        State {
            time: 0,
            promoted: false,
            replicated: 0,
            servers: [Server { entry: Some(Entry { stamp: 0, value: 0 }), ..Server::default() }, Server::default()],
            origin: 0,
            writer: Writer::Idle,
            acknowledged: 0,
            owed: 0,
            readers: [Reader::Idle; 2],
            connected: [true, false],
            polls: [Poll::Idle; 2],
            proofs: [None; 2],
        }
    }

    fn broken(&self, state: &State) -> Option<Promise> {
        let is_old = |reader: &Reader| matches!(reader, Reader::Served { owed, value } if value < owed);
        state.readers.iter().any(is_old).then_some(Promise::Split)
    }

    fn steps(&self, state: &State, to: &mut Steps<State>) {
        Self::failover_steps(state, to);
        self.writer_steps(state, to);
        for k in (0..2).filter(|k| Self::is_primary(state, *k)) {
            if state.connected[k] {
                self.poll_steps(state, k, to);
                self.reader_steps(state, k, to);
            } else if self.takes_writes(state, k) || !self.rules.keep(Rule::FenceTakesWrite) {
                to.then(READERS[k], "connects", state, |next| next.connected[k] = true);
            }
        }
        if state.time < TICKS {
            to.then("clock", "ticks", state, |next| {
                next.time += 1;
                next.owed = next.acknowledged;
            });
        }
    }

    fn describe(&self, state: &State) -> Vec<String> {
        vec![
            format!("time {}, proofs {:?}", state.time, state.proofs),
            format!("promoted {}, the replica follows {}", state.promoted, SERVERS[state.replicated]),
            format!("servers {:?}", state.servers),
            format!(
                "origin {}, {:?}, acknowledged {}, owed {}",
                state.origin, state.writer, state.acknowledged, state.owed
            ),
            format!("readers {:?}", state.readers),
            format!("connected {:?}, polls {:?}", state.connected, state.polls),
        ]
    }
}
