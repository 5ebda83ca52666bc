//! The rules of HTTP caching as pure functions.
//!
//! This crate decides; it does no I/O, keeps nothing, and never asks what time it is. It knows
//! RFC 9111 as a shared cache, with RFC 5861 (stale answers), RFC 8246 (`immutable`), RFC 9211
//! (`Cache-Status`), RFC 9213 (targeted fields) and what RFC 9110 says about conditional requests,
//! ranges and dates. Four questions are the whole of it:
//!
//! | question | section | function |
//! |---|---|---|
//! | may this response be stored? | 3 | [`storable`] → [`Storable`] → [`StoredResponse`] |
//! | may this stored response answer this request, and how? | 4 | [`plan`] → [`Plan`] |
//! | what becomes of it after a 304, or a `HEAD`? | 3.2, 4.3 | [`freshen`] |
//! | what does this unsafe request invalidate? | 4.4 | [`invalidates`] |
//!
//! Beside them stand the selecting header fields ([`selecting_values`], section 4.1) and the field
//! that explains each decision ([`CacheStatus`]). Choices that the RFC leaves open are a [`Policy`].
//!
//! What it does not do: keep or look up responses, make keys, send requests. The `terrace` crate
//! does that.

mod demands;
mod directives;
mod freshness;
mod has;
mod invalidate;
mod policy;
mod range;
mod reuse;
mod status;
mod storable;
mod stored;
mod time;
mod validate;
mod vary;

pub use demands::Demands;
pub use directives::{Qualified, RequestDirectives, ResponseDirectives};
pub use freshness::{Freshness, LifetimeSource, Timing};
pub use invalidate::{invalidates, is_safe, is_success};
pub use policy::Policy;
pub use range::{ByteRange, unsatisfied_range};
pub use reuse::{Answer, Plan, Presented, Slice, answer, is_plain_hit, plan};
pub use status::{CacheStatus, Forward};
pub use storable::{Combined, Exchange, Storable, StoredFields, Unstorable, freshen, storable, storable_in_place};
pub use stored::{Facts, Stored, StoredResponse};
pub use time::{format_date, parse_date};
pub use validate::{Validated, Validators, strip_preconditions};
pub use vary::{Vary, content_language, preferred_language, selecting_values, selecting_values_in};
