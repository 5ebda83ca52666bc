//! A summary for people.

use super::document::{Section, Unit};
use super::summary::{Cache, Namespace, Percentiles, Summary, time};
use std::collections::BTreeMap;

/// How many reasons are listed.
const TOP: usize = 10;

/// All of it, by sections.
pub(crate) fn tables(summary: &Summary) -> Vec<Section> {
    let mut sections = vec![overview(summary)];
    for cache in Cache::ALL {
        if cache.requests(&summary.increases, None) > 0.0 {
            sections.push(traffic(cache, summary));
            sections.extend(namespaces(cache, summary));
            sections.extend([latency(cache, summary), savings(cache, summary)]);
        } else {
            sections.push(Section::new(heading(cache)).text("No traffic."));
        }
    }
    sections.extend([reasons(summary), memory(summary), evictions(summary), redis(summary)]);
    sections.extend([invalidations(summary), coherence(summary), alerts(summary)]);
    sections
}

pub(crate) fn heading(cache: Cache) -> &'static str {
    match cache {
        Cache::Response => "Responses",
        Cache::Authz => "Authorization",
    }
}

fn overview(summary: &Summary) -> Section {
    let window = summary.window;
    let span = format!("{} to {}, {}", time(window.from), time(window.to), Unit::Seconds.show(Some(window.seconds())));
    let builds = summary.builds.iter().map(|build| {
        let revision = if build.revision.is_empty() { "unknown" } else { &build.revision };
        vec![build.version.clone(), revision.to_owned(), Unit::Count.show(Some(build.processes))]
    });
    let rows = builds.collect();
    Section::new("Measured").text(span).table(&["version", "revision", "processes"], rows, "No process was there.")
}

fn traffic(cache: Cache, summary: &Summary) -> Section {
    let all = &summary.increases;
    let requests = cache.requests(all, None);
    let row = |name: &str, unit: Unit, number: Option<f64>| vec![name.to_owned(), unit.show(number)];
    let seconds = summary.window.seconds();
    let rows = vec![
        row("requests", Unit::Count, Some(requests)),
        row("requests per second", Unit::PerSecond, (seconds > 0.0).then(|| requests / seconds)),
        row("hit ratio, all tiers", Unit::Share, cache.combined(all)),
        row("hit ratio of process memory", Unit::Share, cache.l1(all)),
        row("hit ratio of Redis, of what reached it", Unit::Share, cache.l2_share(all)),
        row("without an answer", Unit::Count, Some(cache.errors(all))),
        row("share without an answer", Unit::Share, cache.error_share(all)),
    ];
    Section::new(heading(cache)).table(&["", "value"], rows, "")
}

/// `None` where nothing is counted by namespaces.
fn namespaces(cache: Cache, summary: &Summary) -> Option<Section> {
    let all = cache.namespaces(&summary.increases);
    let row = |one: &Namespace| {
        let count = |number| Unit::Count.show(Some(number));
        vec![one.name.clone(), count(one.hits), count(one.misses), Unit::Share.show(one.ratio())]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let section = Section::new(format!("{}: namespaces", heading(cache)));
    (!rows.is_empty()).then(|| section.table(&["namespace", "hits", "misses", "hit ratio"], rows, ""))
}

fn latency(cache: Cache, summary: &Summary) -> Section {
    let all = &summary.increases;
    let rows = [
        ("all", cache.latency(all)),
        ("answered from the cache", cache.latency_cached(all)),
        ("not answered from the cache", cache.latency_uncached(all)),
        ("the origin alone", cache.origin(all)),
        ("from a miss until it is stored", cache.fills(all)),
    ];
    let rows = rows.into_iter().map(|(name, found)| percentiles(name, found)).collect();
    Section::new(format!("{}: latency", heading(cache))).table(&["", "P50", "P95", "P99"], rows, "")
}

fn percentiles(name: &str, found: Percentiles) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend([found.p50, found.p95, found.p99].map(|number| Unit::Seconds.show(number)));
    row
}

fn savings(cache: Cache, summary: &Summary) -> Section {
    let all = &summary.increases;
    let rows = vec![
        vec!["calls of the origin saved".to_owned(), Unit::Count.show(Some(cache.calls_saved(all)))],
        vec!["time saved, an estimate".to_owned(), Unit::Seconds.show(cache.seconds_saved(all))],
    ];
    let how = "The time is an estimate: each call saved, had it taken as long as the origin does in the median.";
    Section::new(format!("{}: savings", heading(cache))).table(&["", "value"], rows, "").text(how)
}

