//! What keys are called.

use crate::store::codec::SCHEMA;
use crate::store::codec::names::{
    bell_name, control_name, entries_pattern, entry_name, heartbeat_name, latest_name, lease_name, ring_name, spread,
};

/// The names of everything that one namespace has in Redis. The braces keep all of it, other than entries, on one node of
/// a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    namespace: String,
    /// Whether entries are in slots of their own.
    spread: bool,
    /// The control record, a sorted set.
    pub(super) control: String,
    /// What look-ups read of it.
    pub(super) latest: String,
    /// The channel on which invalidations ring.
    pub(super) bell: String,
    /// Who of those who live has which keys.
    pub(super) ring: String,
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
            spread: false,
            control: control_name(namespace),
            latest: latest_name(namespace),
            bell: bell_name(namespace),
            ring: ring_name(namespace),
            scratch: format!("{heartbeat}:scratch"),
            heartbeat,
        }
    }

    /// Those for a cluster.
    pub(super) fn spread(self) -> Self {
        Self { spread: true, ..self }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A pattern that the names of all entries match. A namespace has nothing in it that means something in a pattern.
    pub(super) fn all_entries(&self) -> String {
        self.maybe_spread(entries_pattern(&self.namespace, SCHEMA))
    }

    pub(super) fn entry(&self, key: &[u8]) -> Vec<u8> {
        self.maybe_spread(entry_name(&self.namespace, SCHEMA, key)).into_bytes()
    }

    fn maybe_spread(&self, name: String) -> String {
        if self.spread { spread(&name) } else { name }
    }

    pub(super) fn lease(&self, key: &[u8]) -> Vec<u8> {
        lease_name(&self.namespace, SCHEMA, key).into_bytes()
    }
}
