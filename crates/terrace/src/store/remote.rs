//! The seam to the tier that processes share, in the words of the protocol.
//!
//! A **control record** says at which position each tag was last invalidated. It has an **epoch**: positions of
//! different epochs cannot be compared, and whatever was stored in another epoch is dead.

use crate::Error;
use crate::observe::stats::{ErrorKind, RejectReason};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a call of the shared tier returns. Dropped before its end, the call is abandoned: its command may still be
/// carried out, and a late reply is for nobody.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// The tier that processes share. Every call has a time limit of its own, and waits for nothing else than its replies.
pub(crate) trait Remote: fmt::Debug + Send + Sync {
    /// Reads the entry of a name, unless it is longer than `most` bytes, together with what proves it valid: everything
    /// that happened in the epoch after `since`. In one round trip.
    fn lookup<'a>(&'a self, epoch: &'a Epoch, since: u64, entry: (Vec<u8>, usize)) -> Reply<'a, Looked>;

    /// Reads the positions of tags; `None` if the epoch is another one.
    fn positions<'a>(&'a self, epoch: &'a Epoch, tags: &'a [TagName]) -> Reply<'a, Option<Positions>>;

    /// The epoch and its position now. Begins a new epoch if the control record is gone.
    fn current(&self) -> Reply<'_, Receipt>;

    /// How long the process of the server has been running, in whole seconds, of which the last may be a part; `None` if it
    /// does not say.
    fn uptime(&self) -> Reply<'_, Option<Duration>>;

    /// Stores the entry of a name for `life`.
    fn store(&self, name: Vec<u8>, value: Bytes, life: Duration) -> Reply<'_, ()>;

    /// Invalidates what carries one of `tags` and was stamped until now. May be repeated.
    fn invalidate<'a>(&'a self, tags: &'a [Marker]) -> Reply<'a, Receipt>;

    /// As [`invalidate`](Self::invalidate), and then waits until `replicas` have it, at most for `wait`. Also answers how
    /// many have it.
    fn invalidate_replicated<'a>(
        &'a self,
        tags: &'a [Marker],
        replicas: u32,
        wait: Duration,
    ) -> Reply<'a, (Receipt, u32)>;

    /// Reads the invalidations after `since`.
    fn poll<'a>(&'a self, epoch: &'a Epoch, since: u64) -> Reply<'a, Polled>;

    /// Whether this is still the server that takes writes. If it is not, nothing that was read from it since may be
    /// used, and whatever is asked next is asked of another.
    fn probe(&self) -> Reply<'_, ()>;

    /// Begins a change of what carries one of `tags`, or renews it: nothing that does is valid until the change ends, or
    /// is not renewed for `hold`. Whether it begins now, for any of the tags: what is renewed has been held all along.
    fn hold<'a>(&'a self, change: &'a Token, tags: &'a [TagName], hold: Duration) -> Reply<'a, (Receipt, bool)>;

    /// Ends a change, and invalidates what it was about.
    fn end<'a>(&'a self, change: &'a Token, tags: &'a [TagName]) -> Reply<'a, Receipt>;

    /// Takes the lease of an entry for `life`, unless somebody has it.
    fn lease<'a>(&'a self, key: &'a [u8], token: &'a Token, life: Duration) -> Reply<'a, bool>;

    /// Gives a lease back. Whether it still was the caller's.
    fn release<'a>(&'a self, key: &'a [u8], token: &'a Token) -> Reply<'a, bool>;

    /// How long a call may take that a request waits for, and one that it does not wait for.
    fn set_limits(&self, read: Duration, write: Duration);

    /// Closes all connections. The next call connects again.
    fn disconnect(&self);

    /// What the server's clock says, as far as the last poll told. `None` before the first one.
    fn time(&self) -> Option<ServerTime>;

    /// Says which keys this process has, by their fingerprints.
    fn join_ring<'a>(&'a self, fingerprints: &'a [String]) -> Reply<'a, RingState>;

    /// What is switched for all processes, as it is written down; nothing is no text.
    fn switches(&self) -> Reply<'_, Bytes>;

    /// Writes down that a feature is switched.
    fn switch<'a>(&'a self, line: &'a str) -> Reply<'a, ()>;

    /// How responses are kept.
    fn open_format(&self) -> Arc<dyn Format>;

    /// How secrets are kept: once for each key of the value that the setting has, that which seals first.
    fn vaults(&self, setting: &str, keys: &str, family: Family) -> Result<Vec<Arc<dyn Vault>>, Error>;

    /// Waits until there is something to know, as far as messages arrive. They may be lost, repeated or late.
    fn bell(&self) -> Pin<Box<dyn Future<Output = Rung> + Send + '_>>;

    /// Tells of what anybody publishes on these channels, from when that begins until the connection ends.
    fn listen(&self, channels: &'static [&'static str], ear: Ear) -> Reply<'_, ()>;
}

