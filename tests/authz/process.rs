//! Processes over one Redis, and what somebody can do to it who has no key.

use super::*;
use ::redis::{Connection, FromRedisValue, cmd};
use std::time::Instant;
use terrace::stats::{CacheName, CoherenceState, RejectReason, Tier};
use terrace_redis_server::{PATIENT, Server};
use terrace_tests::until;

/// The other key of those who rotate keys.
pub(crate) const OTHER: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// Here it matters what is answered, not how soon.
const MORE_PATIENT: [(&str, &str); 2] = [("CACHE_L1_MAX_LAG", "10s"), ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "10s")];

/// One that keeps nothing in its memory, unless it is said otherwise.
pub(crate) struct Process {
    pub(crate) store: Store,
    pub(crate) authz: Authz,
}

impl Process {
    pub(crate) fn joining(server: &Server, directory: &Directory, vars: &[(&str, &str)]) -> Self {
        Self::naming(server, directory, vars, "db")
    }

    fn naming(server: &Server, directory: &Directory, vars: &[(&str, &str)], source: &str) -> Self {
        let store = Self::store(server, vars);
        let authz = Authz::builder(store.clone(), directory.clone()).source_id(source).identify(Tokens);
        Self { authz: authz.build().unwrap(), store }
    }

    pub(crate) fn store(server: &Server, vars: &[(&str, &str)]) -> Store {
        let url = server.url();
        let mut all = vec![("REDIS_URL", url.as_str()), KEYS, NAMESPACE, ("AUTHZ_CACHE_L1_MAX_BYTES", "0")];
        all.extend(PATIENT.into_iter().chain(MORE_PATIENT));
        all.retain(|(name, _)| !vars.iter().any(|(other, _)| other == name));
        all.extend_from_slice(vars);
        Store::from_vars(all).unwrap()
    }

    pub(crate) async fn joined(self) -> Self {
        until("it follows", || self.store.stats().coherence() == Some(CoherenceState::Coherent)).await;
        until("it has joined the ring", || self.store.stats().ring_joined()).await;
        self
    }

    pub(crate) async fn of(server: &Server, directory: &Directory, vars: &[(&str, &str)]) -> Self {
        Self::joining(server, directory, vars).joined().await
    }

    /// One whose facts are from another source.
    pub(crate) async fn with_source(server: &Server, directory: &Directory, source: &str) -> Self {
        Self::naming(server, directory, &[], source).joined().await
    }

    pub(crate) async fn reads(&self, who: &Who) -> bool {
        self.asked(who).await.expect("there is a decision")
    }

    /// Whether somebody may read, if there is a decision.
    pub(crate) async fn asked(&self, who: &Who) -> Option<bool> {
        let checked = self.authz.check(&Principal::new(who.clone()), "invoice:read").await;
        checked.ok().map(terrace::authz::Decision::is_allow)
    }

    fn answered(&self, how: &str) -> u64 {
        statuses(&self.authz.stats()).get(how).copied().unwrap_or_default()
    }

    pub(crate) fn shared_hits(&self) -> u64 {
        self.answered("l2_cache_hit")
    }

    pub(crate) fn hits(&self) -> u64 {
        self.answered("l1_cache_hit") + self.shared_hits()
    }

    pub(crate) fn rejected(&self, reason: RejectReason) -> u64 {
        self.authz.stats().of(CacheName::Authz).rejected(Tier::L2, reason)
    }

    pub(crate) fn all_rejected(&self) -> u64 {
        RejectReason::ALL.iter().map(|reason| self.rejected(*reason)).sum()
    }

    /// Reads somebody's rights until another finds them in Redis.
    pub(crate) async fn found_by(&self, other: &Self, who: &Who) {
        let (hits, begun) = (other.shared_hits(), Instant::now());
        while other.shared_hits() == hits {
            assert!(self.reads(who).await && other.reads(who).await);
            assert!(begun.elapsed() < Duration::from_secs(60), "found in vain");
        }
    }

    /// Asks for somebody's rights until they are answered from what is cached.
    pub(crate) async fn cached(&self, who: &Who, expected: bool) {
        let (hits, begun) = (self.hits(), Instant::now());
        while self.hits() == hits {
            assert_eq!(self.reads(who).await, expected);
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is cached");
            tokio::task::yield_now().await;
        }
    }

    /// Loads somebody's rights, waits until they are in Redis, and says under which name. Asks again where they were not
    /// sent, as on a machine that was too busy to do so in time.
    pub(crate) async fn fills(&self, server: &Server, who: &Who) -> String {
        let (before, begun) = (names(server), Instant::now());
        loop {
            let _ = self.asked(who).await;
            let asked = Instant::now();
            let late = || asked.elapsed() > Duration::from_secs(3);
            until("they are there, or late", || late() || names(server).len() > before.len()).await;
            if let Some(name) = names(server).into_iter().find(|name| !before.contains(name)) {
                return name;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "they are never there");
        }
    }

    /// What is in Redis is not used and counted as rejected, and the source, which fails, is asked.
    pub(crate) async fn disbelieves(&self, directory: &Directory, who: &Who, what: &str) {
        let (loads, rejected) = (directory.loads(), self.all_rejected());
        assert_eq!(self.asked(who).await, None, "{what}");
        assert_eq!((directory.loads(), self.all_rejected()), (loads + 1, rejected + 1), "{what}");
    }
}

/// What facts are called in Redis.
pub(crate) fn names(server: &Server) -> Vec<String> {
    ::redis::from_redis_value(server.command(&["KEYS", "auth:perms:*"])).unwrap()
}

/// A server, and a source by which alice may read.
pub(crate) fn house() -> (Server, Directory, Who) {
    let (directory, alice) = (Directory::new(), who("acme-corp", "alice"));
    directory.set(&alice, Grants::complete(["invoice:read"]));
    (Server::start(), directory, alice)
}

/// Who can write to Redis, and has no key.
pub(crate) struct Writer(Connection);

impl Writer {
    pub(crate) fn of(server: &Server) -> Self {
        Self(::redis::Client::open(server.url()).unwrap().get_connection().unwrap())
    }

    pub(crate) fn get(&mut self, name: &str) -> Vec<u8> {
        cmd("GET").arg(name).query(&mut self.0).unwrap()
    }

    pub(crate) fn put(&mut self, name: &str, value: &[u8]) {
        cmd("SET").arg(name).arg(value).arg("PX").arg(600_000).exec(&mut self.0).unwrap();
    }

    pub(crate) fn dump(&mut self, name: &str) -> Vec<u8> {
        cmd("DUMP").arg(name).query(&mut self.0).unwrap()
    }

    pub(crate) fn restore(&mut self, name: &str, dumped: &[u8]) {
        cmd("RESTORE").arg(name).arg(0).arg(dumped).arg("REPLACE").exec(&mut self.0).unwrap();
    }

    /// Puts something into a record.
    pub(crate) fn add(&mut self, name: &str, score: f64, member: &[u8]) {
        cmd("ZADD").arg(name).arg(score).arg(member).exec(&mut self.0).unwrap();
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.0
    }

    pub(crate) fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        cmd(words[0]).arg(&words[1..]).query(&mut self.0).unwrap()
    }
}
