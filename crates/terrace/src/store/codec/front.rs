//! What the first bytes of an entry tell, to somebody who has found it without knowing its key.

use super::frame::{self, COMPRESSED, Head};
use super::seal::sealer;
use super::{Codec, Reject};

/// How an entry is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Of the envelope.
    pub(crate) version: u8,
    /// Of the values.
    pub(crate) schema: u16,
    pub(crate) compressed: bool,
    /// The id of the key that sealed it.
    pub(crate) sealed_by: Option<String>,
}

impl Outline {
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Reject> {
        let Head { flags, schema } = Head::of(bytes)?;
        let sealed_by = if flags & frame::SEALED != 0 { Some(sealer(bytes)?) } else { None };
        Ok(Self { version: frame::VERSION, schema, compressed: flags & COMPRESSED != 0, sealed_by })
    }
}

/// The key of an entry, as far as its first bytes reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Key(Vec<u8>),
    /// It takes so many of them.
    Longer(usize),
}

impl Codec {
    /// The key that an entry says that it is of. Nothing vouches for it before it was compared with the entry's name.
    pub(crate) fn key_in(&self, front: &[u8]) -> Result<Front, Reject> {
        let head = Head::of(front)?;
        let (opened, from);
        let body = if head.flags & frame::SEALED == 0 {
            from = frame::HEAD;
            &front[from..]
        } else {
            let ring = self.ring.as_ref().ok_or(Reject::Unopened)?;
            (opened, from) = ring.peek(front)?;
            &opened
        };
        let key = frame::key_range(body)?;
        Ok(match body.get(key.clone()) {
            Some(key) => Front::Key(key.to_vec()),
            None => Front::Longer(from + key.end),
        })
    }
}
