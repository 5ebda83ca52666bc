//! What a check costs that memory answers, in allocations. A program of its own, for others would be counted too.

use allocation_counter::measure;
use http::request::Parts;
use http::{Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use terrace::Store;
use terrace::authz::{
    Authz, Grants, Identify, Identity, IdentityError, LoadHint, PermissionSource, Principal, Subject, Tenant, Who, perm,
};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// Knows whose the credential is.
struct Always(Principal);

impl Identify for Always {
    async fn identify(&self, _: &Parts) -> Result<Identity, IdentityError> {
        Ok(Identity::Known(self.0.clone()))
    }
}

struct Roles;

impl PermissionSource for Roles {
    type Error = Infallible;

    async fn load(&self, who: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        let all = Grants::complete((0..100).map(|at| format!("invoice:{at}")));
        Ok(match who.subject.as_str() {
            "alice" => all,
            "trent" => all.deny("invoice:50"),
            "carol" => Grants::complete((0..100).map(|at| format!("user:{at}"))),
            _ => Grants::complete(Vec::<String>::new()),
        })
    }
}

#[derive(Clone)]
struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(String::new())))
    }
}

/// As servers send it: there are extensions already.
fn request() -> Request<()> {
    Request::builder().extension("a connection").body(()).unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let who = Who { tenant: Tenant::new("acme").unwrap(), subject: Subject::new("alice").unwrap() };
    let authz = Authz::builder(Store::memory(), Roles).identify(Always(Principal::new(who))).build().unwrap();
    let mut service = authz.require("invoice:50").layer(Inner);
    assert_eq!(runtime.block_on(service.call(request())).unwrap().status(), 200);

    let mut call = || {
        let request = request();
        let mut response = None;
        let counted = measure(|| {
            let mut future = pin!(service.call(request));
            response = Some(future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        });
        assert!(matches!(response, Some(Poll::Ready(Ok(response))) if response.status() == 200));
        counted.count_total
    };
    call();
    for _ in 0..100 {
        // The identity, boxed, and what the request is told of it.
        assert_eq!(call(), 2);
    }
    println!("a check that memory answers: 2 allocations");
    as_many_for_who_is_refused(&runtime);
}

/// How long it takes tells nobody why.
fn as_many_for_who_is_refused(runtime: &Runtime) {
    let counted = |subject: &str| {
        let who = Who { tenant: Tenant::new("acme").unwrap(), subject: Subject::new(subject).unwrap() };
        let principal = Principal::new(who);
        let authz = Authz::builder(Store::memory(), Roles).identify(Always(principal.clone())).build().unwrap();
        let mut service = authz.require(perm("invoice:50").hide_as_not_found()).layer(Inner);
        let mut costs = Vec::new();
        for _ in 0..10 {
            let asked = measure(|| drop(runtime.block_on(authz.check(&principal, "invoice:50"))));
            let request = request();
            let layer = measure(|| drop(runtime.block_on(service.call(request))));
            costs.push((asked.count_total, layer.count_total));
        }
        costs.pop().unwrap()
    };
    let (allowed, refused) = (counted("alice"), ["trent", "carol", "nobod"].map(counted));
    assert!(refused.iter().all(|costs| *costs == refused[0]), "{refused:?}");
    assert_eq!(refused[0].0, allowed.0, "the answer alone makes a difference");
    println!("a check: {} allocations, whoever asks; a refusal: {}, whoever is refused", allowed.0, refused[0].1);
}
