//! What the fuzz target `envelope` drives: the codec is private to this crate, and the target is a crate of its own.

use super::frame::{self, COMPRESSED, Head, SEALED};
use super::{Codec, Envelope, Front, KeyRing, Outline, Reject, Unstorable};
use crate::store::remote::{Epoch, TagName};
use bytes::Bytes;
use std::sync::LazyLock;

const SCHEMA: u16 = 1;
const MAX: usize = 2048;

static CODECS: LazyLock<[Codec; 3]> = LazyLock::new(|| {
    let codec = || Codec::new("fuzz", SCHEMA, MAX);
    let ring = "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,b:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let sealed = codec().compress_above(64).sealed_by(KeyRing::parse("CACHE_KEYS", ring).expect("two keys"));
    [codec(), codec().compress_above(16), sealed]
});

/// An entry, and what happens to it on its way.
#[derive(Debug)]
pub struct Input<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// The epoch of its stamp.
    pub epoch: &'a [u8],
    /// The position of its stamp, when it was stored, and for how long.
    pub numbers: [u64; 3],
    /// Its tags.
    pub tags: Vec<[u8; 16]>,
    /// Its payload.
    pub payload: &'a [u8],
    /// The bit that is changed, counted from the end round and round.
    pub bit: usize,
}

/// Decodes bytes as they are, and as bodies of frames that are right.
///
/// # Panics
///
/// If something is wrong with the codec.
pub fn decode(key: &[u8], bytes: &[u8]) {
    let _ = Outline::of(bytes);
    for codec in &*CODECS {
        let _ = codec.key_in(bytes);
        judge(codec, key, bytes.to_vec().into());
        for flags in [0, COMPRESSED] {
            judge(codec, key, around(codec, flags, key, bytes));
        }
    }
}

/// Encodes and decodes an entry, whole and damaged.
///
/// # Panics
///
/// If something is wrong with the codec.
pub fn round_trip(input: &Input<'_>) {
    let envelope = Envelope {
        epoch: Epoch::new(input.epoch),
        position: input.numbers[0],
        stored_ms: input.numbers[1],
        life_ms: input.numbers[2],
        tags: input.tags.iter().copied().map(TagName).collect(),
        payload: input.payload.to_vec().into(),
    };
    let packed = packed(input);
    for codec in &*CODECS {
        match codec.encode(input.key, &envelope) {
            Ok(bytes) => {
                assert!(bytes.len() <= MAX);
                assert_eq!(codec.decode(input.key, bytes.clone()), Ok(envelope.clone()));
                assert_eq!(codec.key_in(&bytes), Ok(Front::Key(input.key.to_vec())));
                damage(codec, input, &bytes);
            }
            Err(refused) => assert!(refused == Unstorable::Size && is_large(input), "{refused:?}"),
        }
        for payload in &packed {
            if let Ok(bytes) = codec.write(COMPRESSED, input.key, &envelope, payload) {
                judge(codec, input.key, bytes);
            }
        }
    }
}

/// What may be a zstd frame, what is one, perhaps of more than is allowed, and what nearly is one.
fn packed(input: &Input<'_>) -> [Vec<u8>; 3] {
    let whole = zstd::bulk::compress(input.payload, Codec::LEVEL).expect("it fits");
    let (mut damaged, bit) = (whole.clone(), input.bit % (whole.len() * 8));
    damaged[bit / 8] ^= 1 << (bit % 8);
    [input.payload.to_vec(), whole, damaged]
}

fn is_large(input: &Input<'_>) -> bool {
    // Of the head, the lock, the numbers and the tag.
    let fixed = 5 + 42 + 39 + 16;
    let len = fixed + input.epoch.len() + 16 * input.tags.len() + input.key.len() + input.payload.len();
    len > MAX || input.epoch.len() > 128
}

/// Neither a changed bit nor a missing end nor another key is overlooked.
fn damage(codec: &Codec, input: &Input<'_>, bytes: &Bytes) {
    let bit = input.bit % (bytes.len() * 8);
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    assert!(codec.decode(input.key, changed.into()).is_err(), "bit {bit}");
    assert!(codec.decode(input.key, bytes.slice(..bit / 8)).is_err(), "{} bytes", bit / 8);
    assert_eq!(codec.decode(&[input.key, b"x"].concat(), bytes.clone()), Err(Reject::Key));
}

/// The frame that `codec` would write around a body.
fn around(codec: &Codec, flags: u8, key: &[u8], body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    if let Some(ring) = &codec.ring {
        Head { flags: flags | SEALED, schema: SCHEMA }.put(&mut out);
        ring.seal(&mut out, &codec.place(key), |out| out.extend_from_slice(body)).expect("short");
    } else {
        Head { flags, schema: SCHEMA }.put(&mut out);
        out.extend_from_slice(body);
        frame::put_checksum(&mut out);
    }
    out.into()
}

/// What can be read is within the limits, and can be written again.
fn judge(codec: &Codec, key: &[u8], bytes: Bytes) {
    let Ok(envelope) = codec.decode(key, bytes.clone()) else { return };
    assert!(envelope.payload.len() <= MAX && envelope.tags.len() <= usize::from(frame::MAX_TAGS));
    let flags = bytes[2];
    match codec.encode(key, &envelope) {
        // There is one way to write what is neither compressed nor sealed.
        Ok(again) if flags == 0 && again[2] == 0 => assert_eq!(again, bytes),
        Ok(again) => assert_eq!(codec.decode(key, again), Ok(envelope)),
        Err(refused) => assert!(refused == Unstorable::Size && flags & COMPRESSED != 0),
    }
}
