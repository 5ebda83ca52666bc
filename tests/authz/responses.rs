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
    for call in 1..4 {
        let response = send(&app, "/a", &[ALICE]).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.status().as_u16(), if cfg!(debug_assertions) { 500 } else { 200 });
        assert_eq!(calls.load(SeqCst), call);
    }
    assert_eq!(house.store.stats().entries(), 0);
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
