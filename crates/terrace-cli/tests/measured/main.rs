//! What the command says of a fleet that a real Prometheus watches.

mod alerts;
mod answers;
mod fleet;
#[allow(dead_code, reason = "it is that of the tests of the proxy")]
#[path = "../proxy/harness.rs"]
mod harness;
mod page;
mod prometheus;
