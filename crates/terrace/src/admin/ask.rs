//! What is asked: bodies and queries, of which nothing is trusted.

use super::admission::host;
use super::answer::Refusal;
use crate::Partition;
use bytes::Buf;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body::Body;
use serde_json::{Map, Value as Json};
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

/// The largest body, larger than the head of any request that is explained.
const MOST: usize = 128 << 10;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

const NOT_JSON: Refusal =
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with `Content-Type: application/json`");
const TOO_LARGE: Refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has 128 KiB at most");
const TOO_SLOW: Refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within 10 s");
const FOREIGN: Refusal =
    Refusal::new(StatusCode::FORBIDDEN, "another site's page has sent this (Origin, Sec-Fetch-Site)");

/// The members of the JSON object that a request brings. No page of another site can make a browser send one: what is
/// neither a form nor plain text has to be permitted first, and nothing here permits it.
pub(super) async fn object<B: Body>(parts: &Parts, body: B) -> Result<Asked, Refusal> {
    if !is_json(&parts.headers) {
        return Err(NOT_JSON);
    }
    if !is_ours(parts) {
        return Err(FOREIGN);
    }
    let bytes = tokio::time::timeout(PATIENCE, read(body)).await.map_err(|_| TOO_SLOW)??;
    match serde_json::from_slice(&bytes) {
        Ok(Json::Object(members)) => Ok(Asked(members)),
        Ok(_) => Err(Refusal::bad("the body is JSON, but not an object")),
        Err(error) => Err(Refusal::bad(format!("the body is not JSON: {error}"))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Whether no browser says that another site's page is behind it.
fn is_ours(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let same = |origin: &HeaderValue| {
        let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
        origin.as_ref().and_then(Uri::authority).is_some_and(|origin| host(parts).as_ref() == Some(origin))
    };
    matches!(site, None | Some(b"same-origin" | b"none")) && parts.headers.get_all(ORIGIN).iter().all(same)
}

async fn read<B: Body>(body: B) -> Result<Vec<u8>, Refusal> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::bad("the body ended early"))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if bytes.len() + data.remaining() > MOST {
            return Err(TOO_LARGE);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(bytes)
}

/// The members of an object, each of which is to be taken.
pub(super) struct Asked(Map<String, Json>);

impl Asked {
    /// A text that is not empty, if it is there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(Refusal::bad(format!("`{name}` is not a text of one character or more"))),
        }
    }

    /// True or false, if it is there.
    pub(super) fn truth(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(truth)) => Ok(Some(truth)),
            Some(_) => Err(Refusal::bad(format!("`{name}` is neither true nor false"))),
        }
    }

    /// Header fields: each name with one value, or with a list of them.
    pub(super) fn fields(&mut self, name: &str) -> Result<HeaderMap, Refusal> {
        let members = match self.0.remove(name) {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(members)) => members,
            Some(_) => return Err(Refusal::bad(format!("`{name}` is not an object of header fields"))),
        };
        let mut fields = HeaderMap::new();
        for (name, values) in members {
            let values = if let Json::Array(values) = values { values } else { vec![values] };
            for value in values {
                let (name, value) = field(&name, &value)?;
                let appended = fields.try_append(name, value);
                appended.map_err(|_| Refusal::bad("these are more header fields than a request has"))?;
            }
        }
        Ok(fields)
    }

    /// Nothing else may be there: what is misspelt would be taken for absent.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            Some(name) => Err(Refusal::bad(format!("`{name}` is not known here"))),
            None => Ok(()),
        }
    }
}

fn field(name: &str, value: &Json) -> Result<(HeaderName, HeaderValue), Refusal> {
    // Without the value, which may be a secret.
    let refused = || Refusal::bad(format!("`{name}` is no header field, or its value is none"));
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok()).ok_or_else(refused)?;
    Ok((known, value))
}

/// A request that is looked at instead of answered.
pub(super) fn request(
    method: Method,
    url: &str,
    fields: HeaderMap,
    partition: Option<String>,
) -> Result<Request<()>, Refusal> {
    let uri: Option<Uri> = url.split('#').next().unwrap_or_default().parse().ok();
    let Some(uri) = uri.filter(|uri| uri.scheme().is_some() && uri.authority().is_some()) else {
        return Err(Refusal::bad("`url` is not an absolute URL such as http://example.com/products/7"));
    };
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, fields);
    if let Some(partition) = partition {
        request.extensions_mut().insert(Partition::new(partition));
    }
    Ok(request)
}

/// The one parameter of a query.
pub(super) fn parameter(parts: &Parts, wanted: &str) -> Result<String, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
    let (Some((_, value)), None) = (found.next(), found.next()) else {
        return Err(Refusal::bad(format!("the query needs `{wanted}=…`, once")));
    };
    Ok(value.into_owned())
}
