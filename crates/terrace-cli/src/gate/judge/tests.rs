use super::*;
use crate::findings::Verdict;
use crate::measured::{Build, SCHEMA, Summary, Window};
use serde_json::json;
use std::collections::BTreeMap;

/// So many requests of each kind, with their times in a bucket that ends there.
#[derive(Clone)]
struct Fleet {
    requests: f64,
    checks: f64,
    errors: f64,
    edge: f64,
    /// What took longer than the edge.
    beyond: f64,
    stored: f64,
    stores_tried: f64,
    failures: [f64; PARTS],
    parts: usize,
    processes: f64,
    mismatches: f64,
    has_l2: bool,
}

const WELL: Fleet = Fleet {
    requests: 10_000.0,
    checks: 10_000.0,
    errors: 0.0,
    edge: 0.005,
    beyond: 0.0,
    stored: 50.0,
    stores_tried: 50.0,
    failures: [0.0; PARTS],
    parts: PARTS,
    processes: 2.0,
    mismatches: 0.0,
    has_l2: true,
};

fn add(all: &mut Increases, metric: &'static str, labels: &[(&str, &str)], value: f64) {
    all.add(metric, labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), value);
}

impl Fleet {
    fn increases(&self) -> Increases {
        let mut all = Increases::default();
        let edge = self.edge.to_string();
        for (counter, histogram, total) in [
            ("cache_requests_total", "cache_request_duration_seconds_bucket", self.requests),
            ("authz_check_total", "authz_check_duration_seconds_bucket", self.checks),
        ] {
            let errors = self.errors.min(total);
            add(&mut all, counter, &[("cache_status", "l1_cache_hit"), ("decision", "allow")], total - errors);
            add(&mut all, counter, &[("cache_status", "cache_error"), ("decision", "error")], errors);
            for (le, count) in [(edge.as_str(), total - self.beyond.min(total)), ("+Inf", total)] {
                add(&mut all, histogram, &[("cache_status", "l1_cache_hit"), ("le", le)], count);
            }
        }
        if self.has_l2 {
            for cache in ["response", "authz"] {
                let labels = |result| [("cache", cache), ("tier", "l2"), ("result", result)];
                add(&mut all, "cache_stores_total", &labels("ok"), self.stored);
                add(&mut all, "cache_stores_total", &labels("error"), self.stores_tried - self.stored);
            }
            add(&mut all, "cache_l2_errors_total", &[("op", "get"), ("kind", "connect")], self.failures.iter().sum());
        }
        add(
            &mut all,
            "cache_consistency_samples_total",
            &[("cache", "authz"), ("result", "mismatch")],
            self.mismatches,
        );
        all
    }

    fn measured(&self) -> Measurements {
        let part = |failures: &f64| {
            let mut part = Increases::default();
            add(&mut part, "cache_requests_total", &[("cache_status", "l1_cache_hit")], 1.0);
            add(&mut part, "cache_l2_errors_total", &[("op", "get"), ("kind", "timeout")], *failures);
            part
        };
        let builds = vec![Build { version: "1".into(), revision: "r".into(), processes: self.processes }];
        let window = Window { from: 0.0, to: 600.0 };
        let increases = self.increases();
        let summary = Summary { source: "prometheus", window, builds, increases, ..Summary::default() };
        let parts = self.failures.iter().take(self.parts).map(part).collect();
        Measurements { summary, parts, processes: self.processes, features: BTreeMap::new(), redis_memory: None }
    }
}

fn baseline(requests: f64, checks: f64, p95: f64) -> Baseline {
    let of = |requests: f64| json!({ "requests": requests, "latency_seconds": { "all": { "p95": p95 } } });
    let caches = json!({ "response": of(requests), "authz": of(checks) });
    Baseline::of(json!({ "schema": SCHEMA, "caches": caches, "l2": { "present": true } })).unwrap()
}

fn judged(fleet: &Fleet) -> Findings {
    judge(&fleet.measured(), &baseline(5000.0, 5000.0, 0.005), 100)
}

fn status(findings: &Findings, id: &str) -> Status {
    findings.0.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}")).status
}

#[test]
fn a_fleet_that_is_well_passes() {
    let findings = judged(&WELL);
    assert_eq!(findings.verdict(false), Verdict::Pass, "{}", findings.text());
    for id in [
        "data",
        "processes",
        "requests",
        "checks",
        "request-errors",
        "check-p95",
        "response-stores",
        "redis-connection",
    ] {
        assert_eq!(status(&findings, id), Status::Ok, "{id}");
    }
}

