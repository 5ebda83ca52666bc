//! What is over when somebody asks: alerts that fired, and memory that was full.

use crate::harness::{Origin, full};
use crate::prometheus::Prometheus;
use http::Response;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A process and the exporter of its Redis in one, in which an alert fires or does not. Of 1000 bytes so many are used.
async fn exporter(state: Arc<Mutex<(u32, bool)>>) -> Origin {
    Origin::start(move |_| {
        let (used, fires) = *state.lock().unwrap();
        let alert = |name: &str| format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}} 1\n");
        let text = format!(
            "cache_build_info{{version=\"1\",revision=\"r\"}} 1\n\
             redis_memory_used_bytes {used}\nredis_memory_max_bytes 1000\n\
             cache_size_bytes{{cache=\"authz\",cache_namespace=\"a\"}} {used}\n\
             cache_size_bytes{{cache=\"authz\",cache_namespace=\"b\"}} {used}\n\
             cache_max_size_bytes{{cache=\"authz\"}} 4000\ncache_max_size_bytes{{cache=\"response\"}} 0\n\
             ALERTS{{alertname=\"CacheHitRateLow\",alertstate=\"pending\"}} 1\n{}{}",
            alert("SomebodyElses"),
            if fires { alert("RedisHighMemory") } else { String::new() },
        );
        async move { Response::builder().header("content-type", "text/plain; version=0.0.4").body(full(text)).unwrap() }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_highest_and_how_often_alerts_fired_is_told_afterwards() {
    let state = Arc::new(Mutex::new((300, false)));
    let exporter = exporter(Arc::clone(&state)).await;
    let prometheus = Prometheus::start(&[exporter.address]);
    let begin = Instant::now();
    for (used, fires) in [(900, true), (300, false), (800, true), (400, false)] {
        *state.lock().unwrap() = (used, fires);
        prometheus.until("sum(redis_memory_used_bytes)", f64::from(used)).await;
    }
    // It ends a little later, so it has to be longer for the first of it to be seen.
    let whole = format!("{}ms", 2 * begin.elapsed().as_millis());
    let figures = prometheus.terrace(&["report", "--for", &whole, "-o", "json"]).with(0).json();
    // What a process has for a cache is one limit for all namespaces, and a limit of none is not used.
    assert_eq!(figures["memory"], serde_json::json!({ "redis": 0.9, "authz": 0.45 }), "{figures:#}");
    // Twice, unless a scrape was late meanwhile, which is taken for an end.
    let alerts = figures["alerts"].as_object().unwrap();
    assert_eq!(alerts.keys().collect::<Vec<_>>(), ["RedisHighMemory shop"], "{figures:#}");
    assert!((2.0..10.0).contains(&alerts["RedisHighMemory shop"].as_f64().unwrap()), "{figures:#}");
    let page = prometheus.terrace(&["report", "--for", &whole, "--job", "sh.p"]).with(0).out;
    assert!(page.contains("## Alerts\n") && page.contains("| RedisHighMemory shop | "), "{page}");
    assert!(page.contains("| Redis, of maxmemory | "), "{page}");
}
