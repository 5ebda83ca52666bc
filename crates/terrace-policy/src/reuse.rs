//! May a stored response answer a request? (RFC 9111 section 4)

use crate::directives::RequestDirectives;
use crate::range::{ByteRange, RangeSpec, coalesce, parse_range};
use crate::status::Forward;
use crate::stored::{Extent, Facts, Part, Stored};
use crate::validate::{if_range_holds, not_modified};
use crate::{Demands, Freshness, Policy};
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;

/// A request that a stored response may answer. Key and selecting header fields match already.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The method: `GET`, `HEAD`, or whatever the key was made for.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// How long the response has been stored.
    pub resident: Duration,
    /// It was invalidated softly: it counts as stale, however young it is.
    pub expired: bool,
    /// The request waited for the very fetch that brought the response ("collapsed requests",
    /// section 4), so that the response is as good to it as one of its own.
    pub collapsed: bool,
    /// The stored response is kept apart for one principal, to whom the request belongs: its credentials
    /// do not speak against an answer.
    pub partitioned: bool,
}

/// What to do with a request and a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answer from the stored response; the origin is not asked.
    Serve(Answer),
    /// Answer from the stored response though it is stale, and validate it meanwhile (RFC 5861 section 3).
    ServeWhileRevalidating(Answer),
    /// Ask the origin, with the validators of the stored response if it has any.
    Validate(Forward),
    /// Ask the origin as if nothing were stored.
    Forward(Forward),
}

/// How a stored response answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With its status and all of its content.
    Full,
    /// With 304 (section 4.3.2).
    NotModified,
    /// With 206 and these bytes of the representation, in ascending order (RFC 9110 section 15.3.7).
    /// More than one are a `multipart/byteranges`.
    Partial(Vec<Slice>),
    /// With 416 (RFC 9110 section 15.5.17).
    Unsatisfiable,
}

/// Some of the stored bytes, and where they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The positions in the representation.
    pub range: ByteRange,
    /// Where they start in the stored content.
    pub offset: u64,
}

/// Decides by section 4. Allocates only for ranges.
pub fn plan(stored: &impl Stored, request: &Presented<'_>, policy: &Policy) -> Plan {
    let demands = Demands::of(request.headers);
    let directives = if demands.directives() {
        RequestDirectives::from_cache_control(request.headers)
    } else {
        RequestDirectives::default()
    };
    let guarded = policy.guard_cookies && !request.partitioned;
    if guarded && !stored.facts().freshness.source().is_explicit() && demands.credentials() {
        return Plan::Forward(Forward::Request);
    }
    let usable = usability(&stored.facts().freshness, request, &directives, policy);
    if let Usability::Not(reason) = usable {
        return Plan::Validate(reason);
    }
    match answer_to(stored, request, demands) {
        Some(answer) if matches!(usable, Usability::WhileRevalidating) => Plan::ServeWhileRevalidating(answer),
        Some(answer) => Plan::Serve(answer),
        None => Plan::Forward(Forward::Partial),
    }
}

/// Whether [`plan`] would say `Serve(Full)` to a `GET` without demands, which is the most frequent case by far: decided
/// from the facts alone.
#[inline]
pub fn is_plain_hit(facts: &Facts, demands: Demands, resident: Duration, policy: &Policy) -> bool {
    let freshness = &facts.freshness;
    let guarded = policy.guard_cookies && demands.credentials() && !freshness.source().is_explicit();
    demands.is_plain()
        && !guarded
        && !freshness.needs_validation()
        && freshness.is_fresh(resident)
        && facts.complete_len().is_some()
}

/// How a validated response, or one served because the origin failed, answers the request.
/// `None` if too little of it is stored.
pub fn answer(stored: &impl Stored, request: &Presented<'_>) -> Option<Answer> {
    answer_to(stored, request, Demands::of(request.headers))
}

