//! The `terrace` command.
//!
//! `terrace proxy` puts Terrace's HTTP cache in front of a server that is not written in Rust. `terrace purge` tells a
//! running fleet what has changed, `terrace flush` that nothing of a namespace is to be used any more, and `terrace inspect`
//! shows what it has stored. `terrace flag` switches a feature for a whole fleet. `terrace watch` listens to programs in other
//! languages, `terrace warm` requests what is to be in the cache, `terrace backup` copies what Redis has, and `terrace keygen`
//! makes a key to seal with. `terrace config` tells what the environment means, and `terrace check` whether all is there that
//! is needed. `terrace baseline` keeps what is usual, `terrace gate` judges by it, and `terrace report` tells what the cache
//! did. What `terrace completions` and `terrace man` print is made of the same definitions as `--help`.
//!
//! Exit status: 0 success, 1 a failure while running, 2 a mistake in the arguments or the environment, 3 what was to be
//! judged could not be, 4 there are warnings, and they were to count.

mod ask;
mod backup;
mod baseline;
mod check;
mod config;
mod exposition;
mod failure;
mod findings;
mod flag;
mod fleet;
mod flush;
mod gate;
mod inspect;
mod keygen;
mod manual;
mod measured;
mod prometheus;
mod proxy;
mod purge;
mod report;
mod size;
mod text;
mod walk;
mod warm;
mod watch;
mod web;
mod whole;

use clap::{FromArgMatches, Parser, Subcommand};
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
    Proxy(Box<proxy::Options>),
    Purge(Box<purge::Options>),
    Flush(flush::Options),
    Inspect(Box<inspect::Options>),
    Flag(Box<flag::Options>),
    Warm(Box<warm::Options>),
    Watch(Box<watch::Options>),
    Backup(backup::Options),
    Keygen(keygen::Options),
    Config(config::Options),
    /// The environment: `terrace env check` is `terrace config check`.
    Env(config::EnvOptions),
    Check(Box<check::Options>),
    Baseline(baseline::Options),
    Report(Box<report::Options>),
    Gate(Box<gate::Options>),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&manual::command().get_matches()).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Proxy(options) => proxy::main(*options),
        Command::Purge(options) => purge::main(&options),
        Command::Flush(options) => flush::main(&options),
        Command::Inspect(options) => inspect::main(&options),
        Command::Flag(options) => flag::main(&options),
        Command::Warm(options) => warm::main(&options),
        Command::Watch(options) => watch::main(*options),
        Command::Backup(options) => backup::main(&options),
        Command::Keygen(options) => keygen::main(&options),
        Command::Config(options) => config::main(&options),
        Command::Env(options) => config::env(&options),
        Command::Check(options) => check::main(&options),
        Command::Baseline(options) => baseline::main(&options),
        Command::Report(options) => report::main(&options),
        Command::Gate(options) => gate::main(&options),
        Command::Completions(options) => manual::complete(&options),
        Command::Man(options) => manual::pages(&options),
    };
    result.err().map_or(ExitCode::SUCCESS, Failure::report)
}
