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
mod facts;
mod fault;
mod link;
mod lookups;
mod names;
mod pool;
mod reply;
pub(crate) mod report;
mod scripts;
mod settings;
#[cfg(test)]
mod tests;
#[cfg(feature = "redis-tls")]
mod tls;

use facts::ServerFacts;

#[cfg(test)]
use connect::Status;
use names::Names;
use settings::RedisSettings;

use crate::Error;
use crate::clock::{Clock, Instant, nanoseconds};
use crate::config::Config;
use crate::store::codec::{Codec, KeyRing, SCHEMA};
use bell::Bell;
use connect::Connector;
use link::Opener;
use lookups::Desk;
use pool::{Manners, Pool};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
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
    names: Arc<Names>,
    codec: Codec,
    budgets: Arc<Budgets>,
    clock: Clock,
    desk: Arc<Desk>,
    pools: Mutex<Option<Arc<Pools>>>,
    swept: Mutex<Option<Instant>>,
}

/// All connections.
#[derive(Debug)]
struct Pools {
    reads: Pool,
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

impl Redis {
    /// # Errors
    ///
    /// If TLS is asked for and the system has no certificates to trust.
    #[cfg_attr(not(feature = "redis-tls"), expect(clippy::unnecessary_wraps, reason = "only TLS can fail"))]
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
        Ok(Self::with_opener(settings, names, budgets, clock, opener))
    }

    fn with_opener(settings: RedisSettings, names: Names, budgets: Arc<Budgets>, clock: Clock, opener: Opener) -> Self {
        let codec = Codec::new(names.namespace(), SCHEMA, MAX_BYTES);
        let names = Arc::new(names);
        let connector = Arc::new(Connector::new(settings, Arc::clone(&names), opener));
        let desk = Arc::new(Desk::new(Arc::clone(&names), clock.clone()));
        Self { connector, names, codec, budgets, clock, desk, pools: Mutex::default(), swept: Mutex::default() }
    }

    /// Encodes entries in another way than plainly.
    pub(crate) fn with_codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// What is known about the server, whenever that changes.
    pub(crate) fn status(&self) -> watch::Receiver<connect::Status> {
        self.connector.status()
    }

    /// How many connections are open, besides that for messages.
    pub(crate) fn connections(&self) -> u32 {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pools.map_or(0, |pools| {
            let Pools { reads, fills, control, replicated, bell: _ } = &*pools;
            [reads, fills, control, replicated].into_iter().map(Pool::connections).sum()
        })
    }

    /// How many connections for look-ups there may be.
    pub(crate) fn max_connections(&self) -> u32 {
        self.connector.settings().max_connections
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
        let pool = |size, ready, manners| Pool::new(&self.connector, size, ready, wait, manners);
        let size = self.connector.settings().max_connections;
        Pools {
            reads: pool(size, READY.min(size), Manners::Patient),
            fills: pool(FILLS.min(size), 0, Manners::Patient),
            control: pool(CONTROL, 1, Manners::Strict),
            replicated: pool(REPLICATED, 0, Manners::Alone),
            bell: OnceLock::new(),
        }
    }
}
