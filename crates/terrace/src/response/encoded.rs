//! Responses as bytes, for the tier that processes share.
//!
//! Nothing that is read is trusted: it may have been written by another version, or by somebody else.

use super::fill::life;
use super::packed::Packed;
use super::stored::{Cached, CachedResponse, MAX_FIELDS, Variants};
use crate::clock::Instant;
use crate::observe::stats::{CacheName, Feature};
use crate::store::{Decoded, Value};
use bytes::{Buf, Bytes};
use http::HeaderName;
use std::time::Duration;
use terrace_policy::{Facts, Stored};

const RESPONSE: u8 = 0;
const VARIANTS: u8 = 1;
const UNCACHEABLE: u8 = 2;

/// Responses that vary by more fields are listed in the memory of each process only.
const MAX_NAMES: usize = 64;

/// What can be validated is of use after its freshness: this much longer, at least, it is kept.
const GRACE: Duration = Duration::from_secs(60 * 60);

impl Value for Cached {
    const CACHE: CacheName = CacheName::Response;
    const IN_MEMORY: Feature = Feature::L1;
    const SHARED: Feature = Feature::L2;

    fn encode(&self, _: Instant) -> Option<(Bytes, Duration)> {
        let mut bytes = Vec::new();
        let life = match self {
            Self::Response(cached) => {
                bytes.reserve(cached.packed().len() + 128);
                bytes.push(RESPONSE);
                cached.write(&mut bytes);
                shared_life(cached)
            }
            Self::Variants(variants) => {
                bytes.push(VARIANTS);
                variants.write(&mut bytes);
                Duration::MAX
            }
            Self::Uncacheable => {
                bytes.push(UNCACHEABLE);
                Duration::MAX
            }
        };
        (!life.is_zero()).then(|| (bytes.into(), life))
    }

    fn decode(payload: &Bytes, ago: Duration, _: Instant) -> Option<Decoded<Self>> {
        Self::read(payload, ago)
    }
}

impl Cached {
    /// What was encoded some time `ago`.
    pub(super) fn read(payload: &Bytes, ago: Duration) -> Option<Decoded<Self>> {
        let mut from = payload.clone();
        match from.try_get_u8().ok()? {
            RESPONSE => {
                let cached = CachedResponse::read(from, ago)?;
                let (bytes, life) = (cached.packed().len(), life(&cached));
                Some(Decoded { value: Self::Response(cached), bytes, life })
            }
            VARIANTS => {
                let variants = Variants::read(from)?;
                Some(Decoded { bytes: variants.bytes(), value: Self::Variants(variants), life: Duration::MAX })
            }
            // Each process remembers what it has seen itself, and keeps meanwhile what it has.
            UNCACHEABLE => Some(Decoded { value: Self::Uncacheable, bytes: 0, life: Duration::ZERO }),
            _ => None,
        }
    }
}

fn shared_life(cached: &CachedResponse) -> Duration {
    let freshness = cached.facts().freshness();
    let window = freshness.stale_while_revalidate().max(freshness.stale_if_error());
    let window = if cached.has_validators() { window.max(GRACE) } else { window };
    freshness.remaining(Duration::ZERO).saturating_add(window)
}

impl CachedResponse {
    fn write(&self, to: &mut Vec<u8>) {
        self.facts().encode(to);
        to.extend(self.cost_ms().to_be_bytes());
        to.push(self.has_validators().into());
        self.packed().write(to);
    }

    fn read(mut from: Bytes, ago: Duration) -> Option<Self> {
        let facts = from.try_split_to(Facts::ENCODED_LEN)?;
        let facts = Facts::decode(facts.as_ref().try_into().ok()?, ago)?;
        let cost_ms = from.try_get_u32().ok()?;
        let has_validators = from.try_get_u8().ok()? == 1;
        let packed = Packed::read(from)?;
        // A length that is not that of the content would be promised to clients.
        let len = packed.content().len() as u64;
        let whole = facts.complete_len().is_none_or(|promised| promised == len);
        whole.then(|| Self::from_shared(facts, packed, cost_ms, has_validators))
    }
}

/// Of the variants only how they vary: under which keys they are, each process finds out.
impl Variants {
    fn write(&self, to: &mut Vec<u8>) {
        let lists: Vec<_> = self.fields().filter(|names| names.len() <= MAX_NAMES).collect();
        to.push(count(lists.len()));
        for names in lists {
            to.push(count(names.len()));
            for name in names {
                write_name(name, to);
            }
        }
    }

    fn read(mut from: Bytes) -> Option<Self> {
        let lists = from.try_get_u8().ok().filter(|lists| usize::from(*lists) <= MAX_FIELDS)?;
        let mut list = || {
            let names = from.try_get_u8().ok().filter(|names| usize::from(*names) <= MAX_NAMES)?;
            (0..names).map(|_| read_name(&mut from)).collect()
        };
        (0..lists).map(|_| list()).collect::<Option<_>>().map(Self::of)
    }
}

/// There are never more than [`MAX_NAMES`] of anything.
fn count(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// As [`Bytes::split_to`], for bytes that may be too few.
pub(super) trait TrySplit {
    /// `None` if there are fewer.
    fn try_split_to(&mut self, len: usize) -> Option<Bytes>;
}

impl TrySplit for Bytes {
    fn try_split_to(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.len()).then(|| self.split_to(len))
    }
}

pub(super) fn write_name(name: &HeaderName, to: &mut Vec<u8>) {
    let name = name.as_str();
    // The longest name that there can be has 65,535 bytes.
    to.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
    to.extend_from_slice(name.as_bytes());
}

pub(super) fn read_name(from: &mut Bytes) -> Option<HeaderName> {
    let len = from.try_get_u16().ok()?;
    HeaderName::from_bytes(&from.try_split_to(len.into())?).ok()
}
