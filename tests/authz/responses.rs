//! Stored responses behind authorization.

use super::*;
use axum::response::IntoResponse;
use terrace::authz::Scope;
use terrace::{CacheLayer, Rules};
use tower::ServiceBuilder;

type Calls = Arc<AtomicUsize>;

/// Answers with the number of its calls.
fn counting(calls: &Calls, fields: &'static [(&'static str, &'static str)]) -> axum::routing::MethodRouter {
    let calls = Arc::clone(calls);
    get(move || {
        let call = calls.fetch_add(1, SeqCst) + 1;
        async move {
            let mut response = call.to_string().into_response();
            for (name, value) in fields {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
    })
}

fn layers(house: &House, calls: &Calls, fields: &'static [(&'static str, &'static str)]) -> Router {
    let rules = Rules::new().stale_if_error(Duration::from_secs(600)).stale_while_revalidate(Duration::from_secs(600));
    let layers = ServiceBuilder::new()
        .layer(house.authz.require("invoice:read"))
        .layer(CacheLayer::new(house.store.clone()).rules(rules));
    Router::new().route("/a", counting(calls, fields).route_layer(layers))
}

async fn ask(app: &Router, fields: &[(&str, &str)]) -> (u16, String) {
    let response = send(app, "/a", fields).await;
    (response.status().as_u16(), content(response).await)
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=600")];

#[tokio::test]
async fn each_caller_has_responses_of_their_own() {
    let (house, calls) = (House::new(), Calls::default());
    house.directory.set(&who("acme", "bob"), Grants::complete(["invoice:read"]));
    house.directory.set(&who("other", "alice"), Grants::complete(["invoice:read"]));
    let app = layers(&house, &calls, FRESH);
    let others = ["Bearer other/alice", "Bearer acme/alice/invoice:read"].map(|token| ("authorization", token));
    for (at, fields) in [ALICE, BOB, others[0], others[1]].into_iter().enumerate() {
        for _ in 0..2 {
            assert_eq!(ask(&app, &[fields]).await, (200, (at + 1).to_string()));
        }
    }
    assert_eq!(ask(&app, &[("authorization", "Bearer acme/carol")]).await.0, 403);
    assert_eq!(ask(&app, &[]).await.0, 401);
    assert_eq!(calls.load(SeqCst), 4);
}

#[tokio::test]
async fn one_revocation_ends_decisions_and_responses() {
    for all in [false, true] {
        let (house, calls) = (House::new(), Calls::default());
        house.directory.set(&who("acme", "bob"), Grants::complete(["invoice:read"]));
        let app = layers(&house, &calls, FRESH);
        for fields in [ALICE, BOB] {
            assert_eq!(ask(&app, &[fields]).await, ask(&app, &[fields]).await);
        }
        let subject = Scope::Subject(house.alice.clone());
        let scope = if all { Scope::Tenant(house.alice.tenant.clone()) } else { subject };
        let receipt = house.authz.revoke(scope).await.unwrap();
        let _ = receipt;
        assert_eq!(ask(&app, &[ALICE]).await, (200, "3".into()), "asked anew, for all was revoked");
        assert_eq!(ask(&app, &[BOB]).await, (200, if all { "4" } else { "2" }.into()));
        house.directory.set(&house.alice, Grants::complete(["x"]));
        let receipt = house.authz.revoke(Scope::All).await.unwrap();
        let _ = receipt;
        assert_eq!(ask(&app, &[ALICE]).await.0, 403);
    }
}

#[tokio::test]
async fn a_response_lives_no_longer_than_the_facts_and_the_credential_and_is_never_stale() {
    let (house, calls) = (House::with(&[("AUTHZ_CACHE_TTL", "100")]), Calls::default());
    let app = layers(&house, &calls, FRESH);
    assert_eq!(ask(&app, &[ALICE]).await.1, "1");
    house.advance(80);
    assert_eq!(ask(&app, &[ALICE]).await.1, "1");
    house.advance(21);
    assert_eq!(ask(&app, &[ALICE]).await.1, "2");

    let end = wall(150).duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = format!("Bearer acme/alice/invoice:read/{end}");
    let limited = [("authorization", token.as_str())];
    assert_eq!(ask(&app, &limited).await.1, "3");
    house.advance(48);
    assert_eq!(ask(&app, &limited).await.1, "3");
    let longer = [("authorization", "Bearer acme/alice/invoice:read")];
    house.advance(2);
    assert_eq!(ask(&app, &limited).await.0, 401);
    assert_eq!(ask(&app, &longer).await.1, "4", "the response was for as long as the credential");

    let app = layers(&house, &calls, &[("cache-control", "max-age=1, stale-while-revalidate=600")]);
    let house_calls = calls.load(SeqCst);
    let store_again = ask(&app, &[("authorization", "Bearer acme/alice/invoice:read,x")]).await;
    assert_eq!(store_again.1, (house_calls + 1).to_string());
    house.advance(2);
    let again = ask(&app, &[("authorization", "Bearer acme/alice/invoice:read,x")]).await;
    assert_eq!(again.1, (house_calls + 2).to_string());
}

/// Nobody behind the layer is answered with what was marked as stale, nor when the origin fails.
#[tokio::test]
async fn a_soft_purge_is_as_hard_as_any_behind_the_layer() {
    let (house, calls) = (House::new(), Calls::default());
    let app = layers(&house, &calls, FRESH);
    assert_eq!((ask(&app, &[ALICE]).await.1, ask(&app, &[ALICE]).await.1), ("1".into(), "1".into()));
    drop(house.store.purge_url("/a").soft().await.unwrap());
    assert_eq!((ask(&app, &[ALICE]).await.1, ask(&app, &[ALICE]).await.1), ("2".into(), "2".into()));

    let fails = Calls::default();
    let route = get(move || {
        let fails = fails.fetch_add(1, SeqCst) > 0;
        async move {
            let stored = ([("cache-control", "max-age=600, stale-if-error=600")], "an invoice");
            if fails { http::StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { stored.into_response() }
        }
    });
    let app = Router::new().route("/a", route.route_layer((house.authz.require("invoice:read"), cache(&house))));
    drop(house.store.purge_all().await.unwrap());
    assert_eq!((ask(&app, &[ALICE]).await.0, ask(&app, &[ALICE]).await.0), (200, 200));
    drop(house.store.purge_url("/a").soft().await.unwrap());
    assert_eq!(ask(&app, &[ALICE]).await.0, 500);
}

/// Nor with what another request of theirs was fetching meanwhile.
#[tokio::test]
async fn who_waits_for_another_fetch_is_not_answered_with_what_was_purged_meanwhile() {
    let (house, calls, gate) = (House::new(), Calls::default(), Arc::new(Semaphore::new(0)));
    let route = get({
        let (calls, gate) = (Arc::clone(&calls), Arc::clone(&gate));
        move || {
            let call = calls.fetch_add(1, SeqCst) + 1;
            async move {
                gate.acquire().await.unwrap().forget();
                ([("cache-control", "max-age=600, stale-while-revalidate=600")], call.to_string())
            }
        }
    });
    let app = Router::new().route("/a", route.route_layer((house.authz.require("invoice:read"), cache(&house))));
    let asks = || {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, &[ALICE]).await.1 })
    };
    let first = asks();
    while calls.load(SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    drop(house.store.purge_url("/a").soft().await.unwrap());
    let second = asks();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(SeqCst), 1, "it waits");
    gate.add_permits(2);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), ("1".into(), "2".into()));
}

