//! What keys are called.

use crate::store::codec::SCHEMA;
use crate::store::codec::names::{
    bell_name, control_name, entries, heartbeat_name, latest_name, leases, named, ring_name, spread,
};

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

    pub(super) fn entry(&self, key: &[u8]) -> Vec<u8> {
        named(&self.entries, key)
    }

    pub(super) fn lease(&self, key: &[u8]) -> Vec<u8> {
        named(&self.leases, key)
    }
}
