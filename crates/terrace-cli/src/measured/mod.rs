//! What a fleet did over a time: the same figures from Prometheus, or from what its processes say themselves.
//!
//! ```text
//! options ─ when and where ─┬ recorded: Prometheus ─────────┐
//!                           └ scraped: /metrics, twice ─────┴ increases ─ summary ─┬ JSON
//!                                                                                  └ tables ─ document ─ markdown
//! ```
//!
//! What is counted is never looked at as it is, for that is of the whole life of a process: only by how much it grew.

mod document;
mod increases;
mod markdown;
mod options;
mod recorded;
mod scraped;
mod summary;
mod tables;

pub(crate) use document::{Block, Document, Figure, Line, Plot, Section, Unit};
pub(crate) use increases::Increases;
pub(crate) use markdown::markdown;
pub(crate) use options::{Where, instant, now};
pub(crate) use recorded::Recorded;
pub(crate) use scraped::{Endpoint, between};
#[cfg(test)]
pub(crate) use summary::Build;
pub(crate) use summary::{Cache, Percentiles, SCHEMA, Summary, Window, time};
pub(crate) use tables::{heading, tables};
