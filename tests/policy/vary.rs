//! Responses that vary.

use super::*;

/// Answers with the selecting fields' values.
fn varying(vary: &'static str) -> Origin {
    Origin::answering(move |request| {
        let value = |name: &str| {
            let lines: Vec<_> = request.headers.get_all(name).iter().map(|line| line.to_str().unwrap()).collect();
            lines.join("|")
        };
        let names: Vec<_> = vary.split(',').map(str::trim).map(value).collect();
        text(&[("cache-control", "max-age=60"), ("vary", vary)], names.join(";"))
    })
}

#[tokio::test]
async fn each_variant_answers_only_the_requests_that_selected_it() {
    let world = World::new(Rules::new(), varying("x-a, x-b"));
    let variants: [Fields; 6] =
        [&[("x-a", "1")], &[("x-a", "2")], &[("x-b", "1")], &[("x-a", "1"), ("x-b", "1")], &[], &[("x-a", "")]];
    for hit in [false, true] {
        for fields in variants {
            let answer = world.ask(get_with("/", fields)).await;
            assert_eq!(answer.is_hit(), hit, "{fields:?} {answer:?}");
        }
    }
    assert_eq!(world.origin.calls(), variants.len());
    assert!(world.ask(get_with("/", &[("x-a", "1"), ("x-other", "9")])).await.is_hit());
}

#[tokio::test]
async fn selecting_fields_that_mean_the_same_select_the_same() {
    for (field, first, same, other) in [
        ("accept-encoding", "gzip, br", " BR ,gzip", "gzip"),
        ("accept-encoding", "gzip;q=0.5", "gzip;q=0.50", "gzip;q=0.6"),
        ("x-list", "a, b", "a,b", "b, a"),
    ] {
        let world = World::new(Rules::new(), varying(field));
        world.ask(get_with("/", &[(field, first)])).await;
        assert!(world.ask(get_with("/", &[(field, same)])).await.is_hit(), "{field}: {same}");
        assert!(!world.ask(get_with("/", &[(field, other)])).await.is_hit(), "{field}: {other}");
    }
    let world = World::new(Rules::new(), varying("x-list"));
    world.ask(get_with("/", &[("x-list", "a"), ("x-list", "b")])).await;
    assert!(world.ask(get_with("/", &[("x-list", "a, b")])).await.is_hit());
}

#[tokio::test]
async fn a_hundred_variants_are_kept_if_the_limit_allows_it() {
    let world = World::with_config(Config::default().max_variants(100), Rules::new(), varying("x-v"));
    for hit in [false, true] {
        for n in 0..100 {
            let answer = world.ask(get_with("/", &[("x-v", &n.to_string())])).await;
            assert_eq!((answer.text(), answer.is_hit()), (n.to_string().as_str(), hit));
        }
    }
}

#[tokio::test]
async fn a_flood_of_variants_neither_fills_the_memory_nor_displaces_those_before_it() {
    let world = World::new(Rules::new(), varying("user-agent"));
    let mut bytes = 0;
    for n in 0..10_000 {
        assert_eq!(world.ask(get_with("/", &[("user-agent", &n.to_string())])).await.text(), n.to_string());
        if n == 100 {
            bytes = world.store.stats().size_bytes();
        }
    }
    assert_eq!(world.store.stats().entries(), 64 + 1, "the variants, and the list of them");
    assert_eq!(world.store.stats().size_bytes(), bytes, "nothing grows with the flood");
    for n in 0..64 {
        assert!(world.ask(get_with("/", &[("user-agent", &n.to_string())])).await.is_hit());
    }
    assert!(world.store.stats().stores(Tier::L1, StoreResult::TooLarge) >= 9_000);
}

#[tokio::test]
async fn variants_that_are_gone_make_room_for_others() {
    let world = World::with_config(Config::default().max_variants(4), Rules::new(), varying("x-v"));
    for n in 0..10 {
        world.ask(get_with("/", &[("x-v", &n.to_string())])).await;
    }
    assert!(!world.ask(get_with("/", &[("x-v", "9")])).await.is_hit());
    world.clock.advance(secs(61));
    world.ask(get_with("/", &[("x-v", "9")])).await;
    assert!(world.ask(get_with("/", &[("x-v", "9")])).await.is_hit(), "after the others have expired");
    let _ = world.store.purge_url("/").await.unwrap();
    world.ask(get_with("/", &[("x-v", "7")])).await;
    assert!(world.ask(get_with("/", &[("x-v", "7")])).await.is_hit(), "after a purge");
}

#[tokio::test]
async fn a_vary_that_changes_never_lets_a_response_answer_for_others() {
    let varies = Arc::new(Mutex::new("x-a"));
    let current = Arc::clone(&varies);
    let origin = Origin::answering(move |request| {
        let vary = *current.lock().unwrap();
        let value = |name| request.headers.get(name).map_or("-", |value: &http::HeaderValue| value.to_str().unwrap());
        text(&[("cache-control", "max-age=60"), ("vary", vary)], format!("{} {}", value("x-a"), value("x-b")))
    });
    let world = World::new(Rules::new(), origin);
    let with = async |a: &str, b: &str| world.ask(get_with("/", &[("x-a", a), ("x-b", b)])).await;
    assert_eq!(with("1", "1").await.text(), "1 1");
    assert_eq!(with("1", "2").await.text(), "1 1", "x-b does not count yet");
    *varies.lock().unwrap() = "x-a, x-b";
    assert_eq!(with("2", "2").await.text(), "2 2");
    assert_eq!(with("2", "3").await.text(), "2 3");
    world.clock.advance(secs(61));
    for (a, b) in [("1", "1"), ("1", "2"), ("2", "2"), ("2", "3")] {
        assert_eq!(with(a, b).await.text(), format!("{a} {b}"));
    }
    for (a, b) in [("1", "1"), ("1", "2"), ("2", "2"), ("2", "3")] {
        let answer = with(a, b).await;
        assert_eq!((answer.text(), answer.is_hit()), (format!("{a} {b}").as_str(), true));
    }
}
