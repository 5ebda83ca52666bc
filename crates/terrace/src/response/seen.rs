//! What is kept of a request that has gone to the origin.

use super::key::{Target, absolute, is_partitioned, is_read, original_uri};
use super::rules::Rules;
use crate::Authorized;
use crate::authorized::Credentialed;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use std::time::Duration;
use terrace_policy::{Demands, Presented};

/// What a request was, after it has gone to the origin.
#[derive(Debug)]
pub(super) struct Seen {
    method: Method,
    fields: Fields,
    demands: Demands,
    /// The target URI of a request that does more than ask, for something will be compared with it.
    target: Option<Uri>,
    partitioned: bool,
    /// By whom, if it has passed a layer that authorizes.
    authorized: Option<Box<Authorized>>,
    keyed_by_body: bool,
    /// It is known who asks, whatever that is known by.
    credentialed: bool,
}

impl Seen {
    /// `demands` are the request's, if it only asks.
    pub(super) fn of<B>(request: &Request<B>, demands: Demands, rules: &Rules) -> Self {
        let keyed_by_body = Target::is_question(request);
        let reads = is_read(request.method()) || keyed_by_body;
        Self {
            method: request.method().clone(),
            fields: Fields::of(request.headers()),
            demands: if reads { demands } else { Demands::of(request.headers()) },
            target: (!reads).then(|| target(request, rules)),
            partitioned: is_partitioned(request.extensions()),
            authorized: request.extensions().get::<Authorized>().cloned().map(Box::new),
            keyed_by_body,
            credentialed: request.extensions().get::<Credentialed>().is_some(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn demands(&self) -> Demands {
        self.demands
    }

    /// Whether it only asks, whatever its method.
    pub(super) fn reads(&self) -> bool {
        self.target.is_none()
    }

    pub(super) fn is_partitioned(&self) -> bool {
        self.partitioned
    }

    pub(super) fn authorized(&self) -> Option<&Authorized> {
        self.authorized.as_deref()
    }

    pub(super) fn is_keyed_by_body(&self) -> bool {
        self.keyed_by_body
    }

    /// The target URI in absolute form; with that of a request that only asks nothing is compared.
    pub(super) fn target(&self) -> Uri {
        self.target.clone().unwrap_or_default()
    }

    /// All header fields.
    pub(super) fn headers(&self) -> HeaderMap {
        self.fields.unpack(|_| true)
    }

    /// The request with these header fields, for a response that would be this old.
    pub(super) fn presented<'a>(&'a self, headers: &'a HeaderMap, resident: Duration) -> Presented<'a> {
        let (method, partitioned) = (&self.method, self.partitioned);
        Presented { method, headers, resident, expired: false, collapsed: true, partitioned }
    }

    /// The header fields of these names.
    pub(super) fn selecting(&self, names: &[HeaderName]) -> HeaderMap {
        self.fields.unpack(|field| names.iter().any(|name| name.as_str().as_bytes() == field))
    }

    /// The header fields that say whether a response may be stored. Most requests have none.
    pub(super) fn deciding(&self) -> HeaderMap {
        if self.credentialed {
            // As with any other credential: what answers one caller is not for all.
            let mut fields = self.selecting(&[CACHE_CONTROL, AUTHORIZATION, COOKIE]);
            fields.entry(AUTHORIZATION).or_insert(HeaderValue::from_static("identified"));
            return fields;
        }
        if self.demands.directives() || self.demands.credentials() {
            self.selecting(&[CACHE_CONTROL, AUTHORIZATION, COOKIE])
        } else {
            HeaderMap::new()
        }
    }
}

fn target<B>(request: &Request<B>, rules: &Rules) -> Uri {
    let uri = original_uri(request);
    let target = Target::of(request, rules);
    target.map_or_else(|| uri.clone(), |target| absolute(uri, target.host()))
}

/// Header fields one after the other: the lengths of a name and a value, the name, the value.
///
/// One allocation and no counting of references, for most responses never ask what their request was.
#[derive(Debug)]
struct Fields(Vec<u8>);

/// The room that is taken for a field at first.
const ROOM: usize = 64;

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut fields = Vec::with_capacity(ROOM * headers.len());
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            fields.extend_from_slice(&lengths(name, value));
            fields.extend_from_slice(name);
            fields.extend_from_slice(value);
        }
        Self(fields)
    }

    /// Those whose names are wanted.
    fn unpack(&self, wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
        let all = self.iter().filter(|(name, _)| wanted(name));
        all.filter_map(|(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?)))
            .collect()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (lengths, after) = rest.split_first_chunk()?;
            let [name, value] = read_lengths(*lengths)?;
            let (name, after) = after.split_at(name);
            let (value, after) = after.split_at(value);
            rest = after;
            Some((name, value))
        })
    }
}

/// Both in one number: no name has more than 65,535 bytes.
fn lengths(name: &[u8], value: &[u8]) -> [u8; 8] {
    ((value.len() as u64) << u16::BITS | name.len() as u64).to_ne_bytes()
}

fn read_lengths(lengths: [u8; 8]) -> Option<[usize; 2]> {
    let lengths = u64::from_ne_bytes(lengths);
    let (name, value) = (lengths & u64::from(u16::MAX), lengths >> u16::BITS);
    Some([usize::try_from(name).ok()?, usize::try_from(value).ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_as_they_went_in() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "a"), ("x-one", ""), ("accept", "b"), ("host", "h")] {
            headers.append(name, value.parse().unwrap());
        }
        headers.append("x-opaque", HeaderValue::from_bytes(b"\xfc\xff").unwrap());
        let fields = Fields::of(&headers);
        assert_eq!(fields.unpack(|_| true), headers);
        let some = fields.unpack(|name| name == b"accept");
        assert_eq!(some.get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(some.len(), 2);
    }
}
