//! Settings: one table from which come the parser, its errors, the changes while running and the manual's chapter.
//!
//! Text is parsed first, all of it, and only a whole [`Config`] builds a store. [`Settings`] and [`Flags`] are what a
//! running store reads; they are single atomic loads and change through the same table.

use crate::clock::nanoseconds;
use crate::error::Error;
use crate::observe::{Observe, stats::Feature};
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One row of the table.
struct Setting {
    key: Key,
    name: &'static str,
    /// Older names for the same setting.
    aliases: &'static [&'static str],
    default: &'static str,
    accepts: Accepts,
    apply: Apply,
    doc: &'static str,
}

/// What a value may be.
enum Accepts {
    Boolean,
    Count(RangeInclusive<u64>),
    Bytes(RangeInclusive<u64>),
    /// In nanoseconds.
    Time(RangeInclusive<u64>),
    /// In nanoseconds, or `none`.
    TimeOrNone(RangeInclusive<u64>),
    Name,
    Thinning,
    /// A secret: kept as text, and never shown.
    Keys,
}

/// When a change takes effect.
#[derive(Clone, Copy)]
enum Apply {
    Start,
    Running,
    Flag(Feature),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Where a setting stands in the table.
#[derive(Clone, Copy)]
enum Key {
    Enabled,
    L1Enabled,
    L2Enabled,
    SwrEnabled,
    Namespace,
    L1MaxBytes,
    MaxBodyBytes,
    MaxVariants,
    MaxKeyBytes,
    MaxTags,
    DefaultTtl,
    FillWait,
    HitForMiss,
    MaxRefreshes,
    MaxLag,
    PollInterval,
    DegradedMax,
    L2Ttl,
    L2Writes,
    L2WriteBytes,
    L2Lease,
    L2ReadBudget,
    L2WriteBudget,
    L2PoolWait,
    L2CompressAbove,
    SealKeys,
    MetricsEnabled,
    LogHits,
}

const SETTINGS: [Setting; Key::LogHits as usize + 1] = [
    Setting {
        key: Key::Enabled,
        name: "CACHE_ENABLED",
        aliases: &["ENABLE_SEMANTIC_CACHE_V2"],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::Cache),
        doc: "Master switch. Off: the inner service is called as if the layer were not there; invalidations still work.",
    },
    Setting {
        key: Key::L1Enabled,
        name: "CACHE_L1_ENABLED",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::L1),
        doc: "Whether this process's memory is read and filled.",
    },
    Setting {
        key: Key::L2Enabled,
        name: "CACHE_L2_ENABLED",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::L2),
        doc: "Whether Redis is used, where it is configured. Off: there is no connection to it, and the process is alone.",
    },
    Setting {
        key: Key::SwrEnabled,
        name: "CACHE_SWR_ENABLED",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::Swr),
        doc: "Whether a stale response may be served while a background request refreshes it (`stale-while-revalidate`).",
    },
    Setting {
        key: Key::Namespace,
        name: "CACHE_NAMESPACE",
        aliases: &[],
        default: "default",
        accepts: Accepts::Name,
        apply: Apply::Start,
        doc: "Separates the entries of applications that share a store, and names them in metrics (`cache_namespace`).",
    },
    Setting {
        key: Key::L1MaxBytes,
        name: "CACHE_L1_MAX_BYTES",
        aliases: &[],
        default: "64MiB",
        accepts: Accepts::Bytes(0..=1024 * GIB),
        apply: Apply::Start,
        doc: "Bytes of entries, overhead included, that this process keeps in memory.",
    },
    Setting {
        key: Key::MaxBodyBytes,
        name: "CACHE_MAX_BODY_BYTES",
        aliases: &[],
        default: "2MiB",
        accepts: Accepts::Bytes(0..=GIB),
        apply: Apply::Running,
        doc: "A response with a longer body is passed on but not stored.",
    },
    Setting {
        key: Key::MaxVariants,
        name: "CACHE_MAX_VARIANTS",
        aliases: &[],
        default: "64",
        accepts: Accepts::Count(1..=1024),
        apply: Apply::Running,
        doc: "Responses kept for one URL that differ by their selecting header fields (`Vary`).",
    },
    Setting {
        key: Key::MaxKeyBytes,
        name: "CACHE_MAX_KEY_BYTES",
        aliases: &[],
        default: "4KiB",
        accepts: Accepts::Bytes(64..=64 * KIB),
        apply: Apply::Running,
        doc: "A request whose key (method class, URL, partition) is longer is not cached.",
    },
    Setting {
        key: Key::MaxTags,
        name: "CACHE_MAX_TAGS",
        aliases: &[],
        default: "64",
        accepts: Accepts::Count(0..=1024),
        apply: Apply::Running,
        doc: "A response with more tags is not stored: without all of its tags it could not be invalidated.",
    },
    Setting {
        key: Key::DefaultTtl,
        name: "CACHE_DEFAULT_TTL",
        aliases: &["SEMANTIC_CACHE_DEFAULT_TTL_SECONDS"],
        default: "none",
        accepts: Accepts::TimeOrNone(SECOND..=8760 * HOUR),
        apply: Apply::Running,
        doc: "Freshness lifetime of a response that says nothing about its own, where the rules set none.",
    },
    Setting {
        key: Key::FillWait,
        name: "CACHE_FILL_WAIT",
        aliases: &[],
        default: "5s",
        accepts: Accepts::Time(0..=10 * MINUTE),
        apply: Apply::Running,
        doc: "How long a request waits for another request's fetch of the same response before it goes to the origin itself.",
    },
    Setting {
        key: Key::HitForMiss,
        name: "CACHE_HIT_FOR_MISS",
        aliases: &[],
        default: "10s",
        accepts: Accepts::Time(0..=HOUR),
        apply: Apply::Running,
        doc: "How long a URL is remembered as uncacheable, so that its requests do not wait for one another; 0 = not at all.",
    },
    Setting {
        key: Key::MaxRefreshes,
        name: "CACHE_MAX_REFRESHES",
        aliases: &[],
        default: "64",
        accepts: Accepts::Count(0..=4096),
        apply: Apply::Running,
        doc: "Background refreshes running at once; one more is left to a later request.",
    },
    Setting {
        key: Key::MaxLag,
        name: "CACHE_L1_MAX_LAG",
        aliases: &[],
        default: "1s",
        accepts: Accepts::Time(10 * MILLISECOND..=5 * MINUTE),
        apply: Apply::Running,
        doc: "With Redis: how long after an invalidation elsewhere this process's memory may still answer with older data.",
    },
    Setting {
        key: Key::PollInterval,
        name: "CACHE_POLL_INTERVAL",
        aliases: &[],
        default: "250ms",
        accepts: Accepts::Time(10 * MILLISECOND..=5 * MINUTE),
        apply: Apply::Running,
        doc: "With Redis: how often to look for invalidations when no message tells of one.",
    },
    Setting {
        key: Key::DegradedMax,
        name: "CACHE_L1_DEGRADED_MAX",
        aliases: &[],
        default: "30s",
        accepts: Accepts::Time(0..=HOUR),
        apply: Apply::Running,
        doc: "With Redis: while it cannot be asked, memory answers with what was current this long ago, and says so.",
    },
    Setting {
        key: Key::L2Ttl,
        name: "CACHE_L2_TTL",
        aliases: &[],
        default: "30m",
        accepts: Accepts::Time(SECOND..=720 * HOUR),
        apply: Apply::Running,
        doc: "With Redis: the longest time that an entry is kept there.",
    },
    Setting {
        key: Key::L2Writes,
        name: "CACHE_L2_WRITES",
        aliases: &[],
        default: "64",
        accepts: Accepts::Count(0..=100_000),
        apply: Apply::Running,
        doc: "With Redis: entries on their way there at once; more are not sent.",
    },
    Setting {
        key: Key::L2WriteBytes,
        name: "CACHE_L2_WRITE_BYTES",
        aliases: &[],
        default: "16MiB",
        accepts: Accepts::Bytes(0..=GIB),
        apply: Apply::Running,
        doc: "With Redis: bytes of entries on their way there at once; more are not sent.",
    },
    Setting {
        key: Key::L2Lease,
        name: "CACHE_L2_LEASE",
        aliases: &[],
        default: "3s",
        accepts: Accepts::Time(0..=5 * MINUTE),
        apply: Apply::Running,
        doc: "With Redis: how long other processes wait at most for one that fetches what they want, and has died. 0: each fetches.",
    },
    Setting {
        key: Key::L2ReadBudget,
        name: "CACHE_L2_READ_BUDGET",
        aliases: &[],
        default: "30ms",
        accepts: Accepts::Time(MILLISECOND..=5 * MINUTE),
        apply: Apply::Running,
        doc: "With Redis: how long a request waits for it at most.",
    },
    Setting {
        key: Key::L2WriteBudget,
        name: "CACHE_L2_WRITE_BUDGET",
        aliases: &[],
        default: "250ms",
        accepts: Accepts::Time(MILLISECOND..=5 * MINUTE),
        apply: Apply::Running,
        doc: "With Redis: how long storing an entry, or an invalidation, may take.",
    },
    Setting {
        key: Key::L2PoolWait,
        name: "CACHE_L2_POOL_WAIT",
        aliases: &[],
        default: "100ms",
        accepts: Accepts::Time(MILLISECOND..=5 * MINUTE),
        apply: Apply::Start,
        doc: "With Redis: how much of these times may be spent waiting for a connection.",
    },
    Setting {
        key: Key::L2CompressAbove,
        name: "CACHE_L2_COMPRESS_ABOVE",
        aliases: &[],
        default: "0",
        accepts: Accepts::Bytes(0..=GIB),
        apply: Apply::Start,
        doc: "With Redis: larger entries are compressed (zstd) if that makes them smaller. 0: none.",
    },
    Setting {
        key: Key::SealKeys,
        name: "CACHE_KEYS",
        aliases: &[],
        default: "none",
        accepts: Accepts::Keys,
        apply: Apply::Start,
        doc: "With Redis: keys that seal what is stored there, the first to seal and all to open.",
    },
    Setting {
        key: Key::MetricsEnabled,
        name: "CACHE_METRICS_ENABLED",
        aliases: &["ENABLE_PROMETHEUS_ENDPOINT", "ENABLE_METRICS", "ENABLE_HTTP_METRICS"],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Start,
        doc: "Whether the store's statistics are published as metrics. They are counted in either case.",
    },
    Setting {
        key: Key::LogHits,
        name: "CACHE_LOG_HITS",
        aliases: &[],
        default: "sample:1000",
        accepts: Accepts::Thinning,
        apply: Apply::Start,
        doc: "How many hits are logged, at level DEBUG: none, the first and one in N per thread, or all.",
    },
];

