//! The figures of a time, from what grew in it. Ratios are those of the recording rules; what had no requests has none.

use super::document::Figure;
use super::increases::{Increases, Wanted};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// Of the document. Members are added within one; a number that would mean something else is another.
pub(crate) const SCHEMA: u64 = 1;

/// From when to when, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Window {
    pub(crate) fn seconds(self) -> f64 {
        (self.to - self.from).max(0.0)
    }
}

/// What ran, and how many of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Build {
    pub(crate) version: String,
    pub(crate) revision: String,
    pub(crate) processes: f64,
}

/// What a fleet did over a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) source: &'static str,
    pub(crate) window: Window,
    pub(crate) builds: Vec<Build>,
    pub(crate) increases: Increases,
    /// The greatest age that the newest proof of coherence had in a process, in seconds.
    pub(crate) oldest_proof: Option<f64>,
    /// The bound of that.
    pub(crate) max_lag: Option<f64>,
    /// The greatest part of its limit that was ever in use: of a server of Redis (`redis`), and of what a process has
    /// for each cache. Empty if nobody watched.
    pub(crate) memory: BTreeMap<String, f64>,
    /// How often each alert of ours began to fire, by its name and the job that it is about. `None` if nobody watched.
    pub(crate) alerts: Option<BTreeMap<String, f64>>,
}

/// What of the requests for one namespace the cache has answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) hits: f64,
    pub(crate) misses: f64,
}

impl Namespace {
    pub(crate) fn ratio(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses)
    }

    fn json(self) -> (String, Value) {
        let (hits, misses, ratio) = (figure(Some(self.hits)), figure(Some(self.misses)), figure(self.ratio()));
        (self.name, json!({ "hits": hits, "misses": misses, "ratio": ratio }))
    }
}

/// Which of the two caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Response,
    Authz,
}

/// Found in the cache or waited for: what counts as hit.
const HITS: &[&str] = &["l1_cache_hit", "l2_cache_hit", "cache_stale", "cache_revalidated", "cache_coalesced"];
/// Answered from the cache alone: who waited for the origin's 304 or another request's fetch was not.
const CACHED: &[&str] = &["l1_cache_hit", "l2_cache_hit", "cache_stale"];
const UNCACHED: &[&str] = &["cache_revalidated", "cache_coalesced", "cache_miss", "cache_error"];
/// Nobody asked the origin for these.
const SAVED: &[&str] = &["l1_cache_hit", "l2_cache_hit", "cache_stale", "cache_coalesced"];
/// Everything but bypasses, for which nobody asked the cache.
const TRAFFIC: &[&str] = &[
    "l1_cache_hit",
    "l2_cache_hit",
    "cache_stale",
    "cache_revalidated",
    "cache_coalesced",
    "cache_miss",
    "cache_error",
];
/// Traffic that is no hit.
const MISSES: &[&str] = &["cache_miss", "cache_error"];
const BEHIND_MEMORY: &[&str] = &["l2_cache_hit", "cache_coalesced", "cache_miss", "cache_error"];
const LOOKED_UP: &[&str] = &["hit", "stale", "miss", "rejected", "error", "timeout"];
const FOUND: &[&str] = &["hit", "stale"];

/// In seconds. `None`: nothing of it was timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50: Option<Figure>,
    pub(crate) p95: Option<Figure>,
    pub(crate) p99: Option<Figure>,
}

impl Percentiles {
    fn of(increases: &Increases, metric: &str, wanted: Wanted<'_>) -> Self {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|q| increases.quantile(q, metric, wanted));
        Self { p50, p95, p99 }
    }

    fn json(self) -> Value {
        members([("p50", self.p50), ("p95", self.p95), ("p99", self.p99)])
    }
}

impl Cache {
    pub(crate) const ALL: [Self; 2] = [Self::Response, Self::Authz];

