//! What a scrape sees.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use super::super::catalogue::{Exists, FAMILIES, FamilyKind, MAX_SERIES, Values};
use super::super::prometheus::{MetricsHandle, install};
use super::super::publish;
use super::super::stats::{CheckStatus, Task};
use super::text::{Family, Labels, find, parse};
use super::*;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::collections::BTreeMap;

/// A recorder of the test's own, with the stores of a registry behind it.
struct Scrape {
    recorder: PrometheusRecorder,
    registry: Arc<Registry>,
}

impl Scrape {
    fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, publish::describe);
        Self { recorder, registry: Arc::default() }
    }

    fn store(&self) -> Observe {
        Observe::within(Arc::clone(&self.registry), Clock::default(), &Config::default())
    }

    /// A store whose numbers have other names too.
    fn compatible(&self) -> Observe {
        let config = Config::from_vars([("CACHE_COMPAT_METRICS", "1")]).unwrap();
        Observe::within(Arc::clone(&self.registry), Clock::default(), &config)
    }

    /// A store with a tier that processes share, whose time a test moves.
    fn shared(&self, time: &FakeClock) -> Observe {
        let store = Observe::within(Arc::clone(&self.registry), time.clock(), &Config::default());
        store.shared(Duration::from_secs(1), FenceMode::Strict);
        store
    }

    fn text(&self) -> String {
        let exporter = self.recorder.handle();
        let handle = MetricsHandle::over(move || exporter.render());
        metrics::with_local_recorder(&self.recorder, || handle.render_registry(&self.registry))
    }

    fn families(&self) -> BTreeMap<String, Family> {
        parse(&self.text())
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn value(families: &BTreeMap<String, Family>, name: &str, pairs: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("no family {name}"));
    find(family, name, &labels(pairs)).unwrap_or_else(|| panic!("no series {name} {pairs:?}"))
}

/// One of everything.
fn use_all(observe: &Observe) {
    let namespace = observe.namespace("shop");
    let started = observe.0.clock.now();
    observe.l1_hit(namespace, Some(started));
    observe.l1_lookup_took(Found::Hit, started);
    for status in CacheStatus::ALL {
        observe.request(namespace, *status, Timing::Since(started));
    }
    for reason in ForwardReason::ALL {
        observe.forward(*reason);
    }
    for reason in BypassReason::ALL {
        observe.bypass(*reason);
    }
    for result in LookupResult::ALL {
        observe.lookup(Tier::L1, *result);
    }
    for reason in RejectReason::ALL {
        observe.rejected(Tier::L1, *reason);
    }
    for result in StoreResult::ALL {
        observe.stored(Tier::L1, *result);
    }
    for outcome in OriginOutcome::ALL {
        let (now, _) = observe.origin_call().finish(*outcome);
        observe.fill(now).stored(now);
    }
    for reason in EvictionReason::ALL {
        observe.entry_added(namespace, 100);
        observe.entry_removed(namespace, 100, *reason);
    }
    for scope in Scope::ALL {
        observe.invalidation(*scope, Kind::Hard, InvalidationResult::Acked);
    }
    observe.position(7);
    for status in CheckStatus::ALL {
        observe.checks(*status, [1, 1, 1], started);
    }
    observe.entry_age(Duration::from_secs(1));
    observe.stale_used();
    observe.revocation_bound(Duration::from_secs(1));
    for result in FlightJoin::ALL {
        observe.flight_join(*result);
    }
    for result in SampleResult::ALL {
        observe.sampled(*result);
    }
    for kind in LockKind::ALL {
        observe.lock_wait(*kind, started);
        for result in LockResult::ALL {
            observe.lock(*kind, *result);
        }
    }
}

