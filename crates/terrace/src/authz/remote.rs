//! An authorizer that is another service, asked over HTTP.

use super::context::Context;
use super::decision::{Decision, DenyReason};
use super::endpoint::once;
use super::principal::Who;
use super::source::{Authorizer, Boxed, Query};
use bytes::{BufMut, Bytes};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use serde_core::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use tower_service::Service;

/// Answers are not read further: they need less.
const MAX_BYTES: usize = 16 << 10;

type BoxError = Box<dyn StdError + Send + Sync>;

type Sending = dyn Fn(Request<Bytes>) -> Boxed<'static, Result<Decision, RemoteError>> + Send + Sync;

/// Asks another service, at its `POST /api/v1/authorization/check`: one that has
/// [`Authz::check_endpoint`](super::Authz::check_endpoint), or answers as that does.
///
/// Allowed is who is said to be: by a response with the status 200, of the type `application/json`, with an object in which
/// `allowed` occurs once and is `true`. `false` there denies, because of `reason` if that is `"denied"`. **Everything else
/// is an error**, and the check is answered with 503: another status, also one of success or a redirect; another type; more
/// than 16 KiB; `"true"`, `1`, `null`; a response that is cut short; a service that fails.
///
/// What is sent is `user_id`, `org_id`, `permission`, and `resource` and `context` if the question has them. A service that
/// does not know one of these has to refuse it, as the endpoint does: else it would answer another question.
///
/// It sends requests through any service of tower, such as a client of hyper, with whatever layers it needs: certificates,
/// traces, retries. The engine waits for `AUTHZ_CACHE_SOURCE_TIMEOUT_MS`, and no longer. Several questions are asked one
/// after the other: cache the decisions ([`cache_decisions`](super::AuthzBuilder::cache_decisions)) where that matters, or
/// where one process asks the same again and again. They are revoked where everything else is, in the stores that share this
/// one's Redis and keys; what the other service revokes elsewhere shows after `AUTHZ_CACHE_TTL`.
///
/// ```
/// use http::{HeaderValue, Request, Response, Uri};
/// use terrace::authz::{Authz, RemoteAuthorizer};
/// # use terrace::Store;
/// # type Body = axum::body::Body;
///
/// # fn example<C>(store: Store, client: C, token: HeaderValue) -> Result<(), terrace::Error>
/// # where C: tower_service::Service<Request<Body>, Response = Response<Body>, Error = std::io::Error> + Clone + Send + 'static,
/// # C::Future: Send {
/// let uri = Uri::from_static("http://rights.internal/api/v1/authorization/check");
/// let rights = RemoteAuthorizer::new(client, uri).credential(token); // `Bearer ..`
/// let authz = Authz::deciding(store, rights).cache_decisions("rights.internal").build()?;
/// # let _ = authz; Ok(()) }
/// ```
pub struct RemoteAuthorizer {
    send: Box<Sending>,
    uri: Uri,
    credential: Option<HeaderValue>,
}

impl fmt::Debug for RemoteAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAuthorizer").finish_non_exhaustive()
    }
}

impl RemoteAuthorizer {
    /// Asks through `service`, at `uri`, which is absolute for most clients.
    pub fn new<S, B, R>(service: S, uri: Uri) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let service = Mutex::new(service);
        let send = move |request: Request<Bytes>| -> Boxed<'static, _> {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(ask(service, request.map(B::from)))
        };
        Self { send: Box::new(send), uri, credential: None }
    }

    /// What every request has as `Authorization`, `Bearer` included. One that changes is for a layer of the service.
    #[must_use]
    pub fn credential(mut self, mut authorization: HeaderValue) -> Self {
        authorization.set_sensitive(true);
        self.credential = Some(authorization);
        self
    }

    fn request(&self, query: &Query<'_>) -> Request<Bytes> {
        let mut request = Request::new(question(query).to_string().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let (fields, json) = (request.headers_mut(), HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_TYPE, json.clone());
        fields.insert(ACCEPT, json);
        if let Some(credential) = &self.credential {
            fields.insert(AUTHORIZATION, credential.clone());
        }
        request
    }
}