fn cache(house: &House) -> CacheLayer {
    CacheLayer::new(house.store.clone())
}

async fn stores_nothing_and_says_so(house: &House, app: &Router, calls: &Calls) {
    for call in 1..4 {
        let response = send(app, "/a", &[ALICE]).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.status().as_u16(), if cfg!(debug_assertions) { 500 } else { 200 });
        assert_eq!(calls.load(SeqCst), call);
    }
    assert_eq!(house.store.stats().entries(), 0);
}

/// A hit would ask the first layer alone.
#[tokio::test]
async fn a_cache_between_two_layers_stores_nothing_and_says_so() {
    let (house, calls) = (House::new(), Calls::default());
    house.directory.set(&house.alice, Grants::complete(["app:use", "invoice:read"]));
    let inner = terrace::authz::perm("invoice:read").fresh();
    let layers = (house.authz.require("app:use"), cache(&house), house.authz.require(inner));
    let app = Router::new().route("/a", counting(&calls, FRESH).route_layer(layers));
    stores_nothing_and_says_so(&house, &app, &calls).await;
    house.directory.set(&house.alice, Grants::complete(["app:use"]));
    assert_eq!(ask(&app, &[ALICE]).await.0, 403);

    let function = house.authz.authorize_request("invoice:read");
    let function = tower_http::auth::AsyncRequireAuthorizationLayer::new(function);
    let layers = (house.authz.require("app:use"), cache(&house), function);
    house.directory.set(&house.alice, Grants::complete(["app:use", "invoice:read"]));
    drop(house.authz.revoke(Scope::All).await.unwrap());
    let app = Router::new().route("/a", counting(&calls, FRESH).route_layer(layers));
    assert_eq!(ask(&app, &[ALICE]).await.0, 503);
}

