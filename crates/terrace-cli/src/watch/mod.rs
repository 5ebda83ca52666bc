//! `terrace watch`: listens to programs in other languages, for a fleet whose processes do not.
//!
//! The listening is the library's ([`Store::listen`](terrace::Store::listen)); here are only the requests by which it
//! warms, and what an operator sees of it.

mod options;
mod probe;
mod tasks;

pub(crate) use options::Options;

use crate::ask::{Answer, Client, Pace, Resource, Verdict, ask_all};
use crate::failure::Failure;
use crate::proxy::admin::Admin;
use crate::proxy::server::{Limits, Shutdown};
use crate::proxy::{self, cache, log, options::Admin as AdminAddress};
use std::time::Duration;
use terrace::{Listener, Prewarms};

/// What the admin port allows those who ask it.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(60),
    max_header_size: 64 << 10,
    max_connections: 100,
};

/// How long what was heard may take to be carried out in the end.
const CLOSING: Duration = Duration::from_secs(10);

const PREWARMED: &str = "watch_prewarm_requests_total";
const RESULTS: [&str; 4] = ["hit", "stored", "not_stored", "failed"];

/// Listens until SIGTERM or SIGINT.
///
/// # Errors
///
/// When it cannot start.
pub(crate) fn main(options: Options) -> Result<(), Failure> {
    let _guards = log::start(log::AccessLog::Off, log::AccessLog::Text).map_err(Failure::usage)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::runtime)?;
    let result = runtime.block_on(run(options));
    runtime.shutdown_background();
    result
}

async fn run(options: Options) -> Result<(), Failure> {
    let mut shutdown = proxy::shutdown().map_err(Failure::runtime)?;
    // Before anything counts.
    let metrics = terrace::prometheus::install().map_err(Failure::runtime)?;
    describe();
    let store = cache::open().await?;
    tokio::spawn(tasks::report(store.clone()));
    if let Some(every) = options.probe {
        tokio::spawn(probe::run(store.clone(), probe::second()?, every));
    }
    let warmer =
        options.origin.map(|origin| Warmer::new(origin, options.pace)).transpose().map_err(Failure::runtime)?;
    if let AdminAddress::At(address) = &options.admin {
        let (listener, address) = proxy::bind("--admin", address).await?;
        proxy::say(format_args!("admin on http://{address}"));
        // Nothing is cached here that could be shown.
        let admin = Admin { metrics, shutdown: shutdown.clone(), routes: None };
        tokio::spawn(proxy::serve_admin(listener, LIMITS, admin));
    }
    let listener = if let Some(warmer) = warmer {
        let (listener, prewarms) = store.listen_and_prewarm().map_err(Failure::usage)?;
        warmer.run(prewarms, shutdown).await;
        listener
    } else {
        let listener = store.listen().map_err(Failure::usage)?;
        ended(&mut shutdown).await;
        listener
    };
    close(listener).await;
    Ok(())
}

async fn ended(shutdown: &mut Shutdown) {
    // That nobody can tell it to end any more would be an end as well.
    let _ = shutdown.wait_for(|ended| *ended).await;
}

fn describe() {
    metrics::describe_counter!(PREWARMED, "Requests that warm, by what the cache did");
    for result in RESULTS {
        metrics::counter!(PREWARMED, "result" => result).absolute(0);
    }
}

async fn close(listener: Listener) {
    if tokio::time::timeout(CLOSING, listener.close()).await.is_err() {
        tracing::warn!(
            event = "watch_close_timeout",
            "watch_close_timeout: something that was heard is not carried out"
        );
    }
}

/// Requests what is to be warmed.
struct Warmer {
    client: Client,
    pace: Pace,
}

impl Warmer {
    fn new(origin: proxy::origin::OriginUrl, pace: Pace) -> std::io::Result<Self> {
        Ok(Self { client: Client::new(origin, "terrace-watch", pace.timeout)?, pace })
    }

    /// One list after another, until it is time to end. What is under way then is given up.
    async fn run(&self, mut prewarms: Prewarms, shutdown: Shutdown) {
        let mut told = shutdown.clone();
        let work = async {
            while let Some(urls) = prewarms.next().await {
                self.warm(&urls, shutdown.clone()).await;
            }
        };
        tokio::select! {
            () = ended(&mut told) => {}
            () = work => {}
        }
    }

    async fn warm(&self, urls: &[String], shutdown: Shutdown) {
        let parsed = urls.iter().filter_map(|url| Resource::parse(url, self.client.base()).ok());
        let what: Vec<_> = parsed.map(|resource| (resource, ())).collect();
        let mut counts = [0_u64; 4];
        counts[3] = (urls.len() - what.len()) as u64;
        let left = ask_all(&self.client, self.pace, what, shutdown, |(), answer| counts[place(&answer)] += 1).await;
        for (result, count) in RESULTS.into_iter().zip(counts) {
            metrics::counter!(PREWARMED, "result" => result).increment(count);
        }
        let [hit, stored, not_stored, failed] = counts;
        tracing::info!(
            event = "watch_prewarmed",
            hit,
            stored,
            not_stored,
            failed,
            left,
            "watch_prewarmed: a list was warmed"
        );
    }
}

/// Among the results.
fn place(answer: &Answer) -> usize {
    match answer.result {
        Ok(Verdict::Hit) => 0,
        Ok(Verdict::Stored) => 1,
        Ok(Verdict::NotStored(_)) => 2,
        Err(_) => 3,
    }
}
