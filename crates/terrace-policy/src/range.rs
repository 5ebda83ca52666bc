//! Byte ranges (RFC 9110 section 14).

use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use std::fmt::Write;

/// More ranges than this in one request are ignored, as RFC 9110 section 14.2 allows for requests
/// that look like "a broken client or a deliberate denial-of-service attack".
const MAX_RANGES: usize = 16;

/// One member of a `Range` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeSpec {
    /// `2-5`, or `2-` with no last position.
    From { first: u64, last: Option<u64> },
    /// `-5`: the last five bytes.
    Suffix(u64),
}

/// Bytes of a representation, both positions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte.
    pub last: u64,
    /// Asked for as the end of the representation.
    pub(crate) suffix: bool,
}

impl ByteRange {
    /// The number of bytes.
    #[allow(clippy::len_without_is_empty, reason = "a range has at least one byte")]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The `Content-Range` value for these bytes of `complete`, or of an unknown length.
    pub fn content_range(&self, complete: Option<u64>) -> HeaderValue {
        let mut text = format!("bytes {}-{}/", self.first, self.last);
        match complete {
            Some(len) => write!(text, "{len}"),
            None => write!(text, "*"),
        }
        .expect("writing to a string does not fail");
        HeaderValue::try_from(text).expect("visible ASCII")
    }
}

/// The `Content-Range` value of a 416 (RFC 9110 section 14.4).
pub fn unsatisfied_range(complete: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{complete}")).expect("visible ASCII")
}

/// Reads `Range`. `None` if there is none, or one to be ignored: another unit, malformed
/// (section 14.2), in several lines, or with too many members.
pub(crate) fn parse_range(request: &HeaderMap) -> Option<Vec<RangeSpec>> {
    let mut lines = request.get_all(RANGE).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let line = line.as_bytes();
    let unit = line.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes="))?;
    let members = line[unit.len()..].split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let members = members.filter(|member| !member.is_empty()).take(MAX_RANGES + 1);
    let specs: Vec<_> = members.map(range_spec).collect::<Option<_>>()?;
    (!specs.is_empty() && specs.len() <= MAX_RANGES).then_some(specs)
}

fn range_spec(member: &[u8]) -> Option<RangeSpec> {
    let dash = member.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    if first.is_empty() {
        return position(last).map(RangeSpec::Suffix);
    }
    let first = position(first)?;
    let last = if last.is_empty() { None } else { Some(position(last)?) };
    // "invalid if the last-pos value is present and … less than first-pos" (section 14.1.1)
    last.is_none_or(|last| last >= first).then_some(RangeSpec::From { first, last })
}

/// Digits only; a number beyond 64 bits is as good as the greatest.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

impl RangeSpec {
    /// The bytes it names in a representation of `len` bytes; `None` if there are none of them.
    pub(crate) fn resolve(self, len: u64) -> Option<ByteRange> {
        let end = len.checked_sub(1)?;
        match self {
            Self::From { first, .. } if first > end => None,
            Self::From { first, last } => {
                let last = last.unwrap_or(end).min(end);
                Some(ByteRange { first, last, suffix: false })
            }
            Self::Suffix(0) => None,
            Self::Suffix(count) => {
                let first = len.saturating_sub(count);
                Some(ByteRange { first, last: end, suffix: true })
            }
        }
    }
}

/// Merges ranges that overlap or touch, in ascending order: a client that asks for the same bytes
/// many times gets them once (section 15.3.7.2 lets a server coalesce).
pub(crate) fn coalesce(mut ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    ranges.sort_unstable_by_key(|range| (range.first, range.last));
    let mut merged: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => before.last = before.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

/// What the `Content-Range` of a 206 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) range: ByteRange,
    pub(crate) complete: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-4/10`; `None` if it is missing, repeated, malformed or invalid (section 14.4).
    pub(crate) fn of(response: &HeaderMap) -> Option<Self> {
        let mut lines = response.get_all(CONTENT_RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        let rest = line.as_bytes().strip_prefix(b"bytes ")?.trim_ascii();
        let slash = rest.iter().position(|&byte| byte == b'/')?;
        let RangeSpec::From { first, last: Some(last) } = range_spec(&rest[..slash])? else {
            return None;
        };
        let complete = match &rest[slash + 1..] {
            b"*" => None,
            digits => Some(position(digits)?),
        };
        let range = ByteRange { first, last, suffix: false };
        (complete.is_none_or(|len| len > last) && last < u64::MAX).then_some(Self { range, complete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(value: &str) -> Option<Vec<RangeSpec>> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value.parse().unwrap());
        parse_range(&headers)
    }

    fn resolved(value: &str, len: u64) -> Vec<(u64, u64)> {
        let specs = range(value).unwrap().into_iter();
        specs.filter_map(|spec| spec.resolve(len)).map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(resolved("bytes=0-499", 10_000), [(0, 499)]);
        assert_eq!(resolved("bytes=500-999", 10_000), [(500, 999)]);
        assert_eq!(resolved("bytes=-500", 10_000), [(9_500, 9_999)]);
        assert_eq!(resolved("bytes=9500-", 10_000), [(9_500, 9_999)]);
        assert_eq!(resolved("bytes=0-0,-1", 10_000), [(0, 0), (9_999, 9_999)]);
        assert_eq!(resolved("bytes= 0-999, 4500-5499, -1000", 10_000), [(0, 999), (4_500, 5_499), (9_000, 9_999)]);
    }

    #[test]
    fn beyond_the_end_is_cut_or_nothing() {
        assert_eq!(resolved("bytes=5-99", 10), [(5, 9)]);
        assert_eq!(resolved("bytes=-99", 10), [(0, 9)]);
        assert_eq!(resolved("bytes=10-", 10), []);
        assert_eq!(resolved("bytes=-0", 10), []);
        assert_eq!(resolved("bytes=0-", 0), []);
        assert_eq!(resolved("bytes=0-99999999999999999999999", 10), [(0, 9)]);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for value in ["bytes", "bytes=", "bytes=a-b", "bytes=5-2", "bytes=1", "bytes=--1", "lines=0-1", "bytes=0-1;2-3"]
        {
            assert_eq!(range(value), None, "{value:?}");
        }
        let many = format!("bytes={}", vec!["0-1"; MAX_RANGES + 1].join(","));
        assert_eq!(range(&many), None);
    }

    #[test]
    fn overlapping_ranges_are_merged() {
        let of = |first, last| ByteRange { first, last, suffix: false };
        assert_eq!(coalesce(vec![of(5, 9), of(0, 3), of(4, 6)]), [of(0, 9)]);
        assert_eq!(coalesce(vec![of(0, 3), of(5, 9)]), [of(0, 3), of(5, 9)]);
    }

    #[test]
    fn content_range_must_be_possible() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            ContentRange::of(&headers).map(|it| (it.range.first, it.range.last, it.complete))
        };
        assert_eq!(of("bytes 4-9/10"), Some((4, 9, Some(10))));
        assert_eq!(of("bytes 4-9/*"), Some((4, 9, None)));
        for value in ["bytes 9-4/10", "bytes 4-9/9", "bytes */10", "4-9/10", "bytes 4-/10", "bytes -4/10"] {
            assert_eq!(of(value), None, "{value:?}");
        }
    }
}
