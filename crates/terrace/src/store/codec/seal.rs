//! Seals: what is in Redis can be neither read nor changed nor moved by whoever has no key.
//!
//! XChaCha20-Poly1305: its nonces of 192 bits are chosen at random by any number of processes without ever meeting, it
//! is fast and takes constant time without help from the processor, and its crate clears keys from memory.

use super::frame::HEAD;
use super::names::key_digest;
use super::{Reject, Unstorable};
use crate::Error;
use base64ct::{Base64, Encoding};
use bytes::{BufMut, Bytes, BytesMut};
use chacha20poly1305::aead::{AeadInOut, Generate, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use std::fmt;
use zeroize::Zeroizing;

const NONCE: usize = 24;
const DIGEST: usize = 16;
const TAG: usize = 16;

/// The keys of one store: the first seals, all open.
pub(crate) struct KeyRing(Vec<SealKey>);

struct SealKey {
    id: Box<str>,
    cipher: XChaCha20Poly1305,
}

/// Where a sealed value belongs. Anywhere else it does not open.
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) key: &'a [u8],
}

impl KeyRing {
    /// Reads the value of `variable`, see [`Secret::parse_all`].
    pub(crate) fn parse(variable: &str, text: &str) -> Result<Self, Error> {
        Ok(Secret::parse_all(variable, text)?.iter().map(|Secret { id, key }| (&**id, key)).collect())
    }

    /// What sealing adds to a body.
    pub(super) fn overhead(&self) -> usize {
        NONCE + DIGEST + 1 + self.sealer().id.len() + TAG
    }

    fn sealer(&self) -> &SealKey {
        // A text has a first part.
        &self.0[0]
    }

    /// Adds to a head what `put` adds to it, sealed.
    pub(super) fn seal(
        &self,
        out: &mut Vec<u8>,
        place: &Place<'_>,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Unstorable> {
        let nonce = XNonce::try_generate().map_err(|_| Unstorable::Random)?;
        self.seal_with(&nonce, out, place, put)
    }

    pub(super) fn seal_with(
        &self,
        nonce: &XNonce,
        out: &mut Vec<u8>,
        place: &Place<'_>,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Unstorable> {
        let SealKey { id, cipher } = self.sealer();
        out.put_slice(nonce);
        out.put_slice(&key_digest(place.key));
        out.put_u8(id.len().try_into().expect("ids are short"));
        out.put_slice(id.as_bytes());
        let (bound, at) = (place.bound(out), out.len());
        put(out);
        // It refuses only what is longer than 256 GiB.
        let tag = cipher.encrypt_inout_detached(nonce, &bound, (&mut out[at..]).into());
        out.put_slice(&tag.map_err(|_| Unstorable::Size)?);
        Ok(())
    }

    /// The body of a sealed frame. Opened where it is, if nobody else holds it.
    pub(super) fn open(&self, frame: Bytes, place: &Place<'_>) -> Result<Bytes, Reject> {
        let Lock { nonce, digest, id, end } = Lock::of(&frame).ok_or(Reject::Corrupt)?;
        let key = self.0.iter().find(|key| key.id.as_bytes() == id).ok_or(Reject::Unopened)?;
        if digest != key_digest(place.key) {
            return Err(Reject::Key);
        }
        let nonce = XNonce::from(nonce);
        let bound = place.bound(&frame[..end]);
        let mut body = BytesMut::from(frame).split_off(end);
        let tag = body.split_off(body.len().checked_sub(TAG).ok_or(Reject::Corrupt)?);
        let tag = Tag::try_from(&*tag).map_err(|_| Reject::Corrupt)?;
        match key.cipher.decrypt_inout_detached(&nonce, &bound, (&mut *body).into(), &tag) {
            Ok(()) => Ok(body.freeze()),
            Err(_) => Err(Reject::Seal),
        }
    }
}