/// One of everything that only a store with a shared tier does.
fn use_shared(observe: &Observe) {
    observe.ring(crate::store::remote::RingState::Joined);
    let started = observe.0.clock.now();
    for result in LookupResult::ALL {
        observe.lookup(Tier::L2, *result);
    }
    for found in Found::ALL {
        observe.l2_lookup_took(*found, started);
    }
    for op in L2Op::ALL {
        for kind in ErrorKind::ALL {
            observe.l2_error(*op, *kind);
        }
    }
    observe.breaker_moved(BreakerName::Data, BreakerState::Closed, BreakerState::Open);
    for result in PollResult::ALL {
        observe.poll_ended(*result);
    }
    observe.proven(started, 8);
    observe.proven(started, 9);
    for reason in EpochChange::ALL {
        observe.epoch_changed(*reason);
    }
    for direction in BellDirection::ALL {
        observe.bell(*direction);
    }
    observe.owed((1, Some(started)));
    observe.acknowledged(started);
    for result in FenceResult::ALL {
        observe.fence(*result);
    }
    for result in ChangeResult::ALL {
        observe.change(*result);
    }
    observe.bus(true);
    observe.weaknesses(Weakness::ALL);
    observe.markers(9);
    observe.pool(1, 2, 16);
    observe.bridge_listens(false);
    observe.bridge_listens(true);
    for channel in BridgeChannel::ALL {
        for result in BridgeResult::ALL {
            observe.bridge_heard(*channel, *result);
        }
    }
    for result in PrewarmResult::ALL {
        observe.bridge_prewarm(*result);
    }
}

/// What a store tells that reports tasks.
fn use_tasks(observe: &Observe) {
    observe.reports_tasks();
    observe.task(Task::Backup, std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(7), Duration::from_secs(2));
}

/// Every line is of a family, with the labels and the label values, that the catalogue allows.
fn assert_catalogued(families: &BTreeMap<String, Family>, namespaces: &[&str], shared: bool) {
    for (name, family) in families {
        let row = FAMILIES.iter().find(|row| row.name == name);
        let row = row.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        let kind = match row.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge(_) | FamilyKind::Seconds(_) => "gauge",
            FamilyKind::Histogram(_) => "histogram",
        };
        assert_eq!((family.kind.as_str(), family.help.as_str()), (kind, row.help), "{name}");
        assert!(shared || row.exists != Exists::Shared, "{name}");
        for (sample, labels, _) in &family.samples {
            let names = labels.keys().map(String::as_str).filter(|name| *name != "le").collect::<Vec<_>>();
            let mut allowed = row.labels.iter().map(|label| label.name).collect::<Vec<_>>();
            allowed.sort_unstable();
            assert_eq!(names, allowed, "{sample}");
            for label in row.labels {
                let value = labels[label.name].as_str();
                let allowed = match label.values {
                    Values::Closed(words) => words.contains(&value),
                    Values::First(count, words) => words[..if shared { words.len() } else { count }].contains(&value),
                    Values::Namespaces => namespaces.contains(&value) || value == "other",
                };
                assert!(allowed, "{sample}: {}={value}", label.name);
            }
        }
    }
}

fn series(families: &BTreeMap<String, Family>) -> usize {
    families.values().map(|family| family.samples.len()).sum()
}

#[test]
fn every_line_is_in_the_catalogue() {
    let scrape = Scrape::new();
    let store = scrape.store();
    use_all(&store);
    let alone = scrape.families();
    let always = FAMILIES.iter().filter(|family| family.exists == Exists::Always).count();
    assert_eq!(alone.len(), always);
    assert_catalogued(&alone, &["shop"], false);
    assert!(!scrape.text().contains("tier=\"l2\""));

    let store = scrape.shared(&FakeClock::new());
    use_all(&store);
    use_shared(&store);
    let _compatible = scrape.compatible();
    let families = scrape.families();
    let shared = FAMILIES.iter().filter(|family| family.exists != Exists::Tasks).count();
    assert_eq!(families.len(), shared);
    use_tasks(&store);
    let families = scrape.families();
    assert_eq!(families.len(), FAMILIES.len());
    assert_catalogued(&families, &["shop"], true);
    // Everything was used, so there is hardly a family without a value.
    let silent = families.iter().filter(|(_, family)| family.samples.iter().all(|sample| sample.2 == 0.0));
    let silent: Vec<&str> = silent.map(|(name, _)| name.as_str()).collect();
    // What is back at zero, what is of this very moment, and what nothing here uses.
    let expected = [
        "authz_open_changes",
        "cache_coherence_proof_age_seconds",
        "cache_entries",
        "cache_inflight_fills",
        "cache_invalidation_oldest_pending_seconds",
        "cache_l2_up",
        "cache_label_overflow_total",
        "cache_size_bytes",
    ];
    assert_eq!(silent, expected);
}

