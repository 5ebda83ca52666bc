//! `Range`, `Content-Range` and `If-Range`, on complete and partial responses.
//!
//! The content is short enough to ask of every single byte whether the request wants it.
#![no_main]

use http::header::{CACHE_CONTROL, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use terrace_fuzz::{append, clock, exchange};
use terrace_policy::{Answer, Exchange, Policy, Presented, Slice, StoredResponse, answer, storable};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    /// Content length of a complete response; bytes of content beyond its `Content-Range` for a part.
    len: u8,
    /// A part instead, and where it begins, and how long the whole is (0: unknown).
    part: Option<(u8, u8)>,
    /// The `Content-Range` of that part in the fuzzer's own words.
    content_range: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    range: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut request = HeaderMap::new();
    append(&mut request, &RANGE, input.range);
    append(&mut request, &IF_RANGE, input.if_range.unwrap_or_default());
    if input.if_range.is_none() {
        request.remove(IF_RANGE);
    }
    for policy in [Policy::safe(), Policy::rfc9111()] {
        let Some((stored, first)) = stored(&input, &policy) else { continue };
        let presented = Presented {
            method: &Method::GET,
            headers: &request,
            resident: Duration::ZERO,
            expired: false,
            collapsed: false,
            partitioned: false,
        };
        match answer(&stored, &presented) {
            Some(Answer::Partial(slices)) => check_slices(&stored, &slices, first, &input, &request),
            Some(Answer::Unsatisfiable) => {
                let (len, ranges) = (stored.complete_len().expect("only all of it can tell"), naive(&request));
                assert!(ranges.expect("a range").iter().all(|range| (0..len).all(|at| !range.wants(at, len))));
            }
            Some(Answer::Full) => {
                assert!(stored.complete_len().is_some());
                assert!(naive(&request).is_none() || request.contains_key(IF_RANGE));
            }
            Some(Answer::NotModified) => unreachable!("nothing was asked about"),
            None => assert_eq!(stored.complete_len(), None),
        }
    }
});

/// A stored response, and the position of its first byte.
fn stored(input: &Input<'_>, policy: &Policy) -> Option<(StoredResponse, u64)> {
    let (len, received) = (u64::from(input.len), clock(1_800_000_000));
    let mut head = HeaderMap::new();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    head.insert(ETAG, HeaderValue::from_static("\"a\""));
    let nothing = HeaderMap::new();
    let mut status = StatusCode::OK;
    let mut start = 0;
    if let Some((first, whole)) = input.part {
        status = StatusCode::PARTIAL_CONTENT;
        start = u64::from(first);
        let whole = if whole == 0 { "*".to_owned() } else { whole.to_string() };
        let text = format!("bytes {first}-{}/{whole}", u64::from(first) + len.max(1) - 1);
        append(&mut head, &CONTENT_RANGE, input.content_range.unwrap_or(text.as_bytes()));
    }
    let exchange = Exchange { status, ..exchange(&nothing, &head, received) };
    let storable = storable(&exchange, policy).ok()?;
    storable.received(len).ok().map(|stored| (stored, start))
}

fn check_slices(stored: &StoredResponse, slices: &[Slice], first: u64, input: &Input<'_>, request: &HeaderMap) {
    assert!(!slices.is_empty());
    for pair in slices.windows(2) {
        assert!(pair[0].range.last + 1 < pair[1].range.first, "in order, apart: {slices:?}");
    }
    for slice in slices {
        assert!(slice.range.first <= slice.range.last);
        assert!(stored.representation_len().is_none_or(|len| slice.range.last < len));
        // What comes out of the content lies in it, and is as long as it says.
        if let Some((cut, bytes)) = slice.within(input.len.into()) {
            assert!(bytes.start < bytes.end && bytes.end <= usize::from(input.len));
            assert_eq!(cut.range.len(), bytes.len() as u64);
            assert!(cut.range.first >= slice.range.first && cut.range.last <= slice.range.last);
            assert_eq!(cut.offset, bytes.start as u64);
        }
        let printed = slice.range.content_range(stored.representation_len());
        let text = printed.to_str().expect("ASCII").strip_prefix("bytes ").expect("a unit").to_owned();
        let (positions, _) = text.split_once('/').expect("a length");
        assert_eq!(positions, format!("{}-{}", slice.range.first, slice.range.last));
    }
    // Nothing was asked in riddles: then every byte that is sent is wanted, and every wanted byte is sent.
    if input.content_range.is_some() {
        return;
    }
    let ranges = naive(request).expect("a range");
    let end = first + u64::from(input.len);
    for at in 0..end {
        let whole = stored.representation_len().unwrap_or(u64::MAX);
        let wanted = ranges.iter().any(|range| range.wants(at, whole));
        let sent = slices.iter().any(|slice| (slice.range.first..=slice.range.last).contains(&at));
        assert_eq!(wanted, sent, "byte {at} of {slices:?}");
    }
}

#[derive(Debug)]
enum Asked {
    From(u64, u64),
    Last(u64),
}

impl Asked {
    fn wants(&self, at: u64, len: u64) -> bool {
        match *self {
            Self::From(first, last) => (first..=last).contains(&at),
            Self::Last(count) => at >= len.saturating_sub(count),
        }
    }
}

/// `bytes=` and a list of `1-2`, `1-` and `-1`, of which at most sixteen are obeyed.
fn naive(request: &HeaderMap) -> Option<Vec<Asked>> {
    let mut lines = request.get_all(RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?.to_ascii_lowercase();
    let members = line.strip_prefix("bytes=")?.split(',').map(str::trim).filter(|member| !member.is_empty());
    let members: Option<Vec<_>> = members
        .map(|member| {
            let (first, last) = member.split_once('-')?;
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse().unwrap_or(u64::MAX))
            };
            match (first, last) {
                ("", last) => number(last).map(Asked::Last),
                (first, "") => number(first).map(|first| Asked::From(first, u64::MAX)),
                (first, last) => {
                    let (first, last) = (number(first)?, number(last)?);
                    (first <= last).then_some(Asked::From(first, last))
                }
            }
        })
        .collect();
    members.filter(|members| (1..=16).contains(&members.len()))
}
