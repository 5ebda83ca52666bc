//! What a server says about itself, and what of it is unsafe.

use crate::observe::stats::Weakness;
use crate::store::remote::Fault;
use std::fmt;
use std::time::Duration;

/// What `INFO server`, `INFO replication` and `INFO memory` said on a connection. What a proxy hides is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    pub(super) version: Option<(u32, u32)>,
    /// The server's own name with that of its history: it changes when the server restarts, and when it is promoted.
    pub(super) identity: Option<String>,
    /// The name of the history alone.
    history: Option<String>,
    is_primary: Option<bool>,
    pub(super) replicas: u32,
    /// Whether the server stops taking writes when its replicas are gone.
    asks_for_replicas: bool,
    pub(super) max_memory: u64,
    pub(super) policy: Option<String>,
    /// The commands that this user may not run.
    denied: Vec<String>,
}

/// Something about the server that weakens a promise. Its text says what, what the bound then is, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The control record may be evicted.
    EvictsAnything { policy: String },
    /// Invalidations fail when the memory is full.
    FullRefusesInvalidations,
    /// A cut-off primary goes on taking writes, whatever it is told if it is `old`: before 7.0 scripts are not refused.
    WritesWithoutReplicas { replicas: u32, old: bool },
    /// Restarts and failovers cannot be seen.
    HiddenIdentity,
    /// Nothing is known about eviction.
    HiddenPolicy,
    /// The user lacks rights.
    Denied { commands: Vec<String> },
}

/// How many of `run_id` and of `master_replid` are enough.
const HALF: usize = 20;

