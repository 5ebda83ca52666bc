use super::fetch::is_failed_call;
use super::stored::{Cached, CachedResponse, Variant};
use crate::clock::Instant;
use crate::observe::stats::{StoreResult, Tier};
use crate::observe::{self, Namespace};
use crate::store::{self, Entry, Key, Landing, Lead, Stream, Tag, Ticket, Tiers, Waiters};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::{Storable, Stored, StoredResponse, Unstorable};

/// A response on its way into the tiers: what has arrived of it, and what is to become of it.
///
/// Dropped before its end, it stores nothing, and those who wait for it fetch for themselves.
pub(super) struct Fill {
    pub(super) lead: Option<Lead<Arc<Entry<Cached>>>>,
    pub(super) tiers: Arc<Tiers<Cached>>,
    pub(super) ticket: Ticket,
    pub(super) storable: Storable,
    pub(super) tags: Vec<Tag>,
    pub(super) namespace: Namespace,
    /// How long the origin took to answer.
    pub(super) cost: Duration,
    /// Under which key the variants are found, if the response varies, and the hash of this one's for its language.
    pub(super) primary: Option<(Key, Option<u64>)>,
    /// Where it is remembered if the content turns out too large.
    pub(super) mark: Option<Ticket>,
    /// A part that is stored already and may combine with this one.
    pub(super) earlier: Option<Arc<Entry<Cached>>>,
    pub(super) content: Content,
    pub(super) under_way: observe::Fill,
}

/// The content so far.
#[derive(Default)]
pub(super) struct Content {
    pieces: Vec<Bytes>,
    len: u64,
    trailers: Option<HeaderMap>,
    /// What `Content-Length` promised.
    declared: Option<u64>,
}

impl Content {
    /// Nothing yet, of a response with this head.
    pub(super) fn of(head: &HeaderMap) -> Self {
        let declared = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { declared, ..Self::default() }
    }
}

impl Fill {
    /// The largest content that is stored.
    pub(super) fn limit(&self) -> u64 {
        self.tiers.settings().max_body_bytes()
    }

    /// Takes a frame. `None` if the response is not to be stored after all.
    pub(super) fn with(mut self, frame: &Frame<Bytes>) -> Option<Self> {
        if let Some(trailers) = frame.trailers_ref() {
            self.content.trailers = Some(trailers.clone());
        }
        if let Some(data) = frame.data_ref() {
            self.content.len += data.len() as u64;
            self.content.pieces.push(data.clone());
        }
        if self.content.len > self.limit() {
            self.too_large();
            return None;
        }
        Some(self)
    }

    /// Whether all that `Content-Length` promised is here. Trailers may still follow where nothing was promised.
    pub(super) fn has_all_declared(&self) -> bool {
        self.content.declared == Some(self.content.len)
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.lead.as_ref().is_some_and(Lead::is_awaited)
    }

    pub(super) fn streams(&self, stream: Arc<dyn Stream>) {
        if let Some(lead) = &self.lead {
            lead.streams(stream);
        }
    }

    pub(super) fn waiters(&self) -> Waiters {
        self.lead.as_ref().map_or_else(Waiters::nobody, Lead::waiters)
    }

    /// The content is over the limit.
    pub(super) fn too_large(mut self) {
        if let Some(mark) = self.mark.take() {
            remember_uncacheable(&self.tiers, mark, self.namespace);
        }
        self.unstored(StoreResult::TooLarge);
    }

    /// The content ended with an error.
    pub(super) fn broken(self) {
        self.tiers.observe().fill_error(&"the body of the response ended with an error");
        self.tiers.observe().stored(Tier::L1, StoreResult::Error);
    }

    fn unstored(self, result: StoreResult) {
        self.tiers.observe().stored(Tier::L1, result);
        if let Some(lead) = self.lead {
            lead.land(Landing::Uncacheable);
        }
    }

    /// Stores the response, now that it is complete.
    pub(super) fn finish(self) {
        if self.content.declared.is_some() && !self.has_all_declared() {
            // RFC 9112 section 8: an incomplete message.
            return self.broken();
        }
        if self.content.trailers.as_ref().is_some_and(is_failed_call) {
            return self.unstored(StoreResult::Uncacheable);
        }
        let (len, storable) = (self.content.len, self.storable.clone());
        let Ok(stored) = storable.received(len) else {
            return self.unstored(StoreResult::Uncacheable);
        };
        let (stored, pieces) = self.combined(stored);
        let Some(cached) = CachedResponse::new(stored, self.content.trailers.as_ref(), &pieces, self.cost) else {
            return self.too_large();
        };
        if !self.is_listed() {
            // Not remembered: a flood of variants would fill the memory with what is remembered of it.
            return self.unstored(StoreResult::TooLarge);
        }
        let entry = store(&self.tiers, self.ticket, cached, self.tags, self.namespace);
        if let Some(lead) = self.lead {
            lead.land(Landing::Entry(entry));
        }
        self.under_way.stored();
    }

