//! The test that finds routes without a guard.

use super::*;
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use std::panic::AssertUnwindSafe;
use terrace::CacheLayer;
use terrace::authz::{assert_guarded, perm};
use tower_http::auth::AsyncRequireAuthorizationLayer;

fn house_with_routes() -> Router {
    let house = House::new();
    let requirement = || perm("invoice:read").tenant_param("org");
    let function = AsyncRequireAuthorizationLayer::new(house.authz.authorize_request("a"));
    Router::new()
        .route("/orgs/{org}/plain", get(async || "").post(async || "").route_layer(house.authz.require(requirement())))
        .route("/hidden", get(async || "").route_layer(house.authz.require(perm("a").hide_as_not_found())))
        .route("/function", get(async || "").route_layer(function))
        .route("/check", house.authz.check_endpoint("a"))
        .route("/slow", get(async || "").route_layer(house.authz.require("a")))
        .route("/half", get(async || "").route_layer(house.authz.require("a")).delete(async || ""))
        .route("/identified", get(async || "").route_layer(house.authz.identify()))
        .route("/itself", get(async || StatusCode::UNAUTHORIZED.into_response()))
        .route("/open-check", house.authz.open_check_endpoint())
        .route("/open", post(async || ""))
        .route("/panics", get(async || -> () { panic!("a handler that panics, as this test wants it") }))
        .route("/hangs", get(std::future::pending::<()>))
}

#[tokio::test]
async fn guarded_routes_are_guarded_whoever_guards_them() {
    let app = house_with_routes().layer(CacheLayer::new(Store::memory()));
    let gets = ["/orgs/{org}/plain", "/orgs/acme/plain", "/hidden", "/function", "/slow", "/half"];
    assert_guarded(&app, gets.map(|path| (Method::GET, path))).await;
    assert_guarded(&app, [(Method::POST, "/orgs/{org}/plain"), (Method::POST, "/check")]).await;
    assert_guarded(&app, []).await;
}

#[tokio::test(start_paused = true)]
async fn every_route_without_a_guard_is_named_with_what_it_does() {
    let app = house_with_routes();
    let routes = [
        (Method::GET, "/hidden"),
        (Method::DELETE, "/half"),
        (Method::GET, "/identified"),
        (Method::GET, "/itself"),
        (Method::POST, "/open-check"),
        (Method::POST, "/open"),
        (Method::GET, "/panics"),
        (Method::GET, "/hangs"),
        (Method::GET, "/nothing"),
        (Method::PUT, "/open"),
    ];
    let failed = AssertUnwindSafe(assert_guarded(&app, routes)).catch_unwind().await.unwrap_err();
    let expected = "routes without a guard:
  DELETE /half: answered with 200 OK to a request without a credential
  GET /identified: answered with 200 OK to a request without a credential
  GET /itself: answered with 401 Unauthorized to a request without a credential
  POST /open-check: answered with 400 Bad Request to a request without a credential
  POST /open: answered with 200 OK to a request without a credential
  GET /panics: the handler ran, and panicked
  GET /hangs: no answer within 10 s
  GET /nothing: answered with 404 Not Found; is there such a route?
  PUT /open: answered with 405 Method Not Allowed; is there such a route?";
    assert_eq!(failed.downcast_ref::<String>().map(String::as_str), Some(expected));
}
