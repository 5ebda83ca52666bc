//! The table.

use super::accepts::{Accepts, GIB, HOUR, KIB, MILLISECOND, MINUTE, SECOND};
use super::errors::unknown;
use crate::Error;
use crate::observe::stats::Feature;

/// One row of the table.
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) name: &'static str,
    /// Older names for the same setting.
    pub(super) aliases: &'static [&'static str],
    pub(super) default: &'static str,
    pub(super) accepts: Accepts,
    pub(super) apply: Apply,
    pub(super) doc: &'static str,
}

/// When a change takes effect.
#[derive(Clone, Copy)]
pub(super) enum Apply {
    Start,
    Running,
    Flag(Feature),
}

/// Where a setting stands in the table.
#[derive(Clone, Copy)]
pub(super) enum Key {
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
    FleetSwitches,
    MetricsEnabled,
    CompatMetrics,
    ConsistencySample,
    LogHits,
    AuthzEnabled,
    AuthzL2Enabled,
    AuthzKeys,
    AuthzTtl,
    AuthzDenyTtl,
    AuthzStaleIfError,
    AuthzSourceTimeout,
    AuthzSourceConcurrency,
    AuthzSourceLag,
    AuthzHold,
    AuthzL1MaxBytes,
    AuthzTenantShare,
    AuthzDebugHeader,
}