/// All of them are asked for a hit.
#[tokio::test]
async fn a_cache_within_all_layers_stores_and_so_does_one_within_the_same_or_one_that_learns_nothing_new() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["app:use", "invoice:read"]));
    let reads = house.authz.require("invoice:read");
    let route = || counting(&Calls::default(), FRESH);
    let apps = [
        route().route_layer((house.authz.require("app:use"), reads.clone(), cache(&house))),
        route().route_layer((reads.clone(), cache(&house), reads.clone())),
        route().route_layer((reads, cache(&house), house.authz.identify())),
    ];
    for route in apps {
        drop(house.store.purge_all().await.unwrap());
        let app = Router::new().route("/a", route);
        for _ in 0..2 {
            assert_eq!(ask(&app, &[ALICE]).await, (200, "1".into()));
        }
    }
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    for fields in [&[("cache-control", "private, max-age=60")][..], &[("cache-control", "no-store")]] {
        let (house, calls) = (House::new(), Calls::default());
        let app = layers(&house, &calls, fields);
        assert_eq!((ask(&app, &[ALICE]).await.1, ask(&app, &[ALICE]).await.1), ("1".into(), "2".into()));
    }
}

#[tokio::test]
async fn a_cache_around_the_layer_stores_nothing_and_says_so() {
    let (house, calls) = (House::new(), Calls::default());
    let layers = ServiceBuilder::new()
        .layer(CacheLayer::new(house.store.clone()).rules(Rules::new().default_ttl(Duration::from_secs(60))))
        .layer(house.authz.require("invoice:read"));
    let public = &[("cache-control", "public, max-age=600")];
    let app = Router::new().route("/a", counting(&calls, public).route_layer(layers));
    stores_nothing_and_says_so(&house, &app, &calls).await;
    assert_eq!(ask(&app, &[]).await.0, 401);
}

#[tokio::test]
async fn responses_of_a_store_that_does_not_hear_of_revocations_are_not_stored() {
    let (house, calls) = (House::new(), Calls::default());
    let layers = ServiceBuilder::new()
        .layer(house.authz.require("invoice:read"))
        .layer(CacheLayer::new(Store::with_fake_clock(Config::default(), &house.clock)));
    let app = Router::new().route("/a", counting(&calls, FRESH).route_layer(layers));
    assert_eq!((ask(&app, &[ALICE]).await.1, ask(&app, &[ALICE]).await.1), ("1".into(), "2".into()));
}

/// Paths that a cache may take for one another's, or for a file that everybody may see.
#[tokio::test]
async fn no_spelling_of_a_path_shows_one_caller_what_is_anothers() {
    let (house, calls) = (House::new(), Calls::default());
    house.directory.set(&who("acme", "bob"), Grants::complete(["invoice:read"]));
    let layers =
        ServiceBuilder::new().layer(house.authz.require("invoice:read")).layer(CacheLayer::new(house.store.clone()));
    let app = Router::new().route("/me/{*rest}", counting(&calls, FRESH).route_layer(layers));
    for path in ["/me/x.css", "/me/a%2f..%2fx", "/me/a;b", "/me/..", "/me/x.css?a", "/me//x"] {
        let mut seen = Vec::new();
        for fields in [ALICE, BOB, ALICE] {
            let response = send(&app, path, &[fields]).await;
            assert_eq!(response.status(), 200, "{path}");
            seen.push(content(response).await);
        }
        assert!(seen[0] == seen[2] && seen[0] != seen[1], "{path}: {seen:?}");
        assert_eq!(send(&app, path, &[]).await.status(), 401);
    }
}

/// Knows callers by a field that means nothing to a cache.
struct Named;

impl Identify for Named {
    async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
        let name = parts.headers.get("x-user").ok_or(IdentityError::Missing)?;
        Ok(Identity::Known(Principal::new(who("acme", name.to_str().unwrap()))))
    }
}

#[tokio::test]
async fn what_is_told_to_somebody_who_is_known_is_shared_only_if_it_is_public() {
    for (fields, shared) in [(FRESH, false), (&[("cache-control", "public, max-age=600")][..], true)] {
        let (clock, calls) = (clock(), Calls::default());
        let store = Store::with_fake_clock(Config::default(), &clock);
        let authz = Authz::builder(store.clone(), Directory::new()).identify(Named).build().unwrap();
        let layers = ServiceBuilder::new().layer(authz.identify()).layer(CacheLayer::new(store));
        let app = Router::new().route("/a", counting(&calls, fields).route_layer(layers));
        for user in ["alice", "bob", "alice"] {
            assert_eq!(ask(&app, &[("x-user", user)]).await.0, 200);
        }
        assert_eq!(calls.load(SeqCst) == 1, shared);
    }
}
