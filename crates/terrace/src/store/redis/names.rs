//! What keys are called.

use crate::store::codec::SCHEMA;
use crate::store::codec::names::{
    DIGEST_LETTERS, bell_name, control_name, entries, heartbeat_name, latest_name, leases, named, ring_name, sealed,
    spread, switches_name,
};
use crate::store::remote::{DECISIONS, FACTS};

/// The names of everything that one namespace has in Redis. The braces keep all of it, other than entries, on one node of
/// a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    namespace: String,
    /// What the names of entries begin with.
    entries: String,
    /// And those of leases.
    leases: String,
    /// The control record, a sorted set.
    pub(super) control: String,
    /// What look-ups read of it.
    pub(super) latest: String,
    /// The channel on which invalidations ring.
    pub(super) bell: String,
    /// Who of those who live has which keys.
    pub(super) ring: String,
    /// What is switched for the fleet.
    pub(super) switches: String,
    /// What this process writes to see whether it may.
    pub(super) heartbeat: String,
    /// What this process writes and removes to see what it may.
    pub(super) scratch: String,
}

impl Names {
    /// `namespace` may hold whatever a setting allows, which is no brace; `node` is this process's own.
    pub(crate) fn new(namespace: &str, node: &str) -> Self {
        let heartbeat = heartbeat_name(namespace, node);
        Self {
            namespace: namespace.to_owned(),
            entries: entries(namespace, SCHEMA),
            leases: leases(namespace, SCHEMA),
            control: control_name(namespace),
            latest: latest_name(namespace),
            bell: bell_name(namespace),
            ring: ring_name(namespace),
            switches: switches_name(namespace),
            scratch: format!("{heartbeat}:scratch"),
            heartbeat,
        }
    }

    /// Those for a cluster.
    pub(super) fn spread(self) -> Self {
        Self { entries: spread(&self.entries), ..self }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A pattern that the names of all entries match. A namespace has nothing in it that means something in a pattern.
    pub(super) fn all_entries(&self) -> String {
        format!("{}*", self.entries)
    }

    /// A pattern that all names of the namespace match, and some of others.
    pub(super) fn all(&self) -> String {
        format!("*{}*", self.namespace)
    }

    /// Whether this is what an entry or a lease of the namespace is called, of whatever version: it can be made again.
    pub(super) fn is_dispensable(&self, name: &[u8]) -> bool {
        let Ok(name) = std::str::from_utf8(name) else { return false };
        let namespace = &self.namespace;
        let entries = entries(namespace, 0);
        // Without braces a name may be of anybody, where our own have them.
        let entries = if self.is_spread() { spread(&entries) } else { entries };
        let versioned = [entries, leases(namespace, 0)];
        let mut versioned = versioned.iter().filter_map(|front| name.strip_prefix(front.strip_suffix("0:")?));
        let sealed = [FACTS, DECISIONS].map(|family| sealed(family, namespace));
        let mut sealed = sealed.iter().filter_map(|front| name.strip_prefix(front.as_str()));
        versioned.any(is_version_and_digest) || sealed.any(is_keyed_digest)
    }

    fn is_spread(&self) -> bool {
        !self.entries.starts_with('{')
    }

    pub(super) fn entry(&self, key: &[u8]) -> Vec<u8> {
        named(&self.entries, key)
    }

    pub(super) fn lease(&self, key: &[u8]) -> Vec<u8> {
        named(&self.leases, key)
    }
}

/// A namespace may have colons, so what follows one may be a part of another namespace.
fn is_version_and_digest(rest: &str) -> bool {
    let Some((version, digest)) = rest.split_once(':') else { return false };
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    is_version && digest.len() == DIGEST_LETTERS && digest.bytes().all(is_letter)
}

/// 32 bytes in hexadecimal.
fn is_keyed_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::names::task_name;

    #[test]
    fn what_can_be_made_again_is_told_from_everything_else() {
        let (digest, keyed) = ("AAAAAAAAAAAAAAAAAAAAAA", "0a".repeat(32));
        let (names, node) = (Names::new("a", "node"), Names::new("a", "node").spread());
        for mine in [names.entry(b"key"), names.lease(b"key")] {
            assert!(names.is_dispensable(&mine), "{}", mine.escape_ascii());
        }
        assert!(node.is_dispensable(&node.entry(b"key")) && node.is_dispensable(&node.lease(b"key")));
        assert!(!names.is_dispensable(&node.entry(b"key")), "nobody but a cluster has it like that");
        for mine in
            [format!("{{a}}:e:17:{digest}"), format!("auth:perms:{{a}}:{keyed}"), format!("auth:check:{{a}}:{keyed}")]
        {
            assert!(names.is_dispensable(mine.as_bytes()), "{mine}");
        }
        let mut others = vec![names.control.clone(), names.latest.clone(), names.ring.clone(), names.heartbeat.clone()];
        others.extend([names.scratch.clone(), task_name("a", "backup"), "a".to_owned(), String::new()]);
        // Of the namespaces `b`, `aa` and `a:e`.
        others.extend([format!("{{b}}:e:1:{digest}"), format!("{{aa}}:e:1:{digest}"), format!("{{a:e}}:e:1:{digest}")]);
        others.extend([
            format!("a:e:e:1:{digest}"),
            format!("auth:perms:{{b}}:{keyed}"),
            format!("auth:else:{{a}}:{keyed}"),
            format!("auth:perms:{{a}}:{digest}"),
        ]);
        // Of another program.
        others.extend([
            format!("x{{a}}:e:1:{digest}"),
            "{a}:e:1:".to_owned(),
            format!("{{a}}:e::{digest}"),
            format!("{{a}}:e:1:x {digest}"),
            "a:e:42:550e8400-e29b-41d4-a716-446655440000".to_owned(),
            "{a}:e:42:550e8400-e29b-41d4-a716-446655440000".to_owned(),
        ]);
        for other in others {
            assert!(!names.is_dispensable(other.as_bytes()), "{other}");
        }
        assert!(!names.is_dispensable(b"{a}:e:1:\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    }
}
