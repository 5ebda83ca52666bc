//! How it went over the time: the same figures as of the whole of it, at many points.

use crate::measured::{
    Block, Cache, Figure, Increases, Line, Percentiles, Plot, Recorded, Section, Summary, Unit, Window, heading,
};
use crate::prometheus::Range;
use std::collections::BTreeMap;

/// How many points a line has.
const POINTS: f64 = 120.0;

/// A point tells of at least so long, in seconds: Prometheus needs two scrapes to see something grow, and scrapes once a
/// minute where nobody says otherwise.
const SHORTEST: f64 = 150.0;

/// What is drawn.
const METRICS: [&str; 8] = [
    "cache_requests_total",
    "cache_request_duration_seconds_bucket",
    "authz_check_total",
    "authz_check_duration_seconds_bucket",
    "cache_lookups_total",
    "cache_evictions_total",
    "cache_l2_errors_total",
    "cache_invalidations_total",
];

/// A figure at each time; times are in milliseconds since 1970.
type History = BTreeMap<i64, Increases>;

/// From when to when, how far apart the points are, and of how long each tells.
#[derive(Clone, Copy)]
struct Axis {
    range: Range,
    seconds: f64,
}

impl Axis {
    /// The times of the points. The last is the end, be the time never so short; a little later, against rounding.
    fn asked(self) -> Range {
        let Range { from, to, step } = self.range;
        Range { from: to - ((to - from) / step).floor() * step, to: to + step / 2.0, step }
    }
}

/// All plots.
///
/// # Errors
///
/// In a few words, why Prometheus does not say.
pub(super) async fn section(recorded: &Recorded, window: Window, summary: &Summary) -> Result<Section, String> {
    let step = (window.seconds() / POINTS).max(1.0);
    let axis = Axis {
        range: Range { from: window.from, to: window.to, step },
        seconds: step.max(SHORTEST).min(window.seconds()),
    };
    let history = recorded.increases(&METRICS, axis.seconds, axis.asked()).await?;
    let mut plots = Vec::new();
    for cache in Cache::ALL.into_iter().filter(|cache| cache.requests(&summary.increases, None) > 0.0) {
        plots.extend([rates(axis, &history, cache), ratios(axis, &history, cache), latencies(axis, &history, cache)]);
    }
    plots.push(events(axis, &history));
    let mut section = Section::new("Over the time");
    section.blocks.extend(plots.into_iter().map(Block::Plot));
    Ok(section)
}

fn plot(axis: Axis, title: String, unit: Unit, lines: Vec<Line>) -> Plot {
    let Range { from, to, step } = axis.range;
    Plot { title, unit, from, to, step, lines }
}

/// What has no value at a time has no point there.
fn line<F: Into<Figure>>(name: &str, history: &History, value: impl Fn(&Increases) -> Option<F>) -> Line {
    #[expect(clippy::cast_precision_loss, reason = "it is exact for the next 280,000 years")]
    let point = |(at, all): (&i64, &Increases)| {
        let value: Figure = value(all)?.into();
        value.least().is_finite().then_some((*at as f64 / 1e3, value))
    };
    Line { name: name.to_owned(), points: history.iter().filter_map(point).collect() }
}

fn rates(axis: Axis, history: &History, cache: Cache) -> Plot {
    let of = |name: &str, statuses: Option<&[&str]>| {
        line(name, history, |all| Some(cache.requests(all, statuses) / axis.seconds))
    };
    let lines = vec![
        of("all", None),
        of("process memory", Some(&["l1_cache_hit"])),
        of("Redis", Some(&["l2_cache_hit"])),
        of("miss", Some(&["cache_miss"])),
        of("bypass", Some(&["cache_bypass"])),
        of("error", Some(&["cache_error"])),
    ];
    plot(axis, format!("{}: requests by how they were answered", heading(cache)), Unit::PerSecond, lines)
}

fn ratios(axis: Axis, history: &History, cache: Cache) -> Plot {
    let lines = vec![
        line("all tiers", history, |all| cache.combined(all)),
        line("process memory", history, |all| cache.l1(all)),
        line("Redis, of what reached it", history, |all| cache.l2_share(all)),
    ];
    plot(axis, format!("{}: hit ratios", heading(cache)), Unit::Share, lines)
}

fn latencies(axis: Axis, history: &History, cache: Cache) -> Plot {
    let at = |name: &str, percentile: fn(Percentiles) -> Option<Figure>| {
        line(name, history, |all| percentile(cache.latency(all)))
    };
    let lines = vec![at("P50", |all| all.p50), at("P95", |all| all.p95), at("P99", |all| all.p99)];
    plot(axis, format!("{}: latency", heading(cache)), Unit::Seconds, lines)
}

fn events(axis: Axis, history: &History) -> Plot {
    let of = |name: &str, metric: &str| {
        line(name, history, |all| all.has(metric).then(|| all.sum(metric, &[]) / axis.seconds))
    };
    let lines = vec![
        of("evictions", "cache_evictions_total"),
        of("invalidations", "cache_invalidations_total"),
        of("failed calls of Redis", "cache_l2_errors_total"),
    ];
    plot(axis, "Evictions, invalidations, failures".into(), Unit::PerSecond, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_point_is_at_the_end_however_short_the_time() {
        for (from, to, step) in [(0.0, 1.9, 1.0), (10.0, 10.5, 1.0), (0.0, 86_400.0, 720.0), (0.5, 300.0, 2.5)] {
            let asked = Axis { range: Range { from, to, step }, seconds: step }.asked();
            let steps = ((asked.to - asked.from) / step).floor();
            assert!((asked.from + steps * step - to).abs() < 1e-6 && asked.from >= from - 1e-6, "{from} {to} {step}");
        }
    }
}
