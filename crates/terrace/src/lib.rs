//! Tiered HTTP response caching as tower middleware.

pub mod clock;
pub mod config;
mod error;
mod observe;
mod response;
mod store;

pub use config::Config;
pub use error::Error;
pub use observe::stats;
#[cfg(feature = "metrics")]
pub use observe::{prometheus, publish_metrics};
pub use response::{
    BodyDigestLayer, BodyDigestService, Bypass, Cache, CacheLayer, CacheTags, Partition, Query, Replay, ResponseBody,
    ResponseFuture, ResponseOverride, Rules,
};
pub use store::{Purge, Receipt, Store};
