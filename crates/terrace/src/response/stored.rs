use super::packed::{Head, Packed};
use crate::store::Key;
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
    has_validators: bool,
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
        Self::with_head(facts, Head::of(headers.iter())?, trailers, content, cost)
    }

    /// As [`new`](Self::new), of what is packed already.
    pub(super) fn with_head(
        facts: Facts,
        head: Head,
        trailers: Option<&HeaderMap>,
        content: &[Bytes],
        cost: Duration,
    ) -> Option<Self> {
        let has_validators = head.has_validators();
        let packed = Packed::new(head, trailers, content)?;
        Some(Self { facts, packed, cost_ms: u32::try_from(cost.as_millis()).unwrap_or(u32::MAX), has_validators })
    }

    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// Whether the origin can be asked if it still holds.
    pub(super) fn has_validators(&self) -> bool {
        self.has_validators
    }

    /// Puts together what another process wrote.
    pub(super) fn from_shared(facts: Facts, packed: Packed, cost_ms: u32, has_validators: bool) -> Self {
        Self { facts, packed, cost_ms, has_validators }
    }

    pub(super) fn cost_ms(&self) -> u32 {
        self.cost_ms
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
    /// Where the variant of a language is: the hash of the key for that language alone, and the key it has.
    languages: Vec<(u64, Key)>,
}

/// One of the variants of a URL.
pub(super) struct Variant<'a> {
    pub(super) fields: &'a [HeaderName],
    pub(super) key: &'a Key,
    /// The hash of the key that it would have for its language alone.
    pub(super) language: Option<u64>,
}

/// More different `Vary` fields for one URL are forgotten, oldest first.
pub(super) const MAX_FIELDS: usize = 4;

impl Variants {
    /// Those of a URL whose responses are known to vary by these fields.
    pub(super) fn of(fields: Vec<Vec<HeaderName>>) -> Self {
        Self { fields, ..Self::default() }
    }

    /// The selecting header fields, latest first.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[HeaderName]> {
        self.fields.iter().map(Vec::as_slice)
    }

    /// The hashes of the variants' keys.
    #[cfg(feature = "admin")]
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().copied()
    }

    /// The key of the variant in a language.
    pub(super) fn in_language(&self, language: u64) -> Option<&Key> {
        self.languages.iter().find(|(known, _)| *known == language).map(|(_, key)| key)
    }

    /// With one more variant; `None` if that would be more than `max`.
    pub(super) fn with(&self, variant: &Variant<'_>, max: u64) -> Option<Self> {
        let mut variants = self.clone();
        variants.fields.retain(|known| known != variant.fields);
        variants.fields.insert(0, variant.fields.to_vec());
        variants.fields.truncate(MAX_FIELDS);
        if !variants.keys.contains(&variant.key.hash()) {
            if variants.keys.len() as u64 >= max {
                return None;
            }
            variants.keys.push(variant.key.hash());
        }
        if let Some(language) = variant.language {
            variants.languages.retain(|(known, _)| *known != language);
            variants.languages.push((language, variant.key.clone()));
        }
        Some(variants)
    }

    /// Without those that are gone.
    pub(super) fn only(&self, is_there: impl Fn(u64) -> bool) -> Self {
        let mut variants = self.clone();
        variants.keys.retain(|key| is_there(*key));
        variants.languages.retain(|(_, key)| variants.keys.contains(&key.hash()));
        variants
    }

    /// Whether this variant is known already, so that nothing has to be written.
    pub(super) fn contains(&self, variant: &Variant<'_>) -> bool {
        self.fields.first().is_some_and(|latest| latest == variant.fields)
            && self.keys.contains(&variant.key.hash())
            && variant.language.is_none_or(|language| self.in_language(language) == Some(variant.key))
    }

    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.fields.iter().map(|fields| fields.len() * size_of::<HeaderName>()).sum();
        let languages: usize = self.languages.iter().map(|(_, key)| size_of::<(u64, Key)>() + key.bytes().len()).sum();
        names + self.keys.len() * 8 + languages
    }
}
