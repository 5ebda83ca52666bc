use super::*;
use crate::store::remote::{Epoch, TagName};
use chacha20poly1305::XNonce;
use proptest::prelude::*;

const KEY: &[u8] = b"GET https://example.com/users/jane?token=secret";
const SCHEMA: u16 = 0x0203;
const MAX: usize = 1 << 20;
const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

fn codec() -> Codec {
    Codec::new("shop", SCHEMA, MAX)
}

fn ring(keys: &[&str]) -> KeyRing {
    KeyRing::parse("CACHE_KEYS", &keys.join(",")).unwrap()
}

fn sealed(keys: &[&str]) -> Codec {
    codec().sealed_by(ring(keys))
}

fn envelope(payload: impl Into<Bytes>) -> Envelope {
    Envelope {
        epoch: Epoch::new(b"\0e0123456789abcdefghij0123456789abcdefghijnonce"),
        position: 0x0102_0304_0506_0708,
        tags: vec![TagName(*b"a tag, 16 bytes."), TagName([0xFF; 16])],
        stored_ms: 1_700_000_000_000,
        life_ms: u64::MAX,
        payload: payload.into(),
    }
}

/// Compresses well.
fn page() -> Envelope {
    envelope("<p>hello</p>".repeat(40))
}

fn encode(codec: &Codec, envelope: &Envelope) -> Vec<u8> {
    codec.encode(KEY, envelope).unwrap().into()
}

fn decode(codec: &Codec, bytes: impl Into<Vec<u8>>) -> Result<Envelope, Reject> {
    codec.decode(KEY, bytes.into().into())
}

/// A plain frame around whatever body, with the right checksum.
fn framed(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Head { flags, schema: SCHEMA }.put(&mut out);
    out.extend_from_slice(body);
    frame::put_checksum(&mut out);
    out
}

/// Changes something of a plain frame that the checksum covers, and the checksum.
fn forged(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame[..frame.len() - frame::CHECKSUM].to_vec();
    change(&mut frame);
    frame::put_checksum(&mut frame);
    frame
}

/// Each version of the format, as its bytes have been since its first release.
mod golden {
    use super::*;

    struct Golden {
        bytes: Vec<u8>,
        codec: Codec,
        envelope: Envelope,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.as_chunks().0.iter().map(byte).collect()
    }

    fn all() -> [Golden; 4] {
        let of = |hex, codec, envelope| Golden { bytes: bytes(hex), codec, envelope };
        [
            of(include_str!("golden/1-plain.hex"), codec(), envelope("hello")),
            of(include_str!("golden/1-compressed.hex"), codec(), page()),
            of(include_str!("golden/1-sealed.hex"), sealed(&[OLD]), envelope("hello")),
            of(include_str!("golden/1-compressed-sealed.hex"), sealed(&[OLD]), page()),
        ]
    }

    #[test]
    fn is_read() {
        for Golden { bytes, codec, envelope } in all() {
            assert_eq!(decode(&codec, bytes), Ok(envelope));
        }
    }

    /// But for what zstd writes, which is zstd's to change.
    #[test]
    fn is_written() {
        let [plain, _, sealed, _] = all();
        assert_eq!(encode(&plain.codec, &plain.envelope), plain.bytes);
        let (mut out, body) = (Vec::new(), frame::Body::new(KEY, &sealed.envelope, b"hello").unwrap());
        Head { flags: SEALED, schema: SCHEMA }.put(&mut out);
        let nonce = XNonce::from(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        ring(&[OLD]).seal_with(&nonce, &mut out, &sealed.codec.place(KEY), |out| body.put(out)).unwrap();
        assert_eq!(out, sealed.bytes);
    }

    #[test]
    fn no_other_length_is_read() {
        for Golden { bytes, codec, .. } in all() {
            for len in 0..bytes.len() {
                assert!(decode(&codec, &bytes[..len]).is_err(), "{len} of {}", bytes.len());
            }
            for longer in [[&bytes[..], &[0]].concat(), [&bytes[..], &bytes[..]].concat()] {
                assert!(decode(&codec, longer).is_err());
            }
        }
    }

    #[test]
    fn no_changed_bit_is_read() {
        for Golden { bytes, codec, .. } in all() {
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&codec, changed).is_err(), "bit {bit}");
            }
        }
    }
}

