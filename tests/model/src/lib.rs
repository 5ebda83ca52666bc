//! Exhaustive check of the protocol that keeps memory (L1) and Redis (L2) coherent, and of what breaks when one of its
//! rules is dropped.
//!
//! A [`World`](explore::World) says which states follow which, [`explore`](explore::explore) visits all of them, and a
//! [`Case`](cases::Case) says what must come out: that a [`Promise`](promise::Promise) is never broken, or, with one
//! [`Rule`](rules::Rule) dropped, that it is. The README beside this package says what is modelled and what is not.

pub mod cases;
pub mod explore;
mod invalidator;
mod l1;
pub mod overlap;
mod poller;
pub mod primaries;
pub mod promise;
mod reader;
pub mod rules;
pub mod scenario;
mod server;
mod state;
pub mod world;
