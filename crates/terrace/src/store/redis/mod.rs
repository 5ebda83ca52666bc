//! The tier that processes share, in Redis.
//!
//! A connection is used only after the **fence** has run on it: the control record of a server that was restarted or
//! promoted since it was written belongs to a past that may lack acknowledged invalidations, so it is given a new epoch
//! before anything is read. Hence nothing here reconnects behind its users' back. Data, control and messages have
//! connections of their own, so that a large value delays no invalidation.
//!
//! Every call has a time limit, which covers the wait for a connection too. A reply that comes later is dropped; the
//! connection it comes on is fine, unless it leaves a command unanswered for the socket's own limit.

mod bell;
mod call;
mod commands;
mod connect;
pub(crate) mod examine;
mod facts;
mod fault;
pub(crate) mod inspect;
mod left;
mod link;
mod lookups;
mod names;
mod nodes;
mod pool;
pub(crate) mod raw;
mod reclaim;
mod reply;
pub(crate) mod report;
mod scripts;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;
mod times;
#[cfg(feature = "redis-tls")]
mod tls;

#[cfg(test)]
use connect::Status;
use names::Names;
use nodes::Nodes;
pub(crate) use settings::{Explained, explain};
use settings::{Place, RedisSettings};

use crate::Error;
use crate::clock::{Clock, Instant, nanoseconds};
use crate::config::Config;
use crate::observe::stats::FenceResult;
use crate::observe::stats::RejectReason;
use crate::store::codec::{Codec, KeyRing, Reject, SCHEMA};
use crate::store::remote::{Envelope, Fault, Format};
use bell::Bell;
use bytes::Bytes;
use connect::Connector;
use left::Left;
use link::Opener;
use lookups::Desk;
use pool::{Manners, Pool};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use times::Times;
use tokio::sync::watch;

/// How long the calls of a tier may take, waits for a connection included. They can be changed at any time.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Of a look-up, and of whatever else a request waits for.
    pub(crate) read: Budget,
    /// Of a fill, an invalidation, a probe.
    pub(crate) write: Budget,
    pub(crate) poll: Budget,
    /// The part of them that may be spent waiting for a connection. Read when the connections are first used.
    pub(crate) pool_wait: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        let of = |milliseconds| Budget::new(Duration::from_millis(milliseconds));
        Self { read: of(30), write: of(250), poll: of(500), pool_wait: of(100) }
    }
}

