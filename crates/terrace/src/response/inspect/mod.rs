//! Looking at what a store keeps in Redis: for operators and their tools, not for a request's way.
//!
//! ```
//! # async fn example(store: terrace::Store) -> Result<(), terrace::Error> {
//! use terrace::Rules;
//! use terrace::inspect::Validity;
//!
//! let request = http::Request::get("https://example.com/products/7").body(()).unwrap();
//! for entry in store.inspect(&request, &Rules::new()).await? {
//!     let valid = entry.contents.is_ok_and(|contents| contents.validity == Validity::Current);
//!     println!("{} is stored, and {}", entry.key.url(), if valid { "valid" } else { "of no use" });
//! }
//! # Ok(()) }
//! ```
//!
//! No answer holds the content of a response, or the value of a header field that may be a secret. What the memory of a
//! process has, and Redis has not, is not seen.

mod entry;
mod key;
mod scan;

pub use super::shown::{Field, Response};
pub use crate::store::inspect::{Examination, Sentinel, Watch};
pub use entry::{Contents, StoredEntry, Tag, Unreadable, Validity, Value};
pub use key::{EntryKey, Selecting, SelectingValue};
pub use scan::{Page, Scan};

use super::key::{Target, extra_part, variant};
use super::rules::Rules;
use crate::store::inspect::Seen;
use crate::{Error, Store};
use http::{HeaderName, Request};

/// The state of a namespace, and of the Redis server that has it. What the server does not tell, or does not tell this
/// user, is `None`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Namespace {
    /// The epoch, by its name.
    pub epoch: String,
    /// The position of the last invalidation in it.
    pub position: u64,
    /// Up to here, invalidations may be forgotten; what was stored before is never served again.
    pub floor: u64,
    /// How many invalidations are remembered, the last of each tag.
    pub markers: u64,
    /// How many tags are held because what carries them is being [changed](crate::Change).
    pub changes: u64,
    /// How many processes listen for invalidations.
    pub listeners: Option<u64>,
    /// How many keys the database has, those of others included.
    pub keys: Option<u64>,
    /// What the server uses, in bytes.
    pub used_memory: Option<u64>,
    /// What it may use, in bytes; `None` if there is no limit.
    pub max_memory: Option<u64>,
    /// What the server does when that is used up.
    pub maxmemory_policy: Option<String>,
    /// The server's version.
    pub version: Option<String>,
    /// How many replicas are connected.
    pub replicas: Option<u32>,
    /// What of the server is unsafe, each with what the bound on staleness then is and what helps.
    pub warnings: Vec<String>,
}

/// Looks into Redis. Needs what every process may do there, and for some of it the commands that are named.
impl Store {
    /// The entries that this request would find under `rules`: that of its URL (in the partition and with the body that its
    /// extensions say) and, where responses vary, those that its header fields select. Reads each with one GET.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, Redis cannot be read, or the request names no host.
    pub async fn inspect(&self, request: &Request<()>, rules: &Rules) -> Result<Vec<StoredEntry>, Error> {
        let (request, extra) = extra_part(request.clone(), rules);
        let target = Target::of(&request, rules).ok_or_else(|| Error::purge(&request.uri().to_string()))?;
        let primary = target.encode(rules, extra.as_deref());
        let mut found: Vec<StoredEntry> = self.look(&primary).await?.into_iter().collect();
        for fields in found.first().map(StoredEntry::variants).unwrap_or_default() {
            found.extend(self.look(&variant(&primary, &fields, request.headers())).await?);
        }
        Ok(found)
    }

    /// The entry of a key; `None` if it is not there, or no longer.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis cannot be read.
    pub async fn inspect_key(&self, key: &EntryKey) -> Result<Option<StoredEntry>, Error> {
        self.look(key.bytes()).await
    }

    /// The state of the namespace. Needs `PUBSUB`, `DBSIZE` and `INFO` for some of it.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis cannot be read.
    pub async fn inspect_namespace(&self) -> Result<Namespace, Error> {
        let (now, outlook, server) = self.outlook().await?;
        let limit = server.as_ref().map(|server| server.max_memory).filter(|bytes| *bytes > 0);
        Ok(Namespace {
            epoch: now.epoch.text(),
            position: now.position,
            floor: outlook.floor,
            markers: outlook.markers,
            changes: outlook.changes,
            listeners: outlook.listeners,
            keys: outlook.keys,
            used_memory: outlook.used_memory,
            max_memory: limit,
            maxmemory_policy: server.as_ref().and_then(|server| server.policy.clone()),
            version: server.as_ref().and_then(|server| server.version.clone()),
            replicas: server.as_ref().map(|server| server.replicas),
            warnings: server.iter().flat_map(|server| &server.warnings).map(ToString::to_string).collect(),
        })
    }

    /// What the Redis server and its Sentinels say about themselves, found as every process finds it (`REDIS_*`) and asked
    /// on connections of their own. Neither the fence nor anything else is run that could change what processes rely on, and
    /// a server that cannot be used, such as a replica, is looked at too. Needs `INFO`, `TIME` and `CONFIG GET` for some of it.
    ///
    /// Waits for each server at most `REDIS_SOCKET_TIMEOUT`.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or no server can be reached.
    pub async fn examine(&self) -> Result<Examination, Error> {
        self.examined().await
    }

    async fn look(&self, key: &[u8]) -> Result<Option<StoredEntry>, Error> {
        let seen: Option<Seen> = self.see(key).await?;
        Ok(seen.and_then(|seen| StoredEntry::of(key, seen)))
    }
}

impl StoredEntry {
    /// How the responses of its URL vary, if it says that.
    fn variants(&self) -> Vec<Vec<HeaderName>> {
        match self.contents.as_ref().map(|contents| &contents.value) {
            Ok(Value::Variants(lists)) => lists.clone(),
            _ => Vec::new(),
        }
    }
}
