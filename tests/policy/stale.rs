//! Answers that are stale.

use super::*;

fn failing_after_the_first(fields: Fields, failure: Option<u16>) -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::new(move |_| {
        let first = calls.fetch_add(1, SeqCst) == 0;
        let outcome = match failure {
            _ if first => Ok(text(fields, "good")),
            Some(status) => Ok(respond(status, &[], full("bad"))),
            None => Err(Failure("refused")),
        };
        async { outcome }
    })
}

#[tokio::test]
async fn stale_if_error_answers_while_the_origin_fails_within_its_window() {
    let by_field: Fields = &[("cache-control", "max-age=60, stale-if-error=30")];
    let by_rules: Fields = &[("cache-control", "max-age=60")];
    for (rules, fields) in [(Rules::new(), by_field), (Rules::new().stale_if_error(secs(30)), by_rules)] {
        for failure in [Some(500), Some(502), Some(503), Some(504), None] {
            let world = World::new(rules.clone(), failing_after_the_first(fields, failure));
            world.get("/").await;
            let stale = after(&world, 75).await.expect("a stale answer");
            assert_eq!((stale.text(), stale.age()), ("good", Some(75)), "{failure:?}");
            assert!(stale.field("cache-status").contains("stale-if-error"), "{stale:?}");
            assert_eq!(world.store.stats().requests(CacheStatus::Stale), 1);
            let over = after(&world, 16).await;
            assert!(over.is_none_or(|answer| answer.text() == "bad"), "{failure:?}");
        }
        let world = World::new(rules, failing_after_the_first(fields, Some(404)));
        world.get("/").await;
        assert_eq!(after(&world, 61).await.unwrap().status, 404, "that is an answer, not a failure");
    }
}

#[tokio::test]
async fn nothing_stale_is_served_against_the_origins_word() {
    for control in ["max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "no-cache"] {
        let rules = Rules::new().stale_if_error(secs(99)).stale_while_revalidate(secs(99));
        let fields = leak([("cache-control", control), ("etag", "\"x\"")]);
        let world = World::new(rules, failing_after_the_first(fields, Some(503)));
        world.get("/").await;
        assert_eq!(after(&world, 61).await.unwrap().text(), "bad", "{control}");
    }
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_fetches_behind() {
    let by_field: Fields = &[("cache-control", "max-age=60, stale-while-revalidate=30")];
    let by_rules: Fields = &[("cache-control", "max-age=60")];
    for (rules, fields) in [(Rules::new(), by_field), (Rules::new().stale_while_revalidate(secs(30)), by_rules)] {
        let world = World::counting(rules.clone(), fields);
        world.get("/").await;
        let stale = after(&world, 75).await.unwrap();
        assert_eq!((stale.text(), stale.field("cache-status").as_str()), ("1", "terrace; hit; ttl=-15"));
        until("it is refreshed", || world.store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
        let fresh = world.get("/").await;
        assert_eq!((fresh.text(), fresh.age()), ("2", Some(0)));
        // Beyond the window the origin is asked first.
        assert_eq!(after(&world, 91).await.unwrap().text(), "3");
    }
}

#[tokio::test]
async fn an_unreachable_origin_lets_rfc9111_serve_stale_without_a_window() {
    for (name, rules) in sets() {
        let world = World::new(rules, failing_after_the_first(&[("cache-control", "max-age=60")], None));
        world.get("/").await;
        assert_eq!(after(&world, 1000).await.is_some(), name == "rfc9111");
    }
}

#[tokio::test]
async fn a_soft_purge_makes_stale_and_a_hard_one_removes() {
    for soft in [true, false] {
        let control = "max-age=600, stale-while-revalidate=600";
        let world = World::counting(Rules::new(), leak([("cache-control", control), ("etag", "\"x\"")]));
        world.get("/").await;
        let purge = world.store.purge_url("/");
        let _ = if soft { purge.soft().await } else { purge.await }.unwrap();
        let after = world.get("/").await;
        assert_eq!(after.text(), if soft { "1" } else { "2" });
        if soft {
            until("it is refreshed", || world.store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
            assert_eq!(world.get("/").await.text(), "2");
        }
    }
}

#[tokio::test]
async fn a_soft_purge_without_a_window_asks_the_origin_with_the_validators() {
    let world = World::counting(Rules::new(), TAGGED);
    world.get("/").await;
    let _ = world.store.purge_all().soft().await.unwrap();
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.origin.last().headers["if-none-match"], "\"one\"");
    assert!(world.get("/").await.is_hit());
}