/// What the name of a key begins with, before the namespace.
pub(crate) type Family = fn(&[u8]) -> &'static str;

/// The family of what subjects may do.
pub(crate) const FACTS: &str = "auth:perms";
/// The family of what was decided about them.
pub(crate) const DECISIONS: &str = "auth:check";

/// How one kind of value is called and written where processes share it.
pub(crate) trait Format: fmt::Debug + Send + Sync {
    /// What the entry of a key is called.
    fn name(&self, key: &[u8]) -> Vec<u8>;

    /// No entry is longer.
    fn max_bytes(&self) -> usize;

    /// Writes an entry as it is kept; `None` if it is too large.
    fn encode(&self, key: &[u8], envelope: &Envelope) -> Option<Bytes>;

    /// Reads what was found under a key, which is not trusted.
    fn decode(&self, key: &[u8], value: Bytes) -> Result<Envelope, RejectReason>;
}

/// A [`Format`] that only who has its key can name, read and write.
pub(crate) trait Vault: Format {
    /// Names a tag, so that only who has the key can tell what it is about.
    fn tag(&self, about: &[u8]) -> TagName;

    /// Tells the key from others without telling what it is.
    fn fingerprint(&self) -> String;
}

/// Whether processes that share secrets hear one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingState {
    /// Everybody who lives has one of our keys.
    Joined,
    /// Somebody who lives has none of them.
    Differs,
    /// The server hides who it is: that it has forgotten something would not be noticed.
    Hidden,
}

/// What a server's clock says, in milliseconds since 1970: the truth is in between, for a reply takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerTime {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

/// What the bell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Somebody may have invalidated something.
    News,
    /// A lease may have ended, and nothing else has happened.
    Lease,
}

/// What is told to those who listen.
pub(crate) enum Heard<'a> {
    /// From now on messages arrive.
    Begun,
    Message {
        channel: &'a [u8],
        text: &'a [u8],
    },
}

/// Is told, and waits for nothing.
pub(crate) type Ear = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// The name of an epoch, as the server holds it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Epoch(Bytes);

impl Epoch {
    pub(crate) fn new(name: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(name))
    }

    /// Without a copy: whatever `name` is a slice of stays in memory with it.
    pub(crate) fn slice(name: Bytes) -> Self {
        Self(name)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For people: without what marks it in the control record.
    pub(crate) fn text(&self) -> String {
        self.0.strip_prefix(b"\0e").unwrap_or(&self.0).escape_ascii().to_string()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.0.escape_ascii())
    }
}

/// A tag as processes share it: a digest, so that nothing about users can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TagName(pub(crate) [u8; 16]);

impl TagName {
    /// Carried by every entry. No digest is this.
    pub(crate) const EVERYTHING: Self = Self([0; 16]);
}

/// What tells one change, or one holder of a lease, from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag to be invalidated, or found invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marker {
    pub(crate) tag: TagName,
    /// What carries it counts as stale, instead of never being served again.
    pub(crate) soft: bool,
}

