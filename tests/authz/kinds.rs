//! Every way to change rights, for every kind of what is cached, in every tier: it takes effect within the bound.

use super::fleet::Fleet;
use super::*;
use axum::response::IntoResponse;
use terrace::CacheLayer;
use terrace::authz::Scope;
use terrace::chaos::Failure;
use tower::ServiceBuilder;

const MEMORY: &[(&str, &str)] = &[];
/// Of rights. Responses that are for one caller alone are in memory, whatever else is shared.
const SHARED: &[(&str, &str)] = &[("AUTHZ_CACHE_L1_MAX_BYTES", "0")];

/// Answers with the number of its calls, to who may read.
fn numbered(fleet: &Fleet, process: usize) -> Router {
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = move || {
        let call = calls.fetch_add(1, SeqCst) + 1;
        async move { ([("cache-control", "max-age=600")], call.to_string()).into_response() }
    };
    let layers = ServiceBuilder::new()
        .layer(fleet.authz[process].require("invoice:read"))
        .layer(CacheLayer::new(fleet.stores[process].clone()));
    Router::new().route("/read", get(handler).route_layer(layers))
}

/// What a process answers to alice: whether she may write, and the response for which she has to read.
async fn seen(fleet: &Fleet, process: usize, reading: &Router) -> (bool, u16, String) {
    let writes = fleet.authz[process].check(&fleet.alice, "invoice:write").await.unwrap().is_allow();
    let response = send(reading, "/read", &[ALICE]).await;
    let status = response.status().as_u16();
    (writes, status, content(response).await)
}

async fn changes(fleet: &Fleet, scope: Scope, announced: bool, grants: [&'static str; 1]) {
    let alice = fleet.alice.who.clone();
    if announced {
        let change = fleet.authz[0].begin_change(scope).await.unwrap();
        fleet.directory.set(&alice, Grants::complete(grants));
        drop(change.commit().await.unwrap());
    } else {
        fleet.directory.set(&alice, Grants::complete(grants));
        drop(fleet.authz[0].revoke(scope).await.unwrap());
    }
    fleet.pass(1000).await;
}

#[tokio::test(start_paused = true)]
async fn every_change_ends_every_kind_in_every_tier() {
    for (tier, vars) in [("memory", MEMORY), ("shared", SHARED)] {
        for announced in [false, true] {
            for scale in 0..4 {
                let fleet = Fleet::with(2, vars).await;
                let alice = fleet.alice.who.clone();
                let scope = || match scale {
                    0 => Scope::Subject(alice.clone()),
                    1 => Scope::Subjects(vec![who("acme", "bob"), alice.clone()]),
                    2 => Scope::Tenant(alice.tenant.clone()),
                    _ => Scope::All,
                };
                let what = format!("{tier}, announced: {announced}, {:?}", scope());
                let reading = numbered(&fleet, 1);
                let before = seen(&fleet, 1, &reading).await;
                assert_eq!(before, (false, 200, "1".to_owned()), "{what}");
                fleet.pass(100).await;
                let loads = fleet.directory.loads();
                assert_eq!(seen(&fleet, 1, &reading).await, before, "{what}");
                assert_eq!(fleet.directory.loads(), loads, "{what}: from what is cached");
                assert_eq!(fleet.chaos.entries(), 1, "{what}: the rights, and not the response");
                // What was denied is granted, and what was granted denied.
                changes(&fleet, scope(), announced, ["invoice:write"]).await;
                assert_eq!(seen(&fleet, 1, &reading).await, (true, 403, String::new()), "{what}");
                fleet.pass(100).await;
                assert_eq!(seen(&fleet, 1, &reading).await, (true, 403, String::new()), "{what}");
                // And back: the response of before is as dead as the rights of before.
                changes(&fleet, scope(), announced, ["invoice:read"]).await;
                assert_eq!(seen(&fleet, 1, &reading).await, (false, 200, "2".to_owned()), "{what}");
            }
        }
    }
}

/// Whatever fails, of the source and of the tier, cold and warm: allowed is only whom the source or a valid entry allows.
#[tokio::test(start_paused = true)]
async fn no_failure_of_any_part_allows_anybody() {
    let slow = Failure::Slow(Duration::from_millis(20));
    let all = [Failure::Refuses, Failure::Hangs, Failure::ReadOnly, Failure::Full, Failure::StoresHang, slow];
    for vars in [MEMORY, SHARED] {
        for failure in [Failure::None].into_iter().chain(all) {
            for mode in [Mode::Answers, Mode::Fails, Mode::Panics, Mode::Hangs] {
                let what = format!("{failure:?}, {mode:?}, {vars:?}");
                let fleet = Fleet::with(2, vars).await;
                for process in 0..2 {
                    assert_eq!(fleet.reads(process).await, Some(true), "{what}");
                    fleet.pass(100).await;
                }
                fleet.revoked();
                drop(fleet.authz[0].revoke(fleet.scope()).await.unwrap());
                fleet.directory.mode(mode);
                fleet.chaos.fails(failure);
                fleet.pass(1000).await;
                for _ in 0..3 {
                    let expected = (mode == Mode::Answers).then_some(false);
                    assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (expected, expected), "{what}");
                    fleet.pass(300).await;
                }
                let app = app(&fleet.authz[1], "invoice:read");
                let status = send(&app, "/invoices", &[ALICE]).await.status().as_u16();
                assert_eq!(status, if mode == Mode::Answers { 403 } else { 503 }, "{what}");
            }
        }
    }
}
