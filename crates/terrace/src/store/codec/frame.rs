//! The bytes of version 1. Numbers are in network order.
//!
//! ```text
//! plain   head, body, CRC-32 of both
//! sealed  head, lock, sealed body, authentication tag
//!
//! head    magic u8, version u8, flags u8, schema u16
//! lock    nonce (24), digest of the key (16), length of the sealing key's id u8, the id
//! body    lengths: epoch u8, tags u16 (their number), key u32, payload u32
//!         position u64, stored_ms u64, life_ms u64
//!         epoch, tags (16 each), key, payload
//! ```
//!
//! All lengths have one place, so that they are checked together against what is there before any is used.

use super::{Envelope, Reject};
use crate::store::remote::{Epoch, TagName};
use bytes::{Buf, BufMut, Bytes};
use std::ops::Range;

/// First of all, so that what other programs put there is told from an envelope. No text begins with it.
const MAGIC: u8 = 0xC7;
pub(super) const VERSION: u8 = 1;

/// The payload is a zstd frame that tells its length.
pub(super) const COMPRESSED: u8 = 1;
/// The body is sealed.
pub(super) const SEALED: u8 = 2;

pub(super) const HEAD: usize = 5;
pub(super) const CHECKSUM: usize = 4;
const LENGTHS: usize = 11;
const NUMBERS: usize = 24;

/// An implicit tag for each of a few prefixes, and those an application gives: 1,024 at most.
pub(super) const MAX_TAGS: u16 = 1100;
pub(super) const MAX_EPOCH: u8 = 128;
pub(super) const MAX_KEY: u32 = 64 << 10;

/// zstd makes at most so much of a byte: 128 KiB of a block of 4 bytes (RFC 8878, section 3.1.1.2).
pub(super) const MAX_COMPRESSION: usize = 32 << 10;

/// What every version begins with; how it goes on is for its version to say.
pub(super) struct Head {
    pub(super) flags: u8,
    pub(super) schema: u16,
}

impl Head {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_slice(&[MAGIC, VERSION, self.flags]);
        out.put_u16(self.schema);
    }

    pub(super) fn of(bytes: &[u8]) -> Result<Self, Reject> {
        let Some(&[MAGIC, version, flags, high, low]) = bytes.first_chunk::<HEAD>() else {
            return Err(Reject::Corrupt);
        };
        if version != VERSION || flags & !(COMPRESSED | SEALED) != 0 {
            return Err(Reject::Version);
        }
        Ok(Self { flags, schema: u16::from_be_bytes([high, low]) })
    }
}

/// The lengths of the parts of a body.
#[derive(Clone, Copy)]
struct Lengths {
    epoch: u8,
    tags: u16,
    key: u32,
    payload: u32,
}

impl Lengths {
    /// Whether each is allowed.
    fn are_allowed(self) -> bool {
        self.epoch <= MAX_EPOCH && self.tags <= MAX_TAGS && self.key <= MAX_KEY
    }

    /// Of the whole body.
    fn total(self) -> u64 {
        let fixed = (LENGTHS + NUMBERS) as u64;
        let tags = u64::from(self.tags) * size_of::<TagName>() as u64;
        fixed + u64::from(self.epoch) + tags + u64::from(self.key) + u64::from(self.payload)
    }
}

