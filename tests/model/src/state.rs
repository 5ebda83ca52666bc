//! What there is in the world of one key with one tag. Everything is as small as it can be: there are many states.

use std::fmt;
use std::num::NonZeroU8;

/// The marker of a tag that a change holds: later than every position.
pub(crate) const HELD: u8 = u8::MAX;

/// The name of an epoch: the identity of the server that began it, and a number that no other epoch has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(NonZeroU8);

impl Epoch {
    const IDENTITIES: u8 = 16;

    pub(crate) fn new(identity: u8, nonce: u8) -> Self {
        debug_assert!(identity < Self::IDENTITIES && nonce < Self::IDENTITIES - 1);
        Self(NonZeroU8::MIN.saturating_add(nonce * Self::IDENTITIES + identity))
    }

    pub(crate) fn identity(self) -> u8 {
        (self.0.get() - 1) % Self::IDENTITIES
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{}@{}", (self.0.get() - 1) / Self::IDENTITIES, self.identity())
    }
}

/// The control key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Control {
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u8,
    /// The position of the last invalidation; zero if none is remembered.
    pub(crate) marker: u8,
    pub(crate) floor: u8,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, sequence, marker, floor } = self;
        write!(f, "{epoch:?} position {sequence} marker {marker} floor {floor}")
    }
}

/// What a lookup hands out before the fetch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) epoch: Epoch,
    pub(crate) stamp: u8,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} position {}", self.epoch, self.stamp)
    }
}

/// An entry of L2.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// The version of the origin that it has.
    pub(crate) value: u8,
    pub(crate) ticket: Ticket,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} stamped {:?}", self.value, self.ticket)
    }
}

/// A server as others may reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Data {
    pub(crate) control: Option<Control>,
    /// What lookups read of it. Only where they read news.
    pub(crate) latest: Option<Control>,
    pub(crate) entry: Option<Entry>,
}

/// One request of a process. `owed` is the version that an answer must at least have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lookup {
    Idle,
    MarkersRead {
        owed: u8,
        control: Option<Control>,
    },
    EntryRead {
        owed: u8,
        entry: Option<Entry>,
    },
    Checking {
        owed: u8,
        entry: Option<Entry>,
        control: Option<Control>,
    },
    Fetching(Ticket),
    /// The origin has answered.
    Filling(Entry),
}

/// A process as a client of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// The identity of the server that its connection was fenced on.
    pub(crate) fenced: u8,
    pub(crate) lookup: Lookup,
}

/// An entry of memory. With local positions it has no epoch, but for one that is only watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    pub(crate) value: u8,
    pub(crate) epoch: Option<Epoch>,
    /// Where it raises itself, the position up to which it was checked.
    pub(crate) stamp: u8,
}

/// The copy of the control key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mirror {
    pub(crate) epoch: Epoch,
    /// Where the positions of the epoch begin among the local ones; always zero where positions are not local.
    pub(crate) base: u8,
    pub(crate) applied: u8,
    pub(crate) marker: u8,
    pub(crate) floor: u8,
    /// The time at which it was up to date.
    pub(crate) proof: u8,
}

/// The one poll under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Poll {
    None,
    Sent(u8),
    Replied { sent: u8, control: Option<Control> },
}

/// What the first process has under way as an invalidator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    Nothing,
    Unacknowledged,
    /// Acknowledged, but the mirror is not there yet.
    Behind(Ticket),
    /// Acknowledged in another epoch than the mirror's: the next poll to be sent will tell.
    UntilSent,
    UntilApplied,
}

/// A change of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    Idle,
    /// The origin has this version; the invalidation was not issued yet.
    Committed(u8),
    /// The invalidation was issued. Only where that makes a difference.
    Issued(u8),
    /// The invalidation, or the end of the change, was executed. Its reply is on the way.
    Executed(u8),
    /// Guarded: the tag is held, the transaction is open.
    Open,
    /// Guarded: the origin has this version, the tag is still held.
    Settled(u8),
    /// Guarded: the process died and its transaction is over.
    Orphaned,
    /// It was swept although its transaction is open.
    SweptOpen,
}

/// When which version was acknowledged; version zero if none was.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ack {
    pub(crate) time: u8,
    pub(crate) version: u8,
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} at {}", self.version, self.time)
    }
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) time: u8,
    pub(crate) origin: u8,
    /// The identity of the primary.
    pub(crate) identity: u8,
    pub(crate) primary: Data,
    pub(crate) replica: Data,
    /// The number of the next epoch.
    pub(crate) nonce: u8,
    pub(crate) readers: [Reader; 2],
    pub(crate) kept: Option<Kept>,
    pub(crate) mirror: Mirror,
    pub(crate) poll: Poll,
    pub(crate) pending: Pending,
    pub(crate) change: Change,
    /// What the reply that is on the way will say. Only where the invalidator asks.
    pub(crate) receipt: Option<Ticket>,
    pub(crate) begun: u8,
    pub(crate) failovers: u8,
    pub(crate) evictions: u8,
    pub(crate) acks: [Ack; 2],
}

impl State {
    pub(crate) fn start(has_latest: bool) -> Self {
        let epoch = Epoch::new(0, 0);
        let control = Control { epoch, sequence: 0, marker: 0, floor: 0 };
        let data = Data { control: Some(control), latest: has_latest.then_some(control), entry: None };
        Self {
            time: 0,
            origin: 0,
            identity: 0,
            primary: data,
            replica: data,
            nonce: 1,
            readers: [Reader { fenced: 0, lookup: Lookup::Idle }; 2],
            kept: None,
            mirror: Mirror { epoch, base: 0, applied: 0, marker: 0, floor: 0, proof: 0 },
            poll: Poll::None,
            pending: Pending::Nothing,
            change: Change::Idle,
            receipt: None,
            begun: 0,
            failovers: 0,
            evictions: 0,
            acks: [Ack { time: 0, version: 0 }; 2],
        }
    }

    /// The last version that was acknowledged, as far as `counts`.
    pub(crate) fn acknowledged(&self, counts: impl Fn(&Ack) -> bool) -> u8 {
        self.acks.iter().filter(|ack| counts(ack)).map(|ack| ack.version).max().unwrap_or(0)
    }

    pub(crate) fn acknowledge(&mut self, version: u8) {
        let free = self.acks.iter_mut().find(|ack| ack.version == 0);
        *free.expect("at most two changes") = Ack { time: self.time, version };
    }
}
