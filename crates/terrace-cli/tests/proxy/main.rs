//! The command as its users meet it: the real binary between real sockets.

mod admin;
mod bodies;
mod caching;
mod connections;
mod failures;
mod fleet;
mod harness;
mod headers;
mod inspect;
mod purge;
mod shutdown;
mod startup;
mod upgrade;
mod warm;
mod watch;
