//! What a cache says that it did, in `Cache-Status` (RFC 9211).

use http::HeaderMap;
use sfv::{BareItem, Item, List, ListEntry, Parser};

/// What became of a request in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// It was there already.
    Hit,
    /// It is there now.
    Stored,
    /// It is not, for this reason in the cache's words.
    NotStored(String),
}

/// A reason is shown and counted: longer ones are cut.
const LONGEST: usize = 64;

impl Verdict {
    /// Reads the field. Of several caches, what the last `terrace` says counts; without one, the last.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all("cache-status").iter().filter_map(|line| line.to_str().ok());
        let joined = lines.collect::<Vec<_>>().join(", ");
        if joined.is_empty() {
            return Self::NotStored("no Cache-Status".into());
        }
        let members: Option<List> = Parser::new(&joined).parse().ok();
        let items = members.iter().flatten().filter_map(|entry| match entry {
            ListEntry::Item(item) => Some(item),
            ListEntry::InnerList(_) => None,
        });
        let (last, ours) =
            items.fold((None, None), |(_, ours), item| (Some(item), if is_terrace(item) { Some(item) } else { ours }));
        ours.or(last).map_or_else(|| Self::NotStored("malformed Cache-Status".into()), judge)
    }
}

fn is_terrace(item: &Item) -> bool {
    match &item.bare_item {
        BareItem::Token(name) => name.as_str() == "terrace",
        BareItem::String(name) => name.as_str() == "terrace",
        _ => false,
    }
}

fn judge(item: &Item) -> Verdict {
    let flag = |name: &str| matches!(parameter(item, name), Some(BareItem::Boolean(true)));
    if flag("hit") {
        return Verdict::Hit;
    }
    if flag("stored") {
        return Verdict::Stored;
    }
    let words: Vec<&str> = ["fwd", "detail"].into_iter().filter_map(|name| word(parameter(item, name)?)).collect();
    let mut reason = if words.is_empty() { "not said".to_owned() } else { words.join(", ") };
    reason.truncate(LONGEST);
    Verdict::NotStored(reason)
}

fn parameter<'a>(item: &'a Item, name: &str) -> Option<&'a BareItem> {
    item.params.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value)
}

/// Visible ASCII, as tokens and strings of structured fields are.
fn word(value: &BareItem) -> Option<&str> {
    match value {
        BareItem::Token(word) => Some(word.as_str()),
        BareItem::String(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[&str]) -> Verdict {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cache-status", line.parse().unwrap());
        }
        Verdict::of(&headers)
    }

    fn not_stored(reason: &str) -> Verdict {
        Verdict::NotStored(reason.into())
    }

    #[test]
    fn the_nearest_terrace_is_believed() {
        for (lines, expected) in [
            (&["terrace; hit; ttl=30"][..], Verdict::Hit),
            (&["terrace; hit; ttl=-3; detail=stale-if-error"], Verdict::Hit),
            (&["terrace; fwd=uri-miss; stored; collapsed"], Verdict::Stored),
            (&["terrace; fwd=uri-miss"], not_stored("uri-miss")),
            (&["terrace; fwd=bypass; detail=disabled"], not_stored("bypass, disabled")),
            (&["origin; hit", "terrace; fwd=miss; stored"], Verdict::Stored),
            (&["terrace; fwd=miss; stored, \"a CDN\"; fwd=uri-miss"], Verdict::Stored),
            (&["nginx; hit, \"a CDN\"; fwd=uri-miss"], not_stored("uri-miss")),
            (&["terrace"], not_stored("not said")),
            (&["terrace; hit=?0; fwd=7"], not_stored("not said")),
            (&["((("], not_stored("malformed Cache-Status")),
            (&["(a b); hit"], not_stored("malformed Cache-Status")),
            (&[], not_stored("no Cache-Status")),
        ] {
            assert_eq!(verdict(lines), expected, "{lines:?}");
        }
        let long = format!("terrace; fwd=bypass; detail={}", "a".repeat(500));
        let Verdict::NotStored(reason) = verdict(&[&long]) else { panic!() };
        assert_eq!(reason.len(), LONGEST);
    }
}
