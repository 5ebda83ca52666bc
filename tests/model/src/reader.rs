//! A process that reads and fills L2.

use crate::explore::Steps;
use crate::rules::Rule;
use crate::scenario::Part;
use crate::state::{Control, Entry, HELD, Lookup, Mirror, State, Ticket};
use crate::world::Protocol;

const READERS: [&str; 2] = ["reader 0", "reader 1"];

impl Protocol {
    pub(crate) fn reader_steps(&self, state: &State, k: usize, to: &mut Steps<State>) {
        let fenced = self.is_fenced(state, k);
        if !fenced {
            to.then(READERS[k], "fences its connection", state, |next| {
                self.fence(next);
                next.readers[k].fenced = next.identity;
            });
        }
        if k == 0 && self.has(Part::Silence) && state.readers[k].lookup == Lookup::Idle {
            to.then(READERS[k], "is not answered by Redis", state, |next| {
                let Mirror { epoch, base, applied, .. } = next.mirror;
                next.readers[k].lookup = Lookup::Fetching(Ticket { epoch, stamp: applied - base });
            });
        }
        match state.readers[k].lookup {
            Lookup::Idle | Lookup::MarkersRead { .. } | Lookup::EntryRead { .. } if !self.may_read(state, k) => {}
            Lookup::Idle | Lookup::MarkersRead { .. } | Lookup::EntryRead { .. } => self.read(state, k, to),
            Lookup::Checking { entry, control, .. } => self.decide(state, k, entry, control, to),
            Lookup::Fetching(ticket) => to.then(READERS[k], "is answered by the origin", state, |next| {
                next.readers[k].lookup = Lookup::Filling(Entry { value: next.origin, ticket });
            }),
            Lookup::Filling(entry) => self.fill(state, k, entry, to),
        }
    }

    /// Whether the connection was fenced on the server that it reaches, and the control key is still there.
    pub(crate) fn is_fenced(&self, state: &State, k: usize) -> bool {
        let control = state.primary.control;
        state.readers[k].fenced == state.identity
            && control.is_some_and(|control| self.is_trusted(control, state.identity))
    }

    /// The same of what a lookup reads, which may still be there when the control key is not.
    fn may_read(&self, state: &State, k: usize) -> bool {
        state.readers[k].fenced == state.identity
            && self.told(state, k).is_some_and(|control| self.is_trusted(control, state.identity))
    }

    /// What a lookup reads: where it is lost, the control key itself.
    fn told(&self, state: &State, k: usize) -> Option<Control> {
        let latest = state.primary.latest.filter(|_| self.has_news(k));
        latest.or(state.primary.control)
    }

    /// The two commands of a lookup, in either order. The answer is owed what was acknowledged before the first.
    fn read(&self, state: &State, k: usize, to: &mut Steps<State>) {
        let owed = state.acknowledged(|_| true);
        let (control, entry) = (self.markers(state, k), state.primary.entry);
        let (what, lookup) = match state.readers[k].lookup {
            Lookup::MarkersRead { owed, control } => ("reads the entry", Lookup::Checking { owed, entry, control }),
            Lookup::EntryRead { owed, entry } => ("reads the markers", Lookup::Checking { owed, entry, control }),
            _ if self.has(Part::MarkersFirst) => ("reads the markers", Lookup::MarkersRead { owed, control }),
            _ => ("reads the entry", Lookup::EntryRead { owed, entry }),
        };
        to.then(READERS[k], what, state, |next| next.readers[k].lookup = lookup);
    }

    /// What a lookup makes of what it reads: nothing has changed where the mirror stands.
    fn markers(&self, state: &State, k: usize) -> Option<Control> {
        let (control, mirror) = (self.told(state, k)?, state.mirror);
        let known =
            self.has_news(k) && control.epoch == mirror.epoch && mirror.base + control.sequence >= mirror.applied;
        let is_same = mirror.base + control.sequence == mirror.applied;
        let is_past = control.marker != HELD && mirror.base + control.marker <= mirror.applied;
        Some(Control { marker: if known && (is_same || is_past) { 0 } else { control.marker }, ..control })
    }

