//! What is stored by one process and found by another.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_one_process_fetched_answers_in_all() {
    let fleet = Fleet::of(3, Origin::counting(&[FRESH])).await;
    let first = fleet.get(0, "/a?b=c").await;
    fleet.clock.advance(Duration::from_secs(10));
    fleet.pass(Duration::from_millis(500)).await;
    for process in 1..3 {
        let answer = fleet.get(process, "/a?b=c").await;
        assert_eq!(answer.text(), first.text());
        assert!(answer.is_hit() && answer.age() >= Some(10), "{answer:?}");
        assert_eq!(fleet.stores[process].stats().requests(CacheStatus::L2CacheHit), 1);
        // From memory now.
        let lookups = fleet.chaos.lookups();
        assert!(fleet.get(process, "/a?b=c").await.is_hit());
        assert_eq!(fleet.chaos.lookups(), lookups);
    }
    assert_eq!(fleet.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn variants_are_shared() {
    let origin = Origin::answering(|request| {
        let language = request.headers.get("accept-language").cloned().unwrap();
        text(&[FRESH, ("vary", "accept-language")], language.as_bytes().to_vec())
    });
    let fleet = Fleet::of(2, origin).await;
    for (process, language) in [(0, "de"), (0, "fr"), (1, "fr"), (1, "de"), (1, "fr")] {
        let answer = call(&fleet.services[process], get_with("/", &[("accept-language", language)])).await;
        assert_eq!(answer.text(), language);
        fleet.pass(Duration::from_millis(5)).await;
    }
    assert_eq!(fleet.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_miss_and_is_overwritten() {
    let fleet = Fleet::of(3, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.chaos.corrupts();
    let second = fleet.get(1, "/").await;
    assert_eq!(fleet.origin.calls(), 2);
    assert_eq!(fleet.stores[1].stats().rejected(Tier::L2, RejectReason::Schema), 1);
    assert_eq!(fleet.get(2, "/").await.text(), second.text());
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_and_served_says_that_it_is_from_the_shared_tier() {
    let fleet = Fleet::of(2, Origin::counting(&[("cache-control", "max-age=1, stale-while-revalidate=600")])).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_secs(3)).await;
    for (process, shared) in [(1, true), (0, false)] {
        let answer = call(&fleet.services[process], get("/")).await;
        assert!(answer.is_hit() && answer.text() == "1", "{answer:?}");
        assert_eq!(answer.field("cache-status").contains("detail=l2"), shared, "{answer:?}");
        assert_eq!(fleet.stores[process].stats().requests(CacheStatus::Stale), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_in_the_shared_tier_is_revalidated() {
    let origin = Origin::answering(|request| {
        let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
        if request.headers.contains_key("if-none-match") {
            respond(304, &fields, terrace_tests::empty())
        } else {
            text(&fields, "content")
        }
    });
    let fleet = Fleet::of(2, origin).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_secs(11)).await;
    let answer = fleet.get(1, "/").await;
    assert_eq!(answer.text(), "content");
    assert!(answer.field("cache-status").contains("fwd-status=304"), "{answer:?}");
    // And all have it again.
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_request_freshens_what_is_stale_for_all_processes() {
    let fleet = Fleet::of(2, Origin::counting(&[("cache-control", "max-age=1, stale-if-error=600")])).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_millis(1500)).await;
    call(&fleet.services[0], ask(Method::HEAD, "/", &[])).await;
    fleet.pass(Duration::from_millis(10)).await;
    for process in [0, 1] {
        let answer = fleet.get(process, "/").await;
        assert!(answer.is_hit() && answer.text() == "1", "process {process}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_is_counted_once() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.chaos.is_silent(true);
    let looks = || -> u64 { LookupResult::ALL.iter().map(|result| fleet.stats(0).lookups(Tier::L2, *result)).sum() };
    let before = looks();
    fleet.chaos.restarts();
    // The reply that says so comes, and the next one does not.
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(20)));
    let asked = spawn(&fleet.services[0], get("/new"));
    fleet.pass(Duration::from_millis(100)).await;
    asked.await.unwrap();
    assert_eq!(looks(), before + 1);
}
