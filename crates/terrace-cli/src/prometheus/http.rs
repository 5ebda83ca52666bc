//! A server, and a token for it.

use crate::failure::Failure;
use crate::proxy::origin::OriginUrl;
use crate::web::{Reply, Web};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use std::time::Duration;

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    web: Web,
    base: OriginUrl,
    authorization: Option<HeaderValue>,
}

impl Http {
    /// A client of the server at `base` that gives each exchange `timeout` for everything.
    ///
    /// # Errors
    ///
    /// When the operating system's certificate authorities cannot be read.
    pub(crate) fn new(base: OriginUrl, timeout: Duration) -> Result<Self, Failure> {
        Ok(Self { web: Web::new(timeout)?, base, authorization: None })
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
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, String> {
        self.exchange(Request::new(Full::default()), path).await
    }

    /// Posts a form to `path`, below the base.
    ///
    /// # Errors
    ///
    /// In a few words, why there is no complete answer.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Reply, String> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::new(Full::from(form));
        *request.method_mut() = Method::POST;
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        self.exchange(request, path).await
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>, path: &str) -> Result<Reply, String> {
        let uri = path.parse().map_err(|error| format!("{path}: {error}"))?;
        *request.uri_mut() = self.base.locate(&uri).map_err(|error| error.to_string())?;
        let fields = request.headers_mut();
        fields.insert(HOST, self.base.host());
        if let Some(authorization) = &self.authorization {
            fields.insert(AUTHORIZATION, authorization.clone());
        }
        self.web.exchange(request).await.map_err(|unanswered| unanswered.why)
    }
}
