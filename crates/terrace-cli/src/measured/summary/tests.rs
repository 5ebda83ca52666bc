use super::*;

fn summary(counts: &[(&'static str, &[(&str, &str)], f64)]) -> Summary {
    let mut increases = Increases::default();
    for (metric, labels, value) in counts {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        increases.add(metric, labels, *value);
    }
    let window = Window { from: 0.0, to: 10.0 };
    Summary { source: "prometheus", window, builds: Vec::new(), increases, ..Summary::default() }
}

/// As the rules record them: bypasses are in no ratio, and what process memory answers never reaches Redis.
#[test]
fn ratios_are_those_that_are_recorded() {
    let check = |status| [("cache_status", status), ("decision", "allow")];
    let lookup = |tier, result| [("cache", "response"), ("tier", tier), ("result", result)];
    let summary = summary(&[
        ("authz_check_total", &check("l1_cache_hit"), 60.0),
        ("authz_check_total", &check("l2_cache_hit"), 30.0),
        ("authz_check_total", &check("cache_miss"), 10.0),
        ("authz_check_total", &check("cache_bypass"), 100.0),
        ("authz_check_total", &[("cache_status", "cache_error"), ("decision", "error")], 0.0),
        ("cache_requests_total", &[("cache_status", "cache_bypass")], 7.0),
        ("cache_lookups_total", &lookup("l1", "hit"), 1.0),
        ("cache_lookups_total", &lookup("l1", "miss"), 3.0),
        ("cache_lookups_total", &lookup("l1", "skipped"), 50.0),
    ]);
    let json = summary.json();
    assert_eq!(json["caches"]["authz"]["ratios"], json!({ "combined": 0.9, "l1": null, "l2_share": 0.75 }));
    assert_eq!(json["caches"]["authz"]["requests_per_second"], 20.0);
    assert_eq!(json["caches"]["response"]["ratios"], json!({ "combined": null, "l1": 0.25, "l2_share": null }));
    assert!(summary.has_traffic() && !summary.has_l2());
}

#[test]
fn hits_and_misses_are_told_by_namespaces() {
    let request = |name, status| [("cache_namespace", name), ("cache_status", status)];
    let summary = summary(&[
        ("cache_requests_total", &request("shop", "l1_cache_hit"), 60.0),
        ("cache_requests_total", &request("shop", "cache_coalesced"), 30.0),
        ("cache_requests_total", &request("shop", "cache_miss"), 20.0),
        ("cache_requests_total", &request("shop", "cache_error"), 10.0),
        ("cache_requests_total", &request("shop", "cache_bypass"), 500.0),
        ("cache_requests_total", &request("api", "cache_miss"), 200.0),
        ("cache_requests_total", &request("idle", "cache_miss"), 0.0),
        ("authz_check_total", &[("cache_status", "l1_cache_hit"), ("decision", "allow")], 5.0),
    ]);
    let json = summary.json();
    let expected = json!({
        "shop": { "hits": 90.0, "misses": 30.0, "ratio": 0.75 },
        "api": { "hits": 0.0, "misses": 200.0, "ratio": 0.0 },
    });
    assert_eq!(json["caches"]["response"]["namespaces"], expected);
    assert_eq!(json["caches"]["authz"]["namespaces"], json!({}));
    let page = page(&summary);
    let table = "\n\n| namespace | hits | misses | hit ratio |\n| --- | ---: | ---: | ---: |\n\
        | api | 0 | 200 | 0.00 % |\n| shop | 90 | 30 | 75.00 % |\n";
    assert!(page.contains(table) && !page.contains("Authorization: namespaces"), "{page}");
}

#[test]
fn how_full_memory_was_and_which_alerts_fired_is_told_if_it_is_known() {
    let mut summary = summary(&[]);
    let json = summary.json();
    assert_eq!((&json["memory"], &json["alerts"]), (&json!({}), &Value::Null));
    let unknown = page(&summary);
    assert!(unknown.contains("How full it was is not known.") && unknown.contains("Which fired is not known."));
    summary.alerts = Some(BTreeMap::new());
    assert!(page(&summary).contains("None fired, if the rules were loaded"));
    summary.memory = BTreeMap::from([("redis".to_owned(), 0.5), ("authz".to_owned(), 0.25)]);
    summary.alerts = Some(BTreeMap::from([("CacheHitRateLow shop".to_owned(), 1.0), ("RedisDown".to_owned(), 3.0)]));
    let json = summary.json();
    assert_eq!(json["memory"], json!({ "redis": 0.5, "authz": 0.25 }));
    assert_eq!(json["alerts"], json!({ "CacheHitRateLow shop": 1.0, "RedisDown": 3.0 }));
    let page = page(&summary);
    for part in [
        "| a process, of what it has for the cache authz | 25.00 % |\n| Redis, of maxmemory | 50.00 % |\n",
        "| RedisDown | 3 |\n| CacheHitRateLow shop | 1 |\n",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

fn page(summary: &Summary) -> String {
    let sections = crate::measured::tables(summary);
    crate::measured::markdown(&crate::measured::Document { title: String::new(), sections })
}

#[test]
fn what_is_beyond_the_last_edge_is_null_and_above_it() {
    let bucket = |le| [("cache_status", "l1_cache_hit"), ("cache", "response"), ("le", le)];
    let (request, origin) = ("cache_request_duration_seconds_bucket", "cache_origin_duration_seconds_bucket");
    let summary = summary(&[
        ("cache_requests_total", &[("cache_status", "l1_cache_hit")], 100.0),
        (request, &bucket("5.0"), 80.0),
        (request, &bucket("+Inf"), 100.0),
        (origin, &bucket("30.0"), 1.0),
        (origin, &bucket("+Inf"), 9.0),
    ]);
    let response = &summary.json()["caches"]["response"];
    let latency = json!({ "p50": 3.125, "p95": null, "p95_above": 5.0, "p99": null, "p99_above": 5.0 });
    assert_eq!(response["latency_seconds"]["all"], latency);
    let saved = json!({ "origin_calls": 100.0, "seconds_estimate": null, "seconds_estimate_above": 3000.0 });
    assert_eq!(response["saved"], saved);
    let page = page(&summary);
    assert!(page.contains("| all | 3.12 s | \\> 5.00 s | \\> 5.00 s |\n"), "{page}");
    assert!(page.contains("| time saved, an estimate | \\> 50.0 min |\n"), "{page}");
    assert!(!page.contains("inf ") && !page.contains("NaN"), "{page}");
}

#[test]
fn what_is_not_known_is_null() {
    for unknown in [None, Some(f64::NAN), Some(f64::INFINITY)] {
        assert_eq!(figure(unknown), Value::Null);
    }
    assert_eq!(figure(Some(0.123_456_789)), json!(0.123_457));
    assert!(!summary(&[]).json().to_string().contains("NaN") && !summary(&[]).has_traffic());
    assert_eq!((time(f64::NAN).as_str(), time(1e9).as_str()), ("1970-01-01T00:00:00Z", "2001-09-09T01:46:40Z"));
}