impl KeyRing {
    /// The beginning of a sealed body, of which only the beginning is there, and where it begins. Nothing vouches for it:
    /// it is good for a guess that is checked otherwise, and for nothing else.
    pub(super) fn peek(&self, front: &[u8]) -> Result<(Vec<u8>, usize), Reject> {
        let Lock { nonce, id, end, .. } = Lock::of(front).ok_or(Reject::Corrupt)?;
        let key = self.0.iter().find(|key| key.id.as_bytes() == id).ok_or(Reject::Unopened)?;
        let mut body = front[end..].to_vec();
        // The cipher is a stream: what is sealed once more is open. The authentication tag of that goes nowhere.
        let sealed = key.cipher.encrypt_inout_detached(&XNonce::from(nonce), b"", (&mut *body).into());
        sealed.map(|_| (body, end)).map_err(|_| Reject::Size)
    }
}

/// The id of the key that has sealed an entry.
pub(super) fn sealer(frame: &[u8]) -> Result<String, Reject> {
    Lock::of(frame).map(|lock| lock.id.escape_ascii().to_string()).ok_or(Reject::Corrupt)
}

/// Keys are known by their ids.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// A key as an operator writes it.
pub(super) struct Secret {
    pub(super) id: Box<str>,
    pub(super) key: Zeroizing<[u8; 32]>,
}

impl Secret {
    /// One to seal with, one from before, and one to come.
    const MAX: usize = 3;
    const ACCEPTS: &'static str = "1 to 3 of `id:key` with commas between them, the sealing key first: an id is 1 to 16 \
        of `A-Z a-z 0-9 _ . -` and occurs once, a key is 32 random bytes in base64";

    /// Reads the value of `variable`: `id:key,id:key`. Errors tell the place of what is wrong, never a part of it.
    pub(super) fn parse_all(variable: &str, text: &str) -> Result<Vec<Self>, Error> {
        let refused = |what: String| Error::config(format!("{variable} {what}; it accepts {}", Self::ACCEPTS));
        let mut secrets: Vec<Self> = Vec::new();
        for (place, part) in (1..).zip(text.split(',')) {
            if place > Self::MAX {
                return Err(refused("has more than 3 keys".to_owned()));
            }
            let secret = Self::parse(part).ok_or_else(|| refused(format!("is malformed at key {place}")))?;
            if secrets.iter().any(|other| other.id == secret.id) {
                return Err(refused(format!("repeats an id at key {place}")));
            }
            secrets.push(secret);
        }
        Ok(secrets)
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, text) = text.split_once(':')?;
        let is_id = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
        if !(1..=16).contains(&id.len()) || !id.bytes().all(is_id) {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        let decoded = Base64::decode(text, &mut *key).ok()?;
        (decoded.len() == 32).then(|| Self { id: id.into(), key })
    }
}

/// The first of them seals.
impl<'a> FromIterator<(&'a str, &'a Zeroizing<[u8; 32]>)> for KeyRing {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a Zeroizing<[u8; 32]>)>>(keys: I) -> Self {
        let key = |(id, key): (&str, &Zeroizing<[u8; 32]>)| {
            let cipher = XChaCha20Poly1305::new_from_slice(&**key).expect("keys have 32 bytes");
            SealKey { id: id.into(), cipher }
        };
        Self(keys.into_iter().map(key).collect())
    }
}

/// What can be read of a sealed value without a key, after its head.
struct Lock<'a> {
    nonce: [u8; NONCE],
    digest: [u8; DIGEST],
    id: &'a [u8],
    /// Where the sealed part begins.
    end: usize,
}

impl<'a> Lock<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (nonce, rest) = frame.get(HEAD..)?.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (&len, rest) = rest.split_first()?;
        let (id, sealed) = rest.split_at_checked(len.into())?;
        Some(Self { nonce: *nonce, digest: *digest, id, end: frame.len() - sealed.len() })
    }
}

impl Place<'_> {
    /// All that a seal vouches for beside what it hides. Each part but the last tells its length.
    fn bound(&self, clear: &[u8]) -> Vec<u8> {
        let Self { namespace, key } = self;
        let mut bound = Vec::with_capacity(clear.len() + 8 + namespace.len() + key.len());
        bound.put_slice(clear);
        bound.put_u64(namespace.len() as u64);
        bound.put_slice(namespace.as_bytes());
        bound.put_slice(key);
        bound
    }
}
