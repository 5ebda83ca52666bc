//! Cache directives (RFC 9111 section 5.2, RFC 5861, RFC 8246, RFC 9213).

use crate::time::delta_seconds;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use std::time::Duration;

/// A directive that may be limited to named header fields, as in `private="set-cookie"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qualified {
    /// The directive is not there.
    #[default]
    Absent,
    /// It applies to the whole response.
    Whole,
    /// It applies to these fields only.
    Fields(Vec<HeaderName>),
}

impl Qualified {
    /// The fields it is limited to; empty when it is absent or applies to the whole response.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Absent | Self::Whole => &[],
        }
    }

    fn add(&mut self, argument: Option<&[u8]>) {
        let Some(fields) = argument.and_then(field_names) else {
            *self = Self::Whole;
            return;
        };
        match self {
            Self::Absent => *self = Self::Fields(fields),
            Self::Fields(known) => known.extend(fields),
            Self::Whole => {}
        }
    }
}

/// Reads `a, b`; `None` when that is not a list of field names, so that the unqualified, stricter meaning applies.
fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let names: Vec<_> =
        names.filter(|name| !name.is_empty()).map(|name| HeaderName::from_bytes(name).ok()).collect::<Option<_>>()?;
    (!names.is_empty()).then_some(names)
}

/// What a response says about caching, as far as a shared cache acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive of its own in the RFCs")]
pub struct ResponseDirectives {
    /// `max-age` (5.2.2.1). A malformed value counts as zero: section 4.2.1 encourages to consider
    /// "responses that have invalid freshness information … to be stale".
    pub max_age: Option<Duration>,
    /// `s-maxage` (5.2.2.10), malformed values as in `max_age`.
    pub s_maxage: Option<Duration>,
    /// `no-store` (5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (5.2.2.4).
    pub no_cache: Qualified,
    /// `private` (5.2.2.7).
    pub private: Qualified,
    /// `public` (5.2.2.9).
    pub public: bool,
    /// `must-revalidate` (5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (5.2.2.3).
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// What an application means that wants a response to be fresh for this long.
    pub fn fresh_for(lifetime: Duration) -> Self {
        Self { max_age: Some(lifetime), ..Self::default() }
    }

    /// What an application means that wants a response not to be stored.
    pub fn no_store() -> Self {
        Self { no_store: true, ..Self::default() }
    }

    /// Reads every `Cache-Control` line of a response.
    pub fn from_cache_control(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Members::new(line.as_bytes()) {
                directives.add(name, argument);
            }
        }
        directives
    }

    /// Reads a targeted field (RFC 9213 section 2): a structured-fields dictionary.
    ///
    /// `None` when the field is missing, empty or malformed, and therefore to be ignored.
    pub fn from_targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        // RFC 9651 section 4.2: lines are joined before parsing.
        let mut lines = headers.get_all(name).iter();
        let mut joined = lines.next()?.as_bytes().to_vec();
        for line in lines {
            if !joined.is_empty() {
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(line.as_bytes());
        }
        let members: Dictionary = Parser::new(&joined).parse().ok()?;
        let mut directives = Self::default();
        for (name, entry) in &members {
            match targeted_argument(entry) {
                TargetedArgument::False => {}
                TargetedArgument::None => directives.add(name.as_str().as_bytes(), None),
                TargetedArgument::Text(text) => directives.add(name.as_str().as_bytes(), Some(text.as_bytes())),
            }
        }
        (!members.is_empty()).then_some(directives)
    }

    /// Adds one directive. Of a repeated value the first counts (section 4.2.1).
    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let seconds = || Some(argument.and_then(delta_seconds).unwrap_or_default());
        // Where a broken value would *extend* what we may do, the directive is dropped instead.
        let window = || argument.and_then(delta_seconds);
        match lowercase::<22>(name).as_slice() {
            b"max-age" => self.max_age = self.max_age.or_else(seconds),
            b"s-maxage" => self.s_maxage = self.s_maxage.or_else(seconds),
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache.add(argument),
            b"private" => self.private.add(argument),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"immutable" => self.immutable = true,
            b"stale-while-revalidate" => {
                self.stale_while_revalidate = self.stale_while_revalidate.or_else(window);
            }
            b"stale-if-error" => self.stale_if_error = self.stale_if_error.or_else(window),
            _ => {} // 5.2.3: "a cache MUST ignore unrecognized cache directives"
        }
    }
}

