//! The manual.
//!
//! | chapter | what it tells |
//! |---|---|
//! | [`start`] | from nothing to a cache that processes share |
//! | [`rules`] | which rules to choose, and where to put the layer |
//! | [`keys`] | what tells responses apart, whose they are, where personal data is |
//! | [`invalidation`] | how to take back what is stored, and when that has taken effect |
//! | [`walks`] | what happens to a request |
//! | [`failures`] | what happens when something fails |
//! | [`defaults`] | every default, and why |
//! | [`howto`] | recipes |
//! | [`authorization`] | what is promised about rights, and what happens when something fails |
//! | [`configuration`] | every setting |
//! | `redis`, if that feature is on | where Redis is, what it has to be, what is where in a cluster |
//! | `languages` | invalidations from programs in other languages, if the feature `redis` is on |
//! | `metrics` | every metric, if that feature is on |

#[doc = include_str!("start.md")]
pub mod start {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("invalidation.md")]
pub mod invalidation {}

#[doc = include_str!("walks.md")]
pub mod walks {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("howto.md")]
pub mod howto {}

#[doc = include_str!("authorization.md")]
pub mod authorization {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("redis.md")]
#[cfg(feature = "redis")]
pub mod redis {}

#[doc = include_str!("languages.md")]
#[cfg(feature = "redis")]
pub mod languages {}

#[doc = include_str!("metrics.md")]
#[cfg(feature = "metrics")]
pub mod metrics {}