/// A row is found by its key.
const _: () = {
    let mut at = 0;
    while at < SETTINGS.len() {
        assert!(SETTINGS[at].key as usize == at, "the table is in the order of its keys");
        at += 1;
    }
};

/// `none` among the encoded values.
const NONE: u64 = u64::MAX;

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
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self { values: [0; SETTINGS.len()], namespace: "".into(), keys: None };
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

    /// Reads variables: those that start with `CACHE_` and the older names that the manual lists. All others are
    /// passed over.
    ///
    /// # Errors
    ///
    /// A variable that starts with `CACHE_` and is not a setting, a malformed value or one out of range, and two
    /// names of the same setting with different values. The error names the variable, its value and what is accepted.
    pub fn from_vars<N: AsRef<str>, V: AsRef<str>>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error> {
        let mut config = Self::default();
        let mut seen: [Option<String>; SETTINGS.len()] = Default::default();
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
            Accepts::Keys => self.keys = Some(text).filter(|text| *text != "none").map(Into::into),
            accepts => self.values[at] = accepts.parse(text)?,
        }
        Some(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.namespace
    }

    /// The text of `CACHE_KEYS`.
    #[cfg(feature = "redis")]
    pub(crate) fn seal_keys(&self) -> Option<&str> {
        self.keys.as_deref()
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

    pub(crate) fn metrics_enabled(&self) -> bool {
        self.values[Key::MetricsEnabled as usize] != 0
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
                Accepts::Keys => map.entry(&setting.name, &self.keys.as_ref().map(|_| "***")),
                Accepts::TimeOrNone(_) if value == NONE => map.entry(&setting.name, &"none"),
                Accepts::Time(_) | Accepts::TimeOrNone(_) => map.entry(&setting.name, &Duration::from_nanos(value)),
                _ => map.entry(&setting.name, &value),
            };
        }
        map.finish()
    }
}