#[test]
fn what_was_not_written_by_this_version_of_this_application_is_told_apart() {
    let bytes = encode(&codec(), &page());
    let other = |change: fn(&mut Vec<u8>)| decode(&codec(), forged(&bytes, change));
    assert_eq!(other(|bytes| bytes[0] = b'{'), Err(Reject::Corrupt));
    assert_eq!(other(|bytes| bytes[1] = 2), Err(Reject::Version));
    assert_eq!(other(|bytes| bytes[2] = 4), Err(Reject::Version));
    assert_eq!(other(|bytes| bytes[4] ^= 1), Err(Reject::Schema));
    assert_eq!(other(|bytes| bytes.truncate(bytes.len() - 1)), Err(Reject::Corrupt));
    assert_eq!(decode(&codec(), &bytes[..bytes.len() - 1]), Err(Reject::Corrupt));
    assert_eq!(decode(&Codec::new("shop", SCHEMA + 1, MAX), &*bytes), Err(Reject::Schema));
    assert_eq!(decode(&codec(), "{\"body\": \"of another program\"}"), Err(Reject::Corrupt));
    for short in 0..=frame::HEAD + frame::CHECKSUM {
        assert_eq!(decode(&codec(), framed(0, &vec![0; short])), Err(Reject::Corrupt));
    }
}

#[test]
fn another_key_is_not_answered() {
    let bytes = Bytes::from(encode(&codec(), &page()));
    for key in [&b""[..], &KEY[1..], &[KEY, b"x"].concat(), &KEY.to_ascii_uppercase()] {
        assert_eq!(codec().decode(key, bytes.clone()), Err(Reject::Key));
    }
}

#[test]
fn every_reject_is_counted() {
    let reasons = [
        (Reject::Corrupt, RejectReason::Corrupt),
        (Reject::Version, RejectReason::Schema),
        (Reject::Schema, RejectReason::Schema),
        (Reject::Key, RejectReason::Key),
        (Reject::Size, RejectReason::Size),
        (Reject::Seal, RejectReason::Seal),
        (Reject::Unopened, RejectReason::Key),
    ];
    for (reject, reason) in reasons {
        assert_eq!(reject.reason(), reason);
    }
}

mod size {
    use super::*;

    #[test]
    fn a_value_may_be_as_large_as_the_limit_and_no_larger() {
        for (keys, flags) in [(None, 0), (Some([OLD]), SEALED)] {
            let with_limit = |limit| {
                let codec = Codec::new("shop", SCHEMA, limit);
                match keys {
                    Some(keys) => codec.sealed_by(ring(&keys)),
                    None => codec,
                }
            };
            let bytes = encode(&with_limit(MAX), &page());
            assert_eq!(bytes[2], flags);
            let (enough, short) = (with_limit(bytes.len()), with_limit(bytes.len() - 1));
            assert_eq!(enough.encode(KEY, &page()).map(|bytes| bytes.len()), Ok(bytes.len()));
            assert_eq!(decode(&enough, &*bytes), Ok(page()));
            assert_eq!(short.encode(KEY, &page()), Err(Unstorable::Size));
            assert_eq!(decode(&short, bytes), Err(Reject::Size));
        }
    }

    #[test]
    fn parts_may_be_as_long_as_their_limits_and_no_longer() {
        let key = |more| vec![b'k'; frame::MAX_KEY as usize + more];
        let epoch = |more| Envelope { epoch: Epoch::new(&vec![b'e'; usize::from(frame::MAX_EPOCH) + more]), ..page() };
        let tags = |more| Envelope { tags: vec![TagName([7; 16]); usize::from(frame::MAX_TAGS) + more], ..page() };
        for (key, envelope) in [(key(0), page()), (KEY.to_vec(), epoch(0)), (KEY.to_vec(), tags(0))] {
            let bytes = codec().encode(&key, &envelope).unwrap();
            assert_eq!(codec().decode(&key, bytes), Ok(envelope));
        }
        for (key, envelope) in [(key(1), page()), (KEY.to_vec(), epoch(1)), (KEY.to_vec(), tags(1))] {
            assert_eq!(codec().encode(&key, &envelope), Err(Unstorable::Size));
        }
    }

