//! Where the layer meets the services around and inside of it, and what it tells of its callers.

use super::*;
use bytes::Bytes;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;
use std::task::{Context, Poll};
use terrace::authz::{AuthzLayer, perm};
use terrace_tests::{Failure, Origin, get as request, respond};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service};

fn asked(fields: &[(&str, &str)]) -> Request<terrace_tests::Body> {
    terrace_tests::get_with("/", fields)
}

fn origin() -> Origin {
    Origin::answering(|_| respond(200, &[], terrace_tests::full("an invoice")))
}

/// A service whose clones are not ready unless they are asked.
#[derive(Clone)]
struct Strict {
    inner: Origin,
    ready: bool,
}

impl Service<Request<terrace_tests::Body>> for Strict {
    type Response = Response<terrace_tests::Body>;
    type Error = Failure;
    type Future = <Origin as Service<Request<terrace_tests::Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<terrace_tests::Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        self.inner.call(request)
    }
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let house = House::new();
    let mut service = house.authz.require("invoice:read").layer(Strict { inner: origin(), ready: false });
    for fields in [&[ALICE, ("x-slow", "1")][..], &[ALICE], &[ALICE]] {
        service.ready().await.unwrap();
        // A clone that was made meanwhile is as it was.
        drop(service.clone());
        let response = service.call(asked(fields)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn who_is_refused_gives_back_their_place() {
    let house = House::new();
    let service = house.authz.require("invoice:read").layer(ConcurrencyLimitLayer::new(1).layer(origin()));
    for fields in [&[][..], &[BOB], &[ALICE], &[BOB, ("x-slow", "1")], &[ALICE, ("x-slow", "1")]] {
        let response = service.clone().oneshot(asked(fields)).await.unwrap();
        assert!([401, 403, 200].contains(&response.status().as_u16()));
    }
}

#[tokio::test]
async fn errors_and_bodies_of_the_inner_service_are_passed_on() {
    let house = House::new();
    let broken = Origin::new(|_| std::future::ready(Err(Failure("it is broken"))));
    let service = house.authz.require("invoice:read").layer(broken);
    assert_eq!(service.oneshot(asked(&[ALICE])).await.map(drop), Err(Failure("it is broken")));
    let service = house.authz.require("invoice:read").layer(origin());
    let answer = terrace_tests::read(service.oneshot(asked(&[ALICE])).await.unwrap()).await.unwrap();
    assert_eq!(answer.text(), "an invoice");
}

#[tokio::test]
async fn a_refusal_has_an_empty_body_that_says_so() {
    use http_body::Body as _;
    let house = House::new();
    let service = house.authz.require("invoice:read").layer(origin());
    let response = service.oneshot(request("/")).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(response.body().size_hint().exact(), Some(0));
    assert_eq!(response.headers()["content-length"], "0");
}

fn is_send<T: Send>(it: T) -> T {
    it
}

#[tokio::test]
async fn layers_services_and_futures_can_go_anywhere() {
    fn anywhere<T: Clone + Send + Sync + 'static>(_: &T) {}
    let house = House::new();
    let layer: AuthzLayer = house.authz.require(perm("invoice:read"));
    anywhere(&layer);
    anywhere(&house.authz);
    let mut service = layer.layer(origin());
    service.ready().await.unwrap();
    let response = is_send(service.call(asked(&[ALICE]))).await.unwrap();
    let _: Response<_> = response.map(|body| {
        let _: &dyn http_body::Body<Data = Bytes, Error = Failure> = &body;
    });
}

#[tokio::test]
async fn a_layer_of_an_engine_that_identifies_nobody_serves_nobody() {
    let authz = Authz::builder(Store::memory(), Directory::new()).build().unwrap();
    let service = authz.require("a").layer(origin());
    assert_eq!(service.oneshot(asked(&[ALICE])).await.unwrap().status(), 503);
}

thread_local! {
    /// What the thread of a test has logged, for a test that wants to know.
    pub(super) static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes to whoever listens in the same thread.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.iter_mut().for_each(|all| all.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs everything that this thread does from now on. For the whole program: what is decided once about an event, whoever
/// comes first, holds for all.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = tracing_subscriber::filter::LevelFilter::TRACE;
        let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Lines);
        tracing_subscriber::util::SubscriberInitExt::init(log.finish());
    });
    LOGGED.set(Some(Vec::new()));
}

#[tokio::test]
async fn no_line_and_no_text_for_people_names_a_caller_or_a_token() {
    listen();
    let house = House::new();
    let app = app(&house.authz, perm("invoice:read").tenant_param("org"));
    for (org, fields) in [("acme", ALICE), ("acme", ALICE), ("acme", BOB), ("other", ALICE), ("acme", ("x", "y"))] {
        send(&app, &format!("/orgs/{org}/invoices/1"), &[fields]).await;
    }
    house.directory.mode(Mode::Fails);
    send(&super::app(&house.authz, perm("invoice:read").fresh()), "/invoices", &[ALICE]).await;
    drop(house.authz.revoke(terrace::authz::Scope::Subject(house.alice.clone())).await.unwrap());
    drop(house.authz.begin_change(terrace::authz::Scope::Tenant(house.alice.tenant.clone())).await.unwrap());
    let mut text = String::from_utf8(LOGGED.take().unwrap()).unwrap();
    assert!(text.contains("authz_decision") && text.contains("authz_revoked"), "{text}");
    text.push_str(&[format!("{:?}", house.authz), format!("{:?}", house.principal())].concat());
    for secret in ["acme", "alice", "bob", "Bearer"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // What was asked for is in the audit, which nobody sees above DEBUG.
    assert!(
        text.lines().filter(|line| line.contains("invoice:read")).all(|line| line.contains("DEBUG terrace::audit"))
    );
}