impl ServerFacts {
    pub(super) fn parse(server: &str, replication: &str, memory: &str) -> Self {
        let field = |text: &'_ str, name: &str| field(text, name).map(str::to_owned);
        let half = |text: &str, name| field(text, name)?.get(..HALF).map(str::to_owned);
        let history = half(replication, "master_replid");
        let identity = half(server, "run_id").zip(history.clone());
        Self {
            version: field(server, "redis_version").as_deref().and_then(version),
            identity: identity.map(|(run, history)| run + &history),
            history,
            is_primary: field(replication, "role").map(|role| role == "master"),
            replicas: field(replication, "connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
            asks_for_replicas: field(replication, "min_slaves_good_slaves").is_some(),
            max_memory: field(memory, "maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            policy: field(memory, "maxmemory_policy"),
            denied: Vec::new(),
        }
    }

    pub(super) fn deny(&mut self, commands: impl IntoIterator<Item = String>) {
        self.denied.extend(commands);
    }

    /// Whether the server can be used at all; if not, why.
    pub(super) fn refusal(&self) -> Option<(Fault, String)> {
        match (self.version, self.is_primary) {
            (Some((major, minor)), _) if (major, minor) < (6, 2) => {
                Some((Fault::Other, format!("is version {major}.{minor}, but Terrace needs 6.2 or later")))
            }
            (_, Some(false)) => Some((Fault::ReadOnly, "is a replica, but Terrace needs the primary".to_owned())),
            _ => None,
        }
    }

    /// Whether a later `INFO replication` is of a server in the same part of its life.
    pub(super) fn is_still(&self, replication: &str) -> bool {
        let now = Self::parse("", replication, "");
        now.is_primary == self.is_primary && now.history == self.history
    }

    /// Whether a script may say that it runs when the memory is full.
    pub(super) fn has_script_flags(&self) -> bool {
        self.version.is_some_and(|version| version >= (7, 0))
    }

    /// What is unsafe, if anything.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut all = Vec::new();
        match &self.policy {
            None => all.push(Warning::HiddenPolicy),
            Some(policy) if policy.starts_with("allkeys") => {
                all.push(Warning::EvictsAnything { policy: policy.clone() });
            }
            Some(policy) if policy == "noeviction" && self.max_memory > 0 && !self.has_script_flags() => {
                all.push(Warning::FullRefusesInvalidations);
            }
            Some(_) => {}
        }
        if self.identity.is_none() {
            all.push(Warning::HiddenIdentity);
        }
        let old = self.version.is_some() && !self.has_script_flags();
        if self.replicas > 0 && (old || !self.asks_for_replicas) {
            all.push(Warning::WritesWithoutReplicas { replicas: self.replicas, old });
        }
        if !self.denied.is_empty() {
            all.push(Warning::Denied { commands: self.denied.clone() });
        }
        all
    }
}

/// How long the server has been running, by the text of `INFO server`.
pub(super) fn uptime(server: &str) -> Option<Duration> {
    field(server, "uptime_in_seconds").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `7.0.15` as 7 and 0.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Warning {
    pub(super) fn weakness(&self) -> Weakness {
        match self {
            Self::EvictsAnything { .. } => Weakness::EvictsAnything,
            Self::FullRefusesInvalidations => Weakness::FullRefusesInvalidations,
            Self::WritesWithoutReplicas { .. } => Weakness::WritesWithoutReplicas,
            Self::HiddenIdentity => Weakness::HiddenIdentity,
            Self::HiddenPolicy => Weakness::HiddenPolicy,
            Self::Denied { .. } => Weakness::Denied,
        }
    }

    /// Whether it lets an entry outlive an acknowledged invalidation, up to its own lifetime. The others cost entries, or
    /// make an invalidation fail visibly.
    pub(crate) fn unbounds_staleness(&self) -> bool {
        matches!(self, Self::WritesWithoutReplicas { .. } | Self::HiddenIdentity)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EvictsAnything { policy } => write!(
                f,
                "maxmemory-policy is {policy}, so Redis may evict the control record: nothing stale is served then, but \
                 every entry is lost; set volatile-lru or volatile-ttl"
            ),
            Self::FullRefusesInvalidations => f.write_str(
                "maxmemory-policy is noeviction: when the memory is full, invalidations fail (and are repeated until \
                 they succeed), and entries may be stale up to their lifetime meanwhile; set volatile-lru or \
                 volatile-ttl, or use Redis 7 or later",
            ),
            Self::WritesWithoutReplicas { replicas, old } => {
                let (cause, cure) = if *old {
                    ("is older than 7.0, where min-replicas-to-write does not concern scripts", "use Redis 7 or later, and ")
                } else {
                    ("min-replicas-to-write 0", "")
                };
                write!(
                    f,
                    "the primary has {replicas} replicas and {cause}: one that is cut off goes on acknowledging, and \
                     processes on the other side may serve what was invalidated there up to its lifetime; {cure}set \
                     min-replicas-to-write 1 and min-replicas-max-lag 5"
                )
            }
            Self::HiddenIdentity => f.write_str(
                "the server hides its run_id or master_replid, as behind a proxy or from a user without INFO: a failover that loses writes is not \
                 noticed, and entries invalidated by them may be served up to their lifetime; connect to the server \
                 itself, and permit INFO",
            ),
            Self::HiddenPolicy => f.write_str(
                "the server hides its maxmemory-policy: if it is allkeys-*, Redis may evict the control record, and \
                 every entry is lost then; set volatile-lru or volatile-ttl",
            ),
            Self::Denied { commands } => {
                write!(f, "the user may not run {}: what needs it fails; permit it", commands.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\n";
    const PRIMARY: &str =
        "role:master\r\nconnected_slaves:0\r\nmaster_replid:fedcba9876543210fedcba9876543210fedcba98\r\n";
    const MEMORY: &str = "maxmemory:1000\r\nmaxmemory_policy:volatile-lru\r\n";

    #[test]
    fn a_server_as_it_should_be_gives_no_warning() {
        let facts = ServerFacts::parse(SERVER, PRIMARY, MEMORY);
        assert_eq!(facts.identity.as_deref(), Some("0123456789abcdef0123fedcba9876543210fedc"));
        assert_eq!((facts.warnings(), facts.refusal()), (vec![], None));
        assert!(facts.has_script_flags());
    }

    #[test]
    fn each_weakness_is_named_with_its_bound() {
        let replicas = PRIMARY.replace("slaves:0", "slaves:2");
        let guarded = replicas.clone() + "min_slaves_good_slaves:2\r\n";
        let old = SERVER.replace("7.0.15", "6.2.1");
        for (server, replication, memory, expected) in [
            (SERVER, PRIMARY, "maxmemory_policy:allkeys-lru", Weakness::EvictsAnything),
            (&*old, PRIMARY, "maxmemory:1\nmaxmemory_policy:noeviction", Weakness::FullRefusesInvalidations),
            (SERVER, &*replicas, MEMORY, Weakness::WritesWithoutReplicas),
            ("redis_version:7.2.0", PRIMARY, MEMORY, Weakness::HiddenIdentity),
            (SERVER, "role:master", MEMORY, Weakness::HiddenIdentity),
            (SERVER, PRIMARY, "", Weakness::HiddenPolicy),
        ] {
            let warnings = ServerFacts::parse(server, replication, memory).warnings();
            let [warning] = &*warnings else { panic!("{expected:?}: {warnings:?}") };
            assert_eq!(warning.weakness(), expected);
            let bound = if warning.unbounds_staleness() { "up to" } else { "lost" };
            assert!(warning.to_string().contains(bound) || expected == Weakness::FullRefusesInvalidations, "{warning}");
        }
        assert_eq!(ServerFacts::parse(SERVER, &guarded, MEMORY).warnings(), []);
        let [warning] = &*ServerFacts::parse(&old, &guarded, MEMORY).warnings() else { panic!() };
        assert_eq!(warning.weakness(), Weakness::WritesWithoutReplicas);
        assert!(warning.to_string().contains("use Redis 7 or later, and set"), "{warning}");
        let unlimited = "maxmemory:0\nmaxmemory_policy:noeviction";
        assert_eq!(ServerFacts::parse(&old, PRIMARY, unlimited).warnings(), []);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let facts = |server: &str, replication: &str| ServerFacts::parse(server, replication, MEMORY).refusal();
        assert_eq!(facts(SERVER, "role:slave").unwrap().0, Fault::ReadOnly);
        let (fault, why) = facts("redis_version:6.0.9", PRIMARY).unwrap();
        assert_eq!((fault, why.contains("6.2")), (Fault::Other, true));
        assert_eq!(facts("", ""), None, "a proxy that hides everything can be used");
    }
}
