//! Where entries are kept, and how they are kept from being served too long.

mod breaker;
#[cfg(feature = "redis")]
mod bridge;
mod change;
#[cfg(feature = "redis")]
mod codec;
mod coherence;
mod entry;
mod flight;
#[cfg(feature = "redis")]
pub(crate) mod inspect;
mod key;
mod l1;
mod l2;
mod lease;
mod purge;
mod race;
#[cfg(feature = "redis")]
mod reclaim;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod refresh;
pub(crate) mod remote;
#[cfg(feature = "redis")]
pub(crate) mod session;
mod stock;
pub(crate) mod switches;
mod sync;
#[cfg(feature = "redis")]
mod tasks;
mod tiers;
mod unhashed;
mod value;
mod writes;

#[cfg(all(fuzzing, feature = "redis"))]
pub use bridge::fuzzing as messages;
#[cfg(feature = "redis")]
pub use bridge::{Listener, Prewarms};
pub use change::Change;
#[cfg(all(fuzzing, feature = "redis"))]
pub use codec::fuzzing;
pub use coherence::Receipt;
#[cfg(feature = "redis")]
pub(crate) use coherence::canonical;
pub(crate) use coherence::{Standing, Tag, Tags, Ticket, lower_case};
pub(crate) use entry::Entry;
pub(crate) use flight::{Flights, Join, Landing, Lead, Stream, Wait, Waiters};
pub(crate) use key::{Key, KeyBuf, hex};
pub(crate) use lease::{Lease, Turn};
pub use purge::Purge;
#[cfg(feature = "admin")]
pub(crate) use stock::Obstacle;
pub use switches::{Switch, Switched};
#[cfg(feature = "admin")]
pub(crate) use tiers::Sight;
pub(crate) use tiers::{Before, Beyond, Fill, Found, Glance, Memory, Tiers};
pub(crate) use value::{Decoded, Value};

#[cfg(feature = "redis")]
use self::redis::Redis;
#[cfg(feature = "redis")]
pub use self::redis::raw::RawConnection;
use crate::Error;
use crate::clock::Clock;
use crate::config::{Config, Flags, Settings};
use crate::observe::Observe;
use crate::observe::stats::Stats;
use coherence::Mirror;
use entry::Owner;
use l2::L2;
#[cfg(feature = "redis")]
pub use reclaim::{Reclaim, Reclaimed};
use refresh::Refreshes;
#[cfg(any(feature = "redis", feature = "test-util"))]
use remote::Remote;
use remote::{Family, Format, Vault};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use stock::Stock;
#[cfg(any(feature = "redis", feature = "test-util"))]
use tokio::runtime::Handle;

