//! A stored response, as far as the rules look at it.

use crate::Freshness;
use crate::range::ByteRange;
use crate::validate::Validators;
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use std::time::Duration;

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

/// As bytes, for those who keep responses outside of this process.
impl Facts {
    /// How many bytes [`encode`](Self::encode) writes.
    pub const ENCODED_LEN: usize = 2 + Freshness::ENCODED_LEN + 1 + 5 * 8;

    /// Writes the facts. What is written is the same for the same facts, in every version that reads it.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.status.as_u16().to_be_bytes());
        self.freshness.encode(to);
        let (kind, numbers) = match &self.extent {
            Extent::Complete { len } => (0, [*len, 0, 0, 0, 0]),
            Extent::Part(part) => {
                let Part { range, complete, len } = **part;
                let known = u64::from(complete.is_some());
                (1 + u8::from(range.suffix), [len, range.first, range.last, known, complete.unwrap_or_default()])
            }
        };
        to.push(kind);
        to.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    }

    /// Reads what [`encode`](Self::encode) wrote `ago`. `None` if these bytes are no facts.
    pub fn decode(bytes: &[u8; Self::ENCODED_LEN], ago: Duration) -> Option<Self> {
        let (status, rest) = bytes.split_first_chunk::<2>()?;
        let (freshness, rest) = rest.split_first_chunk::<{ Freshness::ENCODED_LEN }>()?;
        let (kind, numbers) = rest.split_first()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [len, first, last, known, complete] = *numbers else {
            return None;
        };
        let number = u64::from_be_bytes;
        let (len, first, last, complete) = (number(len), number(first), number(last), number(complete));
        let extent = match kind {
            0 => Extent::Complete { len },
            1 | 2 if first <= last && last < u64::MAX => {
                let complete = (number(known) == 1).then_some(complete);
                let range = ByteRange { first, last, suffix: *kind == 2 };
                Extent::Part(Box::new(Part { range, complete, len }))
            }
            _ => return None,
        };
        let status = StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?;
        Some(Self { status, freshness: Freshness::decode(freshness, ago)?, extent })
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
