//! Settings: one table from which come the parser, its errors, the changes while running and the manual's chapter.
//!
//! Text is parsed first, all of it, and only a whole [`Config`] builds a store. [`Settings`] and [`Flags`] are what a
//! running store reads; they are single atomic loads and change through the same table.

mod accepts;
mod errors;
mod explain;
mod live;
mod table;

pub(crate) use accepts::parse_name;
#[cfg(feature = "redis")]
pub(crate) use accepts::{parse_bool, parse_digits, parse_time};
pub use explain::{Environment, Source, Variable};
pub use live::{Flags, Settings};

use crate::clock::nanoseconds;
use crate::error::Error;
use accepts::{Accepts, NONE};
use errors::{contradiction, malformed};
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;
use table::{Key, SETTINGS, Setting, find, is_ours};

/// The settings a store starts with.
///
/// [`default`](Config::default) is the table's default column, [`from_env`](Config::from_env) adds the environment,
/// and the setters here override either in code. A setter moves a value outside the setting's range to the nearer end
/// of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// As encoded by [`Accepts::parse`], in the table's order; a name's place is unused.
    values: [u64; SETTINGS.len()],
    namespace: Box<str>,
    /// A secret.
    keys: Option<Box<str>>,
    /// Another one.
    authz_keys: Option<Box<str>>,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self { values: [0; SETTINGS.len()], namespace: "".into(), keys: None, authz_keys: None };
        for (at, setting) in SETTINGS.iter().enumerate() {
            config.assign(at, setting.default).expect("the table's defaults are valid");
        }
        config
    }
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    ///
    /// As [`from_vars`](Config::from_vars), and for a setting whose value is not UTF-8.
    pub fn from_env() -> Result<Self, Error> {
        let ours = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::from_os_vars(ours.filter(|(name, _)| is_ours(name)))
    }

    fn from_os_vars(vars: impl Iterator<Item = (String, OsString)>) -> Result<Self, Error> {
        let text = vars.map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(value) => Err(malformed(&name, &value.to_string_lossy(), "UTF-8")),
        });
        Self::from_vars(text.collect::<Result<Vec<_>, _>>()?)
    }

    /// Reads variables: those that start with `CACHE_`, `AUTHZ_CACHE_` or `AUTHZ_L2_CACHE_`, and the older names that the
    /// manual lists. All others are passed over.
    ///
    /// # Errors
    ///
    /// A variable that starts like this and is not a setting, a malformed value or one out of range, and two
    /// names of the same setting with different values. The error names the variable, its value and what is accepted.
    pub fn from_vars<N: AsRef<str>, V: AsRef<str>>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error> {
        let mut config = Self::default();
        let mut seen: [Option<String>; SETTINGS.len()] = [const { None }; SETTINGS.len()];
        for (name, value) in vars {
            let name = name.as_ref();
            if !is_ours(name) {
                continue;
            }
            let at = find(name)?;
            let before = config.clone();
            config.set_at(at, name, value.as_ref())?;
            match seen[at].replace(name.to_owned()) {
                Some(other) if config != before => return Err(contradiction(&other, name)),
                _ => {}
            }
        }
        Ok(config)
    }

    /// Names the applications that share entries: 1 to 64 of `A-Z a-z 0-9 _ . -`. Defaults to `default`.
    ///
    /// # Errors
    ///
    /// Any other name, and `other`, which metrics need for themselves.
    pub fn namespace(mut self, name: &str) -> Result<Self, Error> {
        self.set_at(Key::Namespace as usize, "CACHE_NAMESPACE", name)?;
        Ok(self)
    }

    /// Bounds the bytes, overhead included, that this process keeps in memory. Defaults to 64 MiB.
    #[must_use]
    pub fn l1_max_bytes(self, bytes: u64) -> Self {
        self.with(Key::L1MaxBytes, bytes)
    }

    /// Bounds the body of a response that is stored. Defaults to 2 MiB: a larger bound costs as much memory for each
    /// fill that is under way.
    #[must_use]
    pub fn max_body_bytes(self, bytes: u64) -> Self {
        self.with(Key::MaxBodyBytes, bytes)
    }

    /// Bounds the responses kept for one URL that differ by `Vary`. Defaults to 64.
    #[must_use]
    pub fn max_variants(self, variants: u64) -> Self {
        self.with(Key::MaxVariants, variants)
    }

    /// The freshness lifetime of responses that say nothing about their own, where the rules set none. Defaults to
    /// `None`.
    #[must_use]
    pub fn default_ttl(mut self, lifetime: Option<Duration>) -> Self {
        self.values[Key::DefaultTtl as usize] = NONE;
        match lifetime {
            Some(lifetime) => self.with(Key::DefaultTtl, nanoseconds(lifetime)),
            None => self,
        }
    }

    /// How long a request waits for another's fetch of the same response before it goes itself. Defaults to 5
    /// seconds: longer protects a slow origin better, shorter lets requests escape a stuck one sooner.
    #[must_use]
    pub fn fill_wait(self, wait: Duration) -> Self {
        self.with(Key::FillWait, nanoseconds(wait))
    }

    /// How long a URL is remembered as uncacheable. Defaults to 10 seconds.
    #[must_use]
    pub fn hit_for_miss(self, time: Duration) -> Self {
        self.with(Key::HitForMiss, nanoseconds(time))
    }

    /// Bounds the background refreshes that run at once. Defaults to 64.
    #[must_use]
    pub fn max_refreshes(self, refreshes: u64) -> Self {
        self.with(Key::MaxRefreshes, refreshes)
    }

    /// The table of all settings as Markdown: variable, type, default, what is accepted, when a change applies, and
    /// what it means.
    pub fn table() -> String {
        let heading = "| variable | type | default | accepts | changes | meaning |\n|---|---|---|---|---|---|\n";
        std::iter::once(heading.to_owned()).chain(SETTINGS.iter().map(Setting::row)).collect()
    }

    fn with(mut self, key: Key, value: u64) -> Self {
        let range = SETTINGS[key as usize].accepts.range();
        self.values[key as usize] = value.clamp(*range.start(), *range.end());
        self
    }

    fn set_at(&mut self, at: usize, name: &str, text: &str) -> Result<(), Error> {
        self.assign(at, text).ok_or_else(|| malformed(name, text, &SETTINGS[at].accepts.to_string()))
    }

    fn assign(&mut self, at: usize, text: &str) -> Option<()> {
        match &SETTINGS[at].accepts {
            Accepts::Name => self.namespace = parse_name(text)?.into(),
            Accepts::Keys => {
                *self.keys_of(SETTINGS[at].key) = Some(text).filter(|text| *text != "none").map(Into::into);
            }
            accepts => self.values[at] = accepts.parse(text)?,
        }
        Some(())
    }

    fn keys_of(&mut self, key: Key) -> &mut Option<Box<str>> {
        if matches!(key, Key::AuthzKeys) { &mut self.authz_keys } else { &mut self.keys }
    }

    pub(crate) fn name(&self) -> &str {
        &self.namespace
    }

    /// The text of `CACHE_KEYS`.
    #[cfg(feature = "redis")]
    pub(crate) fn seal_keys(&self) -> Option<&str> {
        self.keys.as_deref()
    }

    /// The text of `AUTHZ_CACHE_KEYS`.
    pub(crate) fn authz_keys(&self) -> Option<&str> {
        self.authz_keys.as_deref()
    }

    /// From which size on entries are compressed for Redis.
    #[cfg(feature = "redis")]
    pub(crate) fn compress_above(&self) -> Option<u64> {
        Some(self.values[Key::L2CompressAbove as usize]).filter(|bytes| *bytes > 0)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn pool_wait(&self) -> Duration {
        Duration::from_nanos(self.values[Key::L2PoolWait as usize])
    }

    pub(crate) fn l1_limit(&self) -> u64 {
        self.values[Key::L1MaxBytes as usize]
    }

    pub(crate) fn authz_l1_limit(&self) -> u64 {
        self.values[Key::AuthzL1MaxBytes as usize]
    }

    pub(crate) fn source_concurrency(&self) -> usize {
        usize::try_from(self.values[Key::AuthzSourceConcurrency as usize]).unwrap_or(usize::MAX)
    }

    /// The bytes that one tenant may use in memory.
    pub(crate) fn tenant_limit(&self) -> u64 {
        self.authz_l1_limit() / 100 * self.values[Key::AuthzTenantShare as usize]
    }

    pub(crate) fn metrics_enabled(&self) -> bool {
        self.values[Key::MetricsEnabled as usize] != 0
    }

    /// Whether the statistics have other names too.
    pub(crate) fn compat_metrics(&self) -> bool {
        self.values[Key::CompatMetrics as usize] != 0
    }

    /// Log one hit in so many; 0 = none, 1 = all.
    #[cfg(any(test, feature = "tracing"))]
    pub(crate) fn log_hits(&self) -> u64 {
        self.values[Key::LogHits as usize]
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (setting, value) in SETTINGS.iter().zip(self.values) {
            match setting.accepts {
                Accepts::Name => map.entry(&setting.name, &self.namespace),
                Accepts::Keys => {
                    let keys = if matches!(setting.key, Key::AuthzKeys) { &self.authz_keys } else { &self.keys };
                    map.entry(&setting.name, &keys.as_ref().map(|_| "***"))
                }
                Accepts::TimeOrNone(_) if value == NONE => map.entry(&setting.name, &"none"),
                Accepts::Time(_) | Accepts::Millis(_) | Accepts::TimeOrNone(_) => {
                    map.entry(&setting.name, &Duration::from_nanos(value))
                }
                _ => map.entry(&setting.name, &value),
            };
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests;