/// The handle to the tiers of one namespace: cheap to clone, and all clones are the same store.
///
/// Layers made with one store share its entries, so two layers with different rules on one route should have stores,
/// or [versions](crate::Rules::version), of their own.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    settings: Settings,
    clock: Clock,
    observe: Observe,
    mirror: Arc<Mirror>,
    l2: Option<Arc<L2>>,
    /// What is behind `l2`, for those who ask about the server itself.
    #[cfg(feature = "redis")]
    redis: OnceLock<Arc<Redis>>,
    refreshes: Refreshes,
    /// The keys of what is sealed, as who asked first for it has given them.
    keys: OnceLock<Box<str>>,
    /// The tiers of each kind of value, made when a layer first asks.
    tiers: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Store {
    /// Keeps entries in the memory of this process, with default settings.
    pub fn memory() -> Self {
        Self::new(Config::default())
    }

    /// Reads the settings from the environment. With the feature `redis`, and where `REDIS_URL`, `REDIS_HOST` or
    /// `REDIS_SENTINELS` says where Redis is, processes of one namespace share entries and invalidations through it.
    ///
    /// It waits for nothing: while Redis cannot be reached, memory and the origin answer.
    ///
    /// # Errors
    ///
    /// As [`Config::from_env`], and for a malformed `REDIS_*` variable. No error shows a password.
    #[expect(clippy::unused_async, reason = "connections belong to the runtime that it is called in")]
    pub async fn from_env() -> Result<Self, Error> {
        Self::put_together_from(Config::from_env()?, |name| std::env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), from these variables instead of the environment. Within a tokio runtime, for
    /// Redis is followed in the background. A store that is made outside of one follows nothing: it can purge and be
    /// asked, as a command does that ends at once, and serves nothing from Redis.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Error> {
        let vars: Vec<(&str, &str)> = vars.into_iter().collect();
        let get = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Self::put_together_from(Config::from_vars(vars.iter().copied())?, get)
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unnecessary_wraps, reason = "with Redis there is more that can be malformed")]
    fn put_together_from(config: Config, _: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Ok(Self::new(config))
    }

    #[cfg(feature = "redis")]
    fn put_together_from(config: Config, get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let Some(remote) = self::redis::from_vars(&config, get)? else {
            return Ok(Self::new(config));
        };
        let store = Self::with_remote(config, Arc::clone(&remote) as Arc<dyn Remote>, Clock::default());
        if let Ok(runtime) = Handle::try_current() {
            self::redis::report::start(&remote, store.observe().clone(), &runtime);
        }
        store.inner.redis.get_or_init(|| remote);
        Ok(store)
    }

    /// Keeps entries as `config` says.
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Clock::default())
    }

    /// As [`new`](Self::new), with a clock that a test moves by hand.
    #[cfg(feature = "test-util")]
    pub fn with_fake_clock(config: Config, clock: &crate::clock::FakeClock) -> Self {
        Self::with_clock(config, clock.clock())
    }

    /// As [`with_fake_clock`](Self::with_fake_clock), with a tier that other stores share.
    #[cfg(feature = "test-util")]
    pub fn with_chaos(config: Config, clock: &crate::clock::FakeClock, chaos: &crate::chaos::Chaos) -> Self {
        Self::with_remote(config, Arc::new(chaos.clone()), clock.clock())
    }

    fn with_clock(config: Config, clock: Clock) -> Self {
        let observe = Observe::new(clock.clone(), &config);
        let settings = Settings::new(&config, observe.clone());
        let mirror = Arc::new(Mirror::alone());
        Self::put_together(config, settings, (observe, clock), mirror, None)
    }

    /// A store whose entries and invalidations processes share.
    #[cfg(any(feature = "redis", feature = "test-util"))]
    fn with_remote(config: Config, remote: Arc<dyn Remote>, clock: Clock) -> Self {
        let observe = Observe::new(clock.clone(), &config);
        let settings = Settings::new(&config, observe.clone());
        let mirror = Arc::new(Mirror::shared());
        let l2 = L2::new(remote, Arc::clone(&mirror), settings.clone(), (observe.clone(), clock.clone()));
        let l2 = Arc::new(l2);
        if let Ok(runtime) = Handle::try_current() {
            coherence::poll::start(&l2, &runtime);
        }
        Self::put_together(config, settings, (observe, clock), mirror, Some(l2))
    }

    fn put_together(
        config: Config,
        settings: Settings,
        (observe, clock): (Observe, Clock),
        mirror: Arc<Mirror>,
        l2: Option<Arc<L2>>,
    ) -> Self {
        let (refreshes, tiers) = (Refreshes::default(), Mutex::default());
        let inner = Inner {
            config,
            settings,
            clock,
            observe,
            mirror,
            l2,
            #[cfg(feature = "redis")]
            redis: OnceLock::new(),
            refreshes,
            keys: OnceLock::new(),
            tiers,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What is switched on. Changes take effect on the next request.
    pub fn flags(&self) -> Flags {
        self.inner.settings.flags()
    }

    /// The settings that can be changed while running.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Where the Redis server of the store is, as its settings say, without what it takes to log in; `None` where
    /// everything is in the memory of this process.
    pub fn shared_through(&self) -> Option<String> {
        #[cfg(feature = "redis")]
        return self.inner.redis.get().map(|redis| redis.place());
        #[cfg(not(feature = "redis"))]
        None
    }

    /// Why a call of the shared tier failed, for people.
    #[cfg_attr(not(feature = "redis"), expect(clippy::unused_self, reason = "Redis knows"))]
    fn why(&self, fault: remote::Fault) -> Option<String> {
        #[cfg(feature = "redis")]
        return self.inner.redis.get().map(|redis| redis.why(fault));
        #[cfg(not(feature = "redis"))]
        {
            let _ = fault;
            None
        }
    }

    /// Everything counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.observe.stats()
    }

    pub(crate) fn observe(&self) -> &Observe {
        &self.inner.observe
    }

    /// The same for all clones, and for no other store at the same time.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    pub(crate) fn refreshes(&self) -> &Refreshes {
        &self.inner.refreshes
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn namespace(&self) -> &str {
        self.inner.config.name()
    }

    /// The tiers for values of one type, the same for every caller.
    pub(crate) fn tiers<V: Value>(&self) -> Arc<Tiers<V>> {
        self.tiers_of(self.inner.config.l1_limit(), |l2| [l2.remote.open_format()].into())
    }

    /// The tiers for values that are secrets, and what names and seals them where processes share them: none of it where
    /// nothing is shared. From now on invalidations are followed and sent, whatever is switched off. Who asks first says
    /// how much those in memory hold.
    ///
    /// # Errors
    ///
    /// If processes share the store and there are no keys, malformed ones, or others than somebody else has given.
    pub(crate) fn sealed_tiers<V: Value>(
        &self,
        max_bytes: u64,
        (setting, keys): (&str, Option<&str>),
        family: Family,
    ) -> Result<(Arc<Tiers<V>>, Vec<Arc<dyn Vault>>), Error> {
        let Some(l2) = &self.inner.l2 else {
            return Ok((self.tiers_of(max_bytes, |_| Box::default()), Vec::new()));
        };
        let refused = |why: &str| Error::config(format!("{setting} {why}"));
        let keys = keys.ok_or_else(|| {
            refused(
                "is not set, and Redis is given nothing about rights that is not sealed: `terrace keygen` makes a key",
            )
        })?;
        if self.namespace() == Config::default().name() {
            return Err(refused("needs CACHE_NAMESPACE, so that deployments that share a Redis do not share rights"));
        }
        let vaults = l2.remote.vaults(setting, keys, family)?;
        if **self.inner.keys.get_or_init(|| keys.into()) != *keys {
            return Err(refused("differs from what another engine of this store has"));
        }
        l2.needed();
        let formats = || vaults.iter().map(|vault| Arc::clone(vault) as Arc<dyn Format>).collect();
        Ok((self.tiers_of(max_bytes, |_| formats()), vaults))
    }

    fn tiers_of<V: Value>(&self, max_bytes: u64, formats: impl FnOnce(&L2) -> Box<[Arc<dyn Format>]>) -> Arc<Tiers<V>> {
        let mut all = self.inner.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        let tiers = all.entry(TypeId::of::<V>()).or_insert_with(|| Arc::new(self.new_tiers::<V>(max_bytes, formats)));
        Arc::clone(tiers).downcast().unwrap_or_else(|_| unreachable!("filed under its own type"))
    }

    fn new_tiers<V: Value>(&self, max_bytes: u64, formats: impl FnOnce(&L2) -> Box<[Arc<dyn Format>]>) -> Tiers<V> {
        let inner = &*self.inner;
        let observe = inner.observe.of(V::CACHE);
        observe.limit(max_bytes);
        let stock = inner.l2.as_ref().map(|l2| Arc::new(Stock::new(l2, formats(l2), V::SHARED, observe.clone())));
        let owner = Owner { observe, clock: inner.clock.clone(), mirror: Arc::clone(&inner.mirror) };
        Tiers::new(max_bytes, inner.settings.clone(), owner, stock)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// What the environment says about Redis, for people.
#[cfg(feature = "redis")]
pub(crate) fn explain_redis(get: impl Fn(&str) -> Option<String>) -> self::redis::Explained {
    self::redis::explain(get)
}

/// # Errors
///
/// If these are not the keys that `setting` may name.
#[cfg(feature = "redis")]
pub(crate) fn check_keys(setting: &str, keys: &str) -> Result<(), Error> {
    codec::KeyRing::parse(setting, keys).map(drop)
}

/// What names tags in every store that processes share.
#[cfg(feature = "redis")]
pub(crate) fn shared_tags() -> Tags {
    Tags::shared()
}

/// Splits `https://host/path?query` or `/path?query`. Who asks is no part of what is asked for.
pub(crate) fn split_url(url: &str) -> Result<(&str, &str, &str), Error> {
    let url = url.split('#').next().unwrap_or_default();
    let (host, rest) = match url.split_once("://") {
        // Not the URL that a query may hold.
        Some((_, rest)) if !url.starts_with('/') => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        _ => ("", url),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    match (host, path) {
        ("", path) if !path.starts_with('/') => Err(Error::purge(url)),
        (host, "") => Ok((host, "/", query)),
        (host, path) => Ok((host, path, query)),
    }
}
