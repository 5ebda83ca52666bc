//! The store of a running fleet, for a command that asks it or tells it something, and ends.

use crate::failure::Failure;
use std::time::Duration;
use terrace::stats::Feature;
use terrace::{Config, Store};
use tokio::time::{Instant, sleep, timeout_at};

/// What of a call's patience one attempt may take: the first that fails tells why, and there is time for others.
const ATTEMPTS: u32 = 5;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Where everything is, and what it is called there.
pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) namespace: String,
    /// Where its Redis is.
    pub(crate) place: String,
}

impl Fleet {
    /// As `CACHE_*` and `REDIS_*` say, but for the time limits: those of a request are of no use to somebody who waits.
    ///
    /// Connects to nothing yet. To be called outside of a runtime: it then follows nothing in the background, and neither
    /// listens nor leaves a mark in Redis.
    ///
    /// # Errors
    ///
    /// When the environment names no Redis, switches it off, or says something that cannot be.
    pub(crate) fn open(patience: Duration) -> Result<Self, Failure> {
        let namespace = std::env::var("CACHE_NAMESPACE").unwrap_or_else(|_| "default".into());
        Self::open_named(patience, &namespace)
    }

    /// The same, for somebody who has to say which namespace it is.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when the environment says another one.
    pub(crate) fn open_named(patience: Duration, namespace: &str) -> Result<Self, Failure> {
        // Once more below, but this also names what is not text.
        Config::from_env().map_err(Failure::usage)?;
        if let Some(other) = std::env::var("CACHE_NAMESPACE").ok().filter(|other| other != namespace) {
            return Err(Failure::usage(format_args!(
                "--namespace is `{namespace}`, but CACHE_NAMESPACE is `{other}`; expected the same, or one of them alone"
            )));
        }
        let limit = format!("{}ms", (patience / ATTEMPTS).as_millis().max(50));
        let ours = [
            ("CACHE_L2_READ_BUDGET", limit.as_str()),
            ("CACHE_L2_WRITE_BUDGET", &limit),
            ("CACHE_L2_POOL_WAIT", &limit),
            ("REDIS_MAX_CONNECTIONS", "1"),
            ("CACHE_NAMESPACE", namespace),
        ];
        let theirs =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let vars: Vec<_> = theirs.filter(|(name, _)| ours.iter().all(|(our, _)| our != name)).collect();
        let all = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(ours);
        let store = Store::from_vars(all).map_err(Failure::usage)?;
        let place = store.shared_through().ok_or_else(|| Failure::usage(NO_REDIS))?;
        if !store.flags().is_on(Feature::L2) {
            return Err(Failure::usage(
                "CACHE_L2_ENABLED is off, so nothing is shared through Redis; expected it to be on",
            ));
        }
        Ok(Self { store, namespace: namespace.to_owned(), place })
    }

    /// What an attempt comes to, of as many as there is time for.
    ///
    /// # Errors
    ///
    /// Why the first one failed, when none has succeeded in time. At once, when it is the environment that is wrong.
    pub(crate) async fn insist<T, F>(&self, patience: Duration, attempt: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, terrace::Error>>,
    {
        let end = Instant::now() + patience;
        let mut first = None;
        loop {
            match timeout_at(end, attempt()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) if error.is_config() => return Err(Failure::usage(error)),
                Ok(Err(error)) => _ = first.get_or_insert(error.to_string()),
                Err(_) => {
                    let late = || format!("Redis in {} did not answer in time", self.place);
                    return Err(Failure::runtime(first.unwrap_or_else(late)));
                }
            }
            // What is left of the time is waited for in the next turn.
            let _ = timeout_at(end, sleep(PAUSE)).await;
        }
    }
}

const NO_REDIS: &str = "nothing says where the fleet's Redis is; expected one of REDIS_URL, REDIS_HOST, \
    REDIS_SENTINELS, REDIS_CLUSTER_NODES, as the fleet itself has it";
