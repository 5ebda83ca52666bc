use super::drive::MISSED;
use super::fetch::is_failed_call;
use super::packed::Head;
use super::stored::{Cached, CachedResponse, Variant};
use crate::clock::Instant;
use crate::observe::stats::{StoreResult, Tier};
use crate::observe::{self, Namespace};
use crate::store::{self, Entry, Key, Landing, Lead, Lease, Stream, Tag, Ticket, Tiers, Waiters};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName};
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
    /// The hash of the key of its URL, whatever varies.
    pub(super) primary: u64,
    /// Without a head if that is too large to be packed.
    pub(super) storable: Storable<Option<Head>>,
    pub(super) tags: Vec<Tag>,
    pub(super) namespace: Namespace,
    /// How long the origin took to answer.
    pub(super) cost: Duration,
    /// Where it is listed if the response varies.
    pub(super) listing: Option<Listing>,
    /// Where it is remembered if the content turns out too large.
    pub(super) mark: Option<Ticket>,
    /// A part that is stored already and may combine with this one.
    pub(super) earlier: Option<Arc<Entry<Cached>>>,
    pub(super) content: Content,
    /// Until when it may be served, if that is for its caller alone.
    pub(super) until: Option<Instant>,
    pub(super) under_way: observe::Fill,
    /// Other processes wait.
    pub(super) lease: Option<Lease>,
}

/// A variant's place among the others of its URL.
pub(super) struct Listing {
    /// Under which key the variants are found.
    pub(super) primary: Key,
    pub(super) fields: Vec<HeaderName>,
    /// The hash of the key that it would have for its language alone.
    pub(super) language: Option<u64>,
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

    /// Takes a frame. `false` if there is more now than may be stored.
    pub(super) fn take(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(trailers) = frame.trailers_ref() {
            self.content.trailers = Some(trailers.clone());
        }
        if let Some(data) = frame.data_ref() {
            self.content.len += data.len() as u64;
            self.content.pieces.push(data.clone());
        }
        self.content.len <= self.limit()
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
            remember_uncacheable(&self.tiers, (mark, self.lease.take()), self.namespace);
        }
        self.unstored(StoreResult::TooLarge, "too-large");
    }

    /// Tells who watches why the response is not stored.
    fn tell(&self, reason: &'static str) {
        if let Some(watch) = self.tiers.observe().watched() {
            watch.of_trip(self.primary, |trip| trip.unstored = Some(reason));
        }
    }

    /// The content ended with an error.
    pub(super) fn broken(self) {
        self.tiers.observe().fill_error(&"the body of the response ended with an error");
        self.tiers.observe().stored(Tier::L1, StoreResult::Error);
        self.tell("broken");
    }

    fn unstored(self, result: StoreResult, reason: &'static str) {
        self.tell(reason);
        self.tiers.observe().stored(Tier::L1, result);
        if let Some(lead) = self.lead {
            lead.land(Landing::Uncacheable);
        }
    }

    /// Stores the response, now that it is complete.
    pub(super) fn finish(self) {
        let span = self.under_way.span();
        span.in_scope(|| self.end());
    }

    fn end(self) {
        if self.content.declared.is_some() && !self.has_all_declared() {
            // RFC 9112 section 8: an incomplete message.
            return self.broken();
        }
        if self.content.trailers.as_ref().is_some_and(is_failed_call) {
            return self.unstored(StoreResult::Uncacheable, "status");
        }
        let Self {
            lead,
            mut lease,
            tiers,
            ticket,
            primary,
            storable,
            tags,
            namespace,
            cost,
            listing,
            mark,
            earlier,
            content,
            until,
            ..
        } = self;
        let under_way = self.under_way;
        let packed = pack(storable, content, earlier.as_deref(), cost);
        if packed.as_ref().is_err_and(|result| *result == StoreResult::TooLarge)
            && let Some(mark) = mark
        {
            remember_uncacheable(&tiers, (mark, lease.take()), namespace);
        }
        // Too many variants are not remembered: a flood of them would fill the memory with what is remembered.
        let listed = |listing: &Listing| list(&tiers, listing, &ticket, &tags, namespace);
        let landing = match packed {
            Ok(cached) if listing.as_ref().is_none_or(listed) => {
                let entry = store(&tiers, (ticket, lease), (cached, until), tags, namespace);
                under_way.stored(entry.inserted());
                Landing::Entry(entry)
            }
            other => {
                let reason = match &other {
                    Ok(_) => "too-many-variants",
                    Err(StoreResult::Uncacheable) => "partial",
                    Err(_) => "too-large",
                };
                if let Some(watch) = tiers.observe().watched() {
                    watch.of_trip(primary, |trip| trip.unstored = Some(reason));
                }
                tiers.observe().stored(Tier::L1, other.err().unwrap_or(StoreResult::TooLarge));
                Landing::Uncacheable
            }
        };
        if let Some(lead) = lead {
            lead.land(landing);
        }
    }
}

