//! How long an invalidation takes from one process to another, measured with two stores.

use crate::failure::Failure;
use std::time::Duration;
use terrace::{Receipt, Store};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Nothing carries it. Always the same one, so that Redis has one marker more and no others.
const TAG: &str = "terrace:probe";
/// What is not heard by then counts as late.
const PATIENCE: Duration = Duration::from_secs(30);
/// How exactly it is measured.
const LOOK: Duration = Duration::from_millis(1);

const DURATION: &str = "watch_probe_duration_seconds";
const PROBES: &str = "watch_probes_total";
const RESULTS: [&str; 3] = ["ok", "late", "failed"];

/// A store as the environment says, with connections of its own.
///
/// # Errors
///
/// When the environment says something that cannot be.
pub(super) fn second() -> Result<Store, Failure> {
    let few = ("REDIS_MAX_CONNECTIONS".to_owned(), "1".to_owned());
    let all = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let vars: Vec<_> = all.filter(|(name, _)| *name != few.0).chain([few.clone()]).collect();
    Store::from_vars(vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))).map_err(Failure::usage)
}

/// Measures for as long as the process lives.
pub(super) async fn run(teller: Store, hearer: Store, every: Duration) {
    metrics::describe_histogram!(DURATION, "Time from the call of an invalidation until another store has applied it");
    metrics::describe_counter!(PROBES, "Invalidations that measure how long they take, by what came of them");
    for result in RESULTS {
        metrics::counter!(PROBES, "result" => result).absolute(0);
    }
    let mut turns = interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let started = Instant::now();
        let result = match teller.purge_tag(TAG).await {
            Ok(receipt) if timeout(PATIENCE, heard(&hearer, &receipt)).await.is_ok() => {
                metrics::histogram!(DURATION).record(started.elapsed());
                "ok"
            }
            Ok(_) => "late",
            Err(_) => "failed",
        };
        metrics::counter!(PROBES, "result" => result).increment(1);
    }
}

async fn heard(store: &Store, receipt: &Receipt) {
    while !store.has_heard(receipt) {
        sleep(LOOK).await;
    }
}