/// What a request asks of caches (RFC 9111 section 5.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestDirectives {
    /// `max-age` (5.2.1.1); a malformed value counts as zero.
    pub max_age: Option<Duration>,
    /// `max-stale` (5.2.1.2); without an argument, any staleness.
    pub max_stale: Option<Duration>,
    /// `min-fresh` (5.2.1.3).
    pub min_fresh: Option<Duration>,
    /// `no-cache` (5.2.1.4).
    pub no_cache: bool,
    /// `no-store` (5.2.1.5).
    pub no_store: bool,
    /// `only-if-cached` (5.2.1.7).
    pub only_if_cached: bool,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads every `Cache-Control` line of a request. Does not allocate.
    pub fn from_cache_control(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Members::new(line.as_bytes()) {
                directives.add(name, argument);
            }
        }
        directives
    }

    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let seconds = argument.and_then(delta_seconds);
        match lowercase::<22>(name).as_slice() {
            b"max-age" => self.max_age = self.max_age.or(Some(seconds.unwrap_or_default())),
            b"max-stale" if argument.is_none() => self.max_stale = Some(Duration::MAX),
            b"max-stale" => self.max_stale = self.max_stale.or(seconds),
            b"min-fresh" => self.min_fresh = self.min_fresh.or(seconds),
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"stale-if-error" => self.stale_if_error = self.stale_if_error.or(seconds),
            _ => {}
        }
    }
}

/// A short ASCII name in lower case, on the stack. A name that does not fit matches nothing.
fn lowercase<const N: usize>(name: &[u8]) -> Short<N> {
    let mut short = Short { bytes: [0; N], len: 0 };
    if let Some(bytes) = short.bytes.get_mut(..name.len()) {
        bytes.copy_from_slice(name);
        bytes.make_ascii_lowercase();
        short.len = name.len();
    }
    short
}

struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The members of a `Cache-Control` line: `#( token [ "=" ( token / quoted-string ) ] )`.
///
/// Both forms of an argument give their content, for "a cache ought to accept both" (section 5.2).
/// Lenient where that makes nothing more cacheable: a quote that is never closed, or does not begin
/// an argument, does not hide the directives behind it, and white space around `=` leaves an
/// argument that is no valid one.
pub(crate) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (member, rest) = split_member(self.rest);
            self.rest = rest;
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(split_argument(member));
            }
        }
    }
}

/// Splits at the first comma outside a quoted string.
fn split_member(line: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b',' => return (&line[..at], &line[at + 1..]),
            b'"' if line[..at].ends_with(b"=") => at += quoted_len(&line[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    (line, &[])
}

/// Length of the quoted string at the start of `text`, quotes included; `None` if it never ends.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn split_argument(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
        return (member, None);
    };
    let (name, argument) = (&member[..equals], &member[equals + 1..]);
    // `max-age =1` is malformed: the name still counts, with an argument that nothing accepts.
    if name.last().is_some_and(u8::is_ascii_whitespace) {
        return (name.trim_ascii_end(), Some(NOTHING_ACCEPTS.as_bytes()));
    }
    match argument {
        [b'"', inner @ .., b'"'] if quoted_len(argument) == Some(argument.len()) => (name, Some(inner)),
        _ => (name, Some(argument)),
    }
}

/// A directive of a targeted field, whose argument has one of the types of RFC 9651.
fn targeted_argument(entry: &ListEntry) -> TargetedArgument {
    let ListEntry::Item(item) = entry else {
        // `private=("a" "b")`: the whole response is the stricter reading.
        return TargetedArgument::Text(NOTHING_ACCEPTS.to_owned());
    };
    match &item.bare_item {
        BareItem::Boolean(false) => TargetedArgument::False,
        BareItem::Boolean(true) => TargetedArgument::None,
        BareItem::Integer(number) => TargetedArgument::Text(i64::from(*number).to_string()),
        // A list of field names. The comma keeps digits in a string from being read as a number, for
        // values of another type than the directive's own should not be consumed (RFC 9213 section 2.1).
        BareItem::String(text) => TargetedArgument::Text(format!(",{}", text.as_str())),
        _ => TargetedArgument::Text(NOTHING_ACCEPTS.to_owned()),
    }
}

enum TargetedArgument {
    /// `?0`: as if the directive were not there.
    False,
    None,
    Text(String),
}

/// An argument that is valid for no directive.
const NOTHING_ACCEPTS: &str = "=";
