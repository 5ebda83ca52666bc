//! Tiered HTTP response caching as tower middleware.

mod response;
mod store;

pub use response::{Cache, CacheLayer, Rules};
pub use store::Store;
