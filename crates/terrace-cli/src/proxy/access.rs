//! The access log: one line per request, written when the response's last byte was handed over or the client left.
//!
//! No field of the request but `Host` and the trace in `traceparent` is written, so neither cookies nor credentials are.
//! Query strings are left out unless asked for, because tokens and personal data travel in them; `?` shows that there was
//! one.

use super::body::Body;
use super::origin::OriginError;
use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// The tracing target of access lines.
pub(crate) const TARGET: &str = "access";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What nginx writes when the client went away before there was an answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Which lines to write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccessLines {
    Off,
    WithoutQuery,
    WithQuery,
}

impl AccessLines {
    /// Starts the line of a request.
    pub(crate) fn begin<B>(self, request: &Request<B>, client: &HeaderValue) -> Option<Box<Line>> {
        if matches!(self, Self::Off) {
            return None;
        }
        Some(Box::new(Line {
            client: client.clone(),
            method: request.method().clone(),
            host: host(request),
            target: request.uri().clone(),
            with_query: matches!(self, Self::WithQuery),
            version: request.version(),
            trace_id: trace_id(request.headers()).map(str::to_owned),
            start: Instant::now(),
            status: CLIENT_CLOSED_REQUEST,
            cache: None,
            bytes: 0,
            expected: None,
            whole: false,
        }))
    }
}

/// Where the request went, as it said so itself.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    let authority = request.uri().authority();
    let named = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    named.or_else(|| request.headers().get(HOST).cloned())
}

/// The trace that a request says it is part of, if it says it once and as W3C Trace Context has it: version, trace, parent
/// and flags, in lowercase hexadecimal digits.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all("traceparent").iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let mut parts = field.to_str().ok()?.splitn(5, '-');
    let [version, trace, parent, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    // Only later versions may say more.
    let is_version = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (is_version && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)).then_some(trace)
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|digit| digit != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A request's line; written when dropped, so that one whose client left is not forgotten.
#[derive(Debug)]
pub(crate) struct Line {
    client: HeaderValue,
    method: Method,
    host: Option<HeaderValue>,
    target: Uri,
    with_query: bool,
    version: Version,
    trace_id: Option<String>,
    start: Instant,
    status: u16,
    cache: Option<HeaderValue>,
    bytes: u64,
    expected: Option<u64>,
    whole: bool,
}

impl Line {
    fn answered(&mut self, response: &Response<Body>) {
        let status = response.status();
        self.status = status.as_u16();
        // The last member is of the cache nearest to the client (RFC 9211 2).
        self.cache = response.headers().get_all(CACHE_STATUS).iter().next_back().cloned();
        self.expected = response.body().size_hint().exact();
        let no_body = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        self.whole = no_body || self.method == Method::HEAD || response.body().is_end_stream();
    }

    fn sent(&mut self, frame: Option<&Frame<Bytes>>, ended: bool) {
        let data = frame.and_then(Frame::data_ref).map_or(0, Bytes::len);
        self.bytes += data as u64;
        self.whole |= frame.is_none() || ended || self.expected == Some(self.bytes);
    }

    fn path(&self) -> String {
        let path = self.target.path();
        match self.target.query() {
            Some(query) if self.with_query => format!("{path}?{query}"),
            Some(_) => format!("{path}?"),
            None => path.to_owned(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = |value: &Option<HeaderValue>| {
            let bytes = value.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            String::from_utf8_lossy(bytes).into_owned()
        };
        tracing::info!(
            target: TARGET,
            client = self.client.to_str().unwrap_or_default(),
            method = self.method.as_str(),
            host = text(&self.host),
            target = self.path(),
            version = ?self.version,
            status = self.status,
            bytes = self.bytes,
            duration_ms = self.start.elapsed().as_secs_f64() * 1e3,
            cache = text(&self.cache),
            complete = self.whole,
            trace_id = self.trace_id.as_deref(),
        );
    }
}

pin_project! {
    /// A response's body, counted for the access log.
    pub(crate) struct Logged {
        #[pin]
        body: Body,
        line: Option<Box<Line>>,
    }
}

impl Logged {
    /// Puts the line's fate into the hands of the body.
    pub(crate) fn wrap(mut line: Option<Box<Line>>, response: Response<Body>) -> Response<Self> {
        if let Some(line) = &mut line {
            line.answered(&response);
        }
        response.map(|body| Self { body, line })
    }
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        let mut this = self.project();
        let frame = this.body.as_mut().poll_frame(cx);
        if let (Some(line), Poll::Ready(frame)) = (this.line, &frame) {
            match frame {
                Some(Err(_)) => {}
                Some(Ok(frame)) => line.sent(Some(frame), this.body.is_end_stream()),
                None => line.sent(None, true),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