    #[test]
    fn forged_lengths_are_checked_against_what_is_there() {
        let bytes = encode(&codec(), &page());
        for at in frame::HEAD..frame::HEAD + 11 {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFF].into_iter().filter(|&value| value != bytes[at]) {
                assert_eq!(decode(&codec(), forged(&bytes, |bytes| bytes[at] = value)), Err(Reject::Corrupt));
            }
        }
        // They add up, and are longer than allowed.
        let part = |epoch: u8, tags: u16, key: u32| {
            let mut body = vec![epoch];
            body.extend(tags.to_be_bytes());
            body.extend(key.to_be_bytes());
            body.resize(35 + usize::from(epoch) + usize::from(tags) * 16 + key as usize, 0);
            framed(0, &body)
        };
        let (epoch, tags, key) = (frame::MAX_EPOCH, frame::MAX_TAGS, frame::MAX_KEY);
        assert_eq!(decode(&codec(), part(epoch, tags, key)), Err(Reject::Key));
        for longer in [part(epoch + 1, 0, 0), part(0, tags + 1, 0), part(0, 0, key + 1)] {
            assert_eq!(decode(&codec(), longer), Err(Reject::Size));
        }
    }
}

#[test]
fn a_plain_payload_is_a_slice_of_what_came() {
    let bytes = codec().encode(KEY, &page()).unwrap();
    let came = bytes.as_ptr_range();
    let payload = codec().decode(KEY, bytes.clone()).unwrap().payload;
    assert!(came.start < payload.as_ptr() && payload.as_ptr_range().end < came.end);
    assert_eq!(payload.as_ptr() as usize - came.start as usize, bytes.len() - frame::CHECKSUM - payload.len());
}

#[test]
fn a_sealed_payload_is_opened_where_it_is_if_nobody_else_holds_it() {
    let codec = sealed(&[OLD]);
    let bytes = codec.encode(KEY, &page()).unwrap();
    let (came, copy) = (bytes.as_ptr_range(), bytes.clone());
    let elsewhere = codec.decode(KEY, copy).unwrap().payload;
    assert!(!came.contains(&elsewhere.as_ptr()));
    let payload = codec.decode(KEY, bytes).unwrap().payload;
    assert!(came.contains(&payload.as_ptr()));
    assert_eq!(payload, elsewhere);
}

mod compression {
    use super::*;

    #[test]
    fn is_used_above_its_limit_if_it_makes_smaller() {
        let (len, plain) = (page().payload.len(), encode(&codec(), &page()));
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(4096).collect();
        assert_eq!(encode(&codec().compress_above(len), &page()), plain);
        assert_eq!(encode(&codec().compress_above(0), &envelope("")), encode(&codec(), &envelope("")));
        assert_eq!(encode(&codec().compress_above(0), &envelope(noise.clone()))[2], 0);
        let smaller = encode(&codec().compress_above(len - 1), &page());
        assert!(smaller[2] == COMPRESSED && smaller.len() < plain.len() - 300);
        assert_eq!(decode(&codec(), smaller), Ok(page()));
    }

    #[test]
    fn bounds_what_is_compressed_too() {
        let codec = Codec::new("shop", SCHEMA, page().payload.len()).compress_above(0);
        let bytes = encode(&codec, &page());
        assert_eq!(decode(&codec, &*bytes), Ok(page()));
        let smaller = Codec::new("shop", SCHEMA, page().payload.len() - 1).compress_above(0);
        assert_eq!(smaller.encode(KEY, &page()), Err(Unstorable::Size));
        assert_eq!(decode(&smaller, bytes), Err(Reject::Size));
    }

