//! What an entry is stored under, taken apart again.

use super::super::key::{parts, read_len};
use crate::store::{Tag, Tags, canonical, shared_tags};
use http::HeaderName;
use std::sync::Arc;

/// What an entry is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EntryKey {
    /// `http` or `https`, mostly.
    pub scheme: String,
    /// In lower case; empty if the request named none.
    pub host: String,
    /// As the client sent it.
    pub path: String,
    /// What counts of the query.
    pub query: Option<String>,
    /// The [version](crate::Rules::version) of the rules.
    pub version: String,
    /// The [partition](crate::Partition), by its name.
    pub partition: Option<String>,
    /// Whether the body of a `POST` is a part of the key.
    pub has_body: bool,
    /// Whether a [rule](crate::Rules::key_with) has added a part, which may be a secret.
    pub has_part: bool,
    /// The path and query that the handler saw, if they are others.
    pub rewritten: Option<String>,
    /// The selecting header fields, if this is one of several variants.
    pub selecting: Vec<Selecting>,
    bytes: Arc<[u8]>,
}

/// A header field that selects a variant (RFC 9111 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Selecting {
    /// The field.
    pub name: HeaderName,
    /// What a request must have there.
    pub value: SelectingValue,
}

/// What a request must have in a selecting header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SelectingValue {
    /// This, after normalisation.
    Is(String),
    /// Nothing: it must not have the field.
    Missing,
    /// Something that is kept as a digest only, for it may be a secret: so are all values where one field is not one of
    /// the `Accept` family.
    Digest,
}

impl EntryKey {
    /// The URL in absolute form; a path if the request named no host.
    pub fn url(&self) -> String {
        let Self { scheme, host, .. } = self;
        let path = self.path_and_query();
        if host.is_empty() { path } else { format!("{scheme}://{host}{path}") }
    }

    /// The path, and what counts of the query.
    pub fn path_and_query(&self) -> String {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        self.path.clone() + &query
    }

    /// Host, path and query, as [purges](crate::Store::purge_url) tell URLs apart: without the scheme or a default port.
    pub fn name(&self) -> String {
        let host = canonical(self.host.as_bytes());
        String::from_utf8_lossy(&host).into_owned() + &self.path_and_query()
    }

    /// Whether this is the tag of its URL, on its host or on every host.
    pub(super) fn is_of(&self, url: Tag) -> bool {
        let (tags, query) = (shared_tags(), self.query.as_deref().unwrap_or_default());
        [&*self.host, ""].into_iter().any(|host| tags.url(host, &self.path, query) == url)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tags that an entry of this key carries without being told, each with what it is called.
    pub(super) fn tags(&self, tags: &Tags) -> Vec<(String, Tag)> {
        let Self { host, path, .. } = self;
        let query = self.query.as_deref().unwrap_or_default();
        let shown = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let mut all = vec![("everything".to_owned(), Tag::EVERYTHING)];
        for host in [host.as_str(), ""] {
            all.push((format!("url {host}{shown}"), tags.url(host, path, query)));
            let mut prefix = String::from("/");
            for segment in path.split('/').filter(|segment| !segment.is_empty()) {
                prefix = format!("{prefix}{segment}/");
                all.push((format!("prefix {host}{prefix}"), tags.prefix(host, &prefix)));
            }
        }
        if !host.is_empty() {
            all.push((format!("host {host}"), tags.prefix(host, "/")));
        }
        all.extend(self.partition.iter().map(|name| (format!("partition {name}"), tags.partition(name))));
        all
    }

    /// `None` if that is no key.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (parts, rest) = parts(bytes)?;
        let text = |part: Option<&[u8]>| part.map(|part| String::from_utf8_lossy(part).into_owned());
        let [scheme, host, path, query, version, body, partition, extra, rewritten] = parts;
        Some(Self {
            scheme: text(scheme)?,
            host: text(host)?,
            path: text(path)?,
            query: text(query),
            version: text(version)?,
            partition: text(partition),
            has_body: body.is_some(),
            has_part: extra.is_some(),
            rewritten: text(rewritten),
            selecting: read_selecting(rest)?,
            bytes: bytes.into(),
        })
    }
}