/// Completes what has arrived, for the store.
fn pack(
    storable: Storable<Option<Head>>,
    content: Content,
    earlier: Option<&Entry<Cached>>,
    cost: Duration,
) -> Result<CachedResponse, StoreResult> {
    let Content { pieces, len, trailers, .. } = content;
    let (facts, head) = storable.received_in_place(len).map_err(|_| StoreResult::Uncacheable)?;
    let head = head.ok_or(StoreResult::TooLarge)?;
    if facts.complete_len().is_some() {
        return CachedResponse::with_head(facts, head, trailers.as_ref(), &pieces, cost).ok_or(StoreResult::TooLarge);
    }
    let stored = StoredResponse::from_parts(facts, head.headers().ok_or(StoreResult::TooLarge)?).completed();
    let (stored, pieces) = combined(earlier, stored, pieces);
    CachedResponse::new(stored, trailers.as_ref(), &pieces, cost).ok_or(StoreResult::TooLarge)
}

/// Puts a part together with the one that is stored already, if they belong together (RFC 9111 section 3.4).
fn combined(
    earlier: Option<&Entry<Cached>>,
    stored: StoredResponse,
    pieces: Vec<Bytes>,
) -> (StoredResponse, Vec<Bytes>) {
    let Some(Cached::Response(earlier)) = earlier.map(Entry::value) else {
        return (stored, pieces);
    };
    let Some(combined) = earlier.response().combine(&stored) else {
        return (stored, pieces);
    };
    let old = earlier.packed().content();
    let (Ok(before), Ok(until)) = (usize::try_from(combined.before), usize::try_from(combined.until)) else {
        return (stored, pieces);
    };
    let mut all = vec![old.slice(..before)];
    all.extend(pieces);
    all.push(old.slice(until..));
    (combined.stored, all)
}

/// Lists the variant of `ticket`'s key among the others of its URL. `false` if there are too many.
pub(super) fn list(
    tiers: &Tiers<Cached>,
    listing: &Listing,
    ticket: &Ticket,
    tags: &[Tag],
    namespace: Namespace,
) -> bool {
    let Listing { primary, fields, language } = listing;
    let variant = &Variant { fields, key: ticket.key(), language: *language };
    let known = tiers.peek(primary.hash(), primary.bytes(), tiers.clock().now());
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
    (ticket, lease): (Ticket, Option<Lease>),
    (cached, until): (CachedResponse, Option<Instant>),
    tags: Vec<Tag>,
    namespace: Namespace,
) -> Arc<Entry<Cached>> {
    let life = until.map_or_else(|| life(&cached), |until| guarded_life(tiers, &cached, until));
    let bytes = cached.packed().len();
    let fill = store::Fill { value: Cached::Response(cached), bytes, tags, life, namespace };
    tiers.fill_for_all(ticket, fill, lease)
}

/// A response that is for its caller alone is never stale, and lives no longer than their right to it.
fn guarded_life(tiers: &Tiers<Cached>, cached: &CachedResponse, until: Instant) -> Duration {
    cached.facts().freshness().remaining(Duration::ZERO).min(until.duration_since(tiers.clock().now()))
}

/// How long something can be done with a response: without end if it can be validated.
pub(super) fn life(cached: &CachedResponse) -> Duration {
    let freshness = cached.facts().freshness();
    if freshness.may_be_stale() || cached.has_validators() {
        return Duration::MAX;
    }
    let window = freshness.stale_while_revalidate().max(freshness.stale_if_error());
    freshness.remaining(Duration::ZERO).saturating_add(window)
}

/// Remembers that what comes for a key cannot be stored. Whoever had the turn to fetch it tells the other processes, of
/// which each would find out for itself, one after the other.
pub(super) fn remember_uncacheable(
    tiers: &Tiers<Cached>,
    (ticket, lease): (Ticket, Option<Lease>),
    namespace: Namespace,
) {
    let fill = uncacheable(tiers.settings().hit_for_miss(), namespace);
    if lease.is_some() {
        tiers.tell(&ticket, &fill, lease);
    }
    drop(tiers.admit(ticket, fill));
}

/// Lets those who wait for this turn in other processes go side by side, as those who wait here do. That the origin
/// failed says nothing about who comes later: it is forgotten when all who wait have looked, though a message was lost.
pub(super) fn pass_on_failure(tiers: &Tiers<Cached>, ticket: &Ticket, lease: Lease, namespace: Namespace) {
    tiers.tell(ticket, &uncacheable(2 * MISSED, namespace), Some(lease));
}

fn uncacheable(life: Duration, namespace: Namespace) -> store::Fill<Cached> {
    store::Fill { value: Cached::Uncacheable, bytes: 0, tags: Vec::new(), life, namespace }
}

/// The reason in the words of the metric.
pub(super) fn result(reason: Unstorable) -> StoreResult {
    match reason {
        Unstorable::Partial => StoreResult::Error,
        _ => StoreResult::Uncacheable,
    }
}
