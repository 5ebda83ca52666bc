use crate::clock::Instant;
use crate::observe::stats::{CacheName, Feature};
use bytes::Bytes;
use std::time::Duration;

/// Something that tiers keep, and that processes can share.
pub(crate) trait Value: Send + Sync + Sized + 'static {
    /// As what it is counted.
    const CACHE: CacheName;

    /// What switches its place in this process's memory.
    const IN_MEMORY: Feature;

    /// What switches its place in the shared tier.
    const SHARED: Feature;

    /// As bytes for the shared tier, and how long they are of use there; `None` if it is for this process alone.
    fn encode(&self, now: Instant) -> Option<(Bytes, Duration)>;

    /// What [`encode`](Self::encode) made of it some time `ago`; `None` if it is not that. Takes slices, not copies, of
    /// large parts.
    fn decode(payload: &Bytes, ago: Duration, now: Instant) -> Option<Decoded<Self>>;
}

/// A value that another process has encoded.
pub(crate) struct Decoded<V> {
    pub(crate) value: V,
    /// What it holds outside of itself.
    pub(crate) bytes: usize,
    /// After this time nothing can be done with it.
    pub(crate) life: Duration,
}
