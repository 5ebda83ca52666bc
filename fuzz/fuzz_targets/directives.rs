//! `Cache-Control`, of responses and requests. Each line of the input is a line of the field.
//!
//! Without quotes the field is a plain list, which a few lines of code can read: the reading must agree.
#![no_main]

use http::HeaderName;
use http::header::{CACHE_CONTROL, ETAG};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use terrace_fuzz::{clock, exchange, lines, trim};
use terrace_policy::{Policy, Qualified, RequestDirectives, ResponseDirectives, storable};

fuzz_target!(|input: &[u8]| {
    let headers = lines(&CACHE_CONTROL, input);
    let response = ResponseDirectives::from_cache_control(&headers);
    let request = RequestDirectives::from_cache_control(&headers);
    for seconds in [response.max_age, response.s_maxage, response.stale_while_revalidate, response.stale_if_error] {
        assert!(seconds.unwrap_or_default() <= Duration::from_secs(1 << 31));
    }
    if !input.contains(&b'"') {
        let plain: Vec<_> = headers.values().flat_map(|line| members(line.as_bytes())).collect();
        assert_eq!(response, naive_response(&plain));
        assert_eq!(request, naive_request(&plain));
        let joined: Vec<_> = headers.values().map(|line| line.as_bytes()).collect();
        let joined = lines(&CACHE_CONTROL, &joined.join(&b", "[..]));
        assert_eq!(response, ResponseDirectives::from_cache_control(&joined));
    }
    // Whatever else it says, what forbids storing does.
    let forbids = (response.no_store && !response.must_understand) || response.private == Qualified::Whole;
    let (mut head, asked) = (headers.clone(), http::HeaderMap::new());
    head.insert(ETAG, http::HeaderValue::from_static("\"v\""));
    for policy in [Policy::safe(), Policy::rfc9111()] {
        let judged = storable(&exchange(&asked, &head, clock(1_800_000_000)), &policy);
        assert_eq!(judged.is_err(), forbids, "{judged:?}");
    }
});

type Member = (String, Option<Vec<u8>>);

/// The members of a list without quotes: a name in lower case, and perhaps an argument.
fn members(line: &[u8]) -> Vec<Member> {
    let members = line.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty());
    let lower = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    members
        .map(|member| match member.iter().position(|&byte| byte == b'=') {
            None => (lower(member), None),
            Some(at) if member[..at].ends_with(b" ") || member[..at].ends_with(b"\t") => {
                (lower(trim(&member[..at])), Some(b"white space before the =".to_vec()))
            }
            Some(at) => (lower(&member[..at]), Some(member[at + 1..].to_vec())),
        })
        .collect()
}

fn digits(argument: &Option<Vec<u8>>) -> Option<Duration> {
    let text = std::str::from_utf8(argument.as_ref()?).ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX).min(1 << 31)))
}

fn first<'a>(members: &'a [Member], name: &str) -> Option<&'a Option<Vec<u8>>> {
    members.iter().find(|member| member.0 == name).map(|member| &member.1)
}

/// A lifetime counts even if it cannot be read: as none.
fn lifetime(members: &[Member], name: &str) -> Option<Duration> {
    first(members, name).map(|argument| digits(argument).unwrap_or_default())
}

/// Of something that allows more the first that can be read counts.
fn window(members: &[Member], name: &str) -> Option<Duration> {
    members.iter().filter(|member| member.0 == name).find_map(|member| digits(&member.1))
}

fn qualified(members: &[Member], name: &str) -> Qualified {
    let mut all = Vec::new();
    for (_, argument) in members.iter().filter(|member| member.0 == name) {
        match argument.as_ref().and_then(|field| HeaderName::from_bytes(trim(field)).ok()) {
            Some(field) => all.push(field),
            None => return Qualified::Whole,
        }
    }
    if all.is_empty() { Qualified::Absent } else { Qualified::Fields(all) }
}

fn naive_response(members: &[Member]) -> ResponseDirectives {
    let has = |name| first(members, name).is_some();
    let mut directives = ResponseDirectives::default();
    directives.max_age = lifetime(members, "max-age");
    directives.s_maxage = lifetime(members, "s-maxage");
    directives.no_store = has("no-store");
    directives.no_cache = qualified(members, "no-cache");
    directives.private = qualified(members, "private");
    directives.public = has("public");
    directives.must_revalidate = has("must-revalidate");
    directives.proxy_revalidate = has("proxy-revalidate");
    directives.must_understand = has("must-understand");
    directives.immutable = has("immutable");
    directives.stale_while_revalidate = window(members, "stale-while-revalidate");
    directives.stale_if_error = window(members, "stale-if-error");
    directives
}

fn naive_request(members: &[Member]) -> RequestDirectives {
    let has = |name| first(members, name).is_some();
    let mut directives = RequestDirectives::default();
    directives.max_age = lifetime(members, "max-age");
    let any = members.iter().any(|member| member.0 == "max-stale" && member.1.is_none());
    directives.max_stale = if any { Some(Duration::MAX) } else { window(members, "max-stale") };
    directives.min_fresh = window(members, "min-fresh");
    directives.no_cache = has("no-cache");
    directives.no_store = has("no-store");
    directives.only_if_cached = has("only-if-cached");
    directives.stale_if_error = window(members, "stale-if-error");
    directives
}