fn answer_to(stored: &impl Stored, request: &Presented<'_>, demands: Demands) -> Option<Answer> {
    let facts = stored.facts();
    // Preconditions and ranges count only where the answer would be 200 or 206 (RFC 9110 section 13.2.1).
    let successful = matches!(facts.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    let ranged = successful && demands.range() && request.method == Method::GET;
    // 304 answers GET and HEAD only; to other methods these fields mean something else (sections 13.1.2, 13.1.3).
    let conditional = successful && demands.conditions() && matches!(*request.method, Method::GET | Method::HEAD);
    if facts.complete_len().is_none() && !ranged {
        return None;
    }
    if !ranged && !conditional {
        return Some(Answer::Full);
    }
    let (headers, received) = (stored.headers(), facts.freshness.received());
    if conditional && not_modified(request.headers, &headers, received) {
        return Some(Answer::NotModified);
    }
    if ranged
        && if_range_holds(request.headers, &headers, received)
        && let Some(specs) = parse_range(request.headers)
    {
        return ranges(facts, &specs);
    }
    facts.complete_len().map(|_| Answer::Full)
}

enum Usability {
    Usable,
    WhileRevalidating,
    Not(Forward),
}

fn usability(
    freshness: &Freshness,
    request: &Presented<'_>,
    directives: &RequestDirectives,
    policy: &Policy,
) -> Usability {
    if freshness.needs_validation() {
        return Usability::Not(Forward::Stale);
    }
    if request.collapsed {
        return Usability::Usable;
    }
    let fresh = freshness.is_fresh(request.resident) && !request.expired;
    if policy.honor_reload && demands_more(freshness, request.resident, directives, fresh) {
        return Usability::Not(if fresh { Forward::Request } else { Forward::Stale });
    }
    if fresh {
        return Usability::Usable;
    }
    let staleness = freshness.staleness(request.resident);
    let window = freshness.stale_while_revalidate();
    if !window.is_zero() && staleness <= window {
        return Usability::WhileRevalidating;
    }
    let tolerated = directives.max_stale.filter(|_| policy.honor_reload && !request.expired);
    if tolerated.is_some_and(|limit| staleness <= limit) && freshness.is_stale_if_accepted() {
        return Usability::Usable;
    }
    Usability::Not(Forward::Stale)
}

/// `no-cache`, `max-age` and `min-fresh` of the request (sections 5.2.1.1, 5.2.1.3, 5.2.1.4). A fresh
/// response marked `immutable` is not revalidated for a mere `max-age` (RFC 8246 section 2.1).
fn demands_more(freshness: &Freshness, resident: Duration, directives: &RequestDirectives, fresh: bool) -> bool {
    let too_old = directives.max_age.is_some_and(|limit| freshness.age(resident) > limit || limit.is_zero());
    let too_short = directives.min_fresh.is_some_and(|wanted| freshness.remaining(resident) < wanted);
    directives.no_cache || too_short || (too_old && !(fresh && freshness.is_immutable()))
}

/// Serves ranges from a complete response, or one range from a part that holds all of it.
fn ranges(facts: &Facts, specs: &[RangeSpec]) -> Option<Answer> {
    match &facts.extent {
        Extent::Complete { len } => {
            let resolved: Vec<_> = specs.iter().filter_map(|spec| spec.resolve(*len)).collect();
            if resolved.is_empty() {
                return Some(Answer::Unsatisfiable);
            }
            let slices = coalesce(resolved).into_iter().map(|range| Slice { range, offset: range.first });
            Some(Answer::Partial(slices.collect()))
        }
        Extent::Part(part) => {
            let [spec] = specs else { return None };
            within_part(*spec, part).map(|slice| Answer::Partial(vec![slice]))
        }
    }
}

fn within_part(spec: RangeSpec, part: &Part) -> Option<Slice> {
    let Part { range: part, complete, .. } = *part;
    let asked = match (spec, complete) {
        (RangeSpec::From { first, last: Some(last) }, None) => ByteRange { first, last, suffix: false },
        (_, None) => return None,
        (spec, Some(len)) => spec.resolve(len)?,
    };
    let inside = part.first <= asked.first && asked.last <= part.last;
    inside.then(|| Slice { range: asked, offset: asked.first - part.first })
}

impl Slice {
    /// Where these bytes lie in stored content of `len` bytes.
    ///
    /// Only content that is not as long as its `Content-Range` promised makes a difference here: a
    /// suffix is then counted from its end, as it was asked for, and everything else from its start.
    /// `None` if nothing of it is there.
    pub fn within(&self, len: u64) -> Option<(Self, std::ops::Range<usize>)> {
        let wanted = self.range.len();
        let (start, end) = if self.range.suffix {
            (len.saturating_sub(wanted), len)
        } else {
            (self.offset, self.offset.saturating_add(wanted).min(len))
        };
        if start >= end {
            return None;
        }
        let mut range = self.range;
        if range.suffix {
            range.first = range.last + 1 - (end - start);
        } else {
            range.last = range.first + (end - start) - 1;
        }
        let bytes = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        Some((Self { range, offset: start }, bytes))
    }
}
