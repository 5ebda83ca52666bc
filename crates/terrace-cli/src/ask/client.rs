//! One request, and all of its answer.

use super::{Resource, Verdict};
use crate::proxy::connect::Connector;
use crate::proxy::origin::{OriginError, OriginUrl};
use crate::web::client;
use bytes::{Buf, Bytes};
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use std::io;
use std::time::{Duration, Instant};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Asks one fleet, and nobody else: an answer that points elsewhere is an answer.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: legacy::Client<Connector, Empty<Bytes>>,
    base: OriginUrl,
    user_agent: HeaderValue,
    timeout: Duration,
}

/// What came of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the cache did, or in a few words why there is no complete answer of success.
    pub(crate) result: Result<Verdict, String>,
    /// Of the body.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl Client {
    /// A client of the fleet at `base` that calls itself `name`, and gives each request `timeout` for everything.
    ///
    /// # Errors
    ///
    /// When the operating system's certificate authorities cannot be read.
    pub(crate) fn new(base: OriginUrl, name: &str, timeout: Duration) -> io::Result<Self> {
        let user_agent = format!("{name}/{}", env!("CARGO_PKG_VERSION"));
        let user_agent = HeaderValue::from_str(&user_agent).map_err(io::Error::other)?;
        Ok(Self { http: client(timeout)?, base, user_agent, timeout })
    }

    pub(crate) fn base(&self) -> &OriginUrl {
        &self.base
    }

    /// Asks, and reads the answer to its end, for only then is it stored.
    pub(crate) async fn ask(&self, resource: &Resource) -> Answer {
        let (started, mut bytes) = (Instant::now(), 0);
        let asked = tokio::time::timeout(self.timeout, self.exchange(resource, &mut bytes)).await;
        let result = asked.unwrap_or_else(|_| Err("timeout".into()));
        Answer { result, bytes, took: started.elapsed() }
    }

    async fn exchange(&self, resource: &Resource, bytes: &mut u64) -> Result<Verdict, String> {
        let response = self.send(resource).await?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| OriginError::body(error).answer().1)?;
            *bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        let status = head.status;
        if status.is_client_error() || status.is_server_error() {
            return Err(format!("status {}", status.as_u16()));
        }
        Ok(Verdict::of(&head.headers))
    }

    /// Reads a document of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// In a few words, why there is none.
    pub(crate) async fn read(&self, resource: &Resource, limit: usize) -> Result<Vec<u8>, String> {
        let document = async {
            let response = self.send(resource).await?;
            if !response.status().is_success() {
                return Err(format!("status {}", response.status().as_u16()));
            }
            let (mut body, mut document) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| OriginError::body(error).answer().1)?;
                let data = frame.into_data().unwrap_or_default();
                if document.len() + data.len() > limit {
                    return Err(format!("more than {limit} bytes"));
                }
                document.extend_from_slice(&data);
            }
            Ok(document)
        };
        tokio::time::timeout(self.timeout, document).await.unwrap_or_else(|_| Err("timeout".into()))
    }

    async fn send(&self, resource: &Resource) -> Result<Response<Incoming>, String> {
        let request = self.request(resource).map_err(|error| error.to_string())?;
        let sent = self.http.request(request).await;
        sent.map_err(|error| OriginError::from(error).answer().1.to_owned())
    }

    fn request(&self, resource: &Resource) -> Result<Request<Empty<Bytes>>, Box<dyn std::error::Error>> {
        let uri = resource.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut request =
            Request::get(self.base.locate(uri)?).header(HOST, authority).header(USER_AGENT, self.user_agent.clone());
        // A fleet behind a TLS terminator has entries for https that it fills only for those whom it believes this.
        if let Some(scheme) = uri.scheme().filter(|scheme| *scheme != self.base.scheme()) {
            request = request.header(X_FORWARDED_PROTO, scheme.as_str());
        }
        Ok(request.body(Empty::new())?)
    }
}