    /// As the label `cache` says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Authz => "authz",
        }
    }

    fn requests_metric(self) -> &'static str {
        match self {
            Self::Response => "cache_requests_total",
            Self::Authz => "authz_check_total",
        }
    }

    fn durations_metric(self) -> &'static str {
        match self {
            Self::Response => "cache_request_duration_seconds_bucket",
            Self::Authz => "authz_check_duration_seconds_bucket",
        }
    }

    /// All requests (or checks), or those of these statuses.
    pub(crate) fn requests(self, increases: &Increases, statuses: Option<&[&str]>) -> f64 {
        match statuses {
            Some(statuses) => increases.sum(self.requests_metric(), &[("cache_status", statuses)]),
            None => increases.sum(self.requests_metric(), &[]),
        }
    }

    /// Of what consulted the cache, the part that it answered.
    pub(crate) fn combined(self, increases: &Increases) -> Option<f64> {
        ratio(self.requests(increases, Some(HITS)), self.requests(increases, Some(TRAFFIC)))
    }

    /// By namespaces, for which responses alone are counted: those that were asked for, the most asked for first.
    pub(crate) fn namespaces(self, increases: &Increases) -> Vec<Namespace> {
        let metric = self.requests_metric();
        let of = |name: &str| {
            let count = |statuses| increases.sum(metric, &[("cache_namespace", &[name]), ("cache_status", statuses)]);
            Namespace { name: name.to_owned(), hits: count(HITS), misses: count(MISSES) }
        };
        let mut all: Vec<_> = increases.values(metric, "cache_namespace").into_iter().map(of).collect();
        all.retain(|one| one.hits + one.misses >= 0.5);
        all.sort_by(|a, b| (b.hits + b.misses).total_cmp(&(a.hits + a.misses)));
        all
    }

    /// Of what was looked for in process memory, the part that was there.
    pub(crate) fn l1(self, increases: &Increases) -> Option<f64> {
        self.tier(increases, "l1")
    }

    /// Of what reached Redis, the part that was there: of all requests, it is low behind a good process memory.
    pub(crate) fn l2_share(self, increases: &Increases) -> Option<f64> {
        match self {
            Self::Response => self.tier(increases, "l2"),
            Self::Authz => {
                let found = self.requests(increases, Some(&["l2_cache_hit"]));
                ratio(found, self.requests(increases, Some(BEHIND_MEMORY)))
            }
        }
    }

    fn tier(self, increases: &Increases, tier: &str) -> Option<f64> {
        let lookups = |results: &[&str]| {
            let wanted: Wanted<'_> = &[("cache", &[self.name()]), ("tier", &[tier]), ("result", results)];
            increases.sum("cache_lookups_total", wanted)
        };
        ratio(lookups(FOUND), lookups(LOOKED_UP))
    }

    /// The part that got no answer.
    pub(crate) fn error_share(self, increases: &Increases) -> Option<f64> {
        ratio(self.errors(increases), self.requests(increases, None))
    }

    pub(crate) fn errors(self, increases: &Increases) -> f64 {
        match self {
            Self::Response => self.requests(increases, Some(&["cache_error"])),
            Self::Authz => increases.sum("authz_check_total", &[("decision", &["error"])]),
        }
    }

    pub(crate) fn latency(self, increases: &Increases) -> Percentiles {
        Percentiles::of(increases, self.durations_metric(), &[])
    }

    pub(crate) fn latency_of(self, increases: &Increases, statuses: &[&str]) -> Percentiles {
        Percentiles::of(increases, self.durations_metric(), &[("cache_status", statuses)])
    }

    pub(crate) fn latency_cached(self, increases: &Increases) -> Percentiles {
        self.latency_of(increases, CACHED)
    }

    pub(crate) fn latency_uncached(self, increases: &Increases) -> Percentiles {
        self.latency_of(increases, UNCACHED)
    }

    /// Of the origin, or of the source of permissions.
    pub(crate) fn origin(self, increases: &Increases) -> Percentiles {
        Percentiles::of(increases, "cache_origin_duration_seconds_bucket", &[("cache", &[self.name()])])
    }

    pub(crate) fn fills(self, increases: &Increases) -> Percentiles {
        Percentiles::of(increases, "cache_fill_duration_seconds_bucket", &[("cache", &[self.name()])])
    }

    /// Requests that the origin did not see.
    pub(crate) fn calls_saved(self, increases: &Increases) -> f64 {
        self.requests(increases, Some(SAVED))
    }

    /// An estimate: had each of these taken as long as the origin does in the median.
    pub(crate) fn seconds_saved(self, increases: &Increases) -> Option<Figure> {
        self.origin(increases).p50.map(|median| median.times(self.calls_saved(increases)))
    }

    /// Entries that were fetched and kept, in whichever tier.
    pub(crate) fn filled(self, increases: &Increases) -> f64 {
        increases.sum("cache_fill_duration_seconds_bucket", &[("cache", &[self.name()]), ("le", &["+Inf"])])
    }

    /// Attempts to store in Redis; only those with this result.
    pub(crate) fn l2_stores(self, increases: &Increases, result: Option<&str>) -> f64 {
        let (name, results) = ([self.name()], result.into_iter().collect::<Vec<_>>());
        let tier: (&str, &[&str]) = ("tier", &["l2"]);
        match results.as_slice() {
            [] => increases.sum("cache_stores_total", &[("cache", &name), tier]),
            results => increases.sum("cache_stores_total", &[("cache", &name), tier, ("result", results)]),
        }
    }

    fn json(self, summary: &Summary) -> Value {
        let (all, seconds) = (&summary.increases, summary.window.seconds());
        let requests = self.requests(all, None);
        let of_this: Wanted<'_> = &[("cache", &[self.name()])];
        let counted = |metric: &str, labels: &[&str]| figures(&all.by(metric, labels, of_this));
        let namespaces: Map<_, _> = self.namespaces(all).into_iter().map(Namespace::json).collect();
        json!({
            "requests": figure(Some(requests)),
            "requests_per_second": figure(ratio(requests, seconds)),
            "statuses": figures(&all.by(self.requests_metric(), &["cache_status"], &[])),
            "namespaces": namespaces,
            "ratios": { "combined": figure(self.combined(all)), "l1": figure(self.l1(all)), "l2_share": figure(self.l2_share(all)) },
            "errors": figure(Some(self.errors(all))),
            "error_share": figure(self.error_share(all)),
            "latency_seconds": {
                "all": self.latency(all).json(),
                "cached": self.latency_cached(all).json(),
                "uncached": self.latency_uncached(all).json(),
            },
            "origin_seconds": self.origin(all).json(),
            "fill_seconds": self.fills(all).json(),
            "saved": members([
                ("origin_calls", Some(Figure::Is(self.calls_saved(all)))),
                ("seconds_estimate", self.seconds_saved(all)),
            ]),
            "bypasses": counted("cache_bypass_total", &["reason"]),
            "rejected": counted("cache_entries_rejected_total", &["tier", "reason"]),
            "stores": counted("cache_stores_total", &["tier", "result"]),
            "evictions": counted("cache_evictions_total", &["reason"]),
            "consistency": counted("cache_consistency_samples_total", &["result"]),
        })
    }
}

