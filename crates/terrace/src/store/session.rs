//! Receipts as text, for clients to bring back.

use super::coherence::{Position, Receipt};
use super::remote::{Envelope, Format};
use super::{Error, Store};
use base64ct::{Base64UrlUnpadded, Encoding};
use bytes::Bytes;
use std::time::Duration;

/// What a receipt is sealed as: no key of an entry is this short.
const KEY: &[u8] = b"receipt";

/// Longer texts are none of ours.
const LONGEST: usize = 1024;

impl Store {
    /// Makes sure that receipts can be handed to clients.
    ///
    /// # Errors
    ///
    /// If no keys are set: a receipt that anybody can write lets anybody empty the cache.
    pub(crate) fn can_seal(&self) -> Result<(), Error> {
        let is_sealed = self.inner.l2.is_some() && self.inner.config.seal_keys().is_some();
        let text = "receipts for clients need a store that processes share, and CACHE_KEYS to seal them with";
        if is_sealed { Ok(()) } else { Err(Error::config(text.to_owned())) }
    }

    /// A receipt as text that only processes with the same keys can read or make; `None` if it is of no use to other
    /// processes.
    pub(crate) fn seal_receipt(&self, receipt: &Receipt) -> Option<String> {
        seal(&*self.inner.l2.as_ref()?.remote.open_format(), receipt)
    }

    /// The receipt that a client brought; `None` if it was not made with one of our keys.
    pub(crate) fn open_receipt(&self, text: &str) -> Option<Receipt> {
        open(&*self.inner.l2.as_ref()?.remote.open_format(), text)
    }

    /// How long a receipt can make a difference: after that, no memory is that far behind.
    pub(crate) fn receipt_life(&self) -> Duration {
        self.inner.settings.max_lag() + self.inner.settings.degraded_max()
    }
}

/// A receipt as text; `None` if it is of no use to other processes.
pub(crate) fn seal(format: &dyn Format, receipt: &Receipt) -> Option<String> {
    let (epoch, position) = (receipt.epoch.clone()?, receipt.position.get());
    let (tags, payload) = (Vec::new(), Bytes::new());
    let envelope = Envelope { epoch, position, tags, stored_ms: 0, life_ms: 0, payload };
    Some(Base64UrlUnpadded::encode_string(&format.encode(KEY, &envelope)?))
}

/// What such a text says; `None` if the format has not made it.
pub(crate) fn open(format: &dyn Format, text: &str) -> Option<Receipt> {
    if text.len() > LONGEST {
        return None;
    }
    let sealed = Base64UrlUnpadded::decode_vec(text).ok()?;
    let envelope = format.decode(KEY, sealed.into()).ok()?;
    Some(Receipt { epoch: Some(envelope.epoch), position: Position::at(envelope.position), replicas: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::remote::Epoch;

    fn store(namespace: &str, keys: &str) -> Store {
        // Nobody is asked.
        let place = ("REDIS_HOST", "127.0.0.1");
        Store::from_vars([place, ("CACHE_NAMESPACE", namespace), ("CACHE_KEYS", keys)]).unwrap()
    }

    #[tokio::test]
    async fn only_who_has_the_key_reads_or_makes_a_receipt() {
        let [old, new] = ["A", "Q"].map(|id| format!("{id}:{}=", id.repeat(43)));
        let both = format!("{new},{old}");
        let receipt = Receipt { epoch: Some(Epoch::new(b"\0eone")), position: Position::at(7), replicas: None };
        let text = store("shop", &old).seal_receipt(&receipt).unwrap();
        assert!(text.len() < 200, "{}", text.len());
        assert_eq!(store("shop", &old).open_receipt(&text), Some(receipt.clone()));
        assert_eq!(store("shop", &both).open_receipt(&text), Some(receipt), "after the keys were rotated");
        assert_eq!(store("shop", &new).open_receipt(&text), None);
        assert_eq!(store("stall", &old).open_receipt(&text), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last character has bits that say nothing, and must be zero.
            assert_eq!(store("shop", &old).open_receipt(&forged), None, "at {at}");
        }
        for text in ["", "AAAA", "no base64!", &"A".repeat(LONGEST + 4)] {
            assert_eq!(store("shop", &old).open_receipt(text), None);
        }
        let of_this_process = Receipt { epoch: None, position: Position::at(7), replicas: None };
        assert_eq!(store("shop", &old).seal_receipt(&of_this_process), None);
    }

    #[tokio::test]
    async fn a_receipt_is_no_entry() {
        let keys = format!("a:{}=", "A".repeat(43));
        let receipt = Receipt { epoch: Some(Epoch::new(b"\0eone")), position: Position::at(7), replicas: None };
        let store = store("shop", &keys);
        let sealed = Base64UrlUnpadded::decode_vec(&store.seal_receipt(&receipt).unwrap()).unwrap();
        let remote = &store.inner.l2.as_ref().unwrap().remote;
        assert!(remote.open_format().decode(b"the key of an entry", sealed.into()).is_err());
    }
}
