use super::packed::Packed;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::time::Duration;
use terrace_policy::{Facts, Stored, StoredResponse};

/// What the tiers keep for responses.
#[derive(Debug)]
pub(super) enum Cached {
    /// A response.
    Response(CachedResponse),
    /// The responses of this URL vary: their keys are made with these fields.
    Variants(Variants),
    /// What comes for this key cannot be stored: do not make requests wait for one another.
    Uncacheable,
}

/// A stored response with its content.
#[derive(Clone, Debug)]
pub(super) struct CachedResponse {
    facts: Facts,
    packed: Packed,
    /// How long the origin took, in milliseconds.
    cost_ms: u32,
}

impl CachedResponse {
    /// `None` if its fields are too large to be packed.
    pub(super) fn new(
        stored: StoredResponse,
        trailers: Option<&HeaderMap>,
        content: &[Bytes],
        cost: Duration,
    ) -> Option<Self> {
        let (facts, headers) = stored.into_parts();
        let packed = Packed::new(&headers, trailers, content)?;
        Some(Self { facts, packed, cost_ms: u32::try_from(cost.as_millis()).unwrap_or(u32::MAX) })
    }

    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// How long the origin took to answer.
    pub(super) fn cost(&self) -> Duration {
        Duration::from_millis(self.cost_ms.into())
    }

    /// The unpacked head.
    pub(super) fn response(&self) -> StoredResponse {
        StoredResponse::from_parts(self.facts.clone(), self.packed.headers(2))
    }
}

impl Stored for CachedResponse {
    #[inline]
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn headers(&self) -> Cow<'_, HeaderMap> {
        Cow::Owned(self.packed.headers(0))
    }
}

/// How the responses of one URL vary.
#[derive(Clone, Debug, Default)]
pub(super) struct Variants {
    /// The selecting header fields of the responses seen, latest first.
    fields: Vec<Vec<HeaderName>>,
    /// The hashes of the variants' keys.
    keys: Vec<u64>,
}

/// More different `Vary` fields for one URL are forgotten, oldest first.
const MAX_FIELDS: usize = 4;

impl Variants {
    /// The selecting header fields, latest first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[HeaderName]> {
        self.fields.iter().map(Vec::as_slice)
    }

    /// With one more variant; `None` if that would be more than `max`.
    pub(super) fn with(&self, fields: &[HeaderName], key: u64, max: u64) -> Option<Self> {
        let mut variants = self.clone();
        variants.fields.retain(|known| known != fields);
        variants.fields.insert(0, fields.to_vec());
        variants.fields.truncate(MAX_FIELDS);
        if !variants.keys.contains(&key) {
            if variants.keys.len() as u64 >= max {
                return None;
            }
            variants.keys.push(key);
        }
        Some(variants)
    }

    /// Whether this variant is known already, so that nothing has to be written.
    pub(super) fn contains(&self, fields: &[HeaderName], key: u64) -> bool {
        self.fields.first().is_some_and(|latest| latest == fields) && self.keys.contains(&key)
    }

    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.fields.iter().map(|fields| fields.len() * size_of::<HeaderName>()).sum();
        names + self.keys.len() * 8
    }
}
