//! One request, and all of its answer: within a time and a size, and timed.

use crate::failure::Failure;
use crate::proxy::connect::{Connector, connector};
use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

/// What answers of more bytes are is not known.
const LARGEST: usize = 32 << 20;

/// How long an unused connection is kept; shorter than servers keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Asks whoever is named.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    client: legacy::Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the request to the last byte.
    pub(crate) took: Duration,
}

/// There is no complete answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    uri: Uri,
    /// In a few words.
    pub(crate) why: String,
}

impl From<Unanswered> for String {
    fn from(Unanswered { uri, why }: Unanswered) -> Self {
        format!("{uri}: {why}")
    }
}

/// What keeps connections, each of which has to be there within `timeout`.
///
/// # Errors
///
/// When the operating system's certificate authorities cannot be read.
pub(crate) fn client<B>(timeout: Duration) -> io::Result<legacy::Client<Connector, B>>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut client = legacy::Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
    Ok(client.build(connector(timeout)?))
}

impl Web {
    /// Gives each exchange `timeout` for everything.
    ///
    /// # Errors
    ///
    /// When the operating system's certificate authorities cannot be read.
    pub(crate) fn new(timeout: Duration) -> Result<Self, Failure> {
        Ok(Self { client: client(timeout).map_err(Failure::inconclusive)?, timeout })
    }

    /// # Errors
    ///
    /// When there is no complete answer.
    pub(crate) async fn get(&self, uri: &Uri) -> Result<Reply, Unanswered> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        self.exchange(request).await
    }

    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Reply, Unanswered> {
        let uri = request.uri().clone();
        let name = HeaderValue::from_static(concat!("terrace/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        let started = Instant::now();
        let answer = async {
            let (head, body) = self.client.request(request).await.map_err(|error| root(&error))?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| root(&*error))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body, took: started.elapsed() })
        };
        let late = |_| Err(format!("no complete answer within {}", humantime::format_duration(self.timeout)));
        let answer = tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(late);
        answer.map_err(|why| Unanswered { uri, why })
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
