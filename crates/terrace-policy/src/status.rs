//! The `Cache-Status` field (RFC 9211).

use http::{HeaderValue, StatusCode};
use std::time::Duration;

/// "Integers have a range of -999,999,999,999,999 to 999,999,999,999,999" (RFC 9651 section 3.3.1).
const MAX_INTEGER: i64 = 999_999_999_999_999;

/// Why a request went forward: the `fwd` parameter (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// "The cache was configured to not handle this request."
    Bypass,
    /// "The request method's semantics require the request to be forwarded."
    Method,
    /// "The cache did not contain any responses that matched the request URI."
    UriMiss,
    /// "The cache contained a response that matched the request URI, but … could not select" one by its `Vary`.
    VaryMiss,
    /// Nothing that could be used, and it is not known which of the two above it was.
    Miss,
    /// "The cache was able to select a fresh response …, but the request's semantics … did not allow its use."
    Request,
    /// "The cache was able to select a response …, but it was stale."
    Stale,
    /// "The cache was able to select a partial response …, but it did not contain all of the requested ranges."
    Partial,
}

impl Forward {
    /// The token of the RFC.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// One member of the field: what this cache did with a request. Exhaustive on purpose: its parts are the RFC's.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStatus {
    /// The request was answered without going forward.
    pub hit: bool,
    /// Why it went forward; `None` for a hit.
    pub forward: Option<Forward>,
    /// The status code with which the origin answered, if it differs from the one sent on.
    pub forward_status: Option<StatusCode>,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
    /// The response was stored.
    pub stored: bool,
    /// The request waited for another one's trip to the origin.
    pub collapsed: bool,
    /// More, in words of this implementation: an RFC 9651 token.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// A hit with this much freshness left, or with this much staleness.
    pub fn hit(remaining: Duration, staleness: Duration) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let ttl = if remaining.is_zero() { -seconds(staleness) } else { seconds(remaining) };
        Self { hit: true, ttl: Some(ttl), ..Self::default() }
    }

    /// A request that went forward.
    pub fn forwarded(reason: Forward) -> Self {
        Self { forward: Some(reason), ..Self::default() }
    }

    /// The field value, under the name `terrace`.
    pub fn to_value(&self) -> HeaderValue {
        let mut text = Text::default();
        self.write(&mut text);
        HeaderValue::from_bytes(text.as_bytes()).expect("tokens and digits are visible ASCII")
    }

    fn write(&self, text: &mut Text) {
        text.push("terrace");
        if self.hit {
            text.push("; hit");
        }
        if let Some(reason) = self.forward {
            text.push("; fwd=");
            text.push(reason.as_str());
        }
        if let Some(status) = self.forward_status {
            text.push("; fwd-status=");
            text.push(status.as_str());
        }
        if let Some(ttl) = self.ttl {
            text.push("; ttl=");
            text.push_number(ttl.clamp(-MAX_INTEGER, MAX_INTEGER));
        }
        if self.stored {
            text.push("; stored");
        }
        if self.collapsed {
            text.push("; collapsed");
        }
        if let Some(detail) = self.detail {
            text.push("; detail=");
            text.push(detail);
        }
    }
}

/// A short text on the stack; what does not fit is cut, which the parameters above never need.
struct Text {
    bytes: [u8; 160],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 160], len: 0 }
    }
}

impl Text {
    fn push(&mut self, text: &str) {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
    }

    fn push_number(&mut self, number: i64) {
        if number < 0 {
            self.push("-");
        }
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(std::str::from_utf8(&digits[at..]).expect("digits"));
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_as_in_rfc_9211() {
        let hit = CacheStatus::hit(Duration::from_millis(376_900), Duration::ZERO);
        assert_eq!(hit.to_value(), "terrace; hit; ttl=376");
        let stale = CacheStatus::hit(Duration::ZERO, Duration::from_secs(412));
        assert_eq!(stale.to_value(), "terrace; hit; ttl=-412");
        let revalidated = CacheStatus {
            forward_status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
            detail: Some("x"),
            ..CacheStatus::forwarded(Forward::Stale)
        };
        let text = "terrace; fwd=stale; fwd-status=304; stored; collapsed; detail=x";
        assert_eq!(revalidated.to_value(), text);
        let lowest = CacheStatus { ttl: Some(i64::MIN), ..CacheStatus::default() };
        assert_eq!(lowest.to_value(), "terrace; ttl=-999999999999999");
    }
}
