//! Where entries are kept, and how they are kept from being served too long.

#[cfg(feature = "redis")]
#[cfg_attr(not(test), expect(dead_code, reason = "its users come next"))]
mod codec;
mod coherence;
mod entry;
mod flight;
mod key;
mod l1;
mod purge;
mod refresh;
#[expect(dead_code, reason = "its users come next")]
mod remote;
mod sync;
mod tiers;
mod unhashed;

#[cfg(all(fuzzing, feature = "redis"))]
pub use codec::fuzzing;
pub use coherence::Receipt;
pub(crate) use coherence::{Tag, Tags, Ticket, lower_case};
pub(crate) use entry::Entry;
pub(crate) use flight::{Join, Landing, Lead, Stream, Wait, Waiters};
pub(crate) use key::Key;
pub use purge::Purge;
pub(crate) use tiers::{Before, Fill, Found, Glance, Tiers};

use crate::Error;
use crate::clock::Clock;
use crate::config::{Config, Flags, Settings};
use crate::observe::Observe;
use crate::observe::stats::Stats;
use coherence::Mirror;
use refresh::Refreshes;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

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
    refreshes: Refreshes,
    /// The tiers of each kind of value, made when a layer first asks.
    tiers: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Store {
    /// Keeps entries in the memory of this process, with default settings.
    pub fn memory() -> Self {
        Self::new(Config::default())
    }

    /// Reads the settings from the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::from_env`].
    #[expect(clippy::unused_async, reason = "stores with a second tier connect here")]
    pub async fn from_env() -> Result<Self, Error> {
        Config::from_env().map(Self::new)
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

    fn with_clock(config: Config, clock: Clock) -> Self {
        let observe = Observe::new(clock.clone(), &config);
        let settings = Settings::new(&config, observe.clone());
        let (mirror, tiers) = (Arc::new(Mirror::new()), Mutex::default());
        let inner = Inner { config, settings, clock, observe, mirror, refreshes: Refreshes::default(), tiers };
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

    /// Everything counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.observe.stats()
    }

    pub(crate) fn observe(&self) -> &Observe {
        &self.inner.observe
    }

    pub(crate) fn refreshes(&self) -> &Refreshes {
        &self.inner.refreshes
    }

    pub(crate) fn namespace(&self) -> &str {
        self.inner.config.name()
    }

    /// The tiers for values of one type, the same for every caller.
    pub(crate) fn tiers<V: Send + Sync + 'static>(&self) -> Arc<Tiers<V>> {
        let mut all = self.inner.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        let tiers = all.entry(TypeId::of::<V>()).or_insert_with(|| Arc::new(self.new_tiers::<V>()));
        Arc::clone(tiers).downcast().unwrap_or_else(|_| unreachable!("filed under its own type"))
    }

    fn new_tiers<V: Send + Sync + 'static>(&self) -> Tiers<V> {
        let inner = &*self.inner;
        let (settings, observe) = (inner.settings.clone(), inner.observe.clone());
        Tiers::new(inner.config.l1_limit(), Arc::clone(&inner.mirror), settings, observe, inner.clock.clone())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// Splits `https://host/path?query` or `/path?query`.
fn split_url(url: &str) -> Result<(&str, &str, &str), Error> {
    let url = url.split('#').next().unwrap_or_default();
    let (host, rest) = match url.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", url),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    match (host, path) {
        ("", path) if !path.starts_with('/') => Err(Error::purge(url)),
        (host, "") => Ok((host, "/", query)),
        (host, path) => Ok((host, path, query)),
    }
}
