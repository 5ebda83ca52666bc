//! Purges during a fetch.

use super::*;

type NamedPurge = (&'static str, fn(&Store) -> Purge);

fn purges() -> [NamedPurge; 5] {
    [
        ("url", |store| store.purge_url("http://example.com/dir/page?q=1")),
        ("url on any host", |store| store.purge_url("/dir/page?q=1")),
        ("tag", |store| store.purge_tag("red")),
        ("prefix", |store| store.purge_prefix("/dir")),
        ("all", Store::purge_all),
    ]
}

const PAGE: &str = "/dir/page?q=1";

fn versions(gate: &Gate, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let version = AtomicUsize::new(0);
    gate.before(move |_| text(fields, format!("v{}", version.fetch_add(1, SeqCst) + 1)))
}

#[tokio::test]
async fn a_purge_before_the_head_is_not_undone_by_the_fetch() {
    for (name, purge) in purges() {
        let (store, gate) = (Store::memory(), Gate::default());
        let origin = versions(&gate, &[FRESH, ("cache-tag", "red")]);
        let service = cached(&store, &origin);
        let leader = spawn(&service, get(PAGE));
        until("the origin is asked", || gate.arrived() == 1).await;
        let others: Vec<_> = (0..5).map(|_| spawn(&service, get(PAGE))).collect();
        until("all wait", || waits(&store) == 5).await;
        let _ = purge(&store).await.unwrap();
        gate.open();
        assert_eq!(leader.await.unwrap().text(), "v1");
        for answer in answers(others).await {
            assert_eq!(answer.text(), "v2", "purge by {name}");
        }
        assert_eq!(call(&service, get(PAGE)).await.text(), "v2", "purge by {name}");
        assert!(store.stats().flight_joins(FlightJoin::Refused) >= 1);
    }
}

#[tokio::test]
async fn a_purge_in_mid_body_is_not_undone_by_the_fetch() {
    for (name, purge) in purges() {
        let (feed, body) = fed();
        let store = Store::memory();
        let fields = [FRESH, ("cache-tag", "red")];
        let origin = in_turn(&opened(), vec![respond(200, &fields, body), text(&fields, "new")]);
        let service = cached(&store, &origin);
        let client = head(&service, get(PAGE)).await;
        let waiter = spawn(&service, get(PAGE));
        until("it waits", || waits(&store) == 1).await;
        feed.send("old");
        let _ = purge(&store).await.unwrap();
        drop(feed);
        assert_eq!(waiter.await.unwrap().text(), "new", "purge by {name}");
        assert_eq!(read(client).await.unwrap().text(), "old");
        assert_eq!(call(&service, get(PAGE)).await.text(), "new", "purge by {name}");
    }
}

#[tokio::test]
async fn an_unsafe_request_during_a_fetch_is_not_undone_by_it() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = versions(&gate, &[FRESH]);
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let post = spawn(&service, ask(Method::POST, "/", &[]));
    until("both are in the origin", || gate.arrived() == 2).await;
    // The gate is fair: the first who came is the first to go. Both answers are on their way before either is taken.
    gate.open();
    post.await.unwrap();
    leader.await.unwrap();
    let after = call(&service, get("/")).await;
    assert!(!after.is_hit() || after.text() == "v3", "{after:?}");
}

#[tokio::test]
async fn a_purge_during_a_background_refresh_is_not_undone_by_it() {
    for (name, purge) in purges() {
        let clock = FakeClock::new();
        let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
        let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60"), ("cache-tag", "red")];
        let origin = versions(&gate, fields);
        let service = cached(&store, &origin);
        gate.admit(1);
        call(&service, get(PAGE)).await;
        clock.advance(secs(61));
        assert_eq!(call(&service, get(PAGE)).await.text(), "v1");
        until("the refresh is in the origin", || gate.arrived() == 2).await;
        let _ = purge(&store).await.unwrap();
        // One who comes now may wait for the refresh, but must not be answered with what it brings.
        let waiter = spawn(&service, get(PAGE));
        until("it waits or asks", || waits(&store) == 1 || gate.arrived() == 3).await;
        gate.open();
        assert_eq!(waiter.await.unwrap().text(), "v3", "purge by {name}");
        assert_eq!(call(&service, get(PAGE)).await.text(), "v3", "purge by {name}");
    }
}

#[tokio::test]
async fn a_purge_during_a_revalidation_is_not_undone_by_a_304() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = gate.before(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[FRESH, ("etag", "\"1\"")], terrace_tests::empty());
        }
        text(&[FRESH, ("etag", "\"1\"")], "x")
    });
    let service = cached(&store, &origin);
    gate.admit(1);
    call(&service, get("/")).await;
    clock.advance(secs(61));
    let validating = spawn(&service, get("/"));
    until("it is in the origin", || gate.arrived() == 2).await;
    let _ = store.purge_all().await.unwrap();
    gate.open();
    assert_eq!(validating.await.unwrap().text(), "x");
    assert!(!call(&service, get("/")).await.is_hit());
}
