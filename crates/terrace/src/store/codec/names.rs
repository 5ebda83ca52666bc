//! What things are called in Redis.
//!
//! Keys and URLs appear as digests only, as tags do. Namespaces have no braces; in braces (Redis Cluster's hash tag) they
//! keep everything of a namespace in one slot, the slot of its control record. Only entries are spread over a cluster.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What a digest of 16 bytes is in base 64.
const DIGEST_LETTERS: usize = 22;

/// `{namespace}:e:schema:digest`: an entry. Two schemas live side by side.
pub(crate) fn entry_name(namespace: &str, schema: u16, key: &[u8]) -> String {
    keyed('e', namespace, schema, key)
}

/// The name of an entry, or a pattern of such names, in a cluster, where each is in the slot of its own:
/// `namespace:e:schema:digest`.
pub(crate) fn spread(name: &str) -> String {
    name.replace(['{', '}'], "")
}

/// What all names of entries match, and no other name.
pub(crate) fn entries_pattern(namespace: &str, schema: u16) -> String {
    format!("{{{namespace}}}:e:{schema}:*")
}

/// `{namespace}:l:schema:digest`: who is fetching an entry.
pub(crate) fn lease_name(namespace: &str, schema: u16, key: &[u8]) -> String {
    keyed('l', namespace, schema, key)
}

fn keyed(kind: char, namespace: &str, schema: u16, key: &[u8]) -> String {
    let mut letters = [0; DIGEST_LETTERS];
    let digest = Base64UrlUnpadded::encode(&key_digest(key), &mut letters).expect("as many letters as it needs");
    // One allocation: this is done for every look-up.
    let mut name = String::with_capacity(namespace.len() + DIGEST_LETTERS + 16);
    let _ = write!(name, "{{{namespace}}}:{kind}:{schema}:");
    name.push_str(digest);
    name
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

/// `{namespace}:hb:node`: what a process writes to see whether the server takes writes.
pub(crate) fn heartbeat_name(namespace: &str, node: &str) -> String {
    format!("{{{namespace}}}:hb:{node}")
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
        assert_eq!(entry_name("shop-1", 7, key), format!("{{shop-1}}:e:7:{digest}"));
        assert_eq!(spread(&entry_name("shop-1", 7, key)), format!("shop-1:e:7:{digest}"));
        assert_eq!(lease_name("shop-1", 7, key), format!("{{shop-1}}:l:7:{digest}"));
        assert_eq!(control_name("shop-1"), "{shop-1}:ctl");
        assert_eq!(latest_name("shop-1"), "{shop-1}:latest");
        assert_eq!(bell_name("shop-1"), "{shop-1}:bell");
        assert_eq!(heartbeat_name("shop-1", "a1"), "{shop-1}:hb:a1");
    }

    #[test]
    fn namespaces_and_schemas_and_keys_are_apart() {
        let names = [("a", 1, "k"), ("b", 1, "k"), ("a", 2, "k"), ("a", 1, "l"), ("a", 11, "k"), ("a", 1, "")];
        let names: HashSet<_> = names.iter().map(|&(ns, schema, key)| entry_name(ns, schema, key.as_bytes())).collect();
        assert_eq!(names.len(), 6);
    }
}
