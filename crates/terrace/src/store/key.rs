use std::sync::Arc;

/// What an entry is stored under: the full encoded key, and its hash.
///
/// The hash finds an entry; the full key is compared on every hit, so a collision is a miss. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    bytes: Arc<[u8]>,
}

impl Key {
    /// `hash` must be [`Tiers::hash`](crate::store::Tiers::hash) of `bytes`.
    pub(crate) fn new(hash: u64, bytes: &[u8]) -> Self {
        Self { hash, bytes: bytes.into() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn shared_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }
}
