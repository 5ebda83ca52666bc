//! Routes and a page for operators: what the cache does, why a request is a miss, purges and switches.
//!
//! [`Admin`] is a tower service. It is never there by itself: an application mounts it where its operators reach it, at
//! best on a port of its own, and says who is admitted. There is no default for that, and no way around it.
//!
//! ```
//! # use axum::{Router, routing::get};
//! # fn example(store: terrace::Store) -> Result<Router, terrace::Error> {
//! use terrace::CacheLayer;
//! use terrace::admin::{Admin, SecretToken};
//!
//! let token = std::env::var("ADMIN_TOKEN").unwrap_or_default();
//! let app = Router::new()
//!     .route("/products/{id}", get(async || "a product"))
//!     .layer(CacheLayer::new(store.clone()))
//!     // After the cache, so that it is not in it.
//!     .nest_service("/terrace", Admin::new(store).token(SecretToken::new(&token)?));
//! # Ok(app) }
//! ```
//!
//! | route | what it does |
//! |---|---|
//! | `GET` the mount point | the page: ratio and latency of this moment, tiers, coherence, breakers, flags, what is asked for most |
//! | `GET stats` | the same as JSON |
//! | `GET flags` | what is switched on in this process |
//! | `PUT flags/{feature}` `{"on":false,"reason":"…"}` | switches it, from the next request on; with `"fleet":true` for all processes, as [`Store::switch`] |
//! | `POST purge` `{"url":"…","soft":false}` | purges, as [`Store::purge_url`] and its like; `tag`, `prefix`, `partition` or `"all":true` instead of `url` |
//! | `GET inspect?url=…` | what memory and Redis have for a URL, without content and without values that may be secrets |
//! | `POST explain` `{"method":"GET","url":"…","headers":{…}}` | step by step, why such a request would be a hit or a miss now |
//!
//! It answers under whatever prefix it is mounted. `curl` examples are in `docs/admin.md`.
//!
//! # What keeps others out
//!
//! Everyone is refused who is not admitted. What changes something takes `application/json` only, and nothing that another
//! site's page has sent (`Origin`, `Sec-Fetch-Site`), so that no form on the web can purge. No answer may be cached or
//! framed, or read by another origin; the page loads nothing, and shows everything as text.

mod admission;
mod answer;
mod ask;
mod explain;
mod flags;
mod inspect;
mod page;
mod purge;
mod route;
mod stats;

pub use admission::{Peer, SecretToken};
pub use answer::AdminBody;

use crate::{CacheLayer, Rules, Store};
use admission::Admission;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// The routes, as a tower service that never fails. Cheap to clone.
///
/// It can be used with axum's `nest_service`, and on hyper through `hyper_util::service::TowerToHyperService`. It needs
/// a tokio runtime with timers.
#[derive(Clone, Debug)]
pub struct Admin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    /// What explains and looks: with the rules of the layer that serves.
    layer: CacheLayer,
    rules: Rules,
    admission: Admission,
}

/// An [`Admin`] of which it is not said yet whom it admits. It cannot be served.
#[derive(Clone, Debug)]
#[must_use = "it cannot be served until it is said who is admitted"]
pub struct Unguarded {
    store: Store,
    rules: Rules,
}

impl Admin {
    /// The routes for a store. From now on it is kept which of its URLs are asked for most and why requests went to the
    /// origin, within about 200 KiB of memory.
    #[expect(clippy::new_ret_no_self, reason = "it is none before it is said who is admitted")]
    pub fn new(store: Store) -> Unguarded {
        store.observe().watch();
        Unguarded { store, rules: Rules::new() }
    }
}

impl Unguarded {
    /// The rules of the layer whose requests are explained, which decide about keys and about what answers. Default:
    /// [`Rules::new`].
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Admits whoever knows a token and sends it as `Authorization: Bearer …` (RFC 6750). Only over TLS or on one machine
    /// does nobody else see it. The page itself, which holds no data, is served to everyone, and asks for the token.
    pub fn token(self, token: SecretToken) -> Admin {
        self.guarded(Admission::Token(token))
    }

    /// Admits connections from this machine, if they ask for it by a loopback name (`localhost`, `127.0.0.1`, `[::1]`).
    ///
    /// The address comes from axum's `ConnectInfo<SocketAddr>` (feature `axum`) or from a [`Peer`] in the request's
    /// extensions; without either, everyone is refused. So is whatever a proxy has relayed: behind one, everyone is on this
    /// machine. Whoever has an account on it is admitted.
    pub fn loopback_only(self) -> Admin {
        self.guarded(Admission::Loopback)
    }

    /// Admits the requests for which `admits` says so: by the client certificate that the TLS server has verified and put
    /// into the extensions, or by whatever a layer outside has found out.
    ///
    /// ```
    /// # use terrace::{Store, admin::Admin};
    /// #[derive(Clone)]
    /// struct ClientCertificate { common_name: String }
    ///
    /// let admin = Admin::new(Store::memory()).admitted_by(|request| {
    ///     let certificate = request.extensions.get::<ClientCertificate>();
    ///     certificate.is_some_and(|certificate| certificate.common_name == "operator")
    /// });
    /// # let _ = admin;
    /// ```
    pub fn admitted_by(self, admits: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Admin {
        self.guarded(Admission::By(Box::new(admits)))
    }

    fn guarded(self, admission: Admission) -> Admin {
        let Self { store, rules } = self;
        let layer = CacheLayer::new(store.clone()).rules(rules.clone());
        Admin { inner: Arc::new(Inner { store, layer, rules, admission }) }
    }
}

impl<B> Service<Request<B>> for Admin
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<AdminBody>;
    type Error = Infallible;
    type Future = AdminFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> AdminFuture {
        let inner = Arc::clone(&self.inner);
        AdminFuture(Box::pin(async move { route::answer(&inner, request).await }))
    }
}

/// Response future of [`Admin`].
///
/// # Cancel safety
///
/// Dropped before its end, a purge that has begun goes on.
pub struct AdminFuture(Pin<Box<dyn Future<Output = Response<AdminBody>> + Send>>);

impl Future for AdminFuture {
    type Output = Result<Response<AdminBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(ready!(self.0.as_mut().poll(cx))))
    }
}

impl fmt::Debug for AdminFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminFuture").finish_non_exhaustive()
    }
}
