//! What clients demand.

use super::*;

#[tokio::test]
async fn clients_can_demand_a_fresher_answer_only_where_the_rules_let_them() {
    let demands: [Fields; 3] =
        [&[("cache-control", "no-cache")], &[("cache-control", "max-age=0")], &[("cache-control", "min-fresh=100")]];
    for (rules, honoured) in [
        (Rules::new(), false),
        (Rules::rfc9111(), true),
        (Rules::new().honor_reload(true), true),
        (Rules::rfc9111().honor_reload(false), false),
    ] {
        for fields in demands {
            let world = World::counting(rules.clone(), &[("cache-control", "max-age=60")]);
            world.get("/").await;
            assert_eq!(!world.ask(get_with("/", fields)).await.is_hit(), honoured, "{fields:?}");
        }
    }
}

#[tokio::test]
async fn clients_that_accept_a_stale_answer_get_it_only_where_the_rules_let_them() {
    for (rules, honoured) in [(Rules::rfc9111(), true), (Rules::rfc9111().honor_reload(false), false)] {
        let world = World::counting(rules, &[("cache-control", "max-age=60")]);
        world.get("/").await;
        world.clock.advance(secs(70));
        let stale = world.ask(get_with("/", &[("cache-control", "max-stale=20")])).await;
        assert_eq!(stale.text() == "1", honoured);
    }
}

#[tokio::test]
async fn what_a_reload_brought_is_what_others_get_from_then_on() {
    let world = World::counting(Rules::rfc9111(), &[("cache-control", "max-age=60")]);
    for round in 1..=3 {
        for _ in 0..4 {
            assert_eq!(world.get("/").await.text(), round.to_string());
        }
        world.ask(get_with("/", &[("cache-control", "no-cache")])).await;
    }
}

#[tokio::test]
async fn what_a_head_showed_to_be_outdated_is_not_served_again() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::answering(move |request| {
        let n = calls.fetch_add(1, SeqCst);
        let fields = [("cache-control", "max-age=60"), ("etag", if n == 0 { "\"1\"" } else { "\"2\"" })];
        if request.method == Method::HEAD { respond(200, &fields, empty()) } else { text(&fields, n.to_string()) }
    });
    let world = World::new(Rules::rfc9111(), origin);
    for _ in 0..4 {
        assert_eq!(world.get("/").await.text(), "0");
    }
    world.ask(ask(Method::HEAD, "/", &[("cache-control", "no-cache")])).await;
    assert_eq!(world.get("/").await.text(), "2");
}

#[tokio::test]
async fn only_if_cached_and_no_store_are_honoured_by_both_sets() {
    for (_, rules) in sets() {
        let world = World::counting(rules, &[("cache-control", "max-age=60")]);
        let only = || get_with("/", &[("cache-control", "only-if-cached")]);
        assert_eq!(world.ask(only()).await.status, 504);
        assert_eq!(world.origin.calls(), 0);
        world.ask(get_with("/", &[("cache-control", "no-store")])).await;
        assert_eq!(world.ask(only()).await.status, 504, "nothing was stored");
        world.get("/").await;
        assert!(world.ask(only()).await.is_hit());
    }
}
