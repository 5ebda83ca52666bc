//! What Prometheus has recorded, over its HTTP API.
//!
//! ```text
//! client: the questions ─ http: a server, with a token ─ answer: what its JSON says
//! alerts: those of Terrace
//! ```

mod alerts;
mod answer;
mod client;
mod http;

pub(crate) use alerts::ALERTS;
#[cfg(test)]
pub(crate) use alerts::FILE as ALERTS_FILE;
pub(crate) use answer::{Labels, Rule, Sample, Target};
pub(crate) use client::{Prometheus, Range};
pub(crate) use http::Http;