/// A time limit, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    pub(crate) fn new(time: Duration) -> Self {
        Self(AtomicU64::new(nanoseconds(time)))
    }

    pub(crate) fn set(&self, time: Duration) {
        self.0.store(nanoseconds(time), Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// An entry that is larger is neither written nor read, unless the codec is told otherwise.
const MAX_BYTES: usize = 16 << 20;

/// Connections for look-ups that are made before somebody asks. Few: what follows one another on a socket is cheaper
/// than what is spread over many.
const READY: u32 = 4;
/// Connections for fills: a large one delays no look-up.
const FILLS: u32 = 4;
/// Connections for control: one, and another when a reply is late.
const CONTROL: u32 = 2;
/// Connections for invalidations that wait for replicas: they block theirs.
const REPLICATED: u32 = 4;

/// The Redis tier of one namespace. Making one connects to nothing; the first call does.
#[derive(Debug)]
pub(crate) struct Redis {
    connector: Arc<Connector>,
    /// Of a cluster: all of them have entries.
    nodes: Option<Arc<Nodes>>,
    names: Arc<Names>,
    open: Arc<Open>,
    budgets: Arc<Budgets>,
    clock: Clock,
    desk: Arc<Desk>,
    pools: Mutex<Option<Arc<Pools>>>,
    swept: Mutex<Option<Instant>>,
    markers: AtomicU64,
    /// How many changes were ended that nobody had renewed, or that somebody had forged.
    ended: AtomicU64,
    times: Times,
    left: Left,
}

/// How responses are kept.
#[derive(Debug)]
struct Open {
    names: Arc<Names>,
    codec: Codec,
}

impl Format for Open {
    fn name(&self, key: &[u8]) -> Vec<u8> {
        self.names.entry(key)
    }

    fn max_bytes(&self) -> usize {
        MAX_BYTES
    }

    fn encode(&self, key: &[u8], envelope: &Envelope) -> Option<Bytes> {
        self.codec.encode(key, envelope).ok()
    }

    fn decode(&self, key: &[u8], value: Bytes) -> Result<Envelope, RejectReason> {
        self.codec.decode(key, value).map_err(Reject::reason)
    }
}

/// How connections are used. That to all nodes of a cluster is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Those on which somebody waits for a reply.
    in_use: u32,
    idle: u32,
    /// How many there may be.
    max: u32,
}

/// All connections.
#[derive(Debug)]
struct Pools {
    reads: Pool,
    /// In a cluster, for what is not with the control record.
    entries: Option<Pool>,
    fills: Pool,
    control: Pool,
    replicated: Pool,
    bell: OnceLock<Bell>,
}

/// What `REDIS_*` variables name, for the namespace and with the keys of `config`; `None` if they name nothing.
///
/// # Errors
///
/// If a variable is malformed, `CACHE_KEYS` included.
pub(crate) fn from_vars(config: &Config, get: impl Fn(&str) -> Option<String>) -> Result<Option<Arc<Redis>>, Error> {
    let Some(settings) = RedisSettings::from_vars(get)? else {
        return Ok(None);
    };
    let names = Names::new(config.name(), &format!("{:016x}", fastrand::u64(..)));
    let budgets = Budgets { pool_wait: Budget::new(config.pool_wait()), ..Budgets::default() };
    let redis = Redis::new(settings, names, Arc::new(budgets), Clock::default())?;
    Ok(Some(Arc::new(redis.with_codec(codec(config)?))))
}

/// How entries are written.
fn codec(config: &Config) -> Result<Codec, Error> {
    let mut codec = Codec::new(config.name(), SCHEMA, MAX_BYTES);
    if let Some(bytes) = config.compress_above() {
        codec = codec.compress_above(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    if let Some(keys) = config.seal_keys() {
        codec = codec.sealed_by(KeyRing::parse("CACHE_KEYS", keys)?);
    }
    Ok(codec)
}

fn said(fault: Fault) -> &'static str {
    match fault {
        Fault::Timeout | Fault::Pool => "did not answer in time",
        Fault::Connect | Fault::Io => "closed the connection, or cannot be reached",
        Fault::Auth => "did not accept the login, or does not permit a command",
        Fault::ReadOnly => "takes no writes",
        Fault::Oom => "has no memory left",
        Fault::Loading => "is still reading its data",
        Fault::Moved => "is no longer the server to ask",
        Fault::Protocol => "answered with something else than Redis does",
        Fault::Other => "answered with an error",
    }
}

impl Redis {
    /// # Errors
    ///
    /// If TLS is asked for and the system has no certificates to trust, or if the address of a cluster's node cannot be
    /// one.
    pub(crate) fn new(
        settings: RedisSettings,
        names: Names,
        budgets: Arc<Budgets>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let opener = Opener {
            socket_timeout: settings.socket_timeout,
            #[cfg(feature = "redis-tls")]
            tls: settings.tls.then(tls::Tls::with_system_roots).transpose()?,
        };
        Self::with_opener(settings, names, budgets, clock, opener)
    }

    fn with_opener(
        settings: RedisSettings,
        names: Names,
        budgets: Arc<Budgets>,
        clock: Clock,
        opener: Opener,
    ) -> Result<Self, Error> {
        let (nodes, names) = match &settings.place {
            Place::Cluster(seeds) => (Some(Arc::new(Nodes::new(seeds, &settings)?)), names.spread()),
            Place::Server(_) | Place::Sentinels { .. } => (None, names),
        };
        let names = Arc::new(names);
        let codec = Codec::new(names.namespace(), SCHEMA, MAX_BYTES);
        let open = Arc::new(Open { names: Arc::clone(&names), codec });
        let connector = Arc::new(Connector::new(settings, Arc::clone(&names), opener));
        let desk = Arc::new(Desk::new(Arc::clone(&names), clock.clone()));
        let (pools, swept) = (Mutex::default(), Mutex::default());
        let (markers, ended, times) = (AtomicU64::default(), AtomicU64::default(), Times::default());
        let left = Left::default();
        Ok(Self { connector, nodes, names, open, budgets, clock, desk, pools, swept, markers, ended, times, left })
    }

    /// Encodes entries in another way than plainly.
    pub(crate) fn with_codec(self, codec: Codec) -> Self {
        let open = Arc::new(Open { names: Arc::clone(&self.names), codec });
        Self { open, ..self }
    }

    /// What is known about the server, whenever that changes.
    pub(crate) fn status(&self) -> watch::Receiver<connect::Status> {
        self.connector.status()
    }

    /// Whether messages arrive.
    pub(crate) fn hearing(&self) -> watch::Receiver<connect::Hearing> {
        self.connector.hearing()
    }

    /// How many invalidations the server remembers, as the last poll found it.
    pub(crate) fn markers(&self) -> u64 {
        self.markers.load(Relaxed)
    }

    /// How many changes of others were ended since the last time: those that nobody had renewed, and forged ones.
    pub(crate) fn take_ended(&self) -> u64 {
        self.ended.swap(0, Relaxed)
    }

    /// Where it is, as the settings say; never a password.
    pub(crate) fn place(&self) -> String {
        self.connector.settings().place.to_string()
    }

    /// Why a call failed, for people.
    pub(crate) fn why(&self, fault: Fault) -> String {
        let known = self.status().borrow().clone();
        match known {
            connect::Status::Down(_, why) => why.to_string(),
            _ => format!("{} {}", self.place(), said(fault)),
        }
    }

    /// How the connections are used, besides that for messages.
    pub(crate) fn usage(&self) -> Usage {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let looks = self.connector.settings().max_connections;
        let max = looks + self.nodes.as_ref().map_or(0, |_| looks) + FILLS.min(looks) + CONTROL + REPLICATED;
        let Some(pools) = pools else { return Usage { in_use: 0, idle: 0, max } };
        let Pools { reads, entries, fills, control, replicated, bell: _ } = &*pools;
        let all = || [reads, fills, control, replicated].into_iter().chain(entries);
        let in_use = all().map(Pool::in_use).sum();
        // What is given up is no longer counted, though somebody may still wait for it.
        let idle = all().map(Pool::connections).sum::<u32>().saturating_sub(in_use);
        Usage { in_use, idle, max }
    }

    /// How many connections were made or not made since the last time, by what was found out before their first use.
    pub(crate) fn take_fences(&self) -> impl Iterator<Item = (FenceResult, u64)> {
        self.connector.take_fences()
    }

    /// Closes every connection, as soon as what is under way on it has ended. The next call connects again; whoever waits
    /// for the bell has to ask for it again.
    pub(crate) fn disconnect(&self) {
        *self.pools.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn pools(&self) -> Arc<Pools> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.get_or_insert_with(|| Arc::new(self.new_pools())))
    }

    fn new_pools(&self) -> Pools {
        let wait = self.budgets.pool_wait.get();
        let pool = |nodes, sizes, manners| Pool::new((&self.connector, nodes), sizes, wait, manners);
        let (size, nodes) = (self.connector.settings().max_connections, self.nodes.as_ref());
        let looks = (size, READY.min(size));
        Pools {
            reads: pool(None, looks, Manners::Patient),
            entries: nodes.map(|nodes| pool(Some(nodes), looks, Manners::Patient)),
            fills: pool(nodes, (FILLS.min(size), 0), Manners::Patient),
            control: pool(None, (CONTROL, 1), Manners::Strict),
            replicated: pool(None, (REPLICATED, 0), Manners::Alone),
            bell: OnceLock::new(),
        }
    }
}