    fn has_news(&self, k: usize) -> bool {
        k == 0 && self.has(Part::News)
    }

    /// A hit, or a ticket for the fetch, or the value of the other request.
    fn decide(&self, state: &State, k: usize, entry: Option<Entry>, control: Option<Control>, to: &mut Steps<State>) {
        let Some(control) = control else {
            to.then(READERS[k], "finds no control key", state, |next| next.readers[k].lookup = Lookup::Idle);
            return;
        };
        // The entry was checked against everything up to here.
        let ticket = Ticket { epoch: control.epoch, stamp: control.sequence };
        if let Some(entry) = entry.filter(|entry| self.is_valid(state, k, *entry, control)) {
            to.then(READERS[k], "hits", state, |next| {
                next.readers[k].lookup = Lookup::Idle;
                self.keep(next, k, Entry { ticket, ..entry });
            });
            return;
        }
        to.then(READERS[k], "misses", state, |next| next.readers[k].lookup = Lookup::Fetching(ticket));
        if self.joined(state, k, control).is_some() {
            to.then(READERS[k], "joins", state, |next| next.readers[k].lookup = Lookup::Idle);
        }
    }

    /// Whether a lookup may answer with an entry, by what it has read.
    fn is_valid(&self, state: &State, k: usize, entry: Entry, control: Control) -> bool {
        let mirror = state.mirror;
        let stamp = mirror.base + entry.ticket.stamp;
        let marked = self.keeps(Rule::MarksOfMirrorAndNews) && mirror.marker > stamp;
        let passes_mirror = control.epoch == mirror.epoch && mirror.floor <= stamp && !marked;
        self.passes(entry, control) && (!self.has_news(k) || passes_mirror)
    }

    /// The one rule of L2.
    pub(crate) fn passes(&self, entry: Entry, control: Control) -> bool {
        let Ticket { epoch, stamp } = entry.ticket;
        let same_epoch = !self.keeps(Rule::EpochCompared) || epoch == control.epoch;
        same_epoch && control.marker <= stamp && control.floor <= stamp
    }

    /// The answer of the other request, which this one may share.
    fn joined(&self, state: &State, k: usize, control: Control) -> Option<Entry> {
        let Lookup::Filling(led) = state.readers[1 - k].lookup else { return None };
        let passes = !self.keeps(Rule::JoinsCheck) || self.is_valid(state, k, led, control);
        (self.has(Part::Joins) && passes).then_some(led)
    }

    fn fill(&self, state: &State, k: usize, entry: Entry, to: &mut Steps<State>) {
        if let (true, Some(control)) = (self.is_fenced(state, k), state.primary.control) {
            let now = Ticket { epoch: control.epoch, stamp: control.sequence };
            let ticket = if self.keeps(Rule::StampBeforeFetch) { entry.ticket } else { now };
            to.then(READERS[k], "fills", state, |next| {
                next.primary.entry = Some(Entry { ticket, ..entry });
                next.readers[k].lookup = Lookup::Idle;
                self.keep(next, k, Entry { ticket, ..entry });
            });
        }
        to.then(READERS[k], "fills memory alone", state, |next| {
            next.readers[k].lookup = Lookup::Idle;
            self.keep(next, k, entry);
        });
    }

    /// Whether the answer that a request is about to get is older than what it is owed.
    pub(crate) fn answers_too_old(&self, state: &State, k: usize) -> bool {
        let Lookup::Checking { owed, entry, control: Some(control) } = state.readers[k].lookup else { return false };
        let hit = entry.filter(|entry| self.is_valid(state, k, *entry, control));
        hit.or_else(|| self.joined(state, k, control)).is_some_and(|answer| answer.value < owed)
    }
}
