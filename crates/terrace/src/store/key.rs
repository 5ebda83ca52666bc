use std::ops::Deref;
use std::sync::Arc;

/// What an entry is stored under: the full encoded key, and its hash.
///
/// The hash finds an entry; the full key is compared on every hit, so a collision is a miss. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    hash: u64,
    bytes: Arc<[u8]>,
}

impl Key {
    /// `hash` must be [`Tiers::hash`](crate::store::Tiers::hash) of `bytes`.
    pub(crate) fn new(hash: u64, bytes: &[u8]) -> Self {
        Self { hash, bytes: bytes.into() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn shared_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }
}

/// As text, two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        text
    })
}

/// An encoded key on the stack, unless it is uncommonly long.
pub(crate) struct KeyBuf {
    short: [u8; SHORT],
    len: usize,
    /// The whole key, if it is not short.
    long: Vec<u8>,
}

const SHORT: usize = 192;

impl KeyBuf {
    pub(crate) fn new() -> Self {
        Self { short: [0; SHORT], len: 0, long: Vec::new() }
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.long.is_empty()
            && let Some(room) = self.short[self.len..].get_mut(..bytes.len())
        {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
            return;
        }
        self.push_long(bytes);
    }

    #[cold]
    fn push_long(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.len]);
        }
        self.long.extend_from_slice(bytes);
    }
}

impl Deref for KeyBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.len] } else { &self.long }
    }
}
