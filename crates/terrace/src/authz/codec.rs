//! A set of permissions, or a decision, as bytes: counted, checked before it is believed, and the same in every version
//! that has the same number.

use super::decision::{Decision, DenyReason};
use super::grants::{Grant, Grants, SourceVersion};
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the bytes of a set begin with.
const SCHEMA: u8 = 1;

/// What those of a decision begin with. One byte follows.
const DECISION: u8 = 2;

const COMPLETE: u8 = 1;
const VERSIONED: u8 = 2;
const ENDS: u8 = 4;

/// Before every text there is its length.
const LEN: usize = 2;
/// A time, in milliseconds since 1970.
const TIME: usize = 8;
/// Schema, flags, version, end, and the counts of grants and denies.
const HEAD: usize = 2 + 8 + TIME + 2 * LEN;

/// How long the encoding is.
pub(super) fn encoded_len(grants: &Grants) -> usize {
    let text = |text: &str| LEN + text.len();
    let grant = |grant: &Grant| text(&grant.permission) + text(grant.via.as_deref().unwrap_or_default()) + 1 + TIME;
    HEAD + grants.granted().map(grant).sum::<usize>() + grants.denied().map(text).sum::<usize>()
}

/// Encodes a set; `None` if it is not one that is kept.
pub(super) fn encode(grants: &Grants) -> Option<Vec<u8>> {
    if !grants.is_kept() {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded_len(grants));
    let flag = |flag, on| if on { flag } else { 0 };
    let flags = flag(COMPLETE, grants.is_complete)
        | flag(VERSIONED, grants.version.is_some())
        | flag(ENDS, grants.not_after.is_some());
    bytes.extend([SCHEMA, flags]);
    bytes.extend(grants.version.map_or(0, |version| version.0).to_be_bytes());
    put_time(&mut bytes, grants.not_after);
    for count in [grants.granted().count(), grants.denied.len()] {
        bytes.extend(u16::try_from(count).ok()?.to_be_bytes());
    }
    for grant in grants.granted() {
        put_text(&mut bytes, &grant.permission)?;
        put_text(&mut bytes, grant.via.as_deref().unwrap_or_default())?;
        bytes.push(flag(1, grant.via.is_some()) | flag(ENDS, grant.not_after.is_some()));
        put_time(&mut bytes, grant.not_after);
    }
    grants.denied().try_for_each(|permission| put_text(&mut bytes, permission))?;
    Some(bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    bytes.extend(text.as_bytes());
    Some(())
}

/// Rounded down, so that nothing ends later elsewhere than here.
fn put_time(bytes: &mut Vec<u8>, time: Option<SystemTime>) {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    bytes.extend(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
}

/// The reverse of [`encode`]; `None` for anything that it does not make.
pub(super) fn decode(bytes: &[u8]) -> Option<Grants> {
    if bytes.len() > Grants::MAX_BYTES {
        return None;
    }
    let mut rest = bytes;
    let [SCHEMA, flags] = take(&mut rest)? else { return None };
    if flags & !(COMPLETE | VERSIONED | ENDS) != 0 {
        return None;
    }
    let version = optional(flags & VERSIONED != 0, u64::from_be_bytes(take(&mut rest)?))?.map(SourceVersion);
    let not_after = time(flags & ENDS != 0, take(&mut rest)?)?;
    let (granted, denied) = (usize::from(u16::from_be_bytes(take(&mut rest)?)), u16::from_be_bytes(take(&mut rest)?));
    let denied = usize::from(denied);
    if granted + denied > Grants::MAX_ENTRIES {
        return None;
    }
    // Nothing is made room for before it is there.
    let all = (0..granted).map(|_| grant(&mut rest)).collect::<Option<Vec<_>>>()?;
    let denied = (0..denied).map(|_| Some(Cow::Owned(text(&mut rest)?.to_owned()))).collect::<Option<Vec<_>>>()?;
    let grants = if flags & COMPLETE != 0 { Grants::complete(all) } else { Grants::partial(all) };
    rest.is_empty().then_some(Grants { denied, version, not_after, ..grants })
}

const DECISIONS: [Decision; 6] = [
    Decision::Allow,
    Decision::Deny(DenyReason::NotGranted),
    Decision::Deny(DenyReason::Denied),
    Decision::Deny(DenyReason::InsufficientScope),
    Decision::Deny(DenyReason::TenantMismatch),
    Decision::Deny(DenyReason::CredentialEnded),
];

/// Encodes a decision. Nothing that is set to zero or one somewhere is one.
pub(super) fn encode_decision(decision: Decision) -> [u8; 2] {
    let code = match decision {
        Decision::Allow => 0xA1,
        Decision::Deny(DenyReason::NotGranted) => 0xD1,
        Decision::Deny(DenyReason::Denied) => 0xD2,
        Decision::Deny(DenyReason::InsufficientScope) => 0xD3,
        Decision::Deny(DenyReason::TenantMismatch) => 0xD4,
        Decision::Deny(DenyReason::CredentialEnded) => 0xD5,
    };
    [DECISION, code]
}

/// The reverse of [`encode_decision`]; `None` for anything that it does not make.
pub(super) fn decode_decision(bytes: &[u8]) -> Option<Decision> {
    DECISIONS.into_iter().find(|decision| encode_decision(*decision) == bytes)
}

fn grant(rest: &mut &[u8]) -> Option<Grant> {
    let permission = Cow::Owned(text(rest)?.to_owned());
    let via = text(rest)?;
    let [flags] = take(rest)?;
    if flags & !(1 | ENDS) != 0 {
        return None;
    }
    let via = if flags & 1 != 0 {
        Some(via.into())
    } else {
        via.is_empty().then_some(())?;
        None
    };
    Some(Grant { permission, via, not_after: time(flags & ENDS != 0, take(rest)?)? })
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[expect(clippy::option_option, reason = "the outer one is about the bytes, the inner one about what they say")]
/// A time, if there is one; where there is none it has to be zero, so that each set has one encoding.
fn time(is_there: bool, bytes: [u8; TIME]) -> Option<Option<SystemTime>> {
    let since = optional(is_there, u64::from_be_bytes(bytes))?;
    since.map_or(Some(None), |since| UNIX_EPOCH.checked_add(Duration::from_millis(since)).map(Some))
}

#[expect(clippy::option_option, reason = "the outer one is about the bytes, the inner one about what they say")]
fn optional(is_there: bool, value: u64) -> Option<Option<u64>> {
    if is_there { Some(Some(value)) } else { (value == 0).then_some(None) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*front)
}

/// Reads bytes of anybody's making as a set of permissions or a decision, for the fuzzer.
///
/// # Panics
///
/// If something is wrong with the decoder.
#[cfg(fuzzing)]
pub fn read(bytes: &[u8]) {
    if let Some(decision) = decode_decision(bytes) {
        assert_eq!(encode_decision(decision), bytes);
        assert!(decode(bytes).is_none(), "what decides is no set");
    }
    let Some(grants) = decode(bytes) else { return };
    assert!(grants.granted().count() + grants.denied().count() <= Grants::MAX_ENTRIES);
    assert_eq!(encoded_len(&grants), bytes.len());
    let again = encode(&grants).expect("what is read can be kept");
    assert_eq!(decode(&again), Some(grants));
}
