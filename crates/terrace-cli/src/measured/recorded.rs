//! From Prometheus. Its recording rules are not needed.

use super::increases::{COUNTERS, Increases};
use super::options::{Where, now};
use super::summary::{Build, Summary, Window};
use crate::failure::Failure;
use crate::prometheus::{ALERTS, Labels, Prometheus, Range, Sample};
use std::collections::BTreeMap;
use std::time::Duration;

/// What Prometheus has recorded of one fleet.
pub(crate) struct Recorded {
    prometheus: Prometheus,
    /// What its series are chosen by, in braces.
    fleet: String,
    /// The alerts about it while they fire.
    firing: String,
}

impl Recorded {
    /// # Errors
    ///
    /// When nobody said where Prometheus is, or it cannot be spoken to.
    pub(crate) fn open(place: &Where) -> Result<Self, Failure> {
        let job = place.job.as_deref();
        Ok(Self { prometheus: place.open()?, fleet: selector(job), firing: firing(job) })
    }

    /// What Prometheus says to a query, in which `{}` stands for what chooses the fleet's series.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn ask(&self, query: &str, at: f64) -> Result<Vec<Sample>, String> {
        self.prometheus.query(&query.replace("{}", &self.fleet), Some(at)).await
    }

    /// The only value of a query, if it has one.
    pub(crate) async fn figure(&self, query: &str, at: f64) -> Result<Option<f64>, String> {
        Ok(self.ask(query, at).await?.first().map(|sample| sample.value))
    }

    /// The last so long.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn last(&self, time: Duration) -> Result<Summary, String> {
        let to = now();
        self.summary(Window { from: to - time.as_secs_f64(), to }).await
    }

    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn summary(&self, window: Window) -> Result<Summary, String> {
        let Window { from, to } = window;
        let span = promql(window.seconds());
        let at_the_end = Range { from: to, to, step: 1.0 };
        let increases = self.increases(&metrics(), window.seconds(), at_the_end).await?;
        let oldest = format!("max(max_over_time(cache_coherence_proof_age_seconds{{}}[{span}]))");
        Ok(Summary {
            source: "prometheus",
            window: Window { from, to },
            builds: self.builds(&span, to).await?,
            increases: increases.into_values().next().unwrap_or_default(),
            oldest_proof: self.figure(&oldest, to).await?,
            max_lag: self.figure("min(cache_coherence_max_lag_seconds{})", to).await?,
            memory: self.memory(window).await?,
            alerts: Some(self.alerts(window).await?),
        })
    }

    /// Of its limit, the greatest part that was ever in use: by caches, and `redis`.
    async fn memory(&self, window: Window) -> Result<BTreeMap<String, f64>, String> {
        let (span, step) = (promql(window.seconds()), promql(step(window, 1e3)));
        let greatest = |of: &str, part: &str| format!("max {of} (max_over_time(({part})[{span}:{step}]))");
        let processes = greatest(
            "by (cache)",
            "sum by (job, instance, cache) (cache_size_bytes{}) / \
             (sum by (job, instance, cache) (cache_max_size_bytes{}) > 0)",
        );
        let redis = greatest("", "redis_memory_used_bytes / (redis_memory_max_bytes > 0)");
        let mut all = BTreeMap::new();
        for sample in self.ask(&processes, window.to).await? {
            all.extend(sample.labels.get("cache").map(|cache| (cache.clone(), sample.value)));
        }
        all.extend(self.figure(&redis, window.to).await?.map(|part| ("redis".to_owned(), part)));
        Ok(all)
    }

    /// How often each alert began to fire, by its name and its job; one that fired already did once.
    async fn alerts(&self, window: Window) -> Result<BTreeMap<String, f64>, String> {
        let query = format!("count by (alertname, job) ({})", self.firing);
        let range = Range { from: window.from, to: window.to, step: step(window, 1e4) };
        let mut all = BTreeMap::new();
        for series in self.prometheus.query_range(&query, range).await? {
            let names = ["alertname", "job"].into_iter().filter_map(|name| series.labels.get(name));
            let names: Vec<_> = names.map(String::as_str).collect();
            all.insert(names.join(" "), begun(&series.points, range.step));
        }
        Ok(all)
    }

    async fn builds(&self, span: &str, at: f64) -> Result<Vec<Build>, String> {
        let query = format!("count by (version, revision) (last_over_time(cache_build_info{{}}[{span}]))");
        let all = self.ask(&query, at).await?;
        Ok(all.into_iter().map(|sample| Build::new(&sample.labels, sample.value)).collect())
    }

    /// By how much these grew until each time of the range, each time over so many seconds. By milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// In a few words, why that is not known.
    pub(crate) async fn increases(
        &self,
        metrics: &[&str],
        seconds: f64,
        range: Range,
    ) -> Result<BTreeMap<i64, Increases>, String> {
        let mut all: BTreeMap<i64, Increases> = BTreeMap::new();
        for (metric, labels) in COUNTERS.into_iter().filter(|(metric, _)| metrics.contains(metric)) {
            let query =
                format!("sum by ({}) (increase({metric}{}[{}]))", labels.join(", "), self.fleet, promql(seconds));
            for series in self.prometheus.query_range(&query, range).await? {
                for (at, value) in series.points {
                    all.entry(milliseconds(at)).or_default().add(metric, series.labels.clone(), value);
                }
            }
        }
        Ok(all)
    }
}

