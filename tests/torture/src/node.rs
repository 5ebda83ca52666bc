//! One of the processes: reads through its cache, and changes what it reads.

use crate::client::{Web, read, request, web};
use crate::ledger::{Log, now};
use crate::process::orders;
use http::Method;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use terrace::stats::CacheStatus;
use terrace::{CacheLayer, Store, danger};
use tower::{Layer, ServiceExt};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the origin listens.
    #[arg(long)]
    origin: String,
    /// Where to write down what happens.
    #[arg(long)]
    log: PathBuf,
    #[arg(long)]
    milliseconds: u64,
    /// The more, the less often each of them reads.
    #[arg(long)]
    readers: u64,
    #[arg(long)]
    keys: u64,
    /// Change nothing.
    #[arg(long)]
    only_reads: bool,
    /// A protection to do without.
    #[arg(long)]
    without: Vec<String>,
    /// Of a hundred messages about invalidations so many are lost.
    #[arg(long, default_value_t = 0)]
    lose_bells: u8,
}

pub(crate) fn run(options: &Options) {
    switch_off(&options.without);
    danger::lose_bells(options.lose_bells);
    // It waits for orders as long as there may be any.
    std::thread::spawn(|| orders().for_each(|order| obey(&order)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let log = Arc::new(Log::create(&options.log));
    runtime.block_on(work(options, &log));
    log.flush();
}

/// From now on this process does without these protections.
pub(crate) fn switch_off(names: &[String]) {
    for name in names {
        let known = danger::ALL.iter().find(|(_, known)| known == name);
        danger::switch_off(known.unwrap_or_else(|| panic!("no protection is called {name}")).0);
    }
}

pub(crate) fn obey(order: &str) {
    match order.split_once(' ').unwrap_or((order, "")) {
        ("hold-polls", _) => danger::hold_polls(true),
        ("let-polls-go", _) => danger::hold_polls(false),
        ("move-clock", seconds) => danger::move_wall_clock(seconds.parse().expect("seconds")),
        _ => panic!("{order} is no order"),
    }
}

async fn work(options: &Options, log: &Arc<Log>) {
    let store = Store::from_env().await.unwrap_or_else(|error| panic!("{error}"));
    let web = web();
    let stats = store.clone();
    let until = Instant::now() + Duration::from_millis(options.milliseconds);
    let mut tasks = Vec::new();
    for _ in 0..options.readers {
        let service = CacheLayer::new(store.clone()).layer(web.clone());
        let (origin, keys, log) = (options.origin.clone(), options.keys, Arc::clone(log));
        let longest = 250 * options.readers;
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                let key = fastrand::u64(..keys);
                let asked = now();
                let answer = service.clone().oneshot(request(Method::GET, &url(&origin, key), &[])).await;
                match read(answer).await {
                    Some(read) => log.answer(key, read, asked),
                    None => log.failed(),
                }
                pause(longest).await;
            }
        }));
    }
    let (origin, keys, changes) = (options.origin.clone(), options.keys, Arc::clone(log));
    let changes_until = if options.only_reads { Instant::now() } else { until };
    tasks.push(tokio::spawn(async move {
        while Instant::now() < changes_until {
            change(&store, &web, &changes, fastrand::u64(..keys), &origin).await;
            pause(120_000).await;
        }
    }));
    for task in tasks {
        task.await.expect("no task panics");
    }
    log.stale(stats.stats().requests(CacheStatus::Stale));
}

/// Makes the next version of something, and invalidates what is known of it; or, every fourth time, only has it
/// revalidated while it is served, which promises nothing.
async fn change(store: &Store, web: &Web, log: &Log, key: u64, origin: &str) {
    let (url, tag) = (url(origin, key), key.to_string());
    if fastrand::u8(..4) == 0 {
        let _ = store.purge_tag(&tag).soft().await;
        return;
    }
    let committed = read(web.request(request(Method::POST, &url, &[])).await).await;
    let version = committed.expect("the origin never fails").version;
    if store.purge_tag(&tag).await.is_ok() {
        log.acknowledged(key, version);
        let version = version.to_string();
        let _ = web.request(request(Method::PUT, &url, &[("version", &version)])).await;
    }
}

fn url(origin: &str, key: u64) -> String {
    format!("{origin}/k/{key}")
}

async fn pause(microseconds: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..microseconds))).await;
}