#[test]
fn each_trigger_fails_on_one_side_of_its_threshold_and_passes_on_the_other() {
    let usual = 0.005 * 0.95;
    for (id, good, bad) in [
        ("request-errors", Fleet { errors: 10.0, ..WELL }, Fleet { errors: 10.1, ..WELL }),
        ("check-errors", Fleet { errors: 10.0, ..WELL }, Fleet { errors: 10.1, ..WELL }),
        ("request-p95", Fleet { edge: 0.00749, ..WELL }, Fleet { edge: 0.00751, ..WELL }),
        ("check-p95", Fleet { edge: 0.00749, ..WELL }, Fleet { edge: 0.00751, ..WELL }),
        ("response-stores", Fleet { stored: 1.0, ..WELL }, Fleet { stored: 0.0, ..WELL }),
        ("authz-stores", Fleet { stored: 1.0, ..WELL }, Fleet { stored: 0.0, ..WELL }),
        ("answers", WELL, Fleet { mismatches: 1.0, ..WELL }),
    ] {
        let usual = baseline(5000.0, 5000.0, usual);
        let [good, bad] = [good, bad].map(|fleet| judge(&fleet.measured(), &usual, 100));
        assert_eq!((good.verdict(false), bad.verdict(false)), (Verdict::Pass, Verdict::Fail), "{id}: {}", bad.text());
        assert_eq!(status(&bad, id), Status::Fail, "{id}");
        assert_ne!(status(&good, id), Status::Fail, "{id}");
        let finding = bad.0.iter().find(|finding| finding.id == id).unwrap();
        assert!(finding.threshold.is_some() && finding.fix.is_some() && !finding.measured.is_empty(), "{finding:?}");
    }
}

#[test]
fn redis_fails_only_if_it_was_unreachable_all_the_while() {
    for (failures, expected) in [
        ([0.0; PARTS], Status::Ok),
        ([0.0, 4.0, 0.0, 0.0, 0.0], Status::Warn),
        ([1.0, 1.0, 1.0, 1.0, 0.0], Status::Warn),
        ([1.0; PARTS], Status::Fail),
    ] {
        assert_eq!(status(&judged(&Fleet { failures, ..WELL }), "redis-connection"), expected, "{failures:?}");
    }
}

#[test]
fn what_was_not_seen_never_passes() {
    for (why, fleet) in [
        ("nobody asked", Fleet { requests: 0.0, checks: 0.0, ..WELL }),
        ("nobody asked for responses any more", Fleet { requests: 0.0, ..WELL }),
        ("too few", Fleet { requests: 99.0, ..WELL }),
        ("nobody checked", Fleet { checks: 0.0, ..WELL }),
        ("the end is not known", Fleet { parts: PARTS - 1, ..WELL }),
        ("nothing is known", Fleet { parts: 0, ..WELL }),
        ("no process", Fleet { processes: 0.0, ..WELL }),
        ("Redis is gone from what is measured", Fleet { has_l2: false, ..WELL }),
        ("Redis was out of reach in all that was seen", Fleet { parts: 1, failures: [1.0; PARTS], ..WELL }),
        ("errors, of too few", Fleet { requests: 50.0, checks: 50.0, errors: 50.0, ..WELL }),
    ] {
        let findings = judged(&fleet);
        assert_eq!(findings.verdict(false), Verdict::Inconclusive, "{why}: {}", findings.text());
        assert!(findings.outcome(false).is_err(), "{why}");
    }
}

#[test]
fn without_traffic_nothing_passes_whatever_the_baseline_says() {
    let idle = Fleet { requests: 0.0, checks: 0.0, ..WELL }.measured();
    for (requests, checks) in [(0.0, 0.0), (5000.0, 0.0), (0.0, 5000.0), (5000.0, 5000.0)] {
        let findings = judge(&idle, &baseline(requests, checks, 0.005), 1);
        assert_eq!(findings.verdict(false), Verdict::Inconclusive, "{}", findings.text());
    }
    // And with none in the baseline, there is nothing to compare the time with.
    let findings = judge(&WELL.measured(), &baseline(0.0, 0.0, 0.0), 1);
    assert_eq!(status(&findings, "request-p95"), Status::Unknown);
    assert_eq!(findings.verdict(false), Verdict::Inconclusive);
}