fn metrics() -> Vec<&'static str> {
    COUNTERS.iter().map(|(metric, _)| *metric).collect()
}

/// A duration as queries write it; not below what they can.
fn promql(seconds: f64) -> String {
    format!("{}ms", milliseconds(seconds).max(1))
}

#[expect(clippy::cast_possible_truncation, reason = "it stops at the ends of what there is")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

fn selector(job: Option<&str>) -> String {
    job.map_or_else(String::new, |job| format!("{{job=~\"{}\"}}", escape(job)))
}

/// Those about Redis have the job of its exporter, which begins with `redis`, and those about what is absent have none.
fn firing(job: Option<&str>) -> String {
    let about = job.map_or_else(String::new, |job| format!(", job=~\"{}|redis.*|\"", escape(job)));
    format!("ALERTS{{alertstate=\"firing\", alertname=~\"{}\"{about}}}", ALERTS.join("|"))
}

fn escape(job: &str) -> String {
    job.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// How closely it is looked at what is no counter, in seconds: each minute, at no more points than that, and in a short
/// time at a hundred. Prometheus tells no more than 11,000 points of a series, and of many series in a query far fewer.
fn step(window: Window, points: f64) -> f64 {
    60.0_f64.clamp(window.seconds() / points, window.seconds() / 1e2).max(1e-3)
}

/// How often one more began, from how many there were at each time; where there is no point, there were none.
fn begun(points: &[(f64, f64)], step: f64) -> f64 {
    let (mut begun, mut last) = (0.0, (f64::NEG_INFINITY, 0.0));
    for &(at, count) in points {
        let before = if at - last.0 <= step * 1.5 { last.1 } else { 0.0 };
        begun += (count - before).max(0.0);
        last = (at, count);
    }
    begun
}

impl Build {
    pub(super) fn new(labels: &Labels, processes: f64) -> Self {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        Self { version: label("version"), revision: label("revision"), processes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_query_stays_where_it_was_put() {
        assert_eq!(selector(None), "");
        assert_eq!(selector(Some("shop|api")), r#"{job=~"shop|api"}"#);
        assert_eq!(selector(Some("a\"} or b{x=\"\\d\n")), r#"{job=~"a\"} or b{x=\"\\d\n"}"#);
        assert!(firing(None).starts_with("ALERTS{alertstate=\"firing\", alertname=~\"RedisDown|RedisHighMemory|"));
        assert!(firing(None).ends_with("|BackupStale\"}"));
        assert!(firing(Some("shop|api")).ends_with(r#"|BackupStale", job=~"shop|api|redis.*|"}"#));
        assert!(firing(Some("a\"}")).ends_with(r#"job=~"a\"}|redis.*|"}"#));
        assert_eq!((promql(90.5).as_str(), promql(0.0).as_str()), ("90500ms", "1ms"));
    }

    #[test]
    fn an_alert_has_begun_as_often_as_there_were_more_of_it() {
        for (points, expected) in [
            (&[][..], 0.0),
            // It fired already, and goes on.
            (&[(0.0, 1.0), (60.0, 1.0), (120.0, 1.0)], 1.0),
            // It ended, and began again.
            (&[(60.0, 1.0), (180.0, 1.0)], 2.0),
            // In two processes, of which one recovers and fails again.
            (&[(0.0, 2.0), (60.0, 1.0), (120.0, 2.0)], 3.0),
        ] {
            assert!((begun(points, 60.0) - expected).abs() < 1e-9, "{points:?}");
        }
    }

    #[test]
    fn it_is_looked_at_each_minute_and_never_too_often_or_never() {
        for (seconds, expected) in
            [(0.0, 0.001), (5.0, 0.05), (600.0, 6.0), (86_400.0, 60.0), (604_800.0, 60.48), (1e10, 1e6)]
        {
            let found = step(Window { from: 1e9, to: 1e9 + seconds }, 1e4);
            assert!((found - expected).abs() < 1e-6, "{seconds}: {found}");
        }
    }
}