/// A body to be written.
pub(super) struct Body<'a> {
    lengths: Lengths,
    envelope: &'a Envelope,
    key: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Body<'a> {
    /// With `payload` instead of that of `envelope`. `None` if something is longer than the format allows.
    pub(super) fn new(key: &'a [u8], envelope: &'a Envelope, payload: &'a [u8]) -> Option<Self> {
        let lengths = Lengths {
            epoch: envelope.epoch.as_bytes().len().try_into().ok()?,
            tags: envelope.tags.len().try_into().ok()?,
            key: key.len().try_into().ok()?,
            payload: payload.len().try_into().ok()?,
        };
        lengths.are_allowed().then_some(Self { lengths, envelope, key, payload })
    }

    pub(super) fn len(&self) -> usize {
        let tags = size_of_val(&*self.envelope.tags);
        LENGTHS + NUMBERS + self.envelope.epoch.as_bytes().len() + tags + self.key.len() + self.payload.len()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let Self { lengths, envelope, key, payload } = self;
        out.put_u8(lengths.epoch);
        out.put_u16(lengths.tags);
        out.put_u32(lengths.key);
        out.put_u32(lengths.payload);
        out.put_u64(envelope.position);
        out.put_u64(envelope.stored_ms);
        out.put_u64(envelope.life_ms);
        out.put_slice(envelope.epoch.as_bytes());
        for tag in &envelope.tags {
            out.put_slice(&tag.0);
        }
        out.put_slice(key);
        out.put_slice(payload);
    }
}

impl Lengths {
    fn read(mut bytes: &[u8]) -> Self {
        Self { epoch: bytes.get_u8(), tags: bytes.get_u16(), key: bytes.get_u32(), payload: bytes.get_u32() }
    }
}

/// Where the key is in a body, of which the beginning is enough.
pub(super) fn key_range(body: &[u8]) -> Result<Range<usize>, Reject> {
    let lengths = Lengths::read(body.first_chunk::<LENGTHS>().ok_or(Reject::Corrupt)?);
    if !lengths.are_allowed() {
        return Err(Reject::Size);
    }
    let tags = usize::from(lengths.tags) * size_of::<TagName>();
    let start = LENGTHS + NUMBERS + usize::from(lengths.epoch) + tags;
    Ok(start..start + lengths.key as usize)
}

/// Reads a body, which must be that of `key`. The payload is a slice of it.
pub(super) fn envelope(body: &Bytes, key: &[u8]) -> Result<Envelope, Reject> {
    let (lengths, rest) = body.split_first_chunk::<LENGTHS>().map(front).ok_or(Reject::Corrupt)?;
    let (mut numbers, rest) = rest.split_first_chunk::<NUMBERS>().map(front).ok_or(Reject::Corrupt)?;
    let lengths = Lengths::read(lengths);
    if lengths.total() != body.len() as u64 {
        return Err(Reject::Corrupt);
    }
    if !lengths.are_allowed() {
        return Err(Reject::Size);
    }
    // From here on, every part is where its length says.
    let (epoch, rest) = rest.split_at(lengths.epoch.into());
    let (tags, rest) = rest.split_at(usize::from(lengths.tags) * size_of::<TagName>());
    let (own_key, payload) = rest.split_at(lengths.key as usize);
    if own_key != key {
        return Err(Reject::Key);
    }
    Ok(Envelope {
        position: numbers.get_u64(),
        stored_ms: numbers.get_u64(),
        life_ms: numbers.get_u64(),
        epoch: Epoch::slice(body.slice_ref(epoch)),
        tags: tags.as_chunks().0.iter().copied().map(TagName).collect(),
        payload: body.slice(body.len() - payload.len()..),
    })
}

/// Something of known length, to be read number by number, and what follows.
fn front<'a, const N: usize>((front, rest): (&'a [u8; N], &'a [u8])) -> (&'a [u8], &'a [u8]) {
    (front, rest)
}

pub(super) fn put_checksum(out: &mut Vec<u8>) {
    let checksum = crc32fast::hash(out);
    out.put_u32(checksum);
}

/// The body of a plain frame, if all of it is as it was written.
pub(super) fn checked(frame: &Bytes) -> Result<Bytes, Reject> {
    let (covered, checksum) = frame.split_last_chunk::<CHECKSUM>().ok_or(Reject::Corrupt)?;
    if covered.len() < HEAD || crc32fast::hash(covered).to_be_bytes() != *checksum {
        return Err(Reject::Corrupt);
    }
    Ok(frame.slice(HEAD..frame.len() - CHECKSUM))
}