    /// A payload that says it is compressed.
    fn unpacked(codec: &Codec, payload: &[u8]) -> Result<usize, Reject> {
        let bytes = codec.write(COMPRESSED, KEY, &page(), payload).unwrap();
        codec.decode(KEY, bytes).map(|envelope| envelope.payload.len())
    }

    /// A zstd frame that says how long its content is, and has one block (RFC 8878, sections 3.1.1 and 3.1.1.2).
    fn zstd_frame(content: u64, kind: u32, len: u32, block: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0b1110_0000];
        frame.extend(content.to_le_bytes());
        frame.extend(&(1 | kind << 1 | len << 3).to_le_bytes()[..3]);
        frame.extend(block);
        frame
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; MAX + 1], 19).unwrap();
        assert!(bomb.len() < 200);
        assert_eq!(unpacked(&codec(), &bomb), Err(Reject::Size));
        let most = zstd::bulk::compress(&vec![0; MAX], 19).unwrap();
        assert_eq!(unpacked(&codec(), &most), Ok(MAX));
        // It declares more than there is memory: allocating that would end the process.
        for declared in [1 << 62, u64::MAX - 2] {
            let bomb = zstd_frame(declared, 1, 100, b"x");
            assert_eq!(unpacked(&codec(), &bomb), Err(Reject::Size));
            assert_eq!(unpacked(&Codec::new("shop", SCHEMA, usize::MAX), &bomb), Err(Reject::Corrupt));
        }
    }

    #[test]
    fn content_has_the_declared_length() {
        assert_eq!(unpacked(&codec(), &zstd_frame(100, 1, 100, b"x")), Ok(100));
        for wrong in [0, 1, 99, 101, 100_000] {
            assert_eq!(unpacked(&codec(), &zstd_frame(wrong, 1, 100, b"x")), Err(Reject::Corrupt));
        }
        let whole = zstd_frame(100, 1, 100, b"x");
        let undeclared = zstd::stream::encode_all(&b"hello"[..], 1).unwrap();
        for broken in
            [&b""[..], b"x", &whole[..9], &whole[..whole.len() - 1], &[&whole[..], &whole].concat(), &undeclared]
        {
            assert_eq!(unpacked(&codec(), broken), Err(Reject::Corrupt));
        }
    }
}

mod seals {
    use super::*;

    #[test]
    fn nothing_of_the_key_or_the_payload_can_be_read() {
        let bytes = encode(&sealed(&[OLD]), &page());
        let reads = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(reads(b"old"));
        // So many bytes that none are alike by chance.
        assert!(KEY.windows(8).all(|part| !reads(part)));
        assert!(!reads(b"hello") && !reads(&page().tags[0].0) && !reads(b"0123456789"));
        // Alike only in what everybody may know: the head, whose key it is, and who sealed.
        let again = encode(&sealed(&[OLD]), &page());
        assert_ne!(again, bytes);
        assert_eq!(decode(&sealed(&[OLD]), again), decode(&sealed(&[OLD]), bytes));
    }

    #[test]
    fn rings_rotate() {
        let old = encode(&sealed(&[OLD]), &page());
        let both = sealed(&[NEW, OLD]);
        assert_eq!(decode(&both, &*old), Ok(page()));
        let new = encode(&both, &page());
        assert_eq!(decode(&sealed(&[OLD, NEW]), &*new), Ok(page()));
        assert_eq!(decode(&sealed(&[NEW]), &*new), Ok(page()));
        let removed = decode(&sealed(&[NEW]), &*old);
        assert_eq!(removed, Err(Reject::Unopened));
        assert_eq!(removed.unwrap_err().reason(), RejectReason::Key);
        let renamed = NEW.replace("new", "old");
        assert_eq!(decode(&sealed(&[&renamed]), &*old), Err(Reject::Seal));
    }

    #[test]
    fn what_is_not_sealed_is_not_believed() {
        let plain = encode(&codec(), &page());
        assert_eq!(decode(&sealed(&[OLD]), &*plain), Err(Reject::Seal));
        assert_eq!(decode(&codec(), encode(&sealed(&[OLD]), &page())), Err(Reject::Unopened));
        let relabelled = forged(&plain, |bytes| bytes[2] |= SEALED);
        assert!(decode(&sealed(&[OLD]), relabelled).is_err());
    }

