//! The numbers of this moment.

use super::Inner;
use super::answer::{AdminBody, json};
use super::flags;
use crate::Store;
use crate::observe::Class;
use crate::stats::{
    BreakerName, BreakerState, BypassReason, CacheStatus, CoherenceState, EpochChange, ErrorKind, EvictionReason,
    ForwardReason, L2Op, LookupResult, Stats, StoreResult, Tier,
};
use http::{Response, StatusCode};
use serde_json::{Map, Value as Json, json};
use std::time::Duration;

/// How many of each class are told.
const TOP: usize = 20;

pub(super) fn answer(admin: &Inner) -> Response<AdminBody> {
    let (store, stats) = (&admin.store, admin.store.stats());
    let shared = stats.max_lag().is_some();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "namespace": store.namespace(),
        "shared_through": store.shared_through(),
        "requests": each(CacheStatus::ALL, CacheStatus::as_str, |status| stats.requests(status)),
        "hit_ratio": hit_ratio(&stats),
        "latency": latency(&stats),
        "forwards": each(ForwardReason::ALL, ForwardReason::as_str, |reason| stats.forwards(reason)),
        "bypasses": each(BypassReason::ALL, BypassReason::as_str, |reason| stats.bypasses(reason)),
        "inflight_fills": stats.inflight_fills(),
        "tiers": { "l1": memory(&stats), "l2": shared.then(|| redis(&stats)) },
        "coherence": shared.then(|| coherence(&stats)),
        "purges": { "position": stats.position(), "pending": stats.pending_invalidations(),
                    "oldest_pending": seconds(stats.oldest_pending()) },
        "flags": flags::all(store),
        "top": top(store),
    });
    json(StatusCode::OK, &body)
}

fn each<T: Copy>(all: &[T], word: fn(T) -> &'static str, value: impl Fn(T) -> u64) -> Json {
    Json::Object(all.iter().map(|item| (word(*item).to_owned(), value(*item).into())).collect::<Map<_, _>>())
}

/// The share of the requests that the cache answered, with the origin's word or without, of those for which it was asked:
/// what rules, dashboards and reports divide too.
fn hit_ratio(stats: &Stats) -> Option<f64> {
    let sum = |statuses: &[CacheStatus]| statuses.iter().map(|status| stats.requests(*status)).sum::<u64>();
    let hits = sum(&[
        CacheStatus::L1CacheHit,
        CacheStatus::L2CacheHit,
        CacheStatus::Stale,
        CacheStatus::Revalidated,
        CacheStatus::Coalesced,
    ]);
    let all = hits + sum(&[CacheStatus::Miss, CacheStatus::Error]);
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    (all > 0).then(|| hits as f64 / all as f64)
}

/// The buckets too, so that who asks again can tell what was in between.
fn latency(stats: &Stats) -> Json {
    let times = stats.request_times();
    let quantile = |share| times.quantile(share).map(seconds);
    let edges: Vec<_> = times.edges.iter().map(|edge| seconds(Duration::from_nanos(*edge))).collect();
    json!({ "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "edges": edges, "counts": times.counts })
}

fn memory(stats: &Stats) -> Json {
    json!({
        "entries": stats.entries(),
        "bytes": stats.size_bytes(),
        "max_bytes": stats.max_size_bytes(),
        "lookups": each(LookupResult::ALL, LookupResult::as_str, |result| stats.lookups(Tier::L1, result)),
        "stores": each(StoreResult::ALL, StoreResult::as_str, |result| stats.stores(Tier::L1, result)),
        "evictions": each(EvictionReason::ALL, EvictionReason::as_str, |reason| stats.evictions(reason)),
    })
}

fn redis(stats: &Stats) -> Json {
    let errors = |kind| L2Op::ALL.iter().map(|op| stats.l2_errors(*op, kind)).sum();
    let breaker =
        |name: &BreakerName| (name.as_str().to_owned(), stats.breaker(*name).map(BreakerState::as_str).into());
    json!({
        "lookups": each(LookupResult::ALL, LookupResult::as_str, |result| stats.lookups(Tier::L2, result)),
        "stores": each(StoreResult::ALL, StoreResult::as_str, |result| stats.stores(Tier::L2, result)),
        "errors": each(ErrorKind::ALL, ErrorKind::as_str, errors),
        "breakers": Json::Object(BreakerName::ALL.iter().map(breaker).collect()),
    })
}

fn coherence(stats: &Stats) -> Json {
    json!({
        "state": stats.coherence().map(CoherenceState::as_str),
        "proof_age": stats.proof_age().map(seconds),
        "max_lag": stats.max_lag().map(seconds),
        "epoch_changes": each(EpochChange::ALL, EpochChange::as_str, |reason| stats.epoch_changes(reason)),
    })
}

fn top(store: &Store) -> Json {
    let watch = store.observe().watch();
    let of = |class| {
        let top = watch.top(class).into_iter().take(TOP);
        top.map(|asked| json!({ "name": &*asked.name, "count": asked.count, "over": asked.over })).collect::<Json>()
    };
    Json::Object(Class::ALL.into_iter().map(|(class, word)| (word.to_owned(), of(class))).collect())
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
