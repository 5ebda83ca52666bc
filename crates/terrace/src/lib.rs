//! Tiered HTTP response caching as tower middleware.

// The callers of much of these three come with the store and the response layer.
#[allow(dead_code)]
pub mod clock;
#[allow(dead_code)]
pub mod config;
mod error;
#[allow(dead_code)]
mod observe;
mod response;
mod store;

pub use config::Config;
pub use error::Error;
pub use observe::stats;
#[cfg(feature = "metrics")]
pub use observe::{prometheus, publish_metrics};
pub use response::{Cache, CacheLayer, Rules};
pub use store::Store;
