//! The response cache: tower middleware around RFC 9111.
//!
//! ```text
//! CacheLayer ──layer(inner)──► Cache<S> ──call──► ResponseFuture { Ready | Forward | Unsafe | Drive }
//!                                 │                                                   │
//!                          key, peek, plan                              drive: look up, join, fetch, judge
//!                                                                                     │
//!                                           ResponseBody { Stored | Forward | Tee } ──┘
//! ```

mod answer;
mod body;
mod call;
mod digest;
mod drive;
mod encoded;
#[cfg(feature = "admin")]
mod explain;
mod extension;
mod fetch;
mod fill;
mod future;
mod hot;
#[cfg(feature = "redis")]
pub mod inspect;
mod key;
mod layer;
mod packed;
mod rules;
mod sample;
mod seen;
mod select;
mod service;
#[cfg(feature = "redis")]
mod session;
#[cfg(any(feature = "redis", feature = "admin"))]
mod shown;
mod stored;
mod tee;

pub use body::ResponseBody;
pub use digest::{BodyDigestLayer, BodyDigestService, Replay};
#[cfg(feature = "admin")]
pub(crate) use explain::{Explanation, InMemory, Outcome, Step};
pub use extension::{Bypass, CacheTags, Partition, ResponseOverride};
pub use future::ResponseFuture;
pub use layer::CacheLayer;
#[cfg(all(fuzzing, feature = "redis"))]
pub use packed::read as read_packed;
pub use rules::{Query, Rules};
pub use service::Cache;
#[cfg(feature = "redis")]
pub use session::{SessionFuture, SessionLayer, SessionService};
#[cfg(feature = "admin")]
pub(crate) use shown::{Field, Response as Shown};
