//! The manual.
//!
//! | chapter | what it tells |
//! |---|---|
//! | [`walks`] | what happens to a request |
//! | [`failures`] | what happens when something fails |
//! | [`defaults`] | every default, and why |
//! | [`howto`] | recipes |
//! | [`authorization`] | what is promised about rights, and what happens when something fails |
//! | [`configuration`] | every setting |
//! | `redis`, if that feature is on | where Redis is, what it has to be, what is where in a cluster |
//! | `languages` | invalidations from programs in other languages, if the feature `redis` is on |
//! | `metrics` | every metric, if that feature is on |

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
