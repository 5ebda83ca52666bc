//! What keys are called.

/// The names of everything that one namespace has in Redis. The braces keep all of it on one node of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    /// The control record, a sorted set.
    pub(super) control: String,
    /// The channel on which invalidations ring.
    pub(super) bell: String,
    /// What this process writes to see whether it may.
    pub(super) heartbeat: String,
    /// What this process writes and removes to see what it may.
    pub(super) scratch: String,
}

impl Names {
    /// `namespace` may hold whatever a setting allows, which is no brace; `node` is this process's own.
    pub(crate) fn new(namespace: &str, node: &str) -> Self {
        let name = |rest: &str| format!("{{{namespace}}}:{rest}");
        Self {
            prefix: name(""),
            control: name("ctl"),
            bell: name("bell"),
            heartbeat: name(&format!("hb:{node}")),
            scratch: name(&format!("hb:{node}:scratch")),
        }
    }

    pub(super) fn entry(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"e:", key].concat()
    }

    pub(super) fn lease(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"l:", key].concat()
    }
}
