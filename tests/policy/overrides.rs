//! What routes, requests and responses say themselves.

use super::*;

#[tokio::test]
async fn rules_belong_to_a_route_in_axum() {
    use axum::{Router, routing::get as on_get};
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = move || {
        let n = calls.fetch_add(1, SeqCst) + 1;
        async move { n.to_string() }
    };
    let store = Store::memory();
    let cache = CacheLayer::new(store);
    let long = cache.clone().rules(Rules::new().default_ttl(secs(60)));
    let app: Router = Router::new()
        .route("/long", on_get(handler.clone()).layer(long))
        .route("/none", on_get(handler.clone()).layer(cache))
        .route("/uncached", on_get(handler));
    let fetch = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        terrace_tests::read(response).await.unwrap()
    };
    assert_eq!(fetch("/long").await.text(), fetch("/long").await.text());
    for path in ["/none", "/uncached"] {
        assert_ne!(fetch(path).await.text(), fetch(path).await.text());
    }
}

#[tokio::test]
async fn rules_in_a_request_count_for_that_request() {
    let world = World::counting(Rules::new(), &[]);
    let with = |rules: Rules| {
        let mut request = get("/");
        request.extensions_mut().insert(rules);
        request
    };
    assert!(!world.stores(|| get("/")).await);
    assert!(world.stores(|| with(Rules::new().default_ttl(secs(60)))).await);
}

#[tokio::test]
async fn a_bypass_neither_reads_nor_writes() {
    let world = World::counting(Rules::new(), &[FRESH]);
    let bypassing = || {
        let mut request = get("/");
        request.extensions_mut().insert(Bypass);
        request
    };
    assert_eq!(world.ask(bypassing()).await.text(), "1");
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.ask(bypassing()).await.text(), "3");
    let hit = world.get("/").await;
    assert_eq!((hit.text(), hit.is_hit()), ("2", true));
}

#[tokio::test]
async fn a_response_says_itself_how_it_is_treated() {
    let overriding = |fields: Fields, directives: ResponseOverride| {
        Origin::answering(move |_| {
            let mut response = text(fields, "x");
            response.extensions_mut().insert(directives.clone());
            response
        })
    };
    let world =
        World::new(Rules::new(), overriding(&[("cache-control", "no-store")], ResponseOverride::fresh_for(secs(9))));
    let first = world.get("/").await;
    assert_eq!(first.field("cache-control"), "no-store", "what other caches are told is left alone");
    world.clock.advance(secs(8));
    assert!(world.get("/").await.is_hit());
    world.clock.advance(secs(1));
    assert!(!world.get("/").await.is_hit());
    let world = World::new(Rules::new(), overriding(&[FRESH], ResponseOverride::no_store()));
    world.get("/").await;
    assert!(!world.get("/").await.is_hit());
    let window = ResponseOverride::fresh_for(secs(9)).stale_while_revalidate(secs(9));
    let world = World::new(Rules::new(), overriding(&[], window));
    world.get("/").await;
    assert_eq!(after(&world, 12).await.unwrap().field("cache-status"), "terrace; hit; ttl=-3");
    let shared = World::new(Rules::new(), overriding(&[], ResponseOverride::fresh_for(secs(9))));
    shared.ask(get_with("/", &[("authorization", "x")])).await;
    assert!(shared.get("/").await.is_hit());
}

#[tokio::test]
async fn the_application_never_sees_its_overrides_leave() {
    let origin = Origin::answering(|_| {
        let mut response = text(&[FRESH], "x");
        response.extensions_mut().insert(CacheTags::new().with("t"));
        response.extensions_mut().insert(ResponseOverride::fresh_for(secs(9)));
        response
    });
    let world = World::new(Rules::new(), origin);
    let response = terrace_tests::head(&world.service, get("/")).await;
    assert!(response.extensions().get::<CacheTags>().is_none());
    assert!(response.extensions().get::<ResponseOverride>().is_none());
}

#[tokio::test]
async fn a_stored_field_map_can_be_large() {
    let origin = Origin::answering(|_| {
        let mut response = text(&[FRESH], "x");
        let fields: HeaderMap = (0..500)
            .map(|n| (HeaderName::try_from(format!("x-{n}")).unwrap(), format!("{n}").parse().unwrap()))
            .collect();
        response.headers_mut().extend(fields);
        response
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    let hit = world.get("/").await;
    assert!(hit.is_hit());
    assert_eq!(hit.field("x-499"), "499");
}