/// What follows the parts in the key of a variant.
fn read_selecting(mut rest: &[u8]) -> Option<Vec<Selecting>> {
    let mut names = Vec::new();
    while !rest.is_empty() {
        let len = read_len(&mut rest)?;
        if len == 0 {
            break;
        }
        let (name, after) = rest.split_at_checked(len - 1)?;
        names.push(HeaderName::from_bytes(name).ok()?);
        rest = after;
    }
    let is_shown = names.iter().all(super::super::key::is_negotiation);
    let with_value = |name| {
        let value = if is_shown { read_value(&mut rest)? } else { SelectingValue::Digest };
        Some(Selecting { name, value })
    };
    names.into_iter().map(with_value).collect()
}

fn read_value(from: &mut &[u8]) -> Option<SelectingValue> {
    let (len, rest) = from.split_first_chunk()?;
    *from = rest;
    let len = u32::from_be_bytes(*len);
    if len == u32::MAX {
        return Some(SelectingValue::Missing);
    }
    let (value, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
    *from = rest;
    Some(SelectingValue::Is(String::from_utf8_lossy(value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::super::key::{Target, implicit_tags, variant};
    use super::*;
    use crate::{Partition, Rules};
    use http::Request;

    fn read(request: &Request<()>, rules: &Rules, extra: Option<&str>, fields: &[&'static str]) -> EntryKey {
        let key = Target::of(request, rules).unwrap().encode(rules, extra);
        let fields: Vec<_> = fields.iter().map(|name| HeaderName::from_static(name)).collect();
        let key = if fields.is_empty() { key.to_vec() } else { variant(&key, &fields, request.headers()).to_vec() };
        for end in 0..key.len() {
            // Cut short it is another key, or none; it never panics.
            assert!(EntryKey::read(&key[..end]).is_none_or(|read| read.selecting.len() < fields.len() || end > 0));
        }
        EntryKey::read(&key).unwrap()
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let long = "x".repeat(3000);
        let uri = format!("https://A.example:8443/{long}?a=1&b");
        let mut request = Request::get(&uri).body(()).unwrap();
        let rules = Rules::new().version("v2");
        let key = read(&request, &rules, None, &[]);
        assert_eq!(key.url(), format!("https://a.example:8443/{long}?a=1&b"));
        assert_eq!((&*key.version, key.partition.as_deref(), key.has_part), ("v2", None, false));
        request.extensions_mut().insert(Partition::new("jane"));
        let key = read(&request, &rules, Some("secret"), &[]);
        assert_eq!((key.partition.as_deref(), key.has_part, key.has_body), (Some("jane"), true, false));
        assert!(!format!("{:?}", key.selecting).contains("secret"));
        let bare = read(&Request::get("/x?").body(()).unwrap(), &Rules::new(), None, &[]);
        assert_eq!((bare.url(), &*bare.host), ("/x?".to_owned(), ""));
    }

    #[test]
    fn what_selects_a_variant_is_shown_unless_it_may_be_a_secret() {
        let request = Request::get("http://a.example/").header("accept-encoding", "GZIP;q=1, br").body(()).unwrap();
        let key = read(&request, &Rules::new(), None, &["accept-encoding", "accept-language"]);
        let values: Vec<_> = key.selecting.iter().map(|selecting| &selecting.value).collect();
        assert!(matches!(values[0], SelectingValue::Is(text) if text.contains("gzip")), "{values:?}");
        assert_eq!(*values[1], SelectingValue::Missing);
        let request = Request::get("http://a.example/").header("cookie", "id=secret").body(()).unwrap();
        let key = read(&request, &Rules::new(), None, &["accept", "cookie"]);
        assert!(key.selecting.iter().all(|selecting| selecting.value == SelectingValue::Digest), "{key:?}");
    }

    #[test]
    fn every_tag_that_an_entry_carries_by_itself_has_a_name() {
        let tags = crate::store::shared_tags();
        let mut request = Request::get("http://a.example:80/a/b/c?q=1").body(()).unwrap();
        request.extensions_mut().insert(Partition::new("jane"));
        let rules = Rules::new();
        let key = read(&request, &rules, None, &[]);
        let named = key.tags(&tags);
        for tag in implicit_tags(key.bytes(), &tags) {
            assert!(named.iter().any(|(_, named)| *named == tag), "{tag:?} {named:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_no_key_is_trusted(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = EntryKey::read(&bytes);
        }
    }
}