    #[test]
    fn a_value_opens_in_its_place_only() {
        let bytes = encode(&sealed(&[OLD]), &page());
        let moved = |codec: &Codec, key: &[u8], bytes: &[u8]| codec.decode(key, bytes.to_vec().into());
        assert_eq!(moved(&sealed(&[OLD]), b"other", &bytes), Err(Reject::Key));
        // Whoever moves it can also write the digest of the key that he moves it to.
        let mut forged = bytes.clone();
        forged[frame::HEAD + 24..][..16].copy_from_slice(&names::key_digest(b"other"));
        assert_eq!(moved(&sealed(&[OLD]), b"other", &forged), Err(Reject::Seal));
        let elsewhere = |namespace, schema| Codec::new(namespace, schema, MAX).sealed_by(ring(&[OLD]));
        assert_eq!(moved(&elsewhere("bank", SCHEMA), KEY, &bytes), Err(Reject::Seal));
        assert_eq!(moved(&elsewhere("shop", SCHEMA + 1), KEY, &bytes), Err(Reject::Schema));
        let mut forged = bytes.clone();
        forged[4] ^= 1;
        assert_eq!(moved(&elsewhere("shop", SCHEMA ^ 1), KEY, &forged), Err(Reject::Seal));
        // Parts cannot be moved between namespace and key.
        let own = Codec::new("a", SCHEMA, MAX).sealed_by(ring(&[OLD])).encode(b"bc", &page()).unwrap();
        let mut forged = own.to_vec();
        forged[frame::HEAD + 24..][..16].copy_from_slice(&names::key_digest(b"c"));
        assert_eq!(moved(&elsewhere("ab", SCHEMA), b"c", &forged), Err(Reject::Seal));
    }

    #[test]
    fn rings_show_ids_only() {
        let ring = ring(&[NEW, OLD]);
        assert_eq!(format!("{ring:?}"), "[\"new\", \"old\"]");
        assert!(format!("{:?}", codec().sealed_by(ring)).contains("[\"new\", \"old\"]"));
    }

    #[test]
    fn malformed_rings_are_refused_without_showing_them() {
        let base64 = &OLD[4..];
        let short = base64.get(..40).unwrap();
        let cases = [
            (String::new(), "is malformed at key 1"),
            (base64.to_owned(), "is malformed at key 1"),
            (format!(":{base64}"), "is malformed at key 1"),
            (format!("{base64}:id"), "is malformed at key 1"),
            (format!("id:{short}"), "is malformed at key 1"),
            (format!("id:{short}===="), "is malformed at key 1"),
            (format!("id:{}", base64.trim_end_matches('=')), "is malformed at key 1"),
            (format!("id:{base64}{base64}"), "is malformed at key 1"),
            (format!("a b:{base64}"), "is malformed at key 1"),
            (format!("{}:{base64}", "x".repeat(17)), "is malformed at key 1"),
            (format!("{OLD}, {NEW}"), "is malformed at key 2"),
            (format!("{OLD},"), "is malformed at key 2"),
            (format!("{OLD},{NEW},{OLD}"), "repeats an id at key 3"),
            (format!("{OLD},{NEW},a:{base64},b:{base64}"), "has more than 3 keys"),
        ];
        for (text, what) in cases {
            let error = KeyRing::parse("CACHE_KEYS", &text).unwrap_err();
            assert!(error.is_config());
            let shown = format!("{error} {error:?}");
            assert!(shown.starts_with(&format!("CACHE_KEYS {what}; it accepts 1 to 3 of `id:key`")), "{shown}");
            assert!(!shown.contains(&base64[..8]));
        }
        let long = format!("{}:{base64}", "x".repeat(16));
        KeyRing::parse("CACHE_KEYS", &[NEW, &long, OLD].join(",")).unwrap();
    }
}

