//! By how much what is counted grew, and what follows from that.

use super::document::Figure;
use crate::prometheus::Labels;
use std::collections::{BTreeMap, BTreeSet};

/// What of the catalogue is measured, and by which of its labels.
pub(super) const COUNTERS: [(&str, &[&str]); 17] = [
    ("cache_requests_total", &["cache_namespace", "cache_status"]),
    ("cache_request_duration_seconds_bucket", &["cache_status", "le"]),
    ("authz_check_total", &["cache_status", "decision"]),
    ("authz_check_duration_seconds_bucket", &["cache_status", "le"]),
    ("cache_lookups_total", &["cache", "tier", "result"]),
    ("cache_forwards_total", &["reason"]),
    ("cache_bypass_total", &["cache", "reason"]),
    ("cache_entries_rejected_total", &["cache", "tier", "reason"]),
    ("cache_stores_total", &["cache", "tier", "result"]),
    ("cache_fill_duration_seconds_bucket", &["cache", "le"]),
    ("cache_origin_duration_seconds_bucket", &["cache", "le"]),
    ("cache_evictions_total", &["cache", "reason"]),
    ("cache_l2_errors_total", &["op", "kind"]),
    ("cache_invalidations_total", &["scope", "kind", "result"]),
    ("cache_coherence_epoch_changes_total", &["reason"]),
    ("cache_coherence_lag_seconds_bucket", &["le"]),
    ("cache_consistency_samples_total", &["cache", "result"]),
];

/// Which series: each of these labels has one of these values.
pub(crate) type Wanted<'a> = &'a [(&'a str, &'a [&'a str])];

/// By how much the series of each metric grew over a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Increases(BTreeMap<&'static str, Vec<(Labels, f64)>>);

impl Increases {
    pub(crate) fn add(&mut self, metric: &'static str, labels: Labels, value: f64) {
        self.0.entry(metric).or_default().push((labels, value));
    }

    /// Whether there is anything of it, be it that it has not grown.
    pub(crate) fn has(&self, metric: &str) -> bool {
        self.0.contains_key(metric)
    }

    fn of<'a>(&'a self, metric: &str, wanted: Wanted<'a>) -> impl Iterator<Item = (&'a Labels, f64)> {
        let all = self.0.get(metric).into_iter().flatten();
        let is_wanted = move |labels: &Labels| {
            wanted.iter().all(|(name, values)| labels.get(*name).is_some_and(|value| values.contains(&value.as_str())))
        };
        all.filter(move |(labels, _)| is_wanted(labels)).map(|(labels, value)| (labels, *value))
    }

    pub(crate) fn sum(&self, metric: &str, wanted: Wanted<'_>) -> f64 {
        // From zero on: the sum of nothing is a negative zero, which is shown as such.
        self.of(metric, wanted).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// By the values of these labels, joined by spaces; only what has grown.
    pub(crate) fn by(&self, metric: &str, names: &[&str], wanted: Wanted<'_>) -> BTreeMap<String, f64> {
        let mut all = BTreeMap::new();
        for (labels, value) in self.of(metric, wanted).filter(|(_, value)| *value > 0.0) {
            let values: Vec<_> = names.iter().filter_map(|name| labels.get(*name).map(String::as_str)).collect();
            *all.entry(values.join(" ")).or_insert(0.0) += value;
        }
        all
    }

    /// The values that a label has.
    pub(crate) fn values(&self, metric: &str, label: &str) -> BTreeSet<&str> {
        self.of(metric, &[]).filter_map(|(labels, _)| labels.get(label).map(String::as_str)).collect()
    }

    /// A quantile of a histogram, as Prometheus estimates it: within a bucket, all values are equally likely. Of one that is
    /// beyond the last edge it is known that it is, where Prometheus says the edge.
    pub(crate) fn quantile(&self, q: f64, metric: &str, wanted: Wanted<'_>) -> Option<Figure> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, value) in self.of(metric, wanted) {
            let edge: f64 = labels.get("le")?.parse().ok().filter(|edge: &f64| !edge.is_nan())?;
            match buckets.iter_mut().find(|(other, _)| other.total_cmp(&edge).is_eq()) {
                Some((_, count)) => *count += value,
                None => buckets.push((edge, value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        quantile(q, &buckets)
    }
}

/// Of buckets by their upper edges, each of which counts those before it as well.
fn quantile(q: f64, buckets: &[(f64, f64)]) -> Option<Figure> {
    let total = buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    let rank = q * total;
    let (mut from, mut below) = (0.0, 0.0);
    for &(edge, count) in buckets {
        if count >= rank && edge.is_finite() {
            let inside = count - below;
            return Some(Figure::Is(if inside > 0.0 {
                from + (edge - from) * ((rank - below) / inside)
            } else {
                edge
            }));
        }
        if edge.is_finite() {
            (from, below) = (edge, count.max(below));
        }
    }
    (from > 0.0).then_some(Figure::Above(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn near(found: Option<Figure>, expected: f64) -> bool {
        found.is_some_and(|found| !found.is_above() && (found.least() - expected).abs() < 1e-9)
    }

    #[test]
    fn quantiles_are_those_of_prometheus_unless_they_are_beyond_the_last_edge() {
        let buckets = [(0.1, 10.0), (0.2, 10.0), (0.4, 30.0), (f64::INFINITY, 40.0)];
        // Half of the first bucket; half of the third; at the last edge; beyond it.
        assert!(near(quantile(0.125, &buckets), 0.05));
        assert!(near(quantile(0.5, &buckets), 0.3));
        assert!(near(quantile(0.75, &buckets), 0.4));
        assert_eq!(quantile(0.751, &buckets), Some(Figure::Above(0.4)));
        assert_eq!(quantile(0.95, &[(5.0, 0.0), (f64::INFINITY, 7.0)]), Some(Figure::Above(5.0)));
        assert_eq!(quantile(0.5, &[(0.1, 0.0), (f64::INFINITY, 0.0)]), None);
        assert_eq!(quantile(0.5, &[(f64::INFINITY, 5.0)]), None);
        assert_eq!(quantile(0.5, &[]), None);
    }

    #[test]
    fn series_are_chosen_and_summed() {
        let mut all = Increases::default();
        for (status, le, value) in
            [("hit", "0.1", 3.0), ("hit", "+Inf", 3.0), ("miss", "0.1", 0.0), ("miss", "+Inf", 3.0)]
        {
            all.add("bucket", labels(&[("status", status), ("le", le)]), value);
        }
        assert_eq!(
            all.by("bucket", &["status", "le"], &[("le", &["0.1"])]),
            BTreeMap::from([("hit 0.1".to_owned(), 3.0)])
        );
        assert!((all.sum("bucket", &[("status", &["hit", "miss"]), ("le", &["+Inf"])]) - 6.0).abs() < 1e-9);
        assert!((all.sum("bucket", &[("other", &["x"])])).abs() < 1e-9);
        assert!(
            near(all.quantile(0.5, "bucket", &[]), 0.1)
                && near(all.quantile(0.5, "bucket", &[("status", &["hit"])]), 0.05)
        );
        assert!(all.has("bucket") && !all.has("other"));
    }
}
