//! Validators, in requests and towards the origin.

use super::*;

#[tokio::test]
async fn conditional_requests_are_answered_from_the_store() {
    let modified = leak([
        ("cache-control", "max-age=60"),
        ("etag", "\"one\""),
        ("last-modified", date(-100)),
        ("content-type", "text/plain"),
    ]);
    for (_, rules) in sets() {
        let world = World::counting(rules, modified);
        world.get("/").await;
        let table: &[(Fields, u16)] = &[
            (&[("if-none-match", "\"one\"")], 304),
            (&[("if-none-match", "W/\"one\"")], 304),
            (&[("if-none-match", "\"zero\", \"one\"")], 304),
            (&[("if-none-match", "*")], 304),
            (&[("if-none-match", "\"two\"")], 200),
            (leak([("if-modified-since", date(-100))]), 304),
            (leak([("if-modified-since", date(-50))]), 304),
            (leak([("if-modified-since", date(-101))]), 200),
            (leak([("if-none-match", "\"two\""), ("if-modified-since", date(-50))]), 200),
            (leak([("if-none-match", "\"one\""), ("if-modified-since", date(-200))]), 304),
            (&[("if-modified-since", "yesterday")], 200),
        ];
        for (fields, status) in table {
            let answer = world.ask(get_with("/", fields)).await;
            assert_eq!(answer.status.as_u16(), *status, "{fields:?}");
            assert!(answer.is_hit());
            assert_eq!(answer.text(), if *status == 304 { "" } else { "1" });
            assert_eq!(answer.field("etag"), "\"one\"");
            assert_eq!(answer.headers.contains_key("content-type"), *status == 200);
        }
        assert_eq!(world.origin.calls(), 1);
    }
}

#[tokio::test]
async fn preconditions_for_the_origin_go_to_the_origin() {
    let world = World::counting(Rules::new(), TAGGED);
    world.get("/").await;
    for field in [("if-match", "\"one\""), ("if-unmodified-since", date(0))] {
        assert!(!world.ask(get_with("/", &[field])).await.is_hit());
        assert!(world.origin.last().headers.contains_key(field.0));
    }
}

#[tokio::test]
async fn a_stale_response_is_validated_and_freshened() {
    for (_, rules) in sets() {
        let origin = Origin::answering(|request| {
            if request.headers.get("if-none-match").is_some_and(|tag| tag == "\"one\"") {
                return respond(
                    304,
                    &[("cache-control", "max-age=30"), ("etag", "\"one\""), ("x-field", "2")],
                    empty(),
                );
            }
            text(TAGGED, "content")
        });
        let world = World::new(rules, origin);
        world.get("/").await;
        world.clock.advance(secs(61));
        let validated = world.get("/").await;
        assert_eq!(
            (validated.status.as_u16(), validated.text(), validated.field("x-field")),
            (200, "content", "2".into())
        );
        assert_eq!(validated.field("cache-status"), "terrace; fwd=stale; fwd-status=304; ttl=30; stored");
        assert_eq!(world.store.stats().requests(CacheStatus::Revalidated), 1);
        world.clock.advance(secs(29));
        let hit = world.get("/").await;
        assert_eq!((hit.is_hit(), hit.text(), hit.field("x-field")), (true, "content", "2".into()));
        world.clock.advance(secs(1));
        assert!(!world.get("/").await.is_hit());
        assert_eq!(world.origin.calls(), 3);
    }
}

#[tokio::test]
async fn a_stale_response_is_replaced_by_a_new_one() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        let n = calls.fetch_add(1, SeqCst) + 1;
        text(&[("cache-control", "max-age=60"), ("etag", &format!("\"{n}\""))], n.to_string())
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    world.clock.advance(secs(61));
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.origin.last().headers["if-none-match"], "\"1\"");
    let hit = world.get("/").await;
    assert_eq!((hit.text(), hit.field("etag")), ("2", "\"2\"".into()));
}

#[tokio::test]
async fn tags_that_validations_add_count_towards_the_limit() {
    let number = Arc::new(AtomicUsize::new(0));
    let origin = Origin::answering(move |request| {
        let tag = number.fetch_add(1, SeqCst).to_string();
        let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", tag.as_str())];
        if request.headers.contains_key("if-none-match") { respond(304, &fields, empty()) } else { text(&fields, "x") }
    });
    let world = World::new(Rules::new(), origin);
    world.store.settings().set("CACHE_MAX_TAGS", "2").unwrap();
    for stored in [true, true, false] {
        world.get("/").await;
        assert_eq!(world.get("/").await.is_hit(), stored);
        world.clock.advance(secs(61));
    }
}

#[tokio::test]
async fn a_304_about_another_representation_never_puts_its_head_over_the_stored_content() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("cache-control", "max-age=60"), ("etag", "\"two\""), ("x-field", "2")], empty());
        }
        text(TAGGED, "content of one")
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    world.clock.advance(secs(61));
    for _ in 0..2 {
        let answer = world.get("/").await;
        assert!(answer.text() != "content of one" || answer.field("etag") == "\"one\"", "{answer:?}");
    }
}

#[tokio::test]
async fn a_304_to_a_clients_own_validator_reaches_that_client() {
    let world = World::new(
        Rules::new(),
        Origin::answering(|request| match request.headers.get("if-none-match") {
            Some(tag) if tag == "\"client\"" => respond(304, &[("etag", "\"client\"")], empty()),
            _ => text(&[("cache-control", "no-store"), ("etag", "\"x\"")], "content"),
        }),
    );
    world.get("/").await;
    let answer = world.ask(get_with("/", &[("if-none-match", "\"client\"")])).await;
    assert!(answer.status == 304 || answer.text() == "content");
}

#[tokio::test]
async fn a_response_that_always_validates_answers_only_after_the_origin_agreed() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("etag", "\"1\"")], empty());
        }
        text(&[("cache-control", "no-cache"), ("etag", "\"1\"")], "x")
    });
    let world = World::new(Rules::new(), origin);
    for calls in 1..=4 {
        assert_eq!(world.get("/").await.text(), "x");
        assert_eq!(world.origin.calls(), calls);
    }
    assert_eq!(world.store.stats().requests(CacheStatus::Revalidated), 3);
}
