//! Answers made from stored responses.

use super::body::ResponseBody;
use super::stored::CachedResponse;
use bytes::Bytes;
use http::header::{
    AGE, CACHE_STATUS, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use std::fmt::Write;
use std::time::Duration;
use terrace_policy::{Answer, CacheStatus, Slice, Stored, unsatisfied_range};

/// Answers from a stored response.
pub(super) fn from_stored<B: Body<Data = Bytes>>(
    cached: &CachedResponse,
    answer: &Answer,
    method: &Method,
    resident: Duration,
    status: &CacheStatus,
) -> Response<ResponseBody<B>> {
    let facts = cached.facts();
    let mut headers = cached.packed().headers(2);
    headers.insert(AGE, age(facts.freshness().age(resident)));
    // After those of the caches between here and the origin (RFC 9211 section 2).
    headers.append(CACHE_STATUS, status.to_value());
    let mut response = match answer {
        Answer::Full => full(cached, facts.status(), method, &mut headers),
        Answer::NotModified => not_modified(&mut headers),
        Answer::Partial(slices) => partial(cached, slices, &mut headers),
        Answer::Unsatisfiable => unsatisfiable(facts.complete_len().unwrap_or_default(), &mut headers),
    };
    *response.headers_mut() = headers;
    response
}

/// Answers a plain `GET` with all of a stored response, whose head is at hand.
#[inline]
pub(super) fn from_head<B: Body<Data = Bytes>>(cached: &CachedResponse, head: HeaderMap) -> Response<ResponseBody<B>> {
    let packed = cached.packed();
    let mut response = Response::new(ResponseBody::stored(packed.content(), packed.trailers()));
    *response.status_mut() = cached.facts().status();
    *response.headers_mut() = head;
    response
}

/// `Age` in whole seconds (RFC 9111 section 5.1).
fn age(age: Duration) -> HeaderValue {
    HeaderValue::from(age.as_secs())
}

fn with_status<B>(status: StatusCode, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn full<B: Body<Data = Bytes>>(
    cached: &CachedResponse,
    status: StatusCode,
    method: &Method,
    headers: &mut HeaderMap,
) -> Response<ResponseBody<B>> {
    let packed = cached.packed();
    if method == Method::HEAD {
        // The server cannot know the length of what is not sent.
        if let Some(len) = cached.facts().complete_len() {
            headers.insert(CONTENT_LENGTH, len.into());
        }
        return with_status(status, ResponseBody::empty());
    }
    with_status(status, ResponseBody::stored(packed.content(), packed.trailers()))
}

/// A 304 does without the fields that describe content, which the client has (RFC 9110 section 15.4.5).
fn not_modified<B: Body<Data = Bytes>>(headers: &mut HeaderMap) -> Response<ResponseBody<B>> {
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE] {
        headers.remove(name);
    }
    with_status(StatusCode::NOT_MODIFIED, ResponseBody::empty())
}

fn partial<B: Body<Data = Bytes>>(
    cached: &CachedResponse,
    slices: &[Slice],
    headers: &mut HeaderMap,
) -> Response<ResponseBody<B>> {
    let (facts, content) = (cached.facts(), cached.packed().content());
    let complete = facts.representation_len();
    let parts: Vec<_> = slices.iter().filter_map(|slice| slice.within(content.len() as u64)).collect();
    let (slice, bytes) = match &parts[..] {
        [part] => part,
        [] => return unsatisfiable(complete.unwrap_or_default(), headers),
        parts => return multipart(&content, parts, complete, headers),
    };
    headers.insert(CONTENT_RANGE, slice.range.content_range(complete));
    headers.insert(CONTENT_LENGTH, (bytes.len() as u64).into());
    with_status(StatusCode::PARTIAL_CONTENT, ResponseBody::stored(content.slice(bytes.clone()), None))
}

/// Several ranges in one body (RFC 9110 section 14.6).
fn multipart<B: Body<Data = Bytes>>(
    content: &Bytes,
    parts: &[(Slice, std::ops::Range<usize>)],
    complete: Option<u64>,
    headers: &mut HeaderMap,
) -> Response<ResponseBody<B>> {
    let boundary = boundary();
    let media_type = headers.get(CONTENT_TYPE).cloned();
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for (slice, bytes) in parts {
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        for (name, value) in
            [("Content-Type: ", media_type.as_ref()), ("Content-Range: ", Some(&slice.range.content_range(complete)))]
        {
            if let Some(value) = value {
                head.extend_from_slice(name.as_bytes());
                head.extend_from_slice(value.as_bytes());
                head.extend_from_slice(b"\r\n");
            }
        }
        head.extend_from_slice(b"\r\n");
        pieces.extend([Bytes::from(head), content.slice(bytes.clone())]);
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let len: usize = pieces.iter().map(Bytes::len).sum();
    let kind = format!("multipart/byteranges; boundary={boundary}");
    headers.insert(CONTENT_TYPE, HeaderValue::try_from(kind).expect("visible ASCII"));
    headers.insert(CONTENT_LENGTH, (len as u64).into());
    headers.remove(CONTENT_RANGE);
    with_status(StatusCode::PARTIAL_CONTENT, ResponseBody::pieces(pieces))
}

/// Random, so that no content can be made to contain it.
fn boundary() -> String {
    let mut boundary = String::with_capacity(32);
    for _ in 0..2 {
        write!(boundary, "{:016x}", fastrand::u64(..)).expect("writing to a string does not fail");
    }
    boundary
}

fn unsatisfiable<B: Body<Data = Bytes>>(complete: u64, headers: &mut HeaderMap) -> Response<ResponseBody<B>> {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, ETAG, LAST_MODIFIED] {
        headers.remove(name);
    }
    headers.insert(CONTENT_RANGE, unsatisfied_range(complete));
    with_status(StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::empty())
}

/// The answer to `only-if-cached` when nothing is (RFC 9111 section 5.2.1.7).
pub(super) fn gateway_timeout<B: Body<Data = Bytes>>(status: &CacheStatus) -> Response<ResponseBody<B>> {
    let mut response = with_status(StatusCode::GATEWAY_TIMEOUT, ResponseBody::empty());
    response.headers_mut().insert(CACHE_STATUS, status.to_value());
    response
}
