//! A stored response, as far as the rules look at it.

use crate::Freshness;
use crate::range::ByteRange;
use crate::validate::Validators;
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;

/// What was found out about a response when it was stored. Small, for there is one per entry.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(crate) status: StatusCode,
    pub(crate) freshness: Freshness,
    pub(crate) extent: Extent,
}

impl Facts {
    /// The status code; 206 if only a part is stored.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// How long the response may be used, and how.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The length of the content if all of it is stored.
    pub fn complete_len(&self) -> Option<u64> {
        match &self.extent {
            Extent::Complete { len } => Some(*len),
            Extent::Part(_) => None,
        }
    }

    /// The length of the whole representation, as far as it is known.
    pub fn representation_len(&self) -> Option<u64> {
        match &self.extent {
            Extent::Complete { len } => Some(*len),
            Extent::Part(part) => part.complete,
        }
    }
}

/// Which bytes of the representation are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of them.
    Complete { len: u64 },
    /// One part; boxed, for it is rare.
    Part(Box<Part>),
}

/// A part, with the length of the whole if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: ByteRange,
    pub(crate) complete: Option<u64>,
    /// The length of the content that arrived, which may be another than that of `range`
    /// ([`Policy::lenient_partial`](crate::Policy)).
    pub(crate) len: u64,
}

/// A stored response, in whatever form its keeper has it.
///
/// Most decisions need the facts only; a keeper that stores heads packed unpacks them when asked.
pub trait Stored {
    /// What was found out when it was stored.
    fn facts(&self) -> &Facts;

    /// The stored header fields (section 3.1).
    fn headers(&self) -> Cow<'_, HeaderMap>;
}

/// The head of a stored response. Its content is kept by the caller.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    pub(crate) facts: Facts,
    pub(crate) headers: HeaderMap,
}

impl Stored for StoredResponse {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn headers(&self) -> Cow<'_, HeaderMap> {
        Cow::Borrowed(&self.headers)
    }
}

impl StoredResponse {
    /// Puts together what [`into_parts`](Self::into_parts) took apart.
    pub fn from_parts(facts: Facts, headers: HeaderMap) -> Self {
        Self { facts, headers }
    }

    /// The facts and the stored header fields.
    pub fn into_parts(self) -> (Facts, HeaderMap) {
        (self.facts, self.headers)
    }

    /// The status code; 206 if only a part is stored.
    pub fn status(&self) -> StatusCode {
        self.facts.status
    }

    /// The stored header fields (section 3.1).
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How long it may be used, and how.
    pub fn freshness(&self) -> &Freshness {
        &self.facts.freshness
    }

    /// Takes `share` (0 to 1) off the lifetime, so that entries stored together do not expire together.
    pub fn shorten(&mut self, share: f64) {
        self.facts.freshness.shorten(share);
    }

    /// Its validators, if it has any.
    pub fn validators(&self) -> Option<Validators> {
        Validators::of(&self.headers)
    }

    /// The length of the content if all of it is stored.
    pub fn complete_len(&self) -> Option<u64> {
        self.facts.complete_len()
    }

    /// The length of the whole representation, as far as it is known.
    pub fn representation_len(&self) -> Option<u64> {
        self.facts.representation_len()
    }
}