fn reasons(summary: &Summary) -> Section {
    let all = &summary.increases;
    let forwards = top(all.by("cache_forwards_total", &["reason"], &[]));
    let bypasses = top(all.by("cache_bypass_total", &["cache", "reason"], &[]));
    let rejected = top(all.by("cache_entries_rejected_total", &["cache", "tier", "reason"], &[]));
    Section::new("Why requests went further")
        .table(&["to the origin, reason", "requests"], forwards, "Nothing was forwarded to the origin.")
        .table(&["bypass: cache, reason", "requests"], bypasses, "Nothing bypassed the cache.")
        .table(&["found and not served: cache, tier, reason", "entries"], rejected, "Everything found could be served.")
}

fn memory(summary: &Summary) -> Section {
    let of = |name: &str| match name {
        "redis" => "Redis, of maxmemory".to_owned(),
        cache => format!("a process, of what it has for the cache {cache}"),
    };
    let rows = summary.memory.iter().map(|(name, part)| vec![of(name), Unit::Share.show(Some(*part))]);
    Section::new("Memory").table(&["in use by", "highest part"], rows.collect(), "How full it was is not known.")
}

fn evictions(summary: &Summary) -> Section {
    let evicted = top(summary.increases.by("cache_evictions_total", &["cache", "reason"], &[]));
    Section::new("Evictions").table(&["cache, reason", "entries"], evicted, "Nothing left process memory.")
}

fn redis(summary: &Summary) -> Section {
    let section = Section::new("Redis");
    if !summary.has_l2() {
        return section.text("No process shares a tier with others.");
    }
    let errors = top(summary.increases.by("cache_l2_errors_total", &["op", "kind"], &[]));
    let stores = top(summary.increases.by("cache_stores_total", &["cache", "result"], &[("tier", &["l2"])]));
    section.table(&["failed call, kind", "calls"], errors, "No call failed.").table(
        &["stored: cache, result", "attempts"],
        stores,
        "Nothing was to be stored.",
    )
}

fn invalidations(summary: &Summary) -> Section {
    let all = top(summary.increases.by("cache_invalidations_total", &["scope", "kind", "result"], &[]));
    Section::new("Invalidations").table(&["scope, kind, result", "invalidations"], all, "Nothing was invalidated.")
}

fn coherence(summary: &Summary) -> Section {
    let changes = top(summary.increases.by("cache_coherence_epoch_changes_total", &["reason"], &[]));
    let mismatches = summary.increases.by("cache_consistency_samples_total", &["cache", "result"], &[]);
    let rows = vec![
        percentiles("until an invalidation was known", summary.lag()),
        vec!["oldest proof".into(), "-".into(), "-".into(), Unit::Seconds.show(summary.oldest_proof)],
        vec!["bound of its age".into(), "-".into(), "-".into(), Unit::Seconds.show(summary.max_lag)],
    ];
    let section = Section::new("Coherence").table(&["", "P50", "P95", "P99 or greatest"], rows, "");
    let section = section.table(&["everything stored before died, reason", "times"], changes, "No epoch ended.");
    section.table(
        &["hits compared with fresh answers", "samples"],
        top(mismatches),
        "No hit was compared with a fresh answer.",
    )
}

fn alerts(summary: &Summary) -> Section {
    let section = Section::new("Alerts");
    let none = "None fired, if the rules were loaded: `terrace check --prometheus` tells whether they are.";
    match summary.alerts.clone() {
        Some(all) => section.table(&["alert, job", "times"], ranked(all), none),
        None => section.text("Which fired is not known."),
    }
}

/// The greatest first, and no more than the first of them.
fn top(all: BTreeMap<String, f64>) -> Vec<Vec<String>> {
    let mut all = ranked(all);
    all.truncate(TOP);
    all
}

fn ranked(all: BTreeMap<String, f64>) -> Vec<Vec<String>> {
    let mut all: Vec<_> = all.into_iter().filter(|(_, number)| *number >= 0.5).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.into_iter().map(|(name, number)| vec![name, Unit::Count.show(Some(number))]).collect()
}
