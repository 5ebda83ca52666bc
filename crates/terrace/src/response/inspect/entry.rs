//! An entry, as facts.

use super::super::shown::Response;
use super::super::stored::Cached;
use super::key::EntryKey;
use crate::observe::stats::RejectReason;
use crate::store::inspect::{Opened, Outline, Reject, Seen, Verdict};
use crate::store::remote::{Mark, TagName};
use crate::store::shared_tags;
use http::HeaderName;
use std::fmt;
use std::time::Duration;

/// An entry that Redis has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredEntry {
    /// What it is stored under.
    pub key: EntryKey,
    /// Its size there.
    pub bytes: usize,
    /// How long it stays there.
    pub expires_in: Duration,
    /// The version of the envelope, if that is known.
    pub envelope_version: Option<u8>,
    /// The version of what is in the envelope.
    pub schema: Option<u16>,
    /// Whether its content is compressed there.
    pub is_compressed: bool,
    /// The id of the key that has sealed it.
    pub sealed_by: Option<String>,
    /// What is in it.
    pub contents: Result<Contents, Unreadable>,
}

/// Why an entry cannot be read here. For a process with the same settings it is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is no entry, or was cut short or changed.
    Corrupt,
    /// It was written by another version of Terrace.
    Version,
    /// It belongs to another key.
    Key,
    /// It is larger than what is read.
    Size,
    /// Its seal is broken, or is missing.
    Seal,
    /// It is sealed by a key that is not in `CACHE_KEYS`.
    UnknownKey,
}

/// What is in an entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The epoch in which it was fetched, by its name.
    pub epoch: String,
    /// The stamp: the position of the last invalidation before the fetch began.
    pub position: u64,
    /// Whether it is proven valid now.
    pub validity: Validity,
    /// By what it can be invalidated.
    pub tags: Vec<Tag>,
    /// What is stored.
    pub value: Value,
}

/// Whether an entry may be served, as far as invalidations go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validity {
    /// Nothing has invalidated it.
    Current,
    /// It was invalidated softly, and is served as stale only.
    Expired {
        /// By what.
        tag: Tag,
        /// When.
        position: u64,
    },
    /// It was invalidated, and is never served again.
    Invalidated {
        /// By what.
        tag: Tag,
        /// When.
        position: u64,
    },
    /// What carries this tag is being [changed](crate::Change), and is not served before that ends.
    Held {
        /// The tag.
        tag: Tag,
    },
    /// It is older than what is remembered of invalidations.
    Forgotten {
        /// Up to here they may be forgotten.
        floor: u64,
    },
    /// It is of another epoch: the server was restarted, promoted or emptied since.
    OtherEpoch,
}

/// A tag of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tag {
    /// What it stands for, such as `prefix a.example/products/`; `None` for one given by name, of which Redis has the
    /// digest alone.
    pub meaning: Option<String>,
    /// The digest.
    pub digest: [u8; 16],
}

/// What is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A response.
    Response(Box<Response>),
    /// The responses of this URL vary by these lists of header fields; they are stored under keys of their own.
    Variants(Vec<Vec<HeaderName>>),
    /// Something that this version does not know.
    Unknown,
}

impl StoredEntry {
    /// `None` if that is no key of a response.
    pub(super) fn of(key: &[u8], seen: Seen) -> Option<Self> {
        let Seen { bytes, left, outline, opened } = seen;
        let key = EntryKey::read(key)?;
        let outline = outline.ok();
        let contents = match opened {
            Ok(opened) => Ok(Contents::of(&key, left, opened)),
            Err(reject) => Err(reject.into()),
        };
        Some(Self {
            bytes,
            expires_in: left,
            envelope_version: outline.as_ref().map(|outline| outline.version),
            schema: outline.as_ref().map(|outline| outline.schema),
            is_compressed: outline.as_ref().is_some_and(|outline| outline.compressed),
            sealed_by: outline.and_then(|Outline { sealed_by, .. }| sealed_by),
            contents,
            key,
        })
    }
}

impl From<Reject> for Unreadable {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::Corrupt => Self::Corrupt,
            Reject::Version | Reject::Schema => Self::Version,
            Reject::Key => Self::Key,
            Reject::Size => Self::Size,
            Reject::Seal => Self::Seal,
            Reject::Unopened => Self::UnknownKey,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "it is no entry, or was cut short or changed",
            Self::Version => "it was written by another version of Terrace",
            Self::Key => "it belongs to another key",
            Self::Size => "it is larger than what is read",
            Self::Seal => "its seal is broken, or is missing",
            Self::UnknownKey => "it is sealed by a key that is not in CACHE_KEYS",
        })
    }
}

impl Contents {
    fn of(key: &EntryKey, left: Duration, opened: Opened) -> Self {
        let Opened { envelope, verdict, by, floor } = opened;
        let known = key.tags(&shared_tags());
        let named = |name: TagName| {
            let meaning = known.iter().find(|(_, tag)| tag.name() == name).map(|(meaning, _)| meaning.clone());
            Tag { meaning, digest: name.0 }
        };
        let resident = Duration::from_millis(envelope.life_ms).saturating_sub(left);
        let decoded = Cached::read(&envelope.payload, resident);
        let value = match decoded.map(|decoded| decoded.value) {
            // What was decoded is as old as it is now.
            Some(Cached::Response(cached)) => Value::Response(Box::new(Response::of(&cached, Duration::ZERO))),
            Some(Cached::Variants(variants)) => {
                Value::Variants(variants.fields().map(<[HeaderName]>::to_vec).collect())
            }
            Some(Cached::Uncacheable) | None => Value::Unknown,
        };
        Self {
            epoch: envelope.epoch.text(),
            position: envelope.position,
            validity: validity(verdict, by.map(|(tag, mark)| (named(tag), mark)), floor),
            tags: envelope.tags.iter().copied().map(named).collect(),
            value,
        }
    }
}

fn validity(verdict: Verdict, by: Option<(Tag, Mark)>, floor: u64) -> Validity {
    match (verdict, by) {
        (Verdict::Current, _) => Validity::Current,
        (Verdict::Expired, Some((tag, Mark::At(position)))) => Validity::Expired { tag, position },
        (_, Some((tag, Mark::At(position)))) => Validity::Invalidated { tag, position },
        (_, Some((tag, _))) => Validity::Held { tag },
        (Verdict::Rejected(RejectReason::Floor), None) => Validity::Forgotten { floor },
        (_, None) => Validity::OtherEpoch,
    }
}

/// What it stands for, or its digest.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(meaning) = &self.meaning {
            return f.write_str(meaning);
        }
        write!(f, "tag {:032x}", u128::from_be_bytes(self.digest))
    }
}
