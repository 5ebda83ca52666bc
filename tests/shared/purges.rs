//! What is invalidated, by whom and in which scope, and what a receipt is good for.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_every_process_at_once_with_messages_and_within_the_lag_without() {
    for (silent, wait) in [(false, Duration::from_millis(15)), (true, Duration::from_secs(1))] {
        let (version, origin) = changing(&[FRESH]);
        let fleet = Fleet::of(2, origin).await;
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "1");
        }
        fleet.chaos.is_silent(silent);
        fleet.rests().await;
        version.store(2, SeqCst);
        let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
        assert_eq!(fleet.get(0, "/").await.text(), "2", "here at once");
        fleet.pass(wait).await;
        assert_eq!(fleet.get(1, "/").await.text(), "2", "silent: {silent}");
    }
}

/// Each costs the server as much as a request, in every process.
#[tokio::test(start_paused = true)]
async fn under_a_storm_of_messages_polls_keep_apart() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.rests().await;
    let polls = || fleet.stores[1].stats().polls(PollResult::Ok);
    let before = polls();
    for number in 0..100 {
        let _receipt = fleet.stores[0].purge_url(&format!("/{number}")).await.unwrap();
        fleet.pass(Duration::from_millis(10)).await;
    }
    let polls = polls() - before;
    assert!((20..=27).contains(&polls), "{polls} in a second");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_receipt_is_never_answered_with_older_data_by_any_process() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.chaos.is_silent(true);
    version.store(2, SeqCst);
    let receipt = fleet.stores[0].purge_url("/").await.unwrap();
    let with_receipt = || {
        let mut request = get("/");
        request.extensions_mut().insert(receipt.clone());
        request
    };
    assert_eq!(call(&fleet.services[1], get("/")).await.text(), "1", "it has not heard of it");
    assert_eq!(call(&fleet.services[1], with_receipt()).await.text(), "2");
    fleet.pass(Duration::from_secs(1)).await;
    let lookups = fleet.chaos.lookups();
    let answer = call(&fleet.services[1], with_receipt()).await;
    assert!(answer.is_hit() && answer.text() == "2");
    assert_eq!(fleet.chaos.lookups(), lookups, "from memory, which has caught up");
}