/// What [`Settings`] and [`Flags`] of one store share.
#[derive(Debug)]
struct Live {
    values: [AtomicU64; SETTINGS.len()],
    observe: Observe,
}

impl Live {
    fn get(&self, key: Key) -> u64 {
        self.values[key as usize].load(Relaxed)
    }

    fn set_flag(&self, feature: Feature, on: bool) {
        self.values[flag(feature) as usize].store(u64::from(on), Relaxed);
        self.observe.flag_changed(feature, on);
    }
}

/// The settings of a running store.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Live>);

impl Settings {
    pub(crate) fn new(config: &Config, observe: Observe) -> Self {
        for feature in Feature::ALL {
            observe.flag_is(*feature, config.values[flag(*feature) as usize] != 0);
        }
        let values = config.values.map(AtomicU64::new);
        Self(Arc::new(Live { values, observe }))
    }

    /// Changes a setting, from the next request on. Names and values are those of the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::from_vars`], and for a setting that applies only when a store starts.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let at = find(name)?;
        let setting = &SETTINGS[at];
        let refused = || malformed(name, value, &setting.accepts.to_string());
        match setting.apply {
            Apply::Start => {
                return Err(Error::config(format!("{name} applies only when a store starts")));
            }
            Apply::Flag(feature) => self.0.set_flag(feature, setting.accepts.parse(value).ok_or_else(refused)? != 0),
            Apply::Running => {
                self.0.values[at].store(setting.accepts.parse(value).ok_or_else(refused)?, Relaxed);
                self.0.observe.setting_changed(setting.name, value);
            }
        }
        Ok(())
    }

    /// The switches among the settings.
    pub fn flags(&self) -> Flags {
        Flags(Arc::clone(&self.0))
    }

    pub(crate) fn max_body_bytes(&self) -> u64 {
        self.0.get(Key::MaxBodyBytes)
    }

    pub(crate) fn max_variants(&self) -> u64 {
        self.0.get(Key::MaxVariants)
    }

    pub(crate) fn max_key_bytes(&self) -> u64 {
        self.0.get(Key::MaxKeyBytes)
    }

    pub(crate) fn max_tags(&self) -> u64 {
        self.0.get(Key::MaxTags)
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        let value = self.0.get(Key::DefaultTtl);
        (value != NONE).then(|| Duration::from_nanos(value))
    }

    pub(crate) fn fill_wait(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::FillWait))
    }

    pub(crate) fn hit_for_miss(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::HitForMiss))
    }

    pub(crate) fn max_refreshes(&self) -> u64 {
        self.0.get(Key::MaxRefreshes)
    }

    #[inline]
    pub(crate) fn max_lag(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::MaxLag))
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::PollInterval))
    }

    pub(crate) fn degraded_max(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::DegradedMax))
    }

    pub(crate) fn l2_ttl(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2Ttl))
    }

    pub(crate) fn read_budget(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2ReadBudget))
    }

    pub(crate) fn write_budget(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2WriteBudget))
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_nanos(self.0.get(Key::L2Lease))
    }

    pub(crate) fn l2_writes(&self) -> u64 {
        self.0.get(Key::L2Writes)
    }

    pub(crate) fn l2_write_bytes(&self) -> u64 {
        self.0.get(Key::L2WriteBytes)
    }
}

