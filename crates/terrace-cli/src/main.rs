//! The `terrace` command.
//!
//! `terrace proxy` puts Terrace's HTTP cache in front of a server that is not written in Rust. `terrace purge` tells a
//! running fleet what has changed, and `terrace inspect` shows what it has stored. `terrace watch` listens to programs in
//! other languages, `terrace warm` requests what is to be in the cache. `terrace keygen` makes a key to seal with.
//!
//! Exit status: 0 success, 1 a failure while running, 2 a mistake in the arguments or the environment.

mod ask;
mod failure;
mod fleet;
mod inspect;
mod keygen;
mod proxy;
mod purge;
mod text;
mod walk;
mod warm;
mod watch;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "terrace", version, about = "Tiered HTTP caching", long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a caching reverse proxy in front of an origin server.
    Proxy(Box<proxy::Options>),
    Purge(Box<purge::Options>),
    Inspect(Box<inspect::Options>),
    Keygen(keygen::Options),
    /// Request URLs of a fleet, so that its cache has them.
    Warm(Box<warm::Options>),
    /// Listen to programs in other languages.
    Watch(Box<watch::Options>),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Proxy(options) => proxy::main(*options),
        Command::Purge(options) => purge::main(&options),
        Command::Inspect(options) => inspect::main(&options),
        Command::Keygen(options) => keygen::main(&options),
        Command::Warm(options) => warm::main(&options),
        Command::Watch(options) => watch::main(*options),
    };
    result.err().map_or(ExitCode::SUCCESS, Failure::report)
}
