//! `Cache-Status` (RFC 9211), read back with a parser of structured fields.

use crate::support::secs;
use http::StatusCode;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use std::time::Duration;
use terrace_policy::{CacheStatus, Forward};

fn read(status: &CacheStatus) -> Item {
    let value = status.to_value();
    let list: List = Parser::new(value.as_bytes()).parse().unwrap_or_else(|error| panic!("{value:?}: {error}"));
    match list.as_slice() {
        [ListEntry::Item(item)] => item.clone(),
        _ => panic!("one member: {value:?}"),
    }
}

fn parameter(status: &CacheStatus, key: &str) -> Option<BareItem> {
    read(status).params.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.clone())
}

#[test]
fn ttl_stays_an_integer_of_structured_fields_however_long_the_lifetime() {
    for (remaining, stale, ttl) in [
        (secs(5), Duration::ZERO, 5),
        (Duration::ZERO, secs(5), -5),
        (Duration::from_millis(900), Duration::ZERO, 0),
        (Duration::MAX, Duration::ZERO, 999_999_999_999_999),
        (Duration::ZERO, Duration::MAX, -999_999_999_999_999),
    ] {
        let read =
            parameter(&CacheStatus::hit(remaining, stale), "ttl").and_then(|ttl| ttl.as_integer().map(i64::from));
        assert_eq!(read, Some(ttl), "{remaining:?} {stale:?}");
    }
}

#[test]
fn the_field_says_what_rfc_9211_says_it_may() {
    use Forward::{Bypass, Method, Miss, Partial, Request, Stale, UriMiss, VaryMiss};
    let reasons = [
        (Bypass, "bypass"),
        (Method, "method"),
        (UriMiss, "uri-miss"),
        (VaryMiss, "vary-miss"),
        (Miss, "miss"),
        (Request, "request"),
        (Stale, "stale"),
        (Partial, "partial"),
    ];
    for (reason, text) in reasons {
        let status = CacheStatus::forwarded(reason);
        assert_eq!(status.to_value(), format!("terrace; fwd={text}"));
        assert_eq!(
            parameter(&status, "fwd").and_then(|fwd| fwd.as_token().map(ToString::to_string)).as_deref(),
            Some(text)
        );
        // "fwd: … MUST NOT be used with hit" (section 2.2 has them exclude each other).
        assert_eq!((status.hit, parameter(&status, "hit")), (false, None));
    }
    assert_eq!(CacheStatus::hit(secs(376), Duration::ZERO).to_value(), "terrace; hit; ttl=376");
    assert_eq!(CacheStatus::hit(Duration::ZERO, secs(412)).to_value(), "terrace; hit; ttl=-412");
    assert_eq!(CacheStatus::default().to_value(), "terrace");
}

#[test]
fn every_parameter_is_there_and_of_its_type() {
    let mut status = CacheStatus::forwarded(Forward::Stale);
    status.forward_status = Some(StatusCode::NOT_MODIFIED);
    (status.stored, status.collapsed) = (true, true);
    status.ttl = Some(-5);
    status.detail = Some("degraded");
    assert_eq!(status.to_value(), "terrace; fwd=stale; fwd-status=304; ttl=-5; stored; collapsed; detail=degraded");
    assert_eq!(parameter(&status, "fwd-status").and_then(|code| code.as_integer().map(i64::from)), Some(304));
    assert_eq!(parameter(&status, "stored").and_then(|stored| stored.as_boolean()), Some(true));
    assert_eq!(parameter(&status, "collapsed").and_then(|collapsed| collapsed.as_boolean()), Some(true));
    assert!(parameter(&status, "detail").is_some_and(|detail| detail.as_token().is_some()));
    assert!(!status.to_value().is_sensitive());
}