/// While a failover is under way one process may still have the primary that was left, which hears of no invalidation.
#[tokio::test(start_paused = true)]
async fn a_request_with_a_receipt_of_another_epoch_is_fetched() {
    let (version, origin) = changing(&[FRESH]);
    let (left, promoted) = (Fleet::of(1, origin.clone()).await, Fleet::of(1, origin).await);
    promoted.chaos.restarts();
    promoted.pass(Duration::from_secs(1)).await;
    assert_eq!(left.get(0, "/").await.text(), "1");
    version.store(2, SeqCst);
    let receipt = promoted.stores[0].purge_url("/").await.unwrap();
    let mut request = get("/");
    request.extensions_mut().insert(receipt);
    assert_eq!(left.get(0, "/").await.text(), "1");
    assert_eq!(call(&left.services[0], request).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_what_it_wrote_whichever_process_it_reaches() {
    type Carry = fn(&Store) -> SessionLayer;
    let keys = format!("a:{}=", "A".repeat(43));
    let config = Config::from_vars([("CACHE_KEYS", &*keys)]).unwrap();
    let as_header: Carry = |store| SessionLayer::header(store.clone(), "seen".parse().unwrap()).unwrap();
    let as_cookie: Carry = |store| SessionLayer::cookie(store.clone(), "seen").unwrap();
    for (sent, brought, layer) in [("seen", "seen", as_header), ("set-cookie", "cookie", as_cookie)] {
        let (version, origin) = changing(&[FRESH]);
        let fleet = Fleet::with(2, config.clone(), origin).await;
        fleet.chaos.is_silent(true);
        let writer = fleet.stores[0].clone();
        let change = tower::service_fn(move |_: Request<Body>| {
            let (version, writer) = (Arc::clone(&version), writer.clone());
            async move {
                version.store(2, SeqCst);
                let mut response = text(&[], "changed".to_owned());
                response.extensions_mut().insert(writer.purge_url("/").await.unwrap());
                Outcome::Ok(response)
            }
        });
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "1");
        }
        let changed = call(&layer(&fleet.stores[0]).layer(change), get("/")).await;
        let receipt = changed.field(sent).split(';').next().unwrap().to_owned();
        let reader = layer(&fleet.stores[1]).layer(fleet.services[1].clone());
        assert_eq!(call(&reader, get("/")).await.text(), "1", "it has not heard of it");
        assert_eq!(call(&reader, get_with("/", &[(brought, "seen=forged")])).await.text(), "1", "{brought}");
        let with_receipt = [(brought, receipt.as_str())];
        assert_eq!(call(&reader, get_with("/", &with_receipt)).await.text(), "2", "{brought}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_scope_of_a_purge_is_shared() {
    const FIELDS: &[(&str, &str)] = &[FRESH, ("cache-tag", "blue, red")];
    let (version, origin) = changing(FIELDS);
    let fleet = Fleet::of(2, origin).await;
    for scope in 0..5 {
        let old = version.load(SeqCst).to_string();
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/a/b?c=d").await.text(), old);
        }
        version.fetch_add(1, SeqCst);
        let store = &fleet.stores[0];
        let purge = match scope {
            0 => store.purge_url("/a/b?c=d"),
            1 => store.purge_tag("red"),
            2 => store.purge_prefix("/a"),
            3 => store.purge_all(),
            _ => store.purge_tag("red").soft(),
        };
        let _receipt = purge.await.unwrap();
        fleet.pass(Duration::from_millis(50)).await;
        assert_ne!(fleet.get(1, "/a/b?c=d").await.text(), old, "scope {scope}");
        fleet.pass(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_makes_nobody_wait_in_the_process_that_purges_either() {
    const STALE: (&str, &str) = ("cache-control", "max-age=600, stale-while-revalidate=600");
    let gate = Gate::default();
    let config = Config::from_vars([("CACHE_POLL_INTERVAL", "900ms")]).unwrap();
    let fleet = Fleet::with(2, config, gate.before(|_| text(&[STALE], "x"))).await;
    fleet.chaos.is_silent(true);
    gate.admit(1);
    fleet.get(0, "/").await;
    for _ in 0..3 {
        let _receipt = fleet.stores[0].purge_url("/").soft().await.unwrap();
        // Nobody is admitted to the origin.
        let answer = tokio::time::timeout(Duration::from_millis(50), fleet.get(0, "/")).await;
        assert_eq!(answer.expect("at once").text(), "x");
    }
    assert_eq!(fleet.stores[0].stats().requests(CacheStatus::Stale), 3);
    until("one revalidates", || gate.arrived() == 2).await;
    gate.open();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_millis(20)).await;
    assert!(fleet.get(0, "/").await.is_hit(), "and is done with it");
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_an_invalidation_is_never_found_after_it() {
    let (gate, version, origin) = slow_database();
    let fleet = Fleet::of(2, origin).await;
    let slow = spawn(&fleet.services[0], get("/"));
    until("the fetch is under way", || gate.arrived() == 1).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap().text(), "1");
    fleet.pass(Duration::from_millis(20)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_invalidates_in_all_processes() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::answering(move |request| {
        if request.method == Method::POST {
            told.fetch_add(1, SeqCst);
        }
        text(&[FRESH], told.load(SeqCst).to_string())
    });
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.rests().await;
    call(&fleet.services[0], ask(Method::POST, "/", &[])).await;
    assert_eq!(call(&fleet.services[0], get("/")).await.text(), "2", "here at once");
    fleet.pass(Duration::from_millis(20)).await;
    assert_eq!(fleet.get(1, "/").await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_is_not_confirmed_is_an_error_holds_here_and_is_repeated() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.chaos.fails(Failure::Refuses);
    version.store(2, SeqCst);
    let error = fleet.stores[0].purge_url("/").await.unwrap_err();
    assert!(error.is_unconfirmed() && error.to_string().contains("Redis"), "{error}");
    assert_eq!(fleet.get(0, "/").await.text(), "2", "this process knows");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    assert_eq!(fleet.get(1, "/").await.text(), "2", "and has told the others");
    // Nothing is held any more.
    fleet.get(0, "/").await;
    let lookups = fleet.chaos.lookups();
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.chaos.lookups(), lookups);
}

#[tokio::test(start_paused = true)]
async fn a_head_request_revives_nothing_that_another_process_has_invalidated() {
    let (version, origin) = changing(&[("cache-control", "max-age=1, stale-if-error=600")]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(0, "/").await.text(), "1");
    fleet.chaos.is_silent(true);
    fleet.pass(Duration::from_millis(2500)).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    // The first has not heard of it, and nothing in the head contradicts the content that it has.
    call(&fleet.services[0], ask(Method::HEAD, "/", &[])).await;
    fleet.pass(Duration::from_millis(500)).await;
    for process in [1, 0] {
        assert_eq!(fleet.get(process, "/").await.text(), "2", "process {process}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_the_origin_is_asked_does_not_answer_for_it_when_it_fails() {
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=1, stale-if-error=600")];
    for (purged, status) in [(true, 503), (false, 200)] {
        let (gate, calls) = (Gate::default(), AtomicU64::new(0));
        let fleet = Fleet::of(
            1,
            gate.before(move |_| match calls.fetch_add(1, SeqCst) {
                0 => text(FIELDS, "1"),
                _ => respond(503, &[], terrace_tests::full("failed")),
            }),
        )
        .await;
        gate.admit(1);
        assert_eq!(fleet.get(0, "/").await.text(), "1");
        fleet.pass(Duration::from_millis(1500)).await;
        let asked = spawn(&fleet.services[0], get("/"));
        until("the origin is asked", || gate.arrived() == 2).await;
        if purged {
            let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
        }
        fleet.pass(Duration::from_secs(20)).await;
        gate.open();
        assert_eq!(asked.await.unwrap().status, status, "purged: {purged}");
    }
}
