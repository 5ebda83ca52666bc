//! What requests that change something invalidate.

use super::*;

#[tokio::test]
async fn unsafe_methods_invalidate_their_target_if_they_succeed() {
    for (_, rules) in sets() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL"] {
            for (status, invalidates) in
                [(200, true), (201, true), (204, true), (302, true), (404, false), (500, false)]
            {
                let origin = Origin::answering(move |request| match request.method {
                    Method::GET => text(&[("cache-control", "max-age=60")], "x"),
                    _ => respond(status, &[], empty()),
                });
                let world = World::new(rules.clone(), origin);
                world.get("/it").await;
                world.get("/other").await;
                world.ask(in_partition("p", get("/it"))).await;
                world.ask(ask(method.parse().unwrap(), "/it", &[])).await;
                assert_eq!(!world.get("/it").await.is_hit(), invalidates, "{method} {status}");
                assert_eq!(!world.ask(in_partition("p", get("/it"))).await.is_hit(), invalidates, "{method} {status}");
                assert!(world.get("/other").await.is_hit());
            }
        }
    }
}

#[tokio::test]
async fn safe_methods_invalidate_nothing() {
    for method in ["OPTIONS", "TRACE", "HEAD"] {
        let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
        world.get("/").await;
        world.ask(ask(method.parse().unwrap(), "/", &[])).await;
        assert!(world.get("/").await.is_hit(), "{method}");
    }
}

#[tokio::test]
async fn unsafe_methods_invalidate_what_they_point_to_on_the_same_origin_only() {
    let table = [
        ("location", "/there", true),
        ("location", "http://example.com/there", true),
        ("content-location", "/there", true),
        ("content-location", "http://example.com/there", true),
        ("location", "http://example.org/there", false),
    ];
    for (field, value, invalidated) in table {
        let origin = Origin::answering(move |request| match request.method {
            Method::GET => text(&[("cache-control", "max-age=60")], "x"),
            _ => respond(201, &[(field, value)], empty()),
        });
        let world = World::new(Rules::new(), origin);
        world.get("/there").await;
        world.get("http://example.org/there").await;
        world.ask(ask(Method::POST, "/here", &[])).await;
        assert_eq!(!world.get("/there").await.is_hit(), invalidated, "{field}: {value}");
        assert!(world.get("http://example.org/there").await.is_hit(), "{field}: {value}");
    }
}

#[tokio::test]
async fn all_variants_and_queries_in_any_order_fall_with_their_url() {
    let origin = Origin::answering(|request| match request.method {
        Method::GET => text(&[("cache-control", "max-age=60"), ("vary", "x-v")], "x"),
        _ => respond(200, &[], empty()),
    });
    let world = World::new(Rules::new(), origin);
    let variant = async |v: &str| world.ask(get_with("/?a=1&b=2", &[("x-v", v)])).await;
    for v in ["1", "2", "3"] {
        variant(v).await;
        assert!(variant(v).await.is_hit());
    }
    world.ask(ask(Method::POST, "/?a=1&b=2", &[])).await;
    for v in ["1", "2", "3"] {
        assert!(!variant(v).await.is_hit());
    }
}

#[tokio::test]
async fn a_post_that_says_so_is_stored_for_get_under_rfc9111() {
    for (rules, stored) in [(Rules::rfc9111(), true), (Rules::new(), false)] {
        let fields = &[("cache-control", "max-age=60"), ("content-location", "/")];
        let world = World::counting(rules, fields);
        world.ask(ask(Method::POST, "/", &[])).await;
        let answer = world.get("/").await;
        assert_eq!((answer.is_hit(), answer.text()), (stored, if stored { "1" } else { "2" }));
    }
}