impl Authorizer for RemoteAuthorizer {
    type Error = RemoteError;

    async fn check(&self, query: &Query<'_>) -> Result<Decision, RemoteError> {
        (self.send)(self.request(query)).await
    }
}

fn question(query: &Query<'_>) -> Value {
    // All of it: what is not sent is not answered.
    let Query { who: Who { tenant, subject }, action, resource, context } = query;
    let mut question = json!({ "user_id": subject.as_str(), "org_id": tenant.as_str(), "permission": action });
    if let Some(resource) = resource {
        question["resource"] = (*resource).into();
    }
    if !context.is_empty() {
        question["context"] = attributes(context).into();
    }
    question
}

fn attributes(context: &Context) -> Map<String, Value> {
    context.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

async fn ask<S, B, R>(mut service: S, request: Request<B>) -> Result<Decision, RemoteError>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body,
    R::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(RemoteError::failed)?;
    let (head, body) = service.call(request).await.map_err(RemoteError::failed)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(RemoteError(Problem::Status(head.status)));
    }
    if !is_json(&head.headers) {
        return Err(RemoteError(Problem::Type));
    }
    let answer = serde_json::from_slice::<Answer>(&read(pin!(body)).await?);
    answer.map(Answer::decision).map_err(|_| RemoteError(Problem::Malformed))
}

/// Whether it says so, once.
fn is_json(fields: &HeaderMap) -> bool {
    let mut types = fields.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

async fn read<R>(mut body: Pin<&mut R>) -> Result<Vec<u8>, RemoteError>
where
    R: Body,
    R::Error: Into<BoxError>,
{
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(RemoteError::failed)?;
        // Trailers say nothing that matters.
        let Ok(data) = frame.into_data() else { continue };
        if bytes::Buf::remaining(&data) > MAX_BYTES - all.len() {
            return Err(RemoteError(Problem::Size));
        }
        all.put(data);
    }
    Ok(all)
}

/// What the service says.
struct Answer {
    allowed: bool,
    /// Explicitly not.
    denied: bool,
}

impl Answer {
    fn decision(self) -> Decision {
        match self {
            Self { allowed: true, .. } => Decision::Allow,
            Self { denied: true, .. } => Decision::Deny(DenyReason::Denied),
            // Whatever else it means is about a credential that the other service has not seen.
            Self { .. } => Decision::Deny(DenyReason::NotGranted),
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with allowed")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Answer, M::Error> {
        let (mut allowed, mut reason) = (None, None);
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "allowed" => once::<bool, M>(&mut allowed, &mut fields, "allowed")?,
                "reason" => once::<Value, M>(&mut reason, &mut fields, "reason")?,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let denied = reason.is_some_and(|reason| reason == DenyReason::Denied.as_str());
        Ok(Answer { allowed: allowed.ok_or_else(|| M::Error::missing_field("allowed"))?, denied })
    }
}

/// Why a [`RemoteAuthorizer`] has no answer.
#[derive(Debug)]
pub struct RemoteError(Problem);

#[derive(Debug)]
enum Problem {
    Failed(BoxError),
    Status(StatusCode),
    Type,
    Size,
    Malformed,
}

impl RemoteError {
    fn failed(error: impl Into<BoxError>) -> Self {
        Self(Problem::Failed(error.into()))
    }
}

/// Nothing of what was received is in it.
impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::Failed(_) => f.write_str("the service that decides did not answer"),
            Problem::Status(status) => write!(f, "the service that decides answered with {status}, not 200"),
            Problem::Type => f.write_str("the service that decides answered with something else than application/json"),
            Problem::Size => write!(f, "the service that decides answered with more than {MAX_BYTES} bytes"),
            Problem::Malformed => {
                f.write_str("the service that decides answered without an object in which `allowed` is true or false")
            }
        }
    }
}

impl StdError for RemoteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Problem::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}
