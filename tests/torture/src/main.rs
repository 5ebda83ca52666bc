//! Processes that share a store, while everything under them breaks: whether an answer was ever older than it may be.
//!
//! One process is the origin and breaks things. Others read through a cache each, and change what they read: they commit
//! a new version at the origin, then invalidate. Everybody writes down what happened when, by one clock of the machine;
//! in the end each answer is compared with what had been acknowledged when it was asked for.
//!
//! The same happens to rights that are checked and changed.
//!
//! Other commands measure how long an invalidation takes to reach another process, and what happens when many requests
//! in many processes want the same.

mod authz;
mod breakage;
mod client;
mod crowd;
mod door;
mod lag;
mod ledger;
mod member;
mod mutants;
mod node;
mod origin;
mod process;
mod report;
mod run;
mod servers;

use breakage::Breakage;
use clap::{Parser, Subcommand};
use ledger::Verdict;
use mutants::{Mutant, TRIES};
use report::Report;
use run::{Load, Outcome};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Tortures processes that share a store")]
struct Options {
    /// Also write what is printed to the end of this file.
    #[arg(long, global = true, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Breaks one thing after the other, and fails if an answer was too old or a request failed.
    Run {
        /// What to break: everything, if nothing is named.
        #[arg(long, value_enum)]
        breakage: Vec<Breakage>,
        /// For how long in all.
        #[arg(long, default_value_t = 38)]
        seconds: u64,
        #[command(flatten)]
        load: Load,
    },
    /// Does without each protection in turn, and fails if that is not seen.
    Mutants {
        /// For how long each.
        #[arg(long, default_value_t = 6)]
        seconds: u64,
    },
    /// The same for rights: fails if a check rested on facts that were older than they may be.
    Authz {
        /// What to break, by a part of its name: everything, if nothing is named.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// For how long in all.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Does without each protection of rights in turn, and fails if that is not seen.
    AuthzMutants {
        /// Which protection, by a part of its name: each, if nothing is named.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// For how long each.
        #[arg(long, default_value_t = 6)]
        seconds: u64,
    },
    /// Measures how soon an invalidation has its effect in another process.
    Lag(lag::Options),
    /// Measures what happens when many requests in many processes want the same thing, which nobody has.
    Stampede(crowd::stampede::Options),
    /// Measures what happens when something that many requests want becomes stale.
    Hot(crowd::hot::Options),
    /// One of the processes that read and change.
    #[command(hide = true)]
    Node(node::Options),
    /// One of the processes that check and change rights.
    #[command(hide = true)]
    AuthzNode(authz::node::Options),
    /// One of the processes that are measured.
    #[command(hide = true)]
    Member(member::Options),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::to(options.report.as_deref());
    let is_good = match options.role {
        Role::Node(options) => {
            node::run(&options);
            true
        }
        Role::AuthzNode(options) => {
            authz::node::run(&options);
            true
        }
        Role::Member(options) => {
            member::run(&options);
            true
        }
        Role::Run { breakage, seconds, load } => torture(&breakage, Duration::from_secs(seconds), &load, &mut report),
        Role::Mutants { seconds } => without_each(Duration::from_secs(seconds), &mut report),
        Role::Authz { only, seconds } => authz::torture(&only, Duration::from_secs(seconds), &mut report),
        Role::AuthzMutants { only, seconds } => authz::without_each(&only, Duration::from_secs(seconds), &mut report),
        Role::Lag(options) => lag::measure(&options, &mut report),
        Role::Stampede(options) => crowd::stampede::measure(&options, &mut report),
        Role::Hot(options) => crowd::hot::measure(&options, &mut report),
    };
    if !is_good {
        eprintln!("the last table shows what must not be: {}", std::env::args().skip(1).collect::<Vec<_>>().join(" "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn torture(breakages: &[Breakage], time: Duration, load: &Load, report: &mut Report) -> bool {
    let breakages = if breakages.is_empty() { Breakage::all() } else { breakages };
    let weights: u32 = breakages.iter().map(|breakage| breakage.weight()).sum();
    let (mut total, mut held, mut is_bad) = (Verdict::default(), 0, false);
    report.line(Verdict::HEADING);
    for breakage in breakages {
        let time = (time * breakage.weight() / weights).max(breakage.least());
        let outcome = load.carry_out(*breakage, time);
        report.line(&outcome.verdict.row(breakage.name(), time.as_secs()));
        total.add(&outcome.verdict);
        held += outcome.held;
        is_bad |= outcome.verdict.is_bad() || (breakage.holds_answers() && outcome.held == 0);
    }
    report.line(&total.row("**all**", time.as_secs()));
    if held > 0 {
        report.line(&format!("\n{held} answers of the origin were held until what they said had been invalidated."));
    }
    is_bad == load.without.is_some()
}

fn without_each(time: Duration, report: &mut Report) -> bool {
    report.line(Verdict::HEADING);
    let mut seen = true;
    for mutant in mutants::all() {
        seen &= (0..TRIES).any(|_| is_seen(&mutant, time, report));
    }
    seen
}

fn is_seen(Mutant { without, breakage, load }: &Mutant, time: Duration, report: &mut Report) -> bool {
    let time = time.max(breakage.least());
    let Outcome { verdict, .. } = load.carry_out(*breakage, time);
    report.line(&verdict.row(&format!("without `{without}`: {}", breakage.name()), time.as_secs()));
    verdict.violations() > 0
}
