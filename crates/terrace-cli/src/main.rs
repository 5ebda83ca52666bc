//! The `terrace` command.
//!
//! `terrace proxy` puts Terrace's HTTP cache in front of a server that is not written in Rust. `terrace purge` tells a
//! running fleet what has changed.
//!
//! Exit status: 0 success, 1 a failure while running, 2 a mistake in the arguments or the environment.

mod failure;
mod fleet;
mod proxy;
mod purge;
mod text;

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
    /// Tell a running fleet that something has changed.
    Purge(Box<purge::Options>),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Proxy(options) => proxy::main(*options),
        Command::Purge(options) => purge::main(&options),
    };
    result.err().map_or(ExitCode::SUCCESS, Failure::report)
}
