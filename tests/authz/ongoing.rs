//! Answers that go on after they were allowed: streams and sockets.

use super::fleet::Fleet;
use super::*;
use axum::extract::Path;
use terrace::Authorized;
use terrace::authz::{Authorizer, Decision, Query, Scope, perm};
use terrace::chaos::Failure;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What a handler is told, as it goes on.
pub(crate) async fn let_in(authz: &Authz, requirement: terrace::authz::Requirement, token: &str) -> Authorized {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = get(move |authorized: Authorized, _: Path<String>| {
        let tell = tell.clone();
        async move { tell.send(authorized).unwrap() }
    });
    let app = Router::new().route("/invoices/{id}", handler.route_layer(authz.require(requirement)));
    assert_eq!(send(&app, "/invoices/7", &[("authorization", token)]).await.status(), 200);
    told.recv().await.unwrap()
}

/// Whether it is told within so many seconds, on both clocks.
async fn is_told(house: &House, authorized: &Authorized, seconds: u64) -> bool {
    let authorized = authorized.clone();
    let waits = tokio::spawn(async move { authorized.revoked().await });
    for _ in 0..seconds * 10 {
        house.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
        if waits.is_finished() {
            return true;
        }
    }
    waits.abort();
    false
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_told_of_a_revocation_within_the_bound_and_can_ask_again() {
    let house = House::with(&[]);
    let authorized = let_in(&house.authz, perm("invoice:read"), "Bearer acme/alice").await;
    assert!(!is_told(&house, &authorized, 20).await, "nothing has happened");
    drop(house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap());
    assert!(is_told(&house, &authorized, 1).await);
    let again = authorized.revalidate().await.unwrap().unwrap();
    assert!(!is_told(&house, &again, 5).await, "it was about something else");
    house.directory.set(&house.alice, Grants::complete(["x"]));
    drop(house.authz.revoke(Scope::Tenant(house.alice.tenant.clone())).await.unwrap());
    assert!(is_told(&house, &again, 1).await);
    assert!(again.revalidate().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_told_when_the_credential_or_the_facts_end() {
    let house = House::with(&[]);
    let end = format!("Bearer acme/alice//{}", wall(30).duration_since(UNIX_EPOCH).unwrap().as_secs());
    let authorized = let_in(&house.authz, perm("invoice:read"), &end).await;
    assert!(!is_told(&house, &authorized, 25).await && is_told(&house, &authorized, 6).await);
    assert!(authorized.revalidate().await.unwrap().is_none(), "the credential has ended");
    let endless = let_in(&house.authz, perm("invoice:read"), "Bearer acme/alice").await;
    assert!(!is_told(&house, &endless, 20).await && is_told(&house, &endless, 300).await);
}

#[tokio::test(start_paused = true)]
async fn it_asks_again_for_what_the_route_was_about() {
    let house = House::with(&[]);
    house.directory.set(&house.alice, Grants::complete(["invoice:read:7"]));
    let rule = perm("invoice:read").resource_param("id");
    let authorized = let_in(&house.authz, rule, "Bearer acme/alice").await;
    assert!(authorized.revalidate().await.unwrap().is_some());
    house.directory.set(&house.alice, Grants::complete(["invoice:read:8"]));
    assert!(authorized.revalidate().await.unwrap().is_none(), "the source is asked, not the cache");
    house.directory.mode(Mode::Fails);
    assert!(authorized.revalidate().await.is_err());
}

/// Else each of them would ask the source as fast as it can.
#[tokio::test(start_paused = true)]
async fn while_rights_are_changed_it_is_told_once_in_the_time_that_memory_may_lag() {
    let house = House::with(&[]);
    let authorized = let_in(&house.authz, perm("invoice:read"), "Bearer acme/alice").await;
    let change = house.authz.begin_change(Scope::Subject(house.alice.clone())).await.unwrap();
    let mut authorized = authorized.revalidate().await.unwrap().unwrap();
    let told = timeout(Duration::from_millis(1), authorized.revoked()).await;
    assert!(told.is_err(), "what the source has just said");
    assert!(is_told(&house, &authorized, 2).await);
    authorized = authorized.revalidate().await.unwrap().unwrap();
    house.directory.set(&house.alice, Grants::complete(["x"]));
    drop(change.commit().await.unwrap());
    assert!(is_told(&house, &authorized, 1).await);
    assert!(authorized.revalidate().await.unwrap().is_none());
}

/// Whether it is told while so many milliseconds pass, in a process among others.
async fn is_told_in(fleet: &Fleet, authorized: &Authorized, milliseconds: u64) -> bool {
    let authorized = authorized.clone();
    let waits = tokio::spawn(async move { authorized.revoked().await });
    fleet.pass(milliseconds).await;
    let told = waits.is_finished();
    waits.abort();
    told
}

/// Whatever ends what memory has ends what rests on it, and each time the source can be asked again.
#[tokio::test(start_paused = true)]
async fn what_goes_on_is_told_of_all_that_ends_what_is_cached() {
    let fleet = Fleet::with(2, &[]).await;
    let mut authorized = let_in(&fleet.authz[0], perm("invoice:read"), "Bearer acme/alice").await;
    let again = async |authorized: &Authorized| authorized.revalidate().await.unwrap().expect("nobody has changed it");
    assert!(!is_told_in(&fleet, &authorized, 10_000).await, "nothing has happened");
    drop(fleet.authz[1].revoke(fleet.scope()).await.unwrap());
    assert!(is_told_in(&fleet, &authorized, 1500).await, "another process has revoked it");
    authorized = again(&authorized).await;
    assert!(!is_told_in(&fleet, &authorized, 5000).await);
    let change = fleet.authz[1].begin_change(fleet.scope()).await.unwrap();
    assert!(is_told_in(&fleet, &authorized, 1500).await, "another process changes it");
    drop(change.commit().await.unwrap());
    fleet.pass(1000).await;
    authorized = again(&authorized).await;
    assert!(!is_told_in(&fleet, &authorized, 5000).await);
    fleet.chaos.restarts_with_entries();
    assert!(is_told_in(&fleet, &authorized, 1500).await, "an epoch has ended");
    fleet.pass(1000).await;
    authorized = again(&authorized).await;
    assert!(!is_told_in(&fleet, &authorized, 5000).await);
    fleet.chaos.fails(Failure::Refuses);
    assert!(!is_told_in(&fleet, &authorized, 500).await, "what is proven is proven for a second");
    assert!(is_told_in(&fleet, &authorized, 1000).await, "nothing proves that nobody has revoked it");
    // The source is there, and is not asked as fast as it can answer.
    authorized = again(&authorized).await;
    assert!(!is_told_in(&fleet, &authorized, 500).await && is_told_in(&fleet, &authorized, 1500).await);
}

/// Lets everybody do everything.
struct Everything;

impl Authorizer for Everything {
    type Error = Broken;

    async fn check(&self, _: &Query<'_>) -> Result<Decision, Broken> {
        Ok(Decision::Allow)
    }
}

/// Nothing would say that it does not hold any more.
#[tokio::test(start_paused = true)]
async fn what_an_authorizer_has_decided_is_asked_again_after_the_bound() {
    let house = House::with(&[]);
    house.directory.set(&house.alice, Grants::partial(["x"]));
    let builder = Authz::builder(house.store.clone(), house.directory.clone()).identify(Tokens);
    let authz = builder.source_id("partial").authorizer(Everything).single_process().build().unwrap();
    let authorized = let_in(&authz, perm("invoice:read"), "Bearer acme/alice").await;
    let told = timeout(Duration::from_millis(1), authorized.revoked()).await;
    assert!(told.is_err() && is_told(&house, &authorized, 1).await);
    assert!(authorized.revalidate().await.unwrap().is_some());
}
