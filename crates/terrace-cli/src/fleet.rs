//! The store of a running fleet, for a command that asks it or tells it something, and ends.

use crate::failure::Failure;
use std::time::Duration;
use terrace::stats::Feature;
use terrace::{Config, Store};

/// What of a call's patience one attempt may take: the first that fails tells why, and there is time for others.
const ATTEMPTS: u32 = 5;

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
        // Once more below, but this also names what is not text.
        Config::from_env().map_err(Failure::usage)?;
        let limit = format!("{}ms", (patience / ATTEMPTS).as_millis().max(50));
        let ours = [
            ("CACHE_L2_READ_BUDGET", limit.as_str()),
            ("CACHE_L2_WRITE_BUDGET", &limit),
            ("CACHE_L2_POOL_WAIT", &limit),
            ("REDIS_MAX_CONNECTIONS", "1"),
        ];
        let theirs =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let vars: Vec<_> = theirs.filter(|(name, _)| ours.iter().all(|(our, _)| our != name)).collect();
        let all = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(ours);
        let store = Store::from_vars(all).map_err(Failure::usage)?;
        let namespace = std::env::var("CACHE_NAMESPACE").unwrap_or_else(|_| "default".into());
        let place = store.shared_through().ok_or_else(|| Failure::usage(NO_REDIS))?;
        if !store.flags().is_on(Feature::L2) {
            return Err(Failure::usage(
                "CACHE_L2_ENABLED is off, so nothing is shared through Redis; expected it to be on",
            ));
        }
        Ok(Self { store, namespace, place })
    }
}

const NO_REDIS: &str = "nothing says where the fleet's Redis is; expected one of REDIS_URL, REDIS_HOST, \
    REDIS_SENTINELS, REDIS_CLUSTER_NODES, as the fleet itself has it";
