//! How what subjects may do is kept: sealed, under names that only who has the key can tell.

use super::names::sealed;
use super::seal::{KeyRing, Secret};
use super::{Codec, Reject};
use crate::Error;
use crate::observe::stats::RejectReason;
use crate::store::key::hex;
use crate::store::remote::{Envelope, Family, Format, TagName, Vault};
use bytes::Bytes;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The version of what values are encoded as.
const SCHEMA: u16 = 1;

/// A set of permissions has at most 48 KiB: what is longer was written by nobody of us.
const MAX_BYTES: usize = 64 << 10;

/// The vault of one key. All of a ring open what any of them has sealed, and the first one seals.
pub(crate) struct SealedVault {
    namespace: Box<str>,
    family: Family,
    codec: Arc<Codec>,
    naming: Hmac<Sha256>,
    tagging: Hmac<Sha256>,
    fingerprint: String,
}

/// Keys are known by their fingerprints.
impl fmt::Debug for SealedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealedVault").field(&self.fingerprint).finish()
    }
}

impl SealedVault {
    /// One for each key of the value that `setting` has.
    pub(crate) fn all(namespace: &str, (setting, keys): (&str, &str), family: Family) -> Result<Vec<Self>, Error> {
        let secrets = Secret::parse_all(setting, keys)?;
        let sealing: Vec<_> = secrets.iter().map(|secret| derived(secret, b"terrace seal")).collect();
        let ring: KeyRing = secrets.iter().map(|secret| &*secret.id).zip(&sealing).collect();
        let codec = Arc::new(Codec::new(namespace, SCHEMA, MAX_BYTES).sealed_by(ring));
        let vault = |secret| Self {
            namespace: namespace.into(),
            family,
            codec: Arc::clone(&codec),
            naming: keyed(&derived(secret, b"terrace name")),
            tagging: keyed(&derived(secret, b"terrace tag")),
            fingerprint: hex(&derived(secret, b"terrace fingerprint")[..8]),
        };
        Ok(secrets.iter().map(vault).collect())
    }

    fn name(&self, key: &[u8]) -> Vec<u8> {
        let name = self.naming.clone().chain_update(key).finalize().into_bytes();
        (sealed((self.family)(key), &self.namespace) + &hex(&name)).into_bytes()
    }
}

/// RFC 5869: neither the key of the operator nor another one that is made of it can be told from the result.
fn derived(secret: &Secret, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, &*secret.key).expand(purpose, &mut *key).expect("it makes up to 8,160 bytes");
    key
}

fn keyed(key: &Zeroizing<[u8; 32]>) -> Hmac<Sha256> {
    Hmac::new_from_slice(&**key).expect("it takes keys of any length")
}

impl Format for SealedVault {
    fn name(&self, key: &[u8]) -> Vec<u8> {
        Self::name(self, key)
    }

    fn max_bytes(&self) -> usize {
        MAX_BYTES
    }

    /// Bound to its full name: copied to another, it does not open.
    fn encode(&self, key: &[u8], envelope: &Envelope) -> Option<Bytes> {
        self.codec.encode(&Self::name(self, key), envelope).ok()
    }

    fn decode(&self, key: &[u8], value: Bytes) -> Result<Envelope, RejectReason> {
        self.codec.decode(&Self::name(self, key), value).map_err(Reject::reason)
    }
}

impl Vault for SealedVault {
    fn tag(&self, about: &[u8]) -> TagName {
        let namespace = (self.namespace.len() as u64).to_be_bytes();
        let tag = self.tagging.clone().chain_update(namespace).chain_update(&*self.namespace).chain_update(about);
        TagName(*tag.finalize().into_bytes().first_chunk().expect("there are twice as many"))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
