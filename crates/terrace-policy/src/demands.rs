//! What the header fields of a request demand of a cache, read in one pass.

use http::{HeaderMap, HeaderName};

/// Which of the header fields that matter to a cache a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands(u8);

impl Demands {
    const DIRECTIVES: u8 = 1;
    const CONDITIONS: u8 = 1 << 1;
    const RANGE: u8 = 1 << 2;
    const CREDENTIALS: u8 = 1 << 3;
    const ORIGIN_CONDITIONS: u8 = 1 << 4;
    const CONTENT: u8 = 1 << 5;
    const UPGRADE: u8 = 1 << 6;

    /// Reads the names of all fields. Does not allocate.
    #[inline]
    pub fn of(request: &HeaderMap) -> Self {
        Self(request.keys().fold(0, |all, name| all | Self::of_field(name)))
    }

    #[inline]
    fn of_field(name: &HeaderName) -> u8 {
        match name.as_str() {
            "cache-control" => Self::DIRECTIVES,
            "if-none-match" | "if-modified-since" => Self::CONDITIONS,
            "range" => Self::RANGE,
            "cookie" | "authorization" => Self::CREDENTIALS,
            "if-match" | "if-unmodified-since" => Self::ORIGIN_CONDITIONS,
            "content-length" | "transfer-encoding" => Self::CONTENT,
            "upgrade" => Self::UPGRADE,
            _ => 0,
        }
    }

    fn has(self, some: u8) -> bool {
        self.0 & some != 0
    }

    /// `Cache-Control`.
    pub fn directives(self) -> bool {
        self.has(Self::DIRECTIVES)
    }

    /// `If-None-Match` or `If-Modified-Since`.
    pub(crate) fn conditions(self) -> bool {
        self.has(Self::CONDITIONS)
    }

    /// `Range`.
    pub fn range(self) -> bool {
        self.has(Self::RANGE)
    }

    /// `Cookie` or `Authorization`.
    pub fn credentials(self) -> bool {
        self.has(Self::CREDENTIALS)
    }

    /// `If-Match` or `If-Unmodified-Since`: "a cache MUST NOT evaluate conditional header fields that only apply to an
    /// origin server" (RFC 9111 section 4.3.2).
    pub fn origin_conditions(self) -> bool {
        self.has(Self::ORIGIN_CONDITIONS)
    }

    /// `Content-Length` or `Transfer-Encoding`.
    pub fn content(self) -> bool {
        self.has(Self::CONTENT)
    }

    /// `Upgrade`.
    pub fn upgrade(self) -> bool {
        self.has(Self::UPGRADE)
    }

    /// Nothing beyond the response itself: no directives, no conditions, no range. What is fresh then answers with
    /// all of its content.
    #[inline]
    pub fn is_plain(self) -> bool {
        !self.has(Self::DIRECTIVES | Self::CONDITIONS | Self::RANGE)
    }
}
