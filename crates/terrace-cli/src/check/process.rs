//! What a process tells Prometheus, read and judged. Everything here is pure.

use crate::exposition::{Row, names, rows};
use crate::findings::Finding;
use std::collections::BTreeSet;

/// A scrape.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) names: BTreeSet<String>,
    rows: Vec<Row>,
}

impl Scrape {
    pub(super) fn read(text: &str) -> Self {
        Self { names: names(text).map(str::to_owned).collect(), rows: rows(text).collect() }
    }

    /// The sum of the series with this name and these labels; `None` if there is none.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |row: &Row, (label, value): &(&str, &str)| row.labels.get(*label).is_some_and(|own| own == value);
        let is_one = |row: &&Row| row.name == name && labels.iter().all(|label| has(row, label));
        let found: Vec<f64> = self.rows.iter().filter(is_one).map(|row| row.value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }
}

/// Judges one process. `expected` are names that it is to have.
pub(super) fn judge(seen: &Scrape, expected: &BTreeSet<String>) -> Vec<Finding> {
    let mut all = vec![present(seen, expected)];
    if seen.names.contains("cache_l2_up") {
        all.extend([proof(seen), fence(seen), breaker(seen)]);
    }
    all
}

fn present(seen: &Scrape, expected: &BTreeSet<String>) -> Finding {
    let missing: Vec<&str> = expected.difference(&seen.names).map(String::as_str).collect();
    let threshold = format!("all {}", expected.len());
    if missing.is_empty() {
        return Finding::ok("metrics-present", format!("{} names", seen.names.len())).threshold(threshold);
    }
    let fix = "install terrace::prometheus before the store is made, with CACHE_METRICS_ENABLED on, in this version";
    Finding::fail("metrics-present", format!("{} are missing: {}", missing.len(), missing.join(", ")), fix)
        .threshold(threshold)
}

fn proof(seen: &Scrape) -> Finding {
    if seen.sum("cache_coherence_state", &[("state", "alone")]).is_some_and(|value| value >= 1.0) {
        let fix = "none while that is wanted: CACHE_L2_ENABLED, or a flag, says that Redis is not used";
        return Finding::warn("coherence", "alone: invalidations of other processes are not followed", fix);
    }
    let fix = "look at cache_coherence_polls_total and the log: the process does not reach Redis in time";
    let state = seen.sum("cache_coherence_state", &[("state", "coherent")]).unwrap_or(0.0);
    let age = seen.sum("cache_coherence_proof_age_seconds", &[]);
    let Some((age, bound)) = age.zip(seen.sum("cache_coherence_max_lag_seconds", &[])) else {
        return Finding::fail("coherence", "nothing is said about it", fix);
    };
    let measured = format!("the last proof is {age:.3} s old");
    if state >= 1.0 && age < bound {
        Finding::ok("coherence", measured)
    } else {
        Finding::fail("coherence", measured, fix)
    }
    .threshold(format!("< {bound} s"))
}

fn fence(seen: &Scrape) -> Finding {
    let is_strict = seen.sum("cache_coherence_fence_mode", &[("mode", "strict")]).is_some_and(|value| value >= 1.0);
    if is_strict {
        return Finding::ok("fence-mode", "strict").threshold("strict");
    }
    let fix = "connect to Redis itself and permit INFO: the process cannot see restarts and failovers";
    Finding::fail("fence-mode", "not strict, or not known yet", fix).threshold("strict")
}

fn breaker(seen: &Scrape) -> Finding {
    let open: Vec<&str> = ["data", "control"]
        .into_iter()
        .filter(|breaker| {
            seen.sum("cache_breaker_state", &[("breaker", breaker), ("state", "closed")])
                .is_none_or(|value| value < 1.0)
        })
        .collect();
    if open.is_empty() {
        return Finding::ok("breaker", "closed").threshold("closed");
    }
    let fix = "mend the way to Redis: cache_l2_errors_total and the log say what is wrong";
    Finding::fail("breaker", format!("not closed: {}", open.join(", ")), fix).threshold("closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Status;

    const WELL: &str = "# TYPE cache_l2_up gauge\ncache_l2_up 1\n# TYPE cache_coherence_state gauge\n\
        cache_coherence_state{state=\"coherent\"} 1\ncache_coherence_proof_age_seconds 0.2\ncache_coherence_max_lag_seconds 1\n\
        cache_coherence_fence_mode{mode=\"strict\"} 1\ncache_breaker_state{breaker=\"data\",state=\"closed\"} 1\n\
        cache_breaker_state{breaker=\"control\",state=\"closed\"} 1\n";

    fn statuses(text: &str) -> Vec<(&'static str, Status)> {
        let expected = ["cache_l2_up", "cache_coherence_state"].map(str::to_owned).into();
        judge(&Scrape::read(text), &expected).into_iter().map(|one| (one.id, one.status)).collect()
    }

    #[test]
    fn a_process_that_is_well_passes_and_each_fault_is_seen_as_itself() {
        assert!(statuses(WELL).iter().all(|(_, status)| *status == Status::Ok), "{:?}", statuses(WELL));
        for (from, to, id) in [
            ("# TYPE cache_coherence_state gauge\n", "", "metrics-present"),
            ("proof_age_seconds 0.2", "proof_age_seconds 1.5", "coherence"),
            ("{state=\"coherent\"} 1", "{state=\"coherent\"} 0", "coherence"),
            ("mode=\"strict\"", "mode=\"off\"", "fence-mode"),
            ("breaker=\"data\",state=\"closed\"", "breaker=\"data\",state=\"open\"", "breaker"),
        ] {
            let failed: Vec<_> =
                statuses(&WELL.replace(from, to)).into_iter().filter(|(_, it)| *it != Status::Ok).collect();
            assert_eq!(failed, [(id, Status::Fail)], "{from}");
        }
    }

    #[test]
    fn a_process_that_is_alone_because_it_is_to_be_is_warned_of() {
        let alone =
            WELL.replace("cache_l2_up 1", "cache_l2_up 0").replace("_age_seconds 0.2", "_age_seconds 0").replace(
                "cache_coherence_state{state=\"coherent\"} 1",
                "cache_coherence_state{state=\"coherent\"} 0\ncache_coherence_state{state=\"alone\"} 1",
            );
        let told: Vec<_> = statuses(&alone).into_iter().filter(|(_, it)| *it != Status::Ok).collect();
        assert_eq!(told, [("coherence", Status::Warn)]);
    }

    #[test]
    fn labels_are_compared_whole_and_series_summed() {
        let all = Scrape::read("a{x=\"1\",y=\"2\"} 3\na{y=\"2\",x=\"11\"} 4\na{x=\"1\"} 5\nb 1\n");
        assert_eq!((all.sum("a", &[("x", "1")]), all.sum("a", &[("y", "2")])), (Some(8.0), Some(7.0)));
        assert_eq!((all.sum("a", &[("x", "2")]), all.sum("b", &[])), (None, Some(1.0)));
    }
}
