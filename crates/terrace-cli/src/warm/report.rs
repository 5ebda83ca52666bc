//! What a run came to.

use crate::ask::{Answer, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use terrace::stats::Task;

/// Reasons that are counted apart; the others are counted together.
const REASONS: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Report {
    hit: u64,
    stored: u64,
    not_stored: BTreeMap<String, u64>,
    failed: BTreeMap<String, u64>,
    bytes: u64,
    /// Of complete answers.
    took: Vec<Duration>,
    /// Done by an earlier run.
    pub(crate) done_before: u64,
    /// Not asked for: it was time to end.
    pub(crate) left: u64,
    /// Lines that are no URL, or no request that could be asked again.
    pub(crate) ignored: u64,
    pub(crate) seconds: f64,
    /// The deadline has come.
    pub(crate) is_late: bool,
}

impl Report {
    pub(crate) fn add(&mut self, answer: &Answer) {
        self.bytes += answer.bytes;
        if answer.result.is_ok() {
            self.took.push(answer.took);
        }
        match &answer.result {
            Ok(Verdict::Hit) => self.hit += 1,
            Ok(Verdict::Stored) => self.stored += 1,
            Ok(Verdict::NotStored(reason)) => count(&mut self.not_stored, reason),
            Err(reason) => count(&mut self.failed, reason),
        }
    }

    /// A document that lists URLs could not be read.
    pub(crate) fn add_failure(&mut self, reason: &str) {
        count(&mut self.failed, reason);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// In milliseconds: the middle, the slowest tenth and hundredth, the slowest.
    fn percentiles(&mut self) -> [f64; 4] {
        self.took.sort_unstable();
        [50, 90, 99, 100].map(|percent| {
            let rank = (self.took.len() * percent).div_ceil(100).max(1);
            self.took.get(rank - 1).map_or(0.0, |took| (took.as_secs_f64() * 1e5).round() / 1e2)
        })
    }

    pub(crate) fn json(&mut self) -> Value {
        let [p50, p90, p99, max] = self.percentiles();
        json!({
            "hit": self.hit, "stored": self.stored, "not_stored": self.not_stored, "failed": self.failed,
            "done_before": self.done_before, "left": self.left, "ignored": self.ignored,
            "bytes": self.bytes, "seconds": (self.seconds * 1e3).round() / 1e3,
            "latency_ms": { "p50": p50, "p90": p90, "p99": p99, "max": max },
        })
    }

    /// That all is done.
    pub(crate) fn log(&self, task: Option<Task>) {
        let (task, seconds) = (task.map_or("none", Task::as_str), (self.seconds * 1e3).round() / 1e3);
        let not_stored: u64 = self.not_stored.values().sum();
        let Self { hit, stored, .. } = self;
        tracing::info!(
            event = "cache_warm_done",
            task,
            seconds,
            hit,
            stored,
            not_stored,
            "cache_warm_done: all that is to be warmed was requested"
        );
    }

    pub(crate) fn table(&mut self) -> String {
        let [p50, p90, p99, max] = self.percentiles();
        let mut text = String::new();
        let mut row = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<34} {value}");
        };
        row("hit", &self.hit);
        row("stored", &self.stored);
        for (reason, number) in &self.not_stored {
            row(&format!("not stored ({reason})"), number);
        }
        for (reason, number) in &self.failed {
            row(&format!("failed ({reason})"), number);
        }
        for (name, number) in
            [("done before", self.done_before), ("not asked for", self.left), ("ignored lines", self.ignored)]
        {
            if number > 0 {
                row(name, &number);
            }
        }
        row("bytes", &self.bytes);
        row("seconds", &format_args!("{:.1}", self.seconds));
        row("latency p50 / p90 / p99 / max", &format_args!("{p50:.1} / {p90:.1} / {p99:.1} / {max:.1} ms"));
        text
    }
}

fn count(all: &mut BTreeMap<String, u64>, reason: &str) {
    let reason = if all.len() < REASONS || all.contains_key(reason) { reason } else { "other" };
    *all.entry(reason.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: Result<Verdict, String>, milliseconds: u64) -> Answer {
        Answer { result, bytes: 10, took: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn answers_are_counted_by_what_the_cache_did() {
        let mut report = Report::default();
        report.add(&answer(Ok(Verdict::Hit), 1));
        report.add(&answer(Ok(Verdict::Stored), 2));
        report.add(&answer(Ok(Verdict::NotStored("uri-miss".into())), 3));
        report.add(&answer(Err("status 404".into()), 1000));
        let json = report.json();
        assert_eq!(json["not_stored"]["uri-miss"], 1);
        assert_eq!(json["failed"]["status 404"], 1);
        assert_eq!(
            (&json["bytes"], &json["latency_ms"]["p50"], &json["latency_ms"]["max"]),
            (&40.into(), &2.0.into(), &3.0.into())
        );
        let table = report.table();
        assert!(table.contains("not stored (uri-miss)              1\n"), "{table}");
        assert!(!table.contains("done before"), "{table}");
        assert_eq!((report.hit, report.stored, report.failures()), (1, 1, 1));
    }

    #[test]
    fn without_answers_there_is_still_a_report_and_reasons_are_bounded() {
        let mut report = Report::default();
        assert_eq!(report.json()["latency_ms"]["p99"], 0.0);
        for number in 0..100 {
            report.add_failure(&format!("status {number}"));
        }
        assert_eq!((report.failed.len(), report.failed["other"], report.failures()), (REASONS + 1, 68, 100));
    }
}