impl Summary {
    /// Whether anybody asked for anything.
    pub(crate) fn has_traffic(&self) -> bool {
        Cache::ALL.into_iter().any(|cache| cache.requests(&self.increases, None) > 0.0)
    }

    /// Whether a process has a tier that it shares with others.
    pub(crate) fn has_l2(&self) -> bool {
        self.increases.has("cache_l2_errors_total")
    }

    pub(crate) fn lag(&self) -> Percentiles {
        Percentiles::of(&self.increases, "cache_coherence_lag_seconds_bucket", &[])
    }

    /// The document that `terrace baseline` keeps. No number of it is anything but finite; what is not known is null.
    pub(crate) fn json(&self) -> Value {
        let all = &self.increases;
        let counted = |metric: &str, labels: &[&str]| figures(&all.by(metric, labels, &[]));
        let caches: Map<_, _> =
            Cache::ALL.map(|cache| (cache.name().to_owned(), cache.json(self))).into_iter().collect();
        let build = |build: &Build| json!({ "version": build.version, "revision": build.revision, "processes": figure(Some(build.processes)) });
        json!({
            "schema": SCHEMA,
            "source": self.source,
            "from": time(self.window.from),
            "to": time(self.window.to),
            "seconds": figure(Some(self.window.seconds())),
            "builds": self.builds.iter().map(build).collect::<Vec<_>>(),
            "caches": caches,
            "forwards": counted("cache_forwards_total", &["reason"]),
            "l2": { "present": self.has_l2(), "errors": counted("cache_l2_errors_total", &["op", "kind"]) },
            "invalidations": counted("cache_invalidations_total", &["scope", "kind", "result"]),
            "coherence": {
                "epoch_changes": counted("cache_coherence_epoch_changes_total", &["reason"]),
                "lag_seconds": self.lag().json(),
                "oldest_proof_seconds": figure(self.oldest_proof),
                "max_lag_seconds": figure(self.max_lag),
            },
            "memory": figures(&self.memory),
            "alerts": self.alerts.as_ref().map(figures),
        })
    }
}

/// `None` without anything to divide by.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole).filter(|ratio| ratio.is_finite())
}

/// Six digits: more are not known, and would be noise in what is compared.
fn figure(number: Option<f64>) -> Value {
    let rounded = number.and_then(|number| format!("{number:.5e}").parse::<f64>().ok());
    rounded.and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
}

/// A number that is only known to be above another is null, and that other is `NAME_above`: who does not know that member
/// takes the number for what it is, not known.
fn members<const N: usize>(all: [(&str, Option<Figure>); N]) -> Value {
    let mut object = Map::new();
    for (name, found) in all {
        let (is, above) = match found {
            Some(Figure::Above(edge)) => (None, Some(edge)),
            found => (found.map(Figure::least), None),
        };
        object.insert(name.to_owned(), figure(is));
        object.extend(above.map(|edge| (format!("{name}_above"), figure(Some(edge)))));
    }
    Value::Object(object)
}

fn figures(all: &BTreeMap<String, f64>) -> Value {
    Value::Object(all.iter().map(|(name, number)| (name.clone(), figure(Some(*number)))).collect())
}

/// As in RFC 3339.
pub(crate) fn time(seconds: f64) -> String {
    // Beyond it, there are no four digits for the year.
    let seconds = if seconds.is_finite() { seconds.clamp(0.0, 253_402_300_799.0) } else { 0.0 };
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs_f64(seconds)).to_string()
}

#[cfg(test)]
mod tests;