#[test]
fn from_a_baseline_of_too_few_nothing_follows() {
    for edge in [0.001, 0.005, 1.0] {
        let now = Fleet { edge, ..WELL }.measured();
        for (requests, checks, id) in [(99.0, 100.0, "request-p95"), (100.0, 99.0, "check-p95")] {
            assert_eq!(status(&judge(&now, &baseline(requests, checks, 0.005), 100), id), Status::Unknown, "{edge}");
            let enough = status(&judge(&now, &baseline(requests, checks, 0.005), 99), id);
            assert_eq!(enough, if edge < 1.0 { Status::Ok } else { Status::Fail }, "{edge}");
        }
    }
}

/// The last bucket ends at five seconds.
#[test]
fn a_p95_beyond_the_last_bucket_never_passes() {
    let with = |key: &str, p95: f64| {
        let all = json!({ "requests": 5000, "latency_seconds": { "all": { "p95": null, key: p95 } } });
        let caches = json!({ "response": all, "authz": all });
        Baseline::of(json!({ "schema": SCHEMA, "caches": caches, "l2": { "present": true } })).unwrap()
    };
    let now = |beyond: f64| Fleet { edge: 5.0, beyond, ..WELL }.measured();
    for (beyond, key, usual, expected) in [
        (501.0, "p95", 0.2, Status::Fail),
        (501.0, "p95", 3.3, Status::Fail),
        (10_000.0, "p95", 3.3, Status::Fail),
        // Whether more than five seconds are more than six is not known.
        (501.0, "p95", 4.0, Status::Unknown),
        (501.0, "p95_above", 5.0, Status::Unknown),
        (500.0, "p95_above", 5.0, Status::Ok),
        (500.0, "p95", 4.0, Status::Ok),
        (500.0, "p95", 3.3, Status::Fail),
    ] {
        for id in ["request-p95", "check-p95"] {
            let findings = judge(&now(beyond), &with(key, usual), 100);
            assert_eq!(status(&findings, id), expected, "{beyond} {usual}: {}", findings.text());
            assert!(!findings.text().contains("inf ") && !findings.text().contains("NaN"), "{}", findings.text());
        }
    }
    let failed = judge(&now(501.0), &with("p95", 0.2), 100);
    let finding = failed.0.iter().find(|finding| finding.id == "request-p95").unwrap();
    assert_eq!((finding.measured.as_str(), failed.verdict(false)), ("> 5.00 s", Verdict::Fail));
}

#[test]
fn one_of_the_two_caches_is_enough_if_the_baseline_had_no_other() {
    let findings = judge(&Fleet { checks: 0.0, ..WELL }.measured(), &baseline(5000.0, 0.0, 0.005), 100);
    assert_eq!(
        (status(&findings, "checks"), findings.verdict(false)),
        (Status::Skip, Verdict::Pass),
        "{}",
        findings.text()
    );
}

#[test]
fn a_tier_that_is_switched_off_need_not_be_filled() {
    for (off, responses, checks) in [
        (None, Status::Fail, Status::Fail),
        (Some("swr"), Status::Fail, Status::Fail),
        (Some("l2"), Status::Skip, Status::Skip),
        (Some("cache"), Status::Skip, Status::Fail),
        (Some("authz"), Status::Fail, Status::Skip),
        (Some("authz_l2"), Status::Fail, Status::Skip),
    ] {
        let mut now = Fleet { stored: 0.0, ..WELL }.measured();
        let features = ["cache", "l1", "l2", "authz", "authz_l2", "swr"];
        now.features.extend(features.map(|feature| (feature.to_owned(), off != Some(feature))));
        let findings = judge(&now, &baseline(5000.0, 5000.0, 0.005), 100);
        let found = (status(&findings, "response-stores"), status(&findings, "authz-stores"));
        assert_eq!(found, (responses, checks), "{off:?} is off");
    }
}

#[test]
fn what_was_fetched_and_not_even_sent_to_redis_fails() {
    for (filled, expected) in [(7.0, Status::Fail), (0.0, Status::Skip)] {
        let mut now = Fleet { stored: 0.0, stores_tried: 0.0, ..WELL }.measured();
        let labels = [("cache", "response"), ("le", "+Inf")];
        add(&mut now.summary.increases, "cache_fill_duration_seconds_bucket", &labels, filled);
        let findings = judge(&now, &baseline(5000.0, 5000.0, 0.005), 100);
        assert_eq!(status(&findings, "response-stores"), expected);
    }
}

