//! `Cache-Status` (RFC 9211), read back with a parser of structured fields.

use crate::support::secs;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use std::time::Duration;
use terrace_policy::CacheStatus;

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