#[test]
fn a_task_of_which_nothing_is_known_has_succeeded_when_it_was_first_looked_for() {
    let (scrape, time) = (Scrape::new(), FakeClock::new());
    let store = scrape.shared(&time);
    assert!(
        !scrape.text().contains("cache_task_"),
        "whoever reports no tasks has no gauge that an alert would be about"
    );
    let success = |task| value(&scrape.families(), "cache_task_last_success_timestamp_seconds", &[("task", task)]);
    store.reports_tasks();
    let began = success("warm_full");
    assert!(began > 0.0 && success("warm_hot") == began && success("backup") == began);
    time.advance(Duration::from_secs(60));
    use_tasks(&store);
    assert_eq!((success("backup"), success("warm_hot")), (7.0, began), "as it was, also if that is long ago");
    assert_eq!(value(&scrape.families(), "cache_task_duration_seconds", &[("task", "backup")]), 2.0);
}

#[test]
fn every_series_exists_before_anything_happens() {
    for (shared, compatible) in [(false, false), (true, false), (false, true)] {
        let (scrape, time) = (Scrape::new(), FakeClock::new());
        let store = if shared { scrape.shared(&time) } else { scrape.store() };
        let _other = compatible.then(|| scrape.compatible());
        let namespace = store.namespace("shop");
        let before = scrape.families();
        for (name, family) in &before {
            for (_, labels, value) in &family.samples {
                let label = |name| labels.get(name).map(String::as_str);
                let expected = match name.as_str() {
                    "cache_max_size_bytes" if label("cache") == Some("response") => {
                        f64::from(64 << 20) * f64::from(1 + u8::from(compatible))
                    }
                    "cache_feature_enabled" if label("feature") == Some("compat_metrics") => {
                        f64::from(u8::from(compatible))
                    }
                    "cache_build_info" | "cache_coherence_max_lag_seconds" => 1.0,
                    "cache_breaker_state" if label("state") == Some("closed") => 1.0,
                    "cache_coherence_state" if label("state") == Some("starting") => 1.0,
                    "cache_coherence_fence_mode" if label("mode") == Some("strict") => 1.0,
                    _ => 0.0,
                };
                assert!((value - expected).abs() < 0.1, "{family:?}");
            }
        }
        use_all(&store);
        if shared {
            use_shared(&store);
        }
        store.request(namespace, CacheStatus::Miss, Timing::Untimed);
        assert_eq!(series(&scrape.families()), series(&before), "no series appears later");
    }
}

#[test]
fn ages_are_those_of_the_moment_of_the_scrape() {
    let (scrape, time) = (Scrape::new(), FakeClock::new());
    time.advance(Duration::from_secs(1000));
    let store = scrape.shared(&time);
    let age = |name| value(&scrape.families(), name, &[]);
    let state = || {
        let families = scrape.families();
        let is_in =
            |state: &&CoherenceState| value(&families, "cache_coherence_state", &[("state", state.as_str())]) == 1.0;
        let states: Vec<_> = CoherenceState::ALL.iter().filter(is_in).copied().collect();
        assert_eq!(states, [store.stats().coherence().unwrap()]);
        states[0]
    };
    time.advance(Duration::from_millis(2500));
    assert_eq!(age("cache_coherence_proof_age_seconds"), 2.5, "since the store was made");
    assert_eq!(state(), CoherenceState::Starting);

    store.proven(time.clock().now(), 1);
    assert_eq!((age("cache_coherence_proof_age_seconds"), state()), (0.0, CoherenceState::Coherent));
    time.advance(Duration::from_secs(1));
    assert_eq!((age("cache_coherence_proof_age_seconds"), state()), (1.0, CoherenceState::Coherent));
    time.advance(Duration::from_millis(1));
    assert_eq!((age("cache_coherence_proof_age_seconds"), state()), (1.001, CoherenceState::Degraded));
    store.max_lag(Duration::from_secs(5));
    assert_eq!((age("cache_coherence_max_lag_seconds"), state()), (5.0, CoherenceState::Coherent));

    assert_eq!(age("cache_invalidation_oldest_pending_seconds"), 0.0);
    store.owed((3, Some(time.clock().now())));
    time.advance(Duration::from_millis(250));
    let pending = age("cache_invalidations_pending");
    assert_eq!((pending, age("cache_invalidation_oldest_pending_seconds")), (3.0, 0.25));
    assert_eq!(store.stats().oldest_pending(), Duration::from_millis(250));
    store.owed((0, None));
    let pending = age("cache_invalidations_pending");
    assert_eq!((pending, age("cache_invalidation_oldest_pending_seconds")), (0.0, 0.0));
}