/// When a tag was last invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Never, as far as is remembered: not after the floor.
    Unmarked,
    At(u64),
    /// A change of what carries it is under way: nothing that does may be served.
    Held,
}

/// An epoch and a position in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) epoch: Epoch,
    pub(crate) position: u64,
}

/// What is kept in the shared tier under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// With `position`, the stamp: where the control record was before the fetch.
    pub(crate) epoch: Epoch,
    pub(crate) position: u64,
    /// Everything by which it can be invalidated.
    pub(crate) tags: Vec<TagName>,
    /// When it was stored, by the server's clock, in milliseconds since 1970.
    pub(crate) stored_ms: u64,
    /// How long it is kept from then on, in milliseconds.
    pub(crate) life_ms: u64,
    pub(crate) payload: Bytes,
}

impl Envelope {
    /// How long it has been there when the server's clock says `now_ms`; `None` if that is longer than it is kept.
    pub(crate) fn resident(&self, now_ms: u64) -> Option<Duration> {
        let resident = now_ms.saturating_sub(self.stored_ms);
        (resident < self.life_ms).then(|| Duration::from_millis(resident))
    }
}

/// What one atomic read of the control record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    /// The current position.
    pub(crate) position: u64,
    /// Invalidations up to here may be forgotten.
    pub(crate) floor: u64,
    /// Those of each tag that was asked for, hard and soft, in the same order.
    pub(crate) marks: Vec<(Mark, Mark)>,
}

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) entry: Option<Bytes>,
    pub(crate) news: Polled,
}

/// What happened after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Everything that happened since, and that nothing else did.
    Changes {
        /// Those that are held are all that are, however long they have been.
        marks: Vec<(Marker, Mark)>,
        /// Up to here `marks` are complete.
        position: u64,
        floor: u64,
    },
    /// More than one reply holds. Everything before `position` counts as forgotten.
    TooMany { position: u64 },
    /// The epoch is another one.
    OtherEpoch,
    /// The position is below one that was seen in this epoch: writes were lost unnoticed, or somebody has put back what was
    /// there before.
    WentBack,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No reply in time.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection broke.
    Io,
    /// Wrong password, or a command that is not permitted.
    Auth,
    /// The server takes no writes: it is a replica, or has too few.
    ReadOnly,
    /// The server's memory is full.
    Oom,
    /// The server is reading its data.
    Loading,
    /// The server is no longer the one to ask. The next call asks another.
    Moved,
    /// A reply that makes no sense.
    Protocol,
    /// No free connection in time.
    Pool,
    /// Another error of the server.
    Other,
}

impl Fault {
    /// As it is counted.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::Timeout => ErrorKind::Timeout,
            Self::Connect => ErrorKind::Connect,
            Self::Io => ErrorKind::Io,
            Self::Auth => ErrorKind::Auth,
            Self::ReadOnly => ErrorKind::ReadOnly,
            Self::Oom => ErrorKind::Oom,
            Self::Loading => ErrorKind::Loading,
            Self::Protocol => ErrorKind::Protocol,
            Self::Pool => ErrorKind::Pool,
            Self::Moved | Self::Other => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_time_is_over_after_it_and_is_never_there_less_than_no_time() {
        let (epoch, tags, payload) = (Epoch::new(b"e"), Vec::new(), Bytes::new());
        let envelope = Envelope { epoch, position: 0, tags, stored_ms: 1000, life_ms: 500, payload };
        let resident = |now_ms| envelope.resident(now_ms).map(|time| time.as_millis());
        assert_eq!([900, 1000, 1499, 1500].map(resident), [Some(0), Some(0), Some(499), None]);
        let endless = Envelope { life_ms: u64::MAX, ..envelope };
        assert!(endless.resident(u64::MAX).is_some());
    }
}
