//! Requests to a fleet, so that its cache stores what it answers.
//!
//! ```text
//! url: what to ask for ─ many: how many at once, how fast ─ client: one request ─ verdict: what the cache said
//! ```

mod client;
mod many;
mod url;
mod verdict;

pub(crate) use client::{Answer, Client};
pub(crate) use many::{Pace, ask_all};
pub(crate) use url::Resource;
pub(crate) use verdict::Verdict;
