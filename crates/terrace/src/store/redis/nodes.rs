//! The nodes of a cluster, over which entries are spread.
//!
//! Here the library's own client is used, which knows the slots, follows them as they move, and reconnects by itself. It runs
//! no fence, and needs none: an entry proves nothing until the control record says that it is valid.

use super::link::Line;
use super::settings::{Address, RedisSettings};
use crate::Error;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{ConnectionAddr, IntoConnectionInfo, RedisResult};
use std::time::Duration;

/// How to connect to all of them.
#[derive(Debug)]
pub(super) struct Nodes {
    client: ClusterClient,
    seed: Address,
}

/// How often a command follows its slot, and how long it waits before it does so again: its caller does not wait longer
/// than its own time limit.
const RETRIES: u32 = 3;
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// Connecting to a node has this part of the time for connecting to all: one that hangs is waited for twice, once as the
/// seed that it is and once as the node that it is, and the others are to be of use then.
const PART: u32 = 4;

impl Nodes {
    /// # Errors
    ///
    /// If an address cannot be one.
    pub(super) fn new(seeds: &[Address], settings: &RedisSettings) -> Result<Self, Error> {
        let made = |error| Error::config(format!("REDIS_CLUSTER_NODES: {error}"));
        let seed = seeds.first().cloned().ok_or_else(|| Error::config("REDIS_CLUSTER_NODES: no node".to_owned()))?;
        let seeds = seeds.iter().map(|seed| address(seed, settings.tls).into_connection_info());
        let seeds = seeds.collect::<RedisResult<Vec<_>>>().map_err(made)?;
        let wait = u64::try_from(RETRY_WAIT.as_millis()).unwrap_or(u64::MAX);
        let mut builder = ClusterClientBuilder::new(seeds).retries(RETRIES).max_retry_wait(wait);
        let timeout = settings.socket_timeout;
        builder = builder.connection_timeout(timeout / PART).response_timeout(timeout);
        if let Some(username) = &settings.login.username {
            builder = builder.username(username);
        }
        if let Some(password) = &settings.login.password {
            builder = builder.password(password.expose());
        }
        #[cfg(feature = "redis-tls")]
        if settings.tls {
            // The library takes the program's, and there is none where more than one was compiled.
            let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        }
        let client = builder.build().map_err(made)?;
        Ok(Self { client, seed })
    }

    /// One of those by which the others are found.
    pub(super) fn seed(&self) -> &Address {
        &self.seed
    }

    pub(super) async fn connect(&self) -> RedisResult<Line> {
        self.client.get_async_connection().await.map(Line::to_nodes)
    }
}

fn address(seed: &Address, tls: bool) -> ConnectionAddr {
    let (host, port) = (seed.host.clone(), seed.port);
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}
