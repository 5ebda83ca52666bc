//! Against real servers, which the tests start and end.

mod commands;
mod faults;
mod places;

use super::*;
use crate::store::remote::{Fault, Heard, Mark, Marker, Polled, Receipt, Remote, Rung, TagName, Token};
use bytes::Bytes;
use std::collections::HashMap;
use terrace_redis_server::Server;

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);

const A: TagName = TagName([b'a'; 16]);
const B: TagName = TagName([b'b'; 16]);

fn hard(tag: TagName) -> Marker {
    Marker { tag, soft: false }
}

fn soft(tag: TagName) -> Marker {
    Marker { tag, soft: true }
}

/// A tier made from variables, with time limits that a busy machine keeps; tests of the limits set their own.
fn tier_with(vars: &[(&str, &str)]) -> Redis {
    tier_of(Names::new("test", "node"), vars)
}

fn tier_of(names: Names, vars: &[(&str, &str)]) -> Redis {
    let vars: HashMap<&str, &str> = [("REDIS_SOCKET_TIMEOUT", "30s")].iter().chain(vars).copied().collect();
    let settings = RedisSettings::from_vars(|name| vars.get(name).map(|value| (*value).to_owned()));
    let budgets = Budgets {
        read: Budget::new(PATIENCE),
        write: Budget::new(PATIENCE),
        poll: Budget::new(PATIENCE),
        pool_wait: Budget::new(PATIENCE),
    };
    let settings = settings.unwrap().expect("a place");
    Redis::new(settings, names, Arc::new(budgets), Clock::default()).unwrap()
}

fn tier(url: &str) -> Redis {
    tier_with(&[("REDIS_URL", url)])
}

fn at(port: u16) -> Redis {
    tier(&format!("redis://127.0.0.1:{port}"))
}

fn connections(tier: &Redis) -> u32 {
    let Usage { in_use, idle, .. } = tier.usage();
    in_use + idle
}

/// Has all connections made anew.
async fn reconnect(tier: &Redis) {
    let pools = tier.pools();
    tier.connector.retire(&until_ok(|| pools.control.link()).await);
}

/// Calls until it succeeds.
async fn until_ok<T>(call: impl AsyncFn() -> Result<T, Fault>) -> T {
    let ok = async {
        loop {
            if let Ok(value) = call().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ok).await.expect("it succeeds at last")
}

/// Waits until the tier knows something about its server.
async fn status(tier: &Redis, is_it: impl Fn(&Status) -> bool) -> Status {
    let mut status = tier.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|status| is_it(status))).await;
    found.expect("it is known at last").unwrap().clone()
}
