//! The command as its users meet it: the real binary between real sockets.

mod admin;
mod backup;
mod bodies;
mod caching;
mod connections;
mod failures;
mod flag;
mod fleet;
mod flush;
mod harness;
mod headers;
mod inspect;
mod manual;
mod purge;
mod rights;
mod shutdown;
mod startup;
mod tasks;
mod upgrade;
mod warm;
mod watch;
