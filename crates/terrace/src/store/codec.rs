//! How an entry is written in the tier that processes share: in a versioned, checksummed envelope.
//!
//! Encoding may **compress** the payload, and with a [`KeyRing`] it **seals** everything. What does not come back
//! exactly as it was written, and for the key it was written for, is a [`Reject`]; the fetch that follows overwrites it.
//!
//! Compressed and sealed at once, the length of a value tells something about its content to whoever can choose a part
//! of that content: a store of secrets compresses nothing.

mod frame;
mod front;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(super) mod names;
mod seal;
#[cfg(test)]
mod tests;
mod vault;

pub(crate) use front::{Front, Outline};
pub(crate) use seal::KeyRing;
pub(crate) use vault::SealedVault;

use super::remote::Envelope;
use crate::observe::stats::RejectReason;
use bytes::Bytes;
use frame::{COMPRESSED, Head, SEALED};
use seal::Place;

/// The version of what values are encoded as. Entries of different versions live side by side.
pub(crate) const SCHEMA: u16 = 1;

/// Writes and reads envelopes of one kind of value.
#[derive(Debug)]
pub(crate) struct Codec {
    namespace: Box<str>,
    schema: u16,
    max_bytes: usize,
    compress_above: Option<usize>,
    ring: Option<KeyRing>,
}

/// Why nothing was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// Larger than the codec, or the format, allows.
    Size,
    /// The operating system gave no random numbers to seal with.
    Random,
}

/// Why what was found is not what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Not an envelope, cut short, or changed.
    Corrupt,
    /// Written by a version of Terrace that this one does not know.
    Version,
    /// A value of another type than the reader's.
    Schema,
    /// It belongs to another key.
    Key,
    /// Larger than the reader allows.
    Size,
    /// Its seal is broken, or is missing.
    Seal,
    /// Sealed by a key that is not in the ring.
    Unopened,
}

impl Reject {
    /// As it is counted.
    pub(crate) fn reason(self) -> RejectReason {
        match self {
            Self::Corrupt => RejectReason::Corrupt,
            Self::Version | Self::Schema => RejectReason::Schema,
            // A key comes and goes with a rotation: no reason for alarm.
            Self::Key | Self::Unopened => RejectReason::Key,
            Self::Size => RejectReason::Size,
            Self::Seal => RejectReason::Seal,
        }
    }
}

impl Codec {
    /// zstd's fastest regular level: the time is taken from requests.
    const LEVEL: i32 = 1;

    /// Neither compresses nor seals. `schema` is the version of the application's values. `max_bytes` bounds what is
    /// stored, and the payload before it is compressed.
    pub(crate) fn new(namespace: &str, schema: u16, max_bytes: usize) -> Self {
        Self { namespace: namespace.into(), schema, max_bytes, compress_above: None, ring: None }
    }

    /// Compresses payloads of more than so many bytes, if that makes them smaller. What is compressed can always be
    /// read.
    pub(crate) fn compress_above(self, bytes: usize) -> Self {
        Self { compress_above: Some(bytes), ..self }
    }

    /// Seals everything, and reads nothing that is not sealed.
    pub(crate) fn sealed_by(self, ring: KeyRing) -> Self {
        Self { ring: Some(ring), ..self }
    }

    pub(crate) fn encode(&self, key: &[u8], envelope: &Envelope) -> Result<Bytes, Unstorable> {
        if envelope.payload.len() > self.max_bytes {
            return Err(Unstorable::Size);
        }
        match self.compressed(&envelope.payload) {
            Some(payload) => self.write(COMPRESSED, key, envelope, &payload),
            None => self.write(0, key, envelope, &envelope.payload),
        }
    }

    fn write(&self, flags: u8, key: &[u8], envelope: &Envelope, payload: &[u8]) -> Result<Bytes, Unstorable> {
        let body = frame::Body::new(key, envelope, payload).ok_or(Unstorable::Size)?;
        let around = frame::HEAD + self.ring.as_ref().map_or(frame::CHECKSUM, KeyRing::overhead);
        let len = around + body.len();
        if len > self.max_bytes {
            return Err(Unstorable::Size);
        }
        let mut out = Vec::with_capacity(len);
        if let Some(ring) = &self.ring {
            Head { flags: flags | SEALED, schema: self.schema }.put(&mut out);
            ring.seal(&mut out, &self.place(key), |out| body.put(out))?;
        } else {
            Head { flags, schema: self.schema }.put(&mut out);
            body.put(&mut out);
            frame::put_checksum(&mut out);
        }
        debug_assert_eq!(out.len(), len);
        Ok(out.into())
    }

    /// Neither copies nor allocates the payload, unless it is compressed or sealed.
    pub(crate) fn decode(&self, key: &[u8], bytes: Bytes) -> Result<Envelope, Reject> {
        if bytes.len() > self.max_bytes {
            return Err(Reject::Size);
        }
        let head = Head::of(&bytes)?;
        let body = match (&self.ring, head.flags & SEALED != 0) {
            (None, false) => frame::checked(&bytes)?,
            (Some(ring), true) => ring.open(bytes, &self.place(key))?,
            (Some(_), false) => return Err(Reject::Seal),
            (None, true) => return Err(Reject::Unopened),
        };
        if head.schema != self.schema {
            return Err(Reject::Schema);
        }
        let mut envelope = frame::envelope(&body, key)?;
        if head.flags & COMPRESSED != 0 {
            envelope.payload = self.decompressed(&envelope.payload)?;
        }
        Ok(envelope)
    }

    fn place<'a>(&'a self, key: &'a [u8]) -> Place<'a> {
        Place { namespace: &self.namespace, key }
    }

    /// `None` if it should stay as it is.
    fn compressed(&self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() <= self.compress_above? {
            return None;
        }
        zstd::bulk::compress(payload, Self::LEVEL).ok().filter(|smaller| smaller.len() < payload.len())
    }

    /// How large it becomes is looked up before anything is allocated for it.
    fn decompressed(&self, payload: &[u8]) -> Result<Bytes, Reject> {
        let declared = zstd::decompressed_size(payload).ok_or(Reject::Corrupt)?;
        let len = usize::try_from(declared).ok().filter(|&len| len <= self.max_bytes).ok_or(Reject::Size)?;
        if len / frame::MAX_COMPRESSION > payload.len() {
            return Err(Reject::Corrupt);
        }
        zstd::bulk::decompress(payload, len).map(Bytes::from).map_err(|_| Reject::Corrupt)
    }
}