#[test]
fn the_lag_is_the_time_since_the_last_proof_without_the_change() {
    let (scrape, time) = (Scrape::new(), FakeClock::new());
    let store = scrape.shared(&time);
    let proven = |after, position| {
        time.advance(Duration::from_millis(after));
        store.proven(time.clock().now(), position);
    };
    // Nothing is known of what was before the first proof, and a poll without news tells nothing.
    proven(4000, 5);
    proven(200, 5);
    proven(300, 6);
    let families = scrape.families();
    let name = "cache_coherence_lag_seconds";
    let sample = |suffix: &str, pairs: &[_]| find(&families[name], &format!("{name}_{suffix}"), &labels(pairs));
    assert_eq!((sample("count", &[]), sample("sum", &[])), (Some(1.0), Some(0.3)));
    assert_eq!((sample("bucket", &[("le", "0.25")]), sample("bucket", &[("le", "0.5")])), (Some(0.0), Some(1.0)));
}

#[test]
fn stores_that_share_no_tier_say_nothing_of_it_and_counts_outlive_those_that_do() {
    let (scrape, time) = (Scrape::new(), FakeClock::new());
    let alone = [scrape.store(), scrape.store()];
    let (one, two) = (scrape.shared(&time), scrape.shared(&time));
    for store in [&one, &two] {
        store.poll_ended(PollResult::Ok);
        store.proven(time.clock().now(), 1);
    }
    let up = |families| value(families, "cache_l2_up", &[]);
    let state = |families, state| value(families, "cache_coherence_state", &[("state", state)]);
    let breaker = |families, state| value(families, "cache_breaker_state", &[("breaker", "data"), ("state", state)]);
    let families = scrape.families();
    assert_eq!((up(&families), state(&families, "coherent"), breaker(&families, "closed")), (1.0, 1.0, 1.0));
    assert_eq!(value(&families, "cache_coherence_max_lag_seconds", &[]), 1.0);
    two.poll_ended(PollResult::Timeout);
    two.breaker_moved(BreakerName::Data, BreakerState::Closed, BreakerState::Open);
    let families = scrape.families();
    assert_eq!((up(&families), state(&families, "coherent"), state(&families, "starting")), (0.0, 1.0, 0.0));
    assert_eq!((breaker(&families, "closed"), breaker(&families, "open")), (1.0, 1.0));
    drop((one, two));
    let polls = |result| value(&scrape.families(), "cache_coherence_polls_total", &[("result", result)]);
    assert_eq!((polls("ok"), polls("timeout")), (2.0, 1.0));
    drop(alone);
}

#[test]
fn moves_of_a_breaker_that_are_told_late_leave_it_in_one_state() {
    let (scrape, time) = (Scrape::new(), FakeClock::new());
    let store = scrape.shared(&time);
    let breaker = || store.stats().breaker(BreakerName::Control);
    assert_eq!(breaker(), Some(BreakerState::Closed));
    store.breaker_moved(BreakerName::Control, BreakerState::Closed, BreakerState::Open);
    assert_eq!(breaker(), Some(BreakerState::Open));
    // Two threads: the later move is told first.
    store.breaker_moved(BreakerName::Control, BreakerState::HalfOpen, BreakerState::Closed);
    let states = scrape.families().remove("cache_breaker_state").unwrap().samples;
    assert!(states.iter().all(|sample| sample.2 == 0.0 || sample.2 == 1.0), "{states:?}");
    store.breaker_moved(BreakerName::Control, BreakerState::Open, BreakerState::HalfOpen);
    assert_eq!(breaker(), Some(BreakerState::Closed));
    assert_eq!(store.stats().breaker(BreakerName::Data), Some(BreakerState::Closed));
    let families = scrape.families();
    let states = &families["cache_breaker_state"].samples;
    assert_eq!(states.iter().map(|sample| sample.2).sum::<f64>(), 2.0, "{states:?}");
}

