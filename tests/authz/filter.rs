//! The function for tower-http's layer answers what the layer answers, whatever the situation.

use super::*;
use http::HeaderMap;
use terrace::authz::{Consistency, Requirement, Scope, any_of, perm};
use terrace::{Authorized, CacheLayer};
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Layer,
    Function,
}

fn guarded(guard: Guard, authz: &Authz, requirement: Requirement) -> Router {
    let handler = async |authorized: Authorized| {
        format!("{:?}", (authorized.cache_status(), authorized.principal().who.subject.as_str()))
    };
    let route = match guard {
        Guard::Layer => get(handler).route_layer(authz.require(requirement)),
        Guard::Function => {
            let function = authz.authorize_request(requirement);
            get(handler).route_layer(AsyncRequireAuthorizationLayer::new(function))
        }
    };
    Router::new().route("/orgs/{org}/invoices/{id}", route.clone()).route("/invoices", route)
}

const URIS: [&str; 5] =
    ["/invoices", "/orgs/acme/invoices/7", "/orgs/acme/invoices/8", "/orgs/other/invoices/7", "/orgs/%ff/invoices/7"];

const CALLERS: [&[(&str, &str)]; 13] = [
    &[],
    &[("x-guest", "1")],
    &[("authorization", "Bearer ")],
    &[("authorization", "Basic xyz")],
    &[("authorization", "Bearer acme/alice//1")],
    &[("authorization", "Bearer unreachable")],
    &[("authorization", "Bearer panics")],
    &[ALICE],
    &[ALICE, ("x-slow", "1")],
    &[("authorization", "Bearer acme/alice/openid")],
    &[("authorization", "Bearer acme/alice/invoice:read")],
    &[BOB],
    &[("authorization", "Bearer other/alice")],
];

fn requirements() -> [Requirement; 8] {
    [
        perm("invoice:read"),
        perm("invoice:read").tenant_param("org"),
        perm("invoice:read").tenant_param("org").hide_as_not_found(),
        perm("invoice:read").resource_param("id"),
        perm("invoice:read").resource_param("nothing"),
        perm("invoice:read").fresh(),
        perm("invoice:read").stale_if_source_fails(Duration::from_secs(60)),
        any_of(["invoice:write", "invoice:read"]).resource("7"),
    ]
}

type Said = (u16, HeaderMap, String);

/// All that was answered to the same requests in the same order, and what was counted.
async fn said(guard: Guard, requirement: &Requirement, mode: Mode) -> (Vec<Said>, HashMap<&'static str, u64>, usize) {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:read:7"]));
    let app = guarded(guard, &house.authz, requirement.clone());
    let mut all = Vec::new();
    for warm in [false, true] {
        house.directory.mode(if warm { mode } else { Mode::Answers });
        for (uri, fields) in URIS.iter().flat_map(|uri| CALLERS.map(|fields| (uri, fields))) {
            let response = send(&app, uri, fields).await;
            let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
            // Which has jitter.
            assert_eq!(headers.remove("retry-after").is_some(), status == 503, "{uri} {fields:?}");
            all.push((status, headers, content(response).await));
        }
        house.advance(200);
    }
    (all, house.statuses(), house.directory.loads())
}

#[tokio::test(start_paused = true)]
async fn it_answers_every_situation_as_the_layer_does() {
    let mut seen = std::collections::BTreeSet::new();
    for requirement in requirements() {
        for mode in [Mode::Answers, Mode::Fails, Mode::Panics, Mode::Hangs] {
            let function = said(Guard::Function, &requirement, mode).await;
            assert_eq!(function, said(Guard::Layer, &requirement, mode).await, "{requirement:?} {mode:?}");
            seen.extend(function.0.iter().map(|answer| answer.0));
        }
    }
    assert_eq!(seen, [200, 401, 403, 404, 503].into());
}

#[tokio::test]
async fn a_revocation_is_in_its_next_answer() {
    let house = House::new();
    let app = guarded(Guard::Function, &house.authz, perm("invoice:read"));
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.set(&house.alice, Grants::complete(["x"]));
    let receipt = house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap();
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 403);
    let _ = receipt;
}

#[tokio::test]
async fn what_a_request_demands_counts() {
    let house = House::new();
    let mut function = house.authz.authorize_request::<(), ()>("invoice:read");
    for loads in 1..=3 {
        let mut request = Request::get("/").header(ALICE.0, ALICE.1).body(()).unwrap();
        request.extensions_mut().insert(Consistency::Fresh);
        let passed = function.authorize(request).await.unwrap();
        assert!(passed.extensions().get::<Authorized>().is_some());
        assert_eq!(house.directory.loads(), loads);
    }
}

/// It has no part in the response, so it could not tell the cache to store nothing.
#[tokio::test]
async fn a_cache_around_it_is_served_nothing() {
    let house = House::new();
    let cache = || CacheLayer::new(house.store.clone());
    let outside = guarded(Guard::Function, &house.authz, perm("invoice:read")).layer(cache());
    for _ in 0..2 {
        let response = send(&outside, "/invoices", &[ALICE]).await;
        assert_eq!((response.status().as_u16(), &*content(response).await), (503, ""));
    }
    assert_eq!(send(&outside, "/invoices", &[BOB]).await.status(), 403);
    assert_eq!(send(&outside, "/invoices", &[]).await.status(), 401);

    let function = house.authz.authorize_request("invoice:read");
    let layers = (AsyncRequireAuthorizationLayer::new(function), cache());
    let fresh = async || ([("cache-control", "max-age=60")], "an invoice");
    let inside: Router = Router::new().route("/invoices", get(fresh).route_layer(layers));
    for status in ["fwd=uri-miss; stored", "hit"] {
        let response = send(&inside, "/invoices", &[ALICE]).await;
        let said = response.headers()["cache-status"].to_str().unwrap();
        assert!(said.starts_with(&format!("terrace; {status}")), "{said}");
        assert_eq!(send(&inside, "/invoices", &[BOB]).await.status(), 403);
    }
}
