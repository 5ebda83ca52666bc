//! `terrace proxy` as its users meet it: the real binary between real sockets.

mod admin;
mod bodies;
mod caching;
mod connections;
mod failures;
mod harness;
mod headers;
mod shutdown;
mod startup;
mod upgrade;
mod warm;
mod watch;