#[test]
fn what_is_counted_is_what_is_scraped() {
    let scrape = Scrape::new();
    let store = scrape.store();
    let namespace = store.namespace("shop");
    (0..5).for_each(|_| store.l1_hit(namespace, None));
    store.request(namespace, CacheStatus::Miss, Timing::Untimed);
    store.lookup(Tier::L1, LookupResult::Miss);
    store.entry_added(namespace, 1500);
    let families = scrape.families();
    let shop = ("cache_namespace", "shop");
    assert_eq!(value(&families, "cache_requests_total", &[shop, ("cache_status", "l1_cache_hit")]), 5.0);
    assert_eq!(value(&families, "cache_requests_total", &[shop, ("cache_status", "cache_miss")]), 1.0);
    let lookups =
        |result| value(&families, "cache_lookups_total", &[("cache", "response"), ("tier", "l1"), ("result", result)]);
    assert_eq!((lookups("hit"), lookups("miss")), (5.0, 1.0));
    assert_eq!(value(&families, "cache_size_bytes", &[("cache", "response"), shop]), 1500.0);
}

#[test]
fn times_are_counted_in_their_buckets() {
    let scrape = Scrape::new();
    let time = FakeClock::new();
    let store = Observe::within(Arc::clone(&scrape.registry), time.clock(), &Config::default());
    let namespace = store.namespace("shop");
    let started = time.clock().now();
    time.advance(Duration::from_millis(50));
    store.request(namespace, CacheStatus::Miss, Timing::Since(started));
    store.l1_hit(namespace, Some(started));
    time.advance(Duration::from_secs(60));
    store.request(namespace, CacheStatus::Miss, Timing::Since(started));
    let families = scrape.families();
    let family = &families["cache_request_duration_seconds"];
    let name = "cache_request_duration_seconds_bucket";
    let bucket = |status, edge| find(family, name, &labels(&[("cache_status", status), ("le", edge)])).unwrap();
    // An edge belongs to its bucket.
    assert_eq!((bucket("cache_miss", "0.03"), bucket("cache_miss", "0.05")), (0.0, 1.0));
    assert_eq!((bucket("cache_miss", "5"), bucket("cache_miss", "+Inf")), (1.0, 2.0));
    assert_eq!((bucket("l1_cache_hit", "0.03"), bucket("l1_cache_hit", "0.05")), (0.0, 64.0));
    let sum =
        |status| find(family, "cache_request_duration_seconds_sum", &labels(&[("cache_status", status)])).unwrap();
    assert!((sum("cache_miss") - 60.1).abs() < 1e-6 && (sum("l1_cache_hit") - 64.0 * 0.05).abs() < 1e-6);
}

#[test]
fn a_flood_of_namespaces_is_bounded_and_counted() {
    let scrape = Scrape::new();
    let (store, _compatible) = (scrape.shared(&FakeClock::new()), scrape.compatible());
    for n in 0..10_000 {
        let namespace = store.namespace(&format!("n{n}"));
        store.request(namespace, CacheStatus::Miss, Timing::Untimed);
    }
    let known: Vec<String> = (0..32).map(|n| format!("n{n}")).collect();
    let families = scrape.families();
    assert_catalogued(&families, &known.iter().map(String::as_str).collect::<Vec<_>>(), true);
    assert!(series(&families) <= MAX_SERIES, "{} series", series(&families));
    let other = [("cache_namespace", "other"), ("cache_status", "cache_miss")];
    assert_eq!(value(&families, "cache_requests_total", &other), 9_968.0);
    assert_eq!(value(&families, "cache_label_overflow_total", &[("label", "cache_namespace")]), 9_968.0);
    assert_eq!(store.stats().requests(CacheStatus::Miss), 10_000);
}