    /// Puts a part together with the one that is stored already, if they belong together (RFC 9111 section 3.4).
    fn combined(&self, stored: StoredResponse) -> (StoredResponse, Vec<Bytes>) {
        let newer = &self.content.pieces;
        let Some(Cached::Response(earlier)) = self.earlier.as_ref().map(|entry| entry.value()) else {
            return (stored, newer.clone());
        };
        let Some(combined) = earlier.response().combine(&stored) else {
            return (stored, newer.clone());
        };
        let old = earlier.packed().content();
        let (Ok(before), Ok(until)) = (usize::try_from(combined.before), usize::try_from(combined.until)) else {
            return (stored, newer.clone());
        };
        let mut pieces = vec![old.slice(..before)];
        pieces.extend(newer.iter().cloned());
        pieces.push(old.slice(until..));
        (combined.stored, pieces)
    }

    /// Lists a variant among the others of its URL. `false` if there are too many.
    fn is_listed(&self) -> bool {
        self.primary.as_ref().is_none_or(|(primary, language)| {
            let variant = Variant { fields: self.storable.vary(), key: self.ticket.key(), language: *language };
            list(&self.tiers, primary, &variant, &self.ticket, &self.tags, self.namespace)
        })
    }
}

/// Lists a variant among the others of the URL with the key `primary`. `false` if there are too many.
pub(super) fn list(
    tiers: &Tiers<Cached>,
    primary: &Key,
    variant: &Variant<'_>,
    ticket: &Ticket,
    tags: &[Tag],
    namespace: Namespace,
) -> bool {
    let known = tiers.peek(primary.hash(), primary.bytes());
    let known = known.as_ref().and_then(|found| match found.entry.value() {
        Cached::Variants(variants) => Some(variants),
        _ => None,
    });
    if known.is_some_and(|variants| variants.contains(variant)) {
        return true;
    }
    let (known, max) = (known.cloned().unwrap_or_default(), tiers.settings().max_variants());
    let without_gone = || {
        let now = tiers.clock().now();
        known.only(|hash| tiers.keep_if(hash, |entry| is_of_use(entry, now))).with(variant, max)
    };
    let Some(variants) = known.with(variant, max).or_else(without_gone) else {
        return false;
    };
    let fill = store::Fill {
        bytes: variants.bytes(),
        value: Cached::Variants(variants),
        tags: tags.to_vec(),
        life: Duration::MAX,
        namespace,
    };
    drop(tiers.fill(ticket.for_key(primary.clone()), fill));
    true
}

/// Whether a variant still answers without the origin, so that its place is taken.
fn is_of_use(entry: &Entry<Cached>, now: Instant) -> bool {
    let Cached::Response(cached) = entry.value() else {
        return false;
    };
    let (freshness, resident) = (cached.facts().freshness(), entry.resident(now));
    let window = freshness.stale_while_revalidate().max(freshness.stale_if_error());
    freshness.is_fresh(resident) || freshness.staleness(resident) < window
}

/// Stores a complete response.
pub(super) fn store(
    tiers: &Tiers<Cached>,
    ticket: Ticket,
    cached: CachedResponse,
    tags: Vec<Tag>,
    namespace: Namespace,
) -> Arc<Entry<Cached>> {
    let life = life(&cached);
    let bytes = cached.packed().len();
    tiers.fill(ticket, store::Fill { value: Cached::Response(cached), bytes, tags, life, namespace })
}

/// How long something can be done with a response: without end if it can be validated.
fn life(cached: &CachedResponse) -> Duration {
    let freshness = cached.facts().freshness();
    if freshness.may_be_stale() || cached.has_validators() {
        return Duration::MAX;
    }
    let window = freshness.stale_while_revalidate().max(freshness.stale_if_error());
    freshness.remaining(Duration::ZERO).saturating_add(window)
}

/// Remembers that what comes for a key cannot be stored.
pub(super) fn remember_uncacheable(tiers: &Tiers<Cached>, ticket: Ticket, namespace: Namespace) {
    let life = tiers.settings().hit_for_miss();
    let fill = store::Fill { value: Cached::Uncacheable, bytes: 0, tags: Vec::new(), life, namespace };
    drop(tiers.fill(ticket, fill));
}

/// The reason in the words of the metric.
pub(super) fn result(reason: Unstorable) -> StoreResult {
    match reason {
        Unstorable::Partial => StoreResult::Error,
        _ => StoreResult::Uncacheable,
    }
}
