//! From Prometheus. Its recording rules are not needed.

use super::increases::{COUNTERS, Increases};
use super::options::{Where, now};
use super::summary::{Build, Summary, Window};
use crate::failure::Failure;
use crate::prometheus::{Labels, Prometheus, Range, Sample};
use std::collections::BTreeMap;
use std::time::Duration;

/// What Prometheus has recorded of one fleet.
pub(crate) struct Recorded {
    prometheus: Prometheus,
    /// What its series are chosen by, in braces.
    fleet: String,
}

impl Recorded {
    /// # Errors
    ///
    /// When nobody said where Prometheus is, or it cannot be spoken to.
    pub(crate) fn open(place: &Where) -> Result<Self, Failure> {
        Ok(Self { prometheus: place.open()?, fleet: selector(place.job.as_deref()) })
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
        })
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
    let escape = |job: &str| job.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
    job.map_or_else(String::new, |job| format!("{{job=~\"{}\"}}", escape(job)))
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
        assert_eq!((promql(90.5).as_str(), promql(0.0).as_str()), ("90500ms", "1ms"));
    }
}