/// What the recording rules of the same names say.
#[test]
fn the_other_names_say_the_same_where_they_are_asked_for() {
    let scrape = Scrape::new();
    let plain = scrape.store();
    assert!(!scrape.text().contains("tool_"));
    let store = scrape.compatible();
    let (shop, bakery) = (store.namespace("shop"), store.namespace("bakery"));
    let started = store.0.clock.now();
    (0..5).for_each(|_| store.l1_hit(shop, Some(started)));
    for (status, times) in CacheStatus::ALL.iter().zip(1..) {
        (0..times).for_each(|_| store.request(shop, *status, Timing::Since(started)));
    }
    // Of a store that does not ask for it: what is published is the process's.
    plain.request(bakery, CacheStatus::Miss, Timing::Since(started));
    let check = |families: &BTreeMap<String, Family>| {
        let total = |name, namespace| value(families, name, &[("namespace", namespace)]);
        let hits = 5.0 + f64::from(1 + 2 + 3 + 4 + 5);
        assert_eq!((total("tool_cache_hits_total", "shop"), total("tool_cache_hits_total", "bakery")), (hits, 0.0));
        assert_eq!((total("tool_cache_misses_total", "shop"), total("tool_cache_misses_total", "bakery")), (14.0, 1.0));
        assert_eq!((total("tool_cache_hits_total", "other"), total("tool_cache_misses_total", "other")), (0.0, 0.0));
        let family = &families["tool_run_seconds"];
        let count = |cached| {
            let bucket = labels(&[("tool", "response"), ("cached", cached), ("le", "+Inf")]);
            find(family, "tool_run_seconds_bucket", &bucket).unwrap()
        };
        // A memory hit in 64 stands for 64. What waited for the origin was not served by the cache alone.
        assert_eq!((count("true"), count("false")), (5.0 * 64.0 + 6.0, f64::from(4 + 5 + 6 + 8) + 1.0));
        assert_eq!(value(families, "cache_feature_enabled", &[("feature", "compat_metrics")]), 1.0);
    };
    check(&scrape.families());
    // Counters outlive their store, under each of their names.
    drop(store);
    check(&scrape.families());
}

#[test]
fn stores_of_a_process_are_summed_and_counters_outlive_them() {
    let scrape = Scrape::new();
    let (one, two) = (scrape.store(), scrape.store());
    let namespace = one.namespace("shop");
    assert_eq!(namespace, two.namespace("shop"));
    for (store, on) in [(&one, true), (&two, false)] {
        use_all(store);
        store.entry_added(namespace, 10);
        store.flag_is(Feature::Swr, on);
        store.flag_is(Feature::Cache, true);
    }
    let both = scrape.families();
    let hits = [("cache_namespace", "shop"), ("cache_status", "l1_cache_hit")];
    let entries = [("cache", "response"), ("cache_namespace", "shop")];
    let flag = |families, name| value(families, "cache_feature_enabled", &[("feature", name)]);
    assert_eq!(value(&both, "cache_requests_total", &hits), 4.0);
    assert_eq!(value(&both, "cache_entries", &entries), 2.0);
    assert_eq!((flag(&both, "cache"), flag(&both, "swr"), flag(&both, "l1")), (1.0, 0.0, 0.0));
    drop(two);
    let left = scrape.families();
    assert_eq!(value(&left, "cache_requests_total", &hits), 4.0);
    assert_eq!(value(&left, "cache_entries", &entries), 1.0);
    assert_eq!(flag(&left, "swr"), 1.0);
    let counts = |families: &BTreeMap<String, Family>| {
        let family = &families["cache_request_duration_seconds"];
        find(family, "cache_request_duration_seconds_count", &labels(&[("cache_status", "cache_miss")])).unwrap()
    };
    assert_eq!((counts(&both), counts(&left)), (2.0, 2.0));
}

#[test]
fn metrics_switched_off_are_counted_and_not_published() {
    let off = Config::from_vars([("ENABLE_METRICS", "0")]).unwrap();
    let store = Observe::new(Clock::default(), &off);
    let namespace = store.namespace("never-published");
    store.request(namespace, CacheStatus::Miss, Timing::Untimed);
    assert_eq!(store.stats().requests(CacheStatus::Miss), 1);
    let totals = Registry::global().totals();
    let words = totals.series(&FAMILIES[0]).flat_map(|(labels, _)| labels).map(|(_, value)| value);
    assert!(words.into_iter().all(|value| &*value != "never-published"));
}

/// The only test that may install the process's recorder.
#[test]
fn a_recorder_installed_late_gets_everything() {
    let store = Observe::new(Clock::default(), &Config::default());
    let namespace = store.namespace("early");
    store.request(namespace, CacheStatus::Miss, Timing::Untimed);
    publish::publish(&Registry::global().totals());

    let handle = install().unwrap();
    store.request(namespace, CacheStatus::Miss, Timing::Untimed);
    let early = [("cache_namespace", "early"), ("cache_status", "cache_miss")];
    let families = parse(&handle.render());
    assert_eq!(value(&families, "cache_requests_total", &early), 2.0);
    assert_eq!(families["cache_requests_total"].help, FAMILIES[0].help);

    let error = install().unwrap_err();
    assert!(!error.is_config() && std::error::Error::source(&error).is_some());
    assert_eq!(error.to_string(), "the Prometheus exporter could not be installed");

    metrics::histogram!("app_query_seconds").record(0.002);
    let attached = MetricsHandle::attach(move || handle.render()).unwrap();
    assert!(attached.render().contains("app_query_seconds_bucket{le=\"0.0025\"} 1"));
}

