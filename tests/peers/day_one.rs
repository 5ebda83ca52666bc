//! What went wrong in at least one peer on its first day, as far as it is not a defect with a number of its own.

use crate::harness::{Answer, Site, eager, fetch, reply, secs, serve, with};
use axum::extract::{ConnectInfo, MatchedPath, Path, State};
use axum::{Extension, Router, routing};
use http::Method;
use std::net::SocketAddr;
use terrace::{CacheLayer, Rules, Store};
use tower::Layer;

#[tokio::test]
async fn options_do_not_stand_for_the_page() {
    for rules in [eager(), Rules::rfc9111().default_ttl(secs(60))] {
        let site = Site::new(rules, async |_, request| {
            let body = if request.method() == Method::OPTIONS { "" } else { "the page" };
            reply(&[("allow", "GET, OPTIONS")], body)
        });
        for _ in 0..2 {
            let answer = site.send(with(Method::OPTIONS, "/")).await;
            assert_eq!((answer.text(), answer.is_hit()), ("", false));
            assert_eq!(site.get("/").await.text(), "the page");
        }
        assert_eq!(site.calls(), 3);
    }
}

/// Around each route, around the routes that exist, and around the router.
#[tokio::test]
async fn what_a_handler_extracts_reaches_it_through_the_cache() {
    async fn handler(
        path: MatchedPath,
        Path((id, part)): Path<(u32, String)>,
        State(state): State<&'static str>,
        ConnectInfo(client): ConnectInfo<SocketAddr>,
        Extension(extension): Extension<u64>,
    ) -> String {
        format!("{} {id} {part} {state} {} {extension}", path.as_str(), client.ip())
    }
    let cache = || CacheLayer::new(Store::memory()).rules(eager());
    let router = || Router::new().route("/things/{id}/{part}", routing::get(handler));
    for app in [
        router().layer(cache()).with_state("state"),
        router().route_layer(cache()).with_state("state"),
        Router::new().fallback_service(cache().layer(router().with_state::<()>("state"))),
        Router::new().nest("/v1", router().layer(cache())).with_state("state"),
    ] {
        let address = serve(app.layer(Extension(7_u64))).await;
        for prefix in ["", "/v1"] {
            let path = format!("{prefix}/things/42/wheel");
            let miss = Answer::read(fetch(&address, &path, &[]).await).await;
            if miss.status == 404 {
                continue;
            }
            assert_eq!(miss.text(), format!("{prefix}/things/{{id}}/{{part}} 42 wheel state 127.0.0.1 7"));
            let hit = Answer::read(fetch(&address, &path, &[]).await).await;
            assert_eq!((hit.text(), hit.is_hit()), (miss.text(), true));
        }
    }
}

/// A layer inside a nested router is given a shorter path than a layer around it.
#[tokio::test]
async fn the_same_path_below_two_prefixes_is_two_pages() {
    let page = |name: &'static str| Router::new().route("/page", routing::get(async move || name));
    let store = Store::memory();
    let cache = || CacheLayer::new(store.clone()).rules(eager());
    let inside = Router::new().nest("/a", page("a").layer(cache())).nest("/b", page("b").layer(cache()));
    let around = Router::new().nest("/a", page("a")).nest("/b", page("b")).layer(cache());
    for app in [inside, around] {
        let address = serve(app).await;
        for round in 0..2 {
            for name in ["a", "b"] {
                let answer = Answer::read(fetch(&address, &format!("/{name}/page"), &[]).await).await;
                assert_eq!((answer.text(), answer.is_hit()), (name, round == 1));
            }
        }
    }
}