prop_compose! {
    fn envelopes()(
        epoch in prop::collection::vec(any::<u8>(), 0..=128),
        position: u64,
        tags in prop::collection::vec(any::<[u8; 16]>(), 0..20),
        stored_ms: u64,
        life_ms: u64,
        // Both what compresses and what does not.
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..500),
            ("[ab]{0,20}", 0usize..50).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        ],
    ) -> Envelope {
        let (epoch, tags) = (Epoch::new(&epoch), tags.into_iter().map(TagName).collect());
        Envelope { epoch, position, tags, stored_ms, life_ms, payload: payload.into() }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(envelope in envelopes(), key: Vec<u8>, above in prop::option::of(0usize..300), seal: bool) {
        let codec = Codec { compress_above: above, ring: seal.then(|| ring(&[OLD])), ..codec() };
        let bytes = codec.encode(&key, &envelope).unwrap();
        prop_assert_eq!(codec.decode(&key, bytes.clone()), Ok(envelope));
        let other = [&key[..], b"x"].concat();
        prop_assert_eq!(codec.decode(&other, bytes), Err(Reject::Key));
    }

    #[test]
    fn anything_else_is_refused(bytes: Vec<u8>, flags in 0u8..4, head in 0usize..=5, seal: bool) {
        let codec = Codec { ring: seal.then(|| ring(&[OLD])), ..codec() };
        // With more or less of a right beginning, and a right end.
        let mut frame = [0xC7, 1, flags, 2, 3][..head].to_vec();
        frame.extend(bytes);
        prop_assert!(decode(&codec, &*frame).is_err());
        frame::put_checksum(&mut frame);
        prop_assert!(decode(&codec, frame).is_err());
    }
}

/// What is found out without knowing the key.
mod front {
    use super::*;

    #[test]
    fn the_key_is_found_as_soon_as_its_bytes_are_there() {
        for codec in [codec(), codec().compress_above(16), sealed(&[OLD]), sealed(&[NEW, OLD])] {
            let frame = encode(&codec, &page());
            let whole = codec.key_in(&frame);
            assert_eq!(whole, Ok(Front::Key(KEY.to_vec())));
            let mut found = false;
            for end in 0..frame.len() {
                match codec.key_in(&frame[..end]) {
                    Ok(Front::Key(key)) => {
                        assert_eq!(key, KEY);
                        found = true;
                    }
                    Ok(Front::Longer(len)) => {
                        assert!(end < len && !found, "{end} of {len}");
                        assert_eq!(codec.key_in(&frame[..len]), whole);
                    }
                    Err(_) => assert!(end < 120 && !found, "{end} are enough to know more"),
                }
            }
            assert!(found, "long before the end");
        }
    }

    #[test]
    fn who_has_not_the_key_of_a_seal_learns_its_id_and_nothing_else() {
        let frame = encode(&sealed(&[OLD]), &page());
        assert_eq!(codec().key_in(&frame), Err(Reject::Unopened));
        assert_eq!(sealed(&[NEW]).key_in(&frame), Err(Reject::Unopened));
        let same_id = NEW.replace("new:", "old:");
        assert_ne!(sealed(&[&same_id]).key_in(&frame), Ok(Front::Key(KEY.to_vec())));
        let expected = Outline { version: 1, schema: SCHEMA, compressed: false, sealed_by: Some("old".into()) };
        assert_eq!(Outline::of(&frame), Ok(expected));
        let plain = Outline { version: 1, schema: SCHEMA, compressed: true, sealed_by: None };
        assert_eq!(Outline::of(&encode(&codec().compress_above(16), &page())), Ok(plain));
    }

    proptest! {
        #[test]
        fn nothing_that_is_found_is_trusted(bytes in proptest::collection::vec(any::<u8>(), 0..300), flags in 0..4_u8) {
            let mut frame = Vec::new();
            Head { flags, schema: SCHEMA }.put(&mut frame);
            frame.extend(bytes);
            for codec in [codec(), sealed(&[OLD])] {
                if let Ok(Front::Longer(len)) = codec.key_in(&frame) {
                    prop_assert!(len < 128 << 10, "{} bytes would be asked for", len);
                }
            }
            let _ = Outline::of(&frame);
        }
    }
}