#[test]
fn nothing_grows_while_nobody_scrapes() {
    // In a process of its own: what other tests hold meanwhile must not count.
    if std::env::var_os("TERRACE_TEST_ALONE").is_none() {
        return alone("observe::tests::exposition::nothing_grows_while_nobody_scrapes");
    }
    let scrape = Scrape::new();
    let store = scrape.store();
    let namespace = store.namespace("shop");
    use_all(&store);
    let text = scrape.text().len();
    let started = store.0.clock.now();
    let before = resident_bytes();
    for round in 0..2_000_000 {
        store.request(namespace, CacheStatus::Miss, Timing::Since(started));
        store.l1_lookup_took(Found::Hit, started);
        if round % 20_000 == 0 {
            metrics::with_local_recorder(&scrape.recorder, || publish::publish(&scrape.registry.totals()));
        }
    }
    // The exporter's own histograms would have kept 16 bytes of each: 64 MB.
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        assert!(after < before + 30_000_000, "grew from {before} to {after} bytes");
    }
    assert!(scrape.text().len() < text + 5_000, "only the digits grow");
}

fn alone(test: &str) {
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    let output = program.args([test, "--exact", "--nocapture"]).env("TERRACE_TEST_ALONE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

#[test]
fn the_manual_lists_every_family() {
    let table = |exists| {
        let rows = FAMILIES.iter().filter(|family| family.exists == exists).map(row);
        let head = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
        std::iter::once(head).chain(rows).collect::<String>()
    };
    let (always, shared) = (table(Exists::Always), table(Exists::Shared));
    let (tasks, compat) = (table(Exists::Tasks), table(Exists::Compat));
    let shared = format!("Only where a store has a tier that processes share:\n\n{shared}");
    let tasks = format!("Only where tasks are reported, as by `terrace watch`:\n\n{tasks}");
    let compat = format!("Only with `CACHE_COMPAT_METRICS`, under names that others have for the same:\n\n{compat}");
    manual("metrics.md", &format!("{always}\n{shared}\n{tasks}\n{compat}"));
}

fn row(family: &super::super::catalogue::Family) -> String {
    let kind = match family.kind {
        FamilyKind::Counter => "counter",
        FamilyKind::Gauge(_) | FamilyKind::Seconds(_) => "gauge",
        FamilyKind::Histogram(_) => "histogram",
    };
    let labels: Vec<String> = family.labels.iter().map(label_text).collect();
    format!("| `{}` | {kind} | {} | {} |\n", family.name, labels.join("; "), family.help)
}

fn label_text(label: &super::super::catalogue::Label) -> String {
    let values = match (label.name, label.values) {
        ("version" | "revision" | "rustc", _) => "of the build".to_owned(),
        (_, Values::Closed(words) | Values::First(_, words)) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        (_, Values::Namespaces) => "32 names, `other`".to_owned(),
    };
    format!("`{}`: {values}", label.name)
}

/// For a look with other tools: `cargo test -p terrace exposition -- --nocapture`, or promtool on
/// `TERRACE_METRICS_FILE`.
#[test]
fn the_price_of_a_scrape() {
    let scrape = Scrape::new();
    let (store, _compatible) = (scrape.shared(&FakeClock::new()), scrape.compatible());
    for n in 0..32 {
        store.namespace(&format!("n{n}"));
    }
    use_all(&store);
    use_shared(&store);
    scrape.text();
    let clock = Clock::default();
    let start = clock.now();
    metrics::with_local_recorder(&scrape.recorder, || publish::publish(&scrape.registry.totals()));
    let published = clock.now();
    let text = scrape.text();
    let rendered = clock.now().duration_since(published);
    let lines = series(&parse(&text));
    println!("publish {:?}; publish and render {rendered:?}; {lines} lines", published.duration_since(start));
    if let Some(file) = std::env::var_os("TERRACE_METRICS_FILE") {
        std::fs::write(file, text).unwrap();
    }
}
