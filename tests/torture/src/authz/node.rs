//! One of the processes: checks rights, and changes them.

use super::changes::Changes;
use super::ledger::{Line, Status};
use super::source::{Directory, LAST, RIGHT, allows, who};
use crate::client::web;
use crate::ledger::{Log, now};
use crate::node::{obey, switch_off};
use crate::process::orders;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use terrace::authz::{Authz, Principal, UnavailableReason};
use terrace::stats::CoherenceState;
use terrace::{Store, danger};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the truth is.
    #[arg(long)]
    origin: String,
    /// Where to write down what happens.
    #[arg(long)]
    log: PathBuf,
    #[arg(long)]
    milliseconds: u64,
    /// The more, the less often each of them checks.
    #[arg(long)]
    readers: u64,
    #[arg(long)]
    subjects: u64,
    /// It changes nothing.
    #[arg(long)]
    only_checks: bool,
    /// Nothing that Redis has taken is lost.
    #[arg(long)]
    keeps: bool,
    /// A protection to do without.
    #[arg(long)]
    without: Vec<String>,
    /// Of a hundred messages about revocations so many are lost.
    #[arg(long)]
    lose_bells: u8,
}

pub(crate) fn run(options: &Options) {
    switch_off(&options.without);
    danger::lose_bells(options.lose_bells);
    let runtime = Runtime::new().expect("a runtime");
    let changes = Arc::new(runtime.block_on(join(options)));
    // The order to die is obeyed while it works.
    let (obeying, handle) = (Arc::clone(&changes), runtime.handle().clone());
    std::thread::spawn(move || orders().for_each(|order| hear(&order, &obeying, &handle)));
    println!("ready {}", changes.authz.revocation_bound().as_nanos());
    runtime.block_on(work(options, &changes));
    changes.log.flush();
}

fn hear(order: &str, changes: &Changes, runtime: &Handle) {
    match *order.split(' ').collect::<Vec<_>>() {
        ["die", which, step] => {
            let which = which.parse().expect("a number");
            runtime.block_on(changes.die(which, step.parse().expect("a step")));
        }
        _ => obey(order),
    }
}

/// The longest that it may take until a process caches anything.
const PATIENCE: Duration = Duration::from_secs(30);

async fn join(options: &Options) -> Changes {
    let store = Store::from_env().await.unwrap_or_else(|error| panic!("{error}"));
    let directory = Directory { web: web(), origin: options.origin.clone() };
    let built = Authz::from_env(store.clone(), directory.clone()).and_then(terrace::authz::AuthzBuilder::build);
    let authz = built.unwrap_or_else(|error| panic!("{error}"));
    let begun = Instant::now();
    let joined = || store.stats().coherence() == Some(CoherenceState::Coherent) && store.stats().ring_joined();
    while !joined() {
        assert!(begun.elapsed() < PATIENCE, "it never joined the others");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Changes { authz, directory, log: Log::create(&options.log), subjects: options.subjects, keeps: options.keeps }
}

async fn work(options: &Options, changes: &Arc<Changes>) {
    let until = Instant::now() + Duration::from_millis(options.milliseconds);
    let longest = 1000 * options.readers;
    let subjects: Arc<[u64]> = (0..options.subjects).chain(LAST).collect();
    let mut tasks = JoinSet::new();
    for _ in 0..options.readers {
        let (changes, subjects) = (Arc::clone(changes), Arc::clone(&subjects));
        tasks.spawn(async move {
            while Instant::now() < until {
                check(&changes, subjects[fastrand::usize(..subjects.len())]).await;
                pause(longest).await;
            }
        });
    }
    let (changes, changes_any) = (Arc::clone(changes), !options.only_checks);
    tasks.spawn(async move {
        while changes_any && Instant::now() < until {
            changes.some().await;
            pause(120_000).await;
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
}

async fn check(Changes { authz, log, .. }: &Changes, number: u64) {
    let principal = Principal::new(who(number));
    let asked = now();
    match authz.explain(&principal, RIGHT).await {
        Ok(found) => {
            let version = found.source_version.expect("the source says it").0;
            if found.decision.is_allow() != allows(version) {
                Line::Wrong.write(log, number, version);
            }
            Line::Check(Status::of(found.cache_status)).write_since(log, number, version, asked);
        }
        // The source is slow, and sometimes too slow.
        Err(error) if matches!(error.reason(), UnavailableReason::Timeout | UnavailableReason::Shed) => {
            Line::Undecided.write_since(log, number, 0, asked);
        }
        Err(error) => panic!("{error}"),
    }
}

async fn pause(microseconds: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..microseconds))).await;
}
