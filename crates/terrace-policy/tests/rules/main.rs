//! The promises of the rules, one module per group of sections of RFC 9111 and its companions.

mod conditional;
mod dates;
mod freshness;
mod invalidation;
mod journeys;
mod ranges;
mod stale;
mod status;
mod storing;
mod support;
mod vary;