/// The switches of a running store.
#[derive(Clone, Debug)]
pub struct Flags(Arc<Live>);

impl Flags {
    /// Whether a feature is on.
    #[inline]
    pub fn is_on(&self, feature: Feature) -> bool {
        self.0.get(flag(feature)) != 0
    }

    /// Switches a feature, from the next request on. It is logged (`cache_flag_changed`) and visible as
    /// `cache_feature_enabled`.
    pub fn set(&self, feature: Feature, on: bool) {
        self.0.set_flag(feature, on);
    }
}

const fn flag(feature: Feature) -> Key {
    match feature {
        Feature::Cache => Key::Enabled,
        Feature::L1 => Key::L1Enabled,
        Feature::L2 => Key::L2Enabled,
        Feature::Swr => Key::SwrEnabled,
    }
}

impl Accepts {
    /// Encodes a value: booleans as 0 and 1, times in nanoseconds, `none` as [`NONE`], thinning as one in so many.
    fn parse(&self, text: &str) -> Option<u64> {
        let value = match self {
            Self::Boolean => u64::from(parse_bool(text)?),
            Self::Count(_) => parse_digits(text)?,
            Self::Bytes(_) => parse_bytes(text)?,
            Self::TimeOrNone(_) if text == "none" => return Some(NONE),
            Self::Time(_) | Self::TimeOrNone(_) => parse_time(text)?,
            Self::Thinning => parse_thinning(text)?,
            Self::Name | Self::Keys => return None,
        };
        self.range().contains(&value).then_some(value)
    }

    fn range(&self) -> RangeInclusive<u64> {
        match self {
            Self::Count(range) | Self::Bytes(range) | Self::Time(range) | Self::TimeOrNone(range) => range.clone(),
            Self::Boolean => 0..=1,
            Self::Name | Self::Thinning | Self::Keys => 0..=u64::MAX,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Count(_) => "number",
            Self::Bytes(_) => "bytes",
            Self::Time(_) | Self::TimeOrNone(_) => "time",
            Self::Name => "name",
            Self::Thinning => "choice",
            Self::Keys => "secret",
        }
    }
}

