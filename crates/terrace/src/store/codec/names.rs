//! What things are called in Redis.
//!
//! Keys and URLs appear as digests only, as tags do. Namespaces have no braces; in braces (Redis Cluster's hash tag) they
//! keep everything of a namespace in one slot, the slot of its control record. Only entries are spread over a cluster.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

/// What a digest of 16 bytes is in base 64.
pub(crate) const DIGEST_LETTERS: usize = 22;

/// What the names of entries begin with, before the digest: `{namespace}:e:schema:`. Two schemas live side by side.
pub(crate) fn entries(namespace: &str, schema: u16) -> String {
    format!("{{{namespace}}}:e:{schema}:")
}

/// The beginning of the names of entries, in a cluster, where each is in the slot of its own: `namespace:e:schema:`.
pub(crate) fn spread(entries: &str) -> String {
    entries.replace(['{', '}'], "")
}

/// What the names of leases begin with, before the digest of what is fetched: `{namespace}:l:schema:`.
pub(crate) fn leases(namespace: &str, schema: u16) -> String {
    format!("{{{namespace}}}:l:{schema}:")
}

/// What the names of sealed entries begin with, before the digest: `family:{namespace}:`.
pub(crate) fn sealed(family: &str, namespace: &str) -> String {
    format!("{family}:{{{namespace}}}:")
}

/// The name of what is kept under a key, of those that begin like this. One allocation and no formatting: it is made for
/// every look-up.
pub(crate) fn named(front: &str, key: &[u8]) -> Vec<u8> {
    let mut letters = [0; DIGEST_LETTERS];
    let digest = Base64UrlUnpadded::encode(&key_digest(key), &mut letters).expect("as many letters as it needs");
    [front, digest].concat().into_bytes()
}

/// `{namespace}:ctl`: the control record.
pub(crate) fn control_name(namespace: &str) -> String {
    format!("{{{namespace}}}:ctl")
}

/// `{namespace}:latest`: where the control record stands, and its latest changes.
pub(crate) fn latest_name(namespace: &str) -> String {
    format!("{{{namespace}}}:latest")
}

/// `{namespace}:bell`: the channel that says that something was invalidated.
pub(crate) fn bell_name(namespace: &str) -> String {
    format!("{{{namespace}}}:bell")
}

/// `{namespace}:ring`: who of those who live has which keys.
pub(crate) fn ring_name(namespace: &str) -> String {
    format!("{{{namespace}}}:ring")
}

/// `{namespace}:switches`: what is switched for the fleet.
pub(crate) fn switches_name(namespace: &str) -> String {
    format!("{{{namespace}}}:switches")
}

/// `{namespace}:hb:node`: what a process writes to see whether the server takes writes.
pub(crate) fn heartbeat_name(namespace: &str, node: &str) -> String {
    format!("{{{namespace}}}:hb:{node}")
}

/// `{namespace}:task:name`: when a task last succeeded.
pub(crate) fn task_name(namespace: &str, task: &str) -> String {
    format!("{{{namespace}}}:task:{task}")
}

/// Stands for a key where it can be seen. The full key is compared before a value is used.
pub(super) fn key_digest(key: &[u8]) -> [u8; 16] {
    truncated(Sha256::digest(key).into())
}

fn truncated(digest: [u8; 32]) -> [u8; 16] {
    *digest.first_chunk().expect("there are twice as many")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_those_of_the_namespace_and_tell_nothing_of_the_key() {
        let key = b"GET https://example.com/users/jane.doe@example.com?token=secret";
        let digest = "N7mTrtoADIMShwj4A8UJeQ";
        let name = |front: String| String::from_utf8(named(&front, key)).unwrap();
        assert_eq!(name(entries("shop-1", 7)), format!("{{shop-1}}:e:7:{digest}"));
        assert_eq!(name(spread(&entries("shop-1", 7))), format!("shop-1:e:7:{digest}"));
        assert_eq!(name(leases("shop-1", 7)), format!("{{shop-1}}:l:7:{digest}"));
        assert_eq!(control_name("shop-1"), "{shop-1}:ctl");
        assert_eq!(latest_name("shop-1"), "{shop-1}:latest");
        assert_eq!(bell_name("shop-1"), "{shop-1}:bell");
        assert_eq!(heartbeat_name("shop-1", "a1"), "{shop-1}:hb:a1");
        assert_eq!(task_name("shop-1", "backup"), "{shop-1}:task:backup");
    }

    #[test]
    fn namespaces_and_schemas_and_keys_are_apart() {
        let names = [("a", 1, "k"), ("b", 1, "k"), ("a", 2, "k"), ("a", 1, "l"), ("a", 11, "k"), ("a", 1, "")];
        let names: HashSet<_> =
            names.iter().map(|&(ns, schema, key)| named(&entries(ns, schema), key.as_bytes())).collect();
        assert_eq!(names.len(), 6);
    }
}
