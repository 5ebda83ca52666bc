//! One exchange, and all of its answer: within a time and a size.

use crate::failure::Failure;
use crate::proxy::connect::{Connector, connector};
use crate::proxy::origin::OriginUrl;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::time::Duration;

/// What answers of more bytes are is not known.
const LARGEST: usize = 32 << 20;

/// How long an unused connection is kept; shorter than servers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: legacy::Client<Connector, Full<Bytes>>,
    base: OriginUrl,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Http {
    /// A client of the server at `base` that gives each exchange `timeout` for everything.
    ///
    /// # Errors
    ///
    /// When the operating system's certificate authorities cannot be read.
    pub(crate) fn new(base: OriginUrl, timeout: Duration) -> Result<Self, Failure> {
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        let client = client.build(connector(timeout).map_err(Failure::inconclusive)?);
        Ok(Self { client, base, authorization: None, timeout })
    }

    /// With a bearer token (RFC 6750).
    ///
    /// # Errors
    ///
    /// When it cannot be in a header field.
    pub(crate) fn bearer(mut self, token: &str) -> Result<Self, http::header::InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub(crate) fn base(&self) -> &OriginUrl {
        &self.base
    }

    /// Gets what is at `path`, below the base.
    ///
    /// # Errors
    ///
    /// In a few words, why there is no complete answer.
    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), String> {
        self.exchange(Request::get(self.at(path)?).body(Full::default())).await
    }

    /// Posts a form to `path`, below the base.
    ///
    /// # Errors
    ///
    /// In a few words, why there is no complete answer.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Bytes), String> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(self.at(path)?).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.exchange(request.body(Full::from(form))).await
    }

    fn at(&self, path: &str) -> Result<http::Uri, String> {
        let uri = path.parse().map_err(|error| format!("{path}: {error}"))?;
        self.base.locate(&uri).map_err(|error| error.to_string())
    }

    async fn exchange(&self, request: http::Result<Request<Full<Bytes>>>) -> Result<(StatusCode, Bytes), String> {
        let mut request = request.map_err(|error| error.to_string())?;
        let fields = request.headers_mut();
        fields.insert(HOST, self.base.host());
        fields.insert(USER_AGENT, HeaderValue::from_static(concat!("terrace/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            fields.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| root(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| root(&*error))?;
            Ok((head.status, body.to_bytes()))
        };
        let late = |_| Err(format!("no complete answer within {}", humantime::format_duration(self.timeout)));
        tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(late)
    }
}

/// What is at the bottom of it.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