#[test]
fn falling_short_warns() {
    let mut now = WELL.measured();
    now.redis_memory = Some(0.81);
    let findings = judge(&now, &baseline(5000.0, 5000.0, 0.005), 100);
    assert_eq!((findings.verdict(false), findings.verdict(true)), (Verdict::Pass, Verdict::Warned));
    assert_eq!(status(&findings, "redis-memory"), Status::Warn);
    for (edge, expected) in [(0.001, Status::Ok), (0.002, Status::Warn)] {
        let findings = judged(&Fleet { edge, ..WELL });
        for id in ["response-l1-p95", "authz-l1-p95"] {
            assert_eq!(status(&findings, id), expected, "{id}: {}", findings.text());
        }
    }
    for (errors, expected) in [(1.0, Status::Ok), (1.1, Status::Warn), (10.0, Status::Warn), (10.1, Status::Fail)] {
        let findings = judged(&Fleet { errors, ..WELL });
        for id in ["request-errors", "check-errors"] {
            assert_eq!(status(&findings, id), expected, "{id}: {}", findings.text());
        }
    }
    // As slow as usual, and too slow for a cache. The P95 is at 95 % of the only bucket.
    for (p95, expected) in [(0.0499, Status::Ok), (0.0501, Status::Warn), (0.2, Status::Warn)] {
        let now = Fleet { edge: p95 / 0.95, ..WELL }.measured();
        let findings = judge(&now, &baseline(5000.0, 5000.0, p95), 100);
        for (goal, usual) in [("request-p95-goal", "request-p95"), ("check-p95-goal", "check-p95")] {
            let found = (status(&findings, goal), status(&findings, usual));
            assert_eq!(found, (expected, Status::Ok), "{goal}: {}", findings.text());
        }
    }
    for (found, expected) in [(Some(0.85), Status::Warn), (Some(0.8501), Status::Ok), (None, Status::Skip)] {
        assert_eq!(above("x", found, HITS, "").status, expected, "{found:?}");
    }
    for (found, expected) in [(Some(0.015), Status::Warn), (Some(0.0149), Status::Ok), (None, Status::Skip)] {
        assert_eq!(below("x", Unit::Seconds, found.map(Figure::Is), L2_CHECK, "").status, expected, "{found:?}");
    }
}

#[test]
fn a_process_that_is_gone_is_noticed() {
    let mut now = WELL.measured();
    for (processes, expected) in [(2.0, Status::Ok), (1.0, Status::Warn), (0.0, Status::Unknown)] {
        now.processes = processes;
        assert_eq!(status(&judge(&now, &baseline(5000.0, 5000.0, 0.005), 100), "processes"), expected);
    }
}

/// Whatever is missing, and whatever the baseline has: who passes was seen all the while, and under load.
#[test]
fn who_passes_was_seen() {
    let numbers = [0.0, 1.0, 99.0, 100.0, 10_000.0];
    let mut passed = 0;
    for (requests, checks) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
        for (usual_requests, usual_checks) in [(0.0, 0.0), (900.0, 0.0), (0.0, 900.0), (900.0, 900.0), (9.0, 9.0)] {
            for (parts, processes) in (0..=PARTS).flat_map(|parts| [(parts, 0.0), (parts, 2.0)]) {
                let now = Fleet { requests, checks, parts, processes, ..WELL }.measured();
                let verdict = judge(&now, &baseline(usual_requests, usual_checks, 0.005), 100).verdict(false);
                let enough = |seen: f64, usual: f64| seen >= 100.0 || (seen <= 0.0 && usual <= 0.0);
                let was_seen = parts == PARTS && processes > 0.0 && (requests >= 100.0 || checks >= 100.0);
                let was_seen = was_seen && enough(requests, usual_requests) && enough(checks, usual_checks);
                let is_usual = |seen: f64, usual: f64| seen <= 0.0 || usual >= 100.0;
                let was_seen = was_seen && is_usual(requests, usual_requests) && is_usual(checks, usual_checks);
                assert!(
                    verdict != Verdict::Pass || was_seen,
                    "{requests} {checks} {usual_requests} {usual_checks} {parts}"
                );
                passed += usize::from(verdict == Verdict::Pass);
            }
        }
    }
    assert!(passed > 0);
}