/// What is accepted, for errors and the manual.
impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("`1 0 true false yes no on off`"),
            Self::Count(range) => write!(f, "{} to {}", range.start(), range.end()),
            Self::Bytes(range) => write!(f, "{} to {}", bytes_text(*range.start()), bytes_text(*range.end())),
            Self::Time(range) => write!(f, "{} to {}", time_text(*range.start()), time_text(*range.end())),
            Self::TimeOrNone(range) => {
                write!(f, "`none`, or {} to {}", time_text(*range.start()), time_text(*range.end()))
            }
            Self::Name => f.write_str("1 to 64 of `A-Z a-z 0-9 _ . -`, but not `other`"),
            Self::Keys => f.write_str("`none`, or 1 to 3 of `id:key` with commas between them"),
            Self::Thinning => f.write_str("`off`, `sample:N` with N from 1 to 1000000000, or `all`"),
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    match () {
        () if ["1", "true", "yes", "on"].iter().any(is) => Some(true),
        () if ["0", "false", "no", "off"].iter().any(is) => Some(false),
        () => None,
    }
}

/// Digits only: no sign, no space, no underscore.
fn parse_digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A number and, directly after it, a unit.
fn parse_with_unit(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    parse_digits(digits)?.checked_mul(factor(unit)?)
}

fn parse_bytes(text: &str) -> Option<u64> {
    parse_with_unit(text, |unit| match unit {
        "" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(MIB),
        "GiB" => Some(GIB),
        "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        _ => None,
    })
}

fn parse_time(text: &str) -> Option<u64> {
    parse_with_unit(text, |unit| match unit {
        "ms" => Some(MILLISECOND),
        "" | "s" => Some(SECOND),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        _ => None,
    })
}

fn parse_thinning(text: &str) -> Option<u64> {
    match text {
        "off" => Some(0),
        "all" => Some(1),
        _ => parse_digits(text.strip_prefix("sample:")?).filter(|n| (1..=1_000_000_000).contains(n)),
    }
}

/// A name that is safe as a metric label and as a part of a key in Redis.
pub(crate) fn parse_name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "other";
    valid.then_some(text)
}

fn bytes_text(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(GIB) => format!("{}GiB", bytes / GIB),
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => bytes.to_string(),
    }
}

fn time_text(time: u64) -> String {
    match time {
        _ if !time.is_multiple_of(SECOND) => format!("{}ms", time / MILLISECOND),
        _ if !time.is_multiple_of(MINUTE) || time == 0 => format!("{}s", time / SECOND),
        _ if !time.is_multiple_of(HOUR) => format!("{}m", time / MINUTE),
        _ => format!("{}h", time / HOUR),
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("CACHE_") || names().any(|known| known == name)
}

fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(Setting::names)
}

impl Setting {
    fn row(&self) -> String {
        let changes = match self.apply {
            Apply::Start => "at start",
            Apply::Running | Apply::Flag(_) => "while running",
        };
        let Self { name, default, accepts, doc, .. } = self;
        let aliases: String = self.aliases.iter().flat_map(|alias| [" Also `", alias, "`."]).collect();
        let kind = accepts.type_name();
        format!("| `{name}` | {kind} | `{default}` | {accepts} | {changes} | {doc}{aliases} |\n")
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

fn find(name: &str) -> Result<usize, Error> {
    let at = SETTINGS.iter().position(|setting| setting.names().any(|known| known == name));
    at.ok_or_else(|| unknown(name))
}

#[cold]
fn unknown(name: &str) -> Error {
    // Kubernetes announces a Service called `cache` to every pod of its namespace.
    if name.starts_with("CACHE_SERVICE_") || name.starts_with("CACHE_PORT") {
        let text =
            "is set by a Kubernetes Service called `cache`: rename it, or set `enableServiceLinks: false` in the pod";
        return Error::config(format!("{} {text}", shown(name)));
    }
    // A name that was cut short or added to is nearer than one with as many other letters.
    let related = |known: &str| known.starts_with(name) || name.starts_with(known);
    let nearest = names().min_by_key(|known| (!related(known), distance(name, known))).unwrap_or_default();
    Error::config(format!("{} is not a setting; the nearest one is {nearest}", shown(name)))
}

#[cold]
fn malformed(name: &str, value: &str, accepts: &str) -> Error {
    Error::config(format!("{name} is {:?}, but accepts {accepts}", shown(value)))
}

#[cold]
fn contradiction(one: &str, other: &str) -> Error {
    Error::config(format!("{one} and {other} name the same setting and differ; set one of them"))
}

/// As much of a hostile text as an error needs.
fn shown(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How many characters to insert, remove or replace (Levenshtein), looking at the first 64 of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
