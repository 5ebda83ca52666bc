//! A stored response, as far as the rules look at it.

use crate::Freshness;
use crate::range::ByteRange;
use crate::validate::Validators;
use http::{HeaderMap, StatusCode};

/// The head of a stored response, with what was found out about it when it was stored.
///
/// Its content is kept by the caller, who asks with [`StoredResponse`] what to do with it.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) freshness: Freshness,
    pub(crate) extent: Extent,
}

/// Which bytes of the representation are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of them.
    Complete { len: u64 },
    /// One part, with the length of the whole if that is known, and of the content that arrived,
    /// which may be another than that of `range` ([`Policy::lenient_partial`](crate::Policy)).
    Part { range: ByteRange, complete: Option<u64>, len: u64 },
}

impl StoredResponse {
    /// The status code; 206 if only a part is stored.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stored header fields (section 3.1).
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How long it may be used, and how.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// How long it may be used, to be shortened.
    pub fn freshness_mut(&mut self) -> &mut Freshness {
        &mut self.freshness
    }

    /// Its validators, if it has any.
    pub fn validators(&self) -> Option<Validators> {
        Validators::of(&self.headers)
    }

    /// The length of the content if all of it is stored.
    pub fn complete_len(&self) -> Option<u64> {
        match self.extent {
            Extent::Complete { len } => Some(len),
            Extent::Part { .. } => None,
        }
    }

    /// The length of the whole representation, as far as it is known.
    pub fn representation_len(&self) -> Option<u64> {
        match self.extent {
            Extent::Complete { len } => Some(len),
            Extent::Part { complete, .. } => complete,
        }
    }
}
