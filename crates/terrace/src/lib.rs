//! Tiered HTTP response and authorization caching as tower middleware.
//!
//! One `.layer(CacheLayer)` gives an axum, hyper or tonic service a shared HTTP cache (RFC 9111): with revalidation, variants,
//! ranges, stale answers, one fetch for many requests, tags and purges. A hit in memory costs less than running a
//! router, and every answer says in `Cache-Status` where it came from.
//!
//! ```
//! use axum::{Router, routing::get};
//! use std::time::Duration;
//! use terrace::{CacheLayer, Rules, Store};
//!
//! # async fn example() -> Result<(), terrace::Error> {
//! let store = Store::memory();
//! let rules = Rules::new().default_ttl(Duration::from_secs(60)).stale_while_revalidate(Duration::from_secs(30));
//! let app: Router = Router::new()
//!     .route("/products/{id}", get(async || "a product"))
//!     .layer(CacheLayer::new(store.clone()).rules(rules));
//!
//! let _receipt = store.purge_prefix("/products").await?;
//! # Ok(()) }
//! ```
//!
//! The module [`authz`] answers, on the same tiers, what a caller may do: put [`Authz::require`] around routes, and the cache inside of it.
//!
//! # What it does not do
//!
//! It does not listen, connect or route: that is the server's and the client's business. It stores no error of the inner service, makes
//! none of its own, and takes no response for an answer that the origin did not allow it to (see [`Rules`] for what that means).
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `axum` | yes | keys know the whole URI inside nested axum 0.8 routers; needed there if they share a store; extractors, and parameters of paths in what routes require |
//! | `metrics` | yes | publishes what is counted through the `metrics` facade, and the Prometheus exporter |
//! | `tracing` | yes | log events |
//! | `redis` | no | entries and invalidations that processes share through Redis, and that other programs can ask for |
//! | `redis-tls` | no | the same over TLS |
//! | `admin` | no | routes and a page for operators: statistics, flags, purges, and why a request is a miss |
//! | `test-util` | no | a clock that tests move by hand, and with `axum` a test that finds routes without a guard |
//!
//! # Where to read on
//!
//! The [`manual`] begins with a quick start, and tells how to choose rules, what happens to a request and when something fails, and why
//! every default is what it is. The rules themselves are a crate of their own, `terrace-policy`.

#![cfg_attr(not(feature = "redis"), allow(dead_code, reason = "what follows other processes has nobody to follow"))]

#[cfg(feature = "admin")]
pub mod admin;
mod authorized;
pub mod authz;
#[cfg(feature = "test-util")]
pub mod chaos;
pub mod clock;
pub mod config;
#[cfg(feature = "test-util")]
pub mod danger;
#[cfg(not(feature = "test-util"))]
#[expect(unreachable_pub, reason = "only tests switch protections off")]
mod danger;
mod error;
pub mod manual;
mod observe;
mod response;
mod store;

pub use authorized::Authorized;
#[cfg(fuzzing)]
pub use authz::read_grants;
pub use authz::{Authz, AuthzLayer};
pub use config::Config;
pub use error::Error;
pub use observe::stats;
#[cfg(feature = "metrics")]
pub use observe::{prometheus, publish_metrics};
#[cfg(feature = "redis")]
pub use response::inspect;
#[cfg(all(fuzzing, feature = "redis"))]
pub use response::read_packed;
pub use response::{
    BodyDigestLayer, BodyDigestService, Bypass, Cache, CacheLayer, CacheTags, Partition, Query, Replay, ResponseBody,
    ResponseFuture, ResponseOverride, Rules,
};
#[cfg(feature = "redis")]
pub use response::{SessionFuture, SessionLayer, SessionService};
pub use store::{Change, Purge, Receipt, Store, Switch, Switched};
#[cfg(feature = "redis")]
pub use store::{Listener, Prewarms, RawConnection, Reclaim, Reclaimed};
#[cfg(all(fuzzing, feature = "redis"))]
pub use store::{fuzzing, messages};

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
