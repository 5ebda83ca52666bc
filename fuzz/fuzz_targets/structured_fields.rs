//! Structured fields: the targeted field we read (RFC 9213), and the `Cache-Status` we write (RFC 9211).
//!
//! Plain dictionaries, of keys with nothing, an integer or a boolean, are also read by a few lines
//! of code: the readings must agree.
#![no_main]

use http::{HeaderMap, HeaderName, StatusCode};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::time::Duration;
use terrace_fuzz::{clock, exchange, lines, trim};
use terrace_policy::{CacheStatus, Forward, Policy, Qualified, ResponseDirectives, storable};

const FIELD: HeaderName = HeaderName::from_static("cdn-cache-control");

fuzz_target!(|input: (i64, [u8; 4], &[u8])| {
    let (ttl, choices, text) = input;
    our_own_field(ttl, choices);
    let headers = lines(&FIELD, text);
    let read = ResponseDirectives::from_targeted(&headers, &FIELD);
    if headers.len() == 1 {
        let line = headers.values().next().expect("one line");
        if let Some(plain) = plain_dictionary(line.as_bytes()) {
            assert_eq!(read, (!plain.is_empty()).then(|| naive(&plain)), "{line:?}");
        }
    }
    if let Some(directives) = read {
        let lifetimes = [directives.max_age, directives.s_maxage, directives.stale_if_error];
        assert!(lifetimes.iter().all(|time| time.unwrap_or_default() <= Duration::from_secs(1 << 31)));
        // A valid targeted field is the only voice that counts.
        let mut head = headers.clone();
        let asked = HeaderMap::new();
        let judge =
            |head: &HeaderMap| storable(&exchange(&asked, head, clock(1_800_000_000)), &Policy::rfc9111()).err();
        let before = judge(&head);
        head.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store, private, max-age=9"));
        head.insert(http::header::EXPIRES, http::HeaderValue::from_static("0"));
        assert_eq!(before, judge(&head));
    }
});

/// What we write is a list of one token with parameters, each of the type of RFC 9211.
fn our_own_field(ttl: i64, [reason, code, flags, detail]: [u8; 4]) {
    use Forward::{Bypass, Method, Miss, Partial, Request, Stale, UriMiss, VaryMiss};
    let reasons = [Bypass, Method, UriMiss, VaryMiss, Miss, Request, Stale, Partial];
    let mut status = match reasons.get(usize::from(reason)) {
        Some(reason) => CacheStatus::forwarded(*reason),
        None => CacheStatus::hit(Duration::from_secs(ttl.unsigned_abs()), Duration::from_secs(ttl.unsigned_abs() / 2)),
    };
    status.forward_status = StatusCode::from_u16(u16::from(code) * 4).ok();
    status.ttl = if flags & 1 == 0 { Some(ttl) } else { status.ttl };
    (status.stored, status.collapsed) = (flags & 2 != 0, flags & 4 != 0);
    status.detail = ["coalesced", "breaker-open", "x/y:z*"].get(usize::from(detail)).copied();
    let value = status.to_value();
    let list: sfv::List = sfv::Parser::new(value.as_bytes()).parse().expect("a structured field");
    let [sfv::ListEntry::Item(item)] = list.as_slice() else { panic!("one member: {value:?}") };
    assert_eq!(item.bare_item.as_token().map(sfv::TokenRef::as_str), Some("terrace"));
    let parameter = |key: &str| item.params.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value);
    assert_eq!(parameter("hit").is_some(), status.hit);
    assert_eq!(parameter("stored").is_some(), status.stored);
    let printed = parameter("ttl").and_then(|ttl| ttl.as_integer()).map(i64::from);
    assert_eq!(printed, status.ttl.map(|ttl| ttl.clamp(-999_999_999_999_999, 999_999_999_999_999)));
    let token = |key| parameter(key).and_then(|value| value.as_token()).map(sfv::TokenRef::as_str);
    assert_eq!(token("fwd"), status.forward.map(Forward::as_str));
    assert_eq!(token("detail"), status.detail);
}

#[derive(Clone, Copy)]
enum Plain {
    Boolean(bool),
    Integer(i64),
}

/// The last of each key counts. `None` if the text is anything but plain, or not certainly valid.
fn plain_dictionary(text: &[u8]) -> Option<BTreeMap<String, Plain>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut members = BTreeMap::new();
    if trim(text.as_bytes()).is_empty() {
        return Some(members);
    }
    for member in text.split(',') {
        let member = std::str::from_utf8(trim(member.as_bytes())).ok()?;
        let (key, value) = member.split_once('=').unwrap_or((member, "?1"));
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        let begins = key.starts_with(|first: char| first.is_ascii_lowercase() || first == '*');
        if !begins || !key.bytes().all(lower) {
            return None;
        }
        let digits = value.strip_prefix('-').unwrap_or(value);
        let value = match value {
            "?0" => Plain::Boolean(false),
            "?1" => Plain::Boolean(true),
            _ if (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Plain::Integer(value.parse().ok()?)
            }
            _ => return None,
        };
        members.insert(key.to_owned(), value);
    }
    Some(members)
}

fn naive(members: &BTreeMap<String, Plain>) -> ResponseDirectives {
    let present = |key| members.get(key).is_some_and(|value| !matches!(value, Plain::Boolean(false)));
    let seconds = |key| match members.get(key) {
        Some(Plain::Integer(number)) => {
            u64::try_from(*number).ok().map(|number| Duration::from_secs(number.min(1 << 31)))
        }
        _ => None,
    };
    let lifetime = |key| present(key).then(|| seconds(key).unwrap_or_default());
    // A number is a possible field name; nothing else that is plain is.
    let qualified = |key| match members.get(key) {
        None | Some(Plain::Boolean(false)) => Qualified::Absent,
        Some(Plain::Integer(number)) => HeaderName::from_bytes(number.to_string().as_bytes())
            .map_or(Qualified::Whole, |name| Qualified::Fields(vec![name])),
        Some(Plain::Boolean(true)) => Qualified::Whole,
    };
    let mut directives = ResponseDirectives::default();
    directives.max_age = lifetime("max-age");
    directives.s_maxage = lifetime("s-maxage");
    directives.no_store = present("no-store");
    directives.no_cache = qualified("no-cache");
    directives.private = qualified("private");
    directives.public = present("public");
    directives.must_revalidate = present("must-revalidate");
    directives.proxy_revalidate = present("proxy-revalidate");
    directives.must_understand = present("must-understand");
    directives.immutable = present("immutable");
    directives.stale_while_revalidate = seconds("stale-while-revalidate");
    directives.stale_if_error = seconds("stale-if-error");
    directives
}