pub(super) const SETTINGS: [Setting; Key::AuthzDebugHeader as usize + 1] = [
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
        doc: "With Redis: how long after an invalidation elsewhere this process's memory may still answer with older data. What Redis answers counts as long after a poll, so that a poll has to fit into it several times.",
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
        key: Key::FleetSwitches,
        name: "CACHE_FLEET_SWITCHES",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Running,
        doc: "With Redis: whether this process obeys what is switched for the whole fleet (`terrace flag`). Off: its \
            own settings count, whatever is said there.",
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
        key: Key::CompatMetrics,
        name: "CACHE_COMPAT_METRICS",
        aliases: &[],
        default: "false",
        accepts: Accepts::Boolean,
        apply: Apply::Start,
        doc: "Whether statistics are also published as `tool_cache_hits_total`, `tool_cache_misses_total` and \
            `tool_run_seconds`. Not together with the recording rules of these names: each would count twice.",
    },
    Setting {
        key: Key::ConsistencySample,
        name: "CACHE_CONSISTENCY_SAMPLE",
        aliases: &[],
        default: "0",
        accepts: Accepts::Count(0..=1_000_000_000),
        apply: Apply::Running,
        doc: "One hit in so many is compared, in the background and one at a time, with a fresh answer of the origin or of \
            the source of permissions (`cache_consistency_samples_total`); 0: none.",
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
    Setting {
        key: Key::AuthzEnabled,
        name: "AUTHZ_CACHE_ENABLED",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::Authz),
        doc: "Whether what subjects may do is cached. Off: the source is asked each time; revocations still work.",
    },
    Setting {
        key: Key::AuthzL2Enabled,
        name: "AUTHZ_L2_CACHE_ENABLED",
        aliases: &[],
        default: "true",
        accepts: Accepts::Boolean,
        apply: Apply::Flag(Feature::AuthzL2),
        doc: "With Redis: whether what subjects may do is read from there and stored there. Off: revocations still go \
            through Redis.",
    },
    Setting {
        key: Key::AuthzKeys,
        name: "AUTHZ_CACHE_KEYS",
        aliases: &[],
        default: "none",
        accepts: Accepts::Keys,
        apply: Apply::Start,
        doc: "With Redis, for authorization, and required: keys that seal what subjects may do and name who they are, \
            the first to seal and all to open. `terrace keygen` makes one.",
    },
    Setting {
        key: Key::AuthzTtl,
        name: "AUTHZ_CACHE_TTL",
        aliases: &[],
        default: "300s",
        accepts: Accepts::Time(0..=HOUR),
        apply: Apply::Running,
        doc: "How long what a subject may do is cached at most; 0: not at all.",
    },
    Setting {
        key: Key::AuthzDenyTtl,
        name: "AUTHZ_CACHE_DENY_TTL",
        aliases: &[],
        default: "5s",
        accepts: Accepts::Time(0..=HOUR),
        apply: Apply::Running,
        doc: "How old what is cached may be for somebody to be denied by it; 0: the source is asked before anybody is denied.",
    },
    Setting {
        key: Key::AuthzStaleIfError,
        name: "AUTHZ_CACHE_STALE_IF_ERROR",
        aliases: &[],
        default: "0s",
        accepts: Accepts::Time(0..=HOUR),
        apply: Apply::Running,
        doc: "How long after its end a requirement may ask for what is cached to be used if the source fails.",
    },
    Setting {
        key: Key::AuthzSourceTimeout,
        name: "AUTHZ_CACHE_SOURCE_TIMEOUT_MS",
        aliases: &[],
        default: "800",
        accepts: Accepts::Millis(MILLISECOND..=MINUTE),
        apply: Apply::Running,
        doc: "How long a check waits for the source of permissions, its turn included, which gets half of it at most; and, before that, for who the caller is.",
    },
    Setting {
        key: Key::AuthzSourceConcurrency,
        name: "AUTHZ_CACHE_SOURCE_CONCURRENCY",
        aliases: &[],
        default: "64",
        accepts: Accepts::Count(1..=100_000),
        apply: Apply::Start,
        doc: "Calls of the source of permissions at once; one more waits for its turn.",
    },
    Setting {
        key: Key::AuthzSourceLag,
        name: "AUTHZ_CACHE_SOURCE_LAG_MS",
        aliases: &[],
        default: "0",
        accepts: Accepts::Millis(0..=MINUTE),
        apply: Apply::Running,
        doc: "How far the source of permissions may be behind a change: what is changed stays uncached for so long.",
    },
    Setting {
        key: Key::AuthzHold,
        name: "AUTHZ_CACHE_HOLD_S",
        aliases: &[],
        default: "10",
        accepts: Accepts::Time(SECOND..=MINUTE),
        apply: Apply::Running,
        doc: "How long a change of rights whose process has died keeps what it is about uncached; at least AUTHZ_CACHE_SOURCE_LAG_MS.",
    },
    Setting {
        key: Key::AuthzL1MaxBytes,
        name: "AUTHZ_CACHE_L1_MAX_BYTES",
        aliases: &[],
        default: "32MiB",
        accepts: Accepts::Bytes(0..=1024 * GIB),
        apply: Apply::Start,
        doc: "Bytes of what subjects may do, overhead included, that this process keeps in memory.",
    },
    Setting {
        key: Key::AuthzTenantShare,
        name: "AUTHZ_CACHE_TENANT_SHARE_PCT",
        aliases: &[],
        default: "25",
        accepts: Accepts::Count(1..=100),
        apply: Apply::Start,
        doc: "How much of these one tenant may use, in percent.",
    },
    Setting {
        key: Key::AuthzDebugHeader,
        name: "AUTHZ_CACHE_DEBUG_HEADER",
        aliases: &[],
        default: "false",
        accepts: Accepts::Boolean,
        apply: Apply::Running,
        doc: "Whether responses say in `x-authz-cache` how their check was answered.",
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

pub(super) fn is_ours(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["CACHE_", "AUTHZ_CACHE_", "AUTHZ_L2_CACHE_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || names().any(|known| known == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(Setting::names)
}

impl Setting {
    pub(super) fn row(&self) -> String {
        let changes = match self.apply {
            Apply::Start => "at start",
            Apply::Running | Apply::Flag(_) => "while running",
        };
        let Self { name, default, accepts, doc, .. } = self;
        let aliases: String = self.aliases.iter().flat_map(|alias| [" Also `", alias, "`."]).collect();
        let kind = accepts.type_name();
        format!("| `{name}` | {kind} | `{default}` | {accepts} | {changes} | {doc}{aliases} |\n")
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

pub(super) fn find(name: &str) -> Result<usize, Error> {
    let at = SETTINGS.iter().position(|setting| setting.names().any(|known| known == name));
    at.ok_or_else(|| unknown(name))
}
