//! Who takes long to find out who asks: that has a limit, and what is known by then is what a check goes by.

use super::*;
use axum::routing::get;
use tokio::time::Instant;

/// Lets a caller in when a test says so.
#[derive(Clone)]
struct Doorman(Arc<Semaphore>);

impl Identify for Doorman {
    async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
        self.0.acquire().await.unwrap().forget();
        Tokens.identify(parts).await
    }
}

/// A house with a doorman.
fn guarded(vars: &[(&str, &str)]) -> (House, Doorman) {
    let (house, doorman) = (House::with(vars), Doorman(Arc::new(Semaphore::new(0))));
    let builder = Authz::from_vars(house.store.clone(), house.directory.clone(), vars.iter().copied()).unwrap();
    let authz = builder.identify(doorman.clone()).single_process().build().unwrap();
    (House { authz, ..house }, doorman)
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_not_known_in_time_is_unavailable() {
    let (house, _doorman) = guarded(&[]);
    let open = Router::new().route("/invoices", get(async || "an invoice").route_layer(house.authz.identify()));
    for app in [app(&house.authz, "invoice:read"), open] {
        let asked = Instant::now();
        let hour = Duration::from_secs(3600);
        let response = tokio::time::timeout(hour, send(&app, "/invoices", &[ALICE])).await.expect("it is answered");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.headers().contains_key("retry-after") && !response.headers().contains_key("www-authenticate"));
        assert!(asked.elapsed() < Duration::from_millis(850), "{:?}", asked.elapsed());
    }
    assert_eq!(house.directory.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_it_was_found_out_who_asks_is_not_used() {
    let (house, doorman) = guarded(&[("AUTHZ_CACHE_TTL", "100")]);
    assert_eq!((house.reads().await, house.directory.loads()), (Some(true), 1));
    house.directory.set(&house.alice, Grants::complete(["x"]));
    let app = app(&house.authz, "invoice:read");
    let asking = tokio::spawn(async move { send(&app, "/invoices", &[ALICE]).await.status() });
    tokio::task::yield_now().await;
    house.advance(101);
    doorman.0.add_permits(1);
    assert_eq!((asking.await.unwrap().as_u16(), house.directory.loads()), (403, 2));
}

/// The time that it takes is none that the source does not have.
#[tokio::test(start_paused = true)]
async fn who_was_identified_late_has_the_whole_time_to_be_decided_about() {
    let (house, doorman) = guarded(&[]);
    house.directory.mode(Mode::Slow);
    let app = app(&house.authz, "invoice:read");
    let asking = tokio::spawn(async move { send(&app, "/invoices", &[ALICE]).await.status() });
    tokio::task::yield_now().await;
    house.advance(2);
    doorman.0.add_permits(1);
    assert_eq!(asking.await.unwrap(), 200);
}
